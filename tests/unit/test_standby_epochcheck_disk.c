/* Tests epochcheck with changes of disks. It must refuse a disk that the standby does not have, and
 * records that break the format or reach past a disk's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "standby_fixture.h"

static void one_blob(struct feed *f)
{
	static const uint8_t blob[WIRE_PAGE_SIZE] = {3};
	uint8_t reference[WIRE_PAGE_SIZE] = {0};

	feed_blob(f, blob, 100, reference, false);
}

/* Feed an epoch with one DISK frame that has this payload. */
static void disk_frame(struct feed *f, const uint8_t *payload, size_t size)
{
	feed_begin(f, false);
	feed_frame(f, &(struct wire_header){.type = WIRE_DISK, .term = f->term, .epoch = f->epoch,
					    .seq = f->n_frames, .generation = f->generation},
		   payload, size);
	one_blob(f);
	feed_end(f);
}

/* Feed an epoch with one change of vda. The arguments set fields of the change's header; all other
 * fields are valid. */
static void change_of_vda(struct feed *f, uint8_t op, uint8_t reserved, uint32_t bytes,
			  uint64_t offset, size_t data_size)
{
	uint8_t payload[64] = {3, 'v', 'd', 'a', op, 0, reserved};

	bytes_put_be32(payload + 8, bytes);
	bytes_put_be64(payload + 12, offset);
	disk_frame(f, payload, 20 + data_size);
}

static void disk_unknown(struct feed *f)
{
	const struct wire_disk_record record = {WIRE_DISK_ZERO, 512, 0, NULL};

	feed_begin(f, false);
	feed_disk(f, "vdx", &record, 1);
	one_blob(f);
	feed_end(f);
}

static void disk_without_name(struct feed *f)
{
	disk_frame(f, (const uint8_t[]){0, 0}, 2);
}

static void disk_name_cut(struct feed *f)
{
	disk_frame(f, (const uint8_t *)"\4vda", 4);
}

static void disk_name_of_bytes(struct feed *f)
{
	disk_frame(f, (const uint8_t *)"\3vd\n", 4);
}

static void disk_unknown_op(struct feed *f)
{
	change_of_vda(f, 5, 0, 512, 0, 0);
}

static void disk_reserved(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_ZERO, 1, 512, 0, 0);
}

static void disk_no_bytes(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_ZERO, 0, 0, 0, 0);
}

static void disk_zero_too_large(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_ZERO, 0, WIRE_DISK_RANGE_MAX + 1, 0, 0);
}

static void disk_header_cut(struct feed *f)
{
	disk_frame(f, (const uint8_t[]){3, 'v', 'd', 'a', 2, 0, 0}, 7);
}

static void disk_data_cut(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_WRITE, 0, 10, 0, 9);
}

static void disk_hash_cut(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_HASH, 0, 512, 0, WIRE_DISK_HASH_SIZE - 1);
}

static void disk_hash_too_large(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_HASH, 0, WIRE_DISK_HASHED_MAX + 1, 0, WIRE_DISK_HASH_SIZE);
}

static void disk_hash_past_the_end(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_HASH, 0, 10, DISK_BYTES - 9, WIRE_DISK_HASH_SIZE);
}

static void disk_data_after_zero(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_ZERO, 0, 512, 0, 9);
}

static void disk_past_the_end(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_WRITE, 0, 10, DISK_BYTES - 9, 10);
}

static void disk_zero_past_the_end(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_ZERO, 0, WIRE_DISK_RANGE_MAX, 0, 0);
}

static void disk_discard_far_away(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_DISCARD, 0, 512, WIRE_DISK_SIZE_MAX - 512, 0);
}

static void disk_offset_wraps(struct feed *f)
{
	change_of_vda(f, WIRE_DISK_DISCARD, 0, 512, UINT64_MAX - 255, 0);
}

static void disk_packed_past_the_end(struct feed *f)
{
	const struct wire_disk_record records[] = {{WIRE_DISK_ZERO, 512, 0, NULL},
						   {WIRE_DISK_ZERO, 512, DISK_BYTES, NULL}};

	f->packs = true;
	feed_begin(f, false);
	feed_disk(f, "vda", records, 2);
	one_blob(f);
	feed_end(f);
}

static void disk_outside(struct feed *f)
{
	const struct wire_disk_record record = {WIRE_DISK_ZERO, 512, 0, NULL};

	f->epoch++;
	feed_disk(f, "vda", &record, 1);
}

static const struct fixture_lie hostile[] = {
	{"disk, unknown", disk_unknown, WIRE_STREAM_ERROR_GEOMETRY,
	 "no image of disk vdx; add vdx:PATH"},
	{"disk, no name", disk_without_name, WIRE_STREAM_ERROR_FORMAT, "disk name"},
	{"disk, name cut", disk_name_cut, WIRE_STREAM_ERROR_FORMAT, "disk name"},
	{"disk, name of bytes", disk_name_of_bytes, WIRE_STREAM_ERROR_FORMAT, "disk name"},
	{"disk, op", disk_unknown_op, WIRE_STREAM_ERROR_FORMAT, "record op"},
	{"disk, reserved", disk_reserved, WIRE_STREAM_ERROR_FORMAT, "record reserved"},
	{"disk, no bytes", disk_no_bytes, WIRE_STREAM_ERROR_FORMAT, "record bytes"},
	{"disk, large zero", disk_zero_too_large, WIRE_STREAM_ERROR_FORMAT, "record bytes"},
	{"disk, header cut", disk_header_cut, WIRE_STREAM_ERROR_FORMAT, "truncated"},
	{"disk, data cut", disk_data_cut, WIRE_STREAM_ERROR_FORMAT, "record data"},
	{"disk, hash cut", disk_hash_cut, WIRE_STREAM_ERROR_FORMAT, "record data"},
	{"disk, large hash", disk_hash_too_large, WIRE_STREAM_ERROR_FORMAT, "too many for a hash"},
	{"disk, hash past the end", disk_hash_past_the_end, WIRE_STREAM_ERROR_FORMAT,
	 "disk vda: 10 bytes at offset 49143, the image "},
	{"disk, data after zero", disk_data_after_zero, WIRE_STREAM_ERROR_FORMAT, "record op"},
	{"disk, past the end", disk_past_the_end, WIRE_STREAM_ERROR_FORMAT,
	 "disk vda: 10 bytes at offset 49143, the image "},
	{"disk, zero past the end", disk_zero_past_the_end, WIRE_STREAM_ERROR_FORMAT,
	 "2147483648 bytes at offset 0"},
	{"disk, far away", disk_discard_far_away, WIRE_STREAM_ERROR_FORMAT, "has 49152"},
	{"disk, offset wraps", disk_offset_wraps, WIRE_STREAM_ERROR_FORMAT, "record offset"},
	{"disk, packed", disk_packed_past_the_end, WIRE_STREAM_ERROR_FORMAT, "offset 49152"},
	{"disk, outside", disk_outside, WIRE_STREAM_ERROR_ORDER, "before EPOCH_BEGIN"},
};

static void test_hostile(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;

	fixture_hold_one(x);
	fixture_refuses(x, hostile, ARRAY_SIZE(hostile));
	/* A good stream is still accepted. */
	x->feed.generation = 1000;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	fixture_make_epoch(x, false);
	assert_int_equal(fixture_take(x, &error), 1);
	assert_true(fixture_copy_is(x, &x->model));
}

/* Checks that two things are accepted: changes up to a disk's last byte, and a DISK frame without
 * changes. */
static void test_bounds(void **state)
{
	const struct wire_disk_record last[] = {
		{WIRE_DISK_WRITE, 1, DISK_BYTES - 1, (const uint8_t *)"z"},
		{WIRE_DISK_ZERO, DISK_BYTES - 1, 0, NULL},
	};
	struct fixture *x = *state;
	struct epochcheck_error error;
	uint8_t reference[BLOB_ROOM];

	fixture_hold_one(x);
	feed_begin(&x->feed, false);
	feed_disk(&x->feed, "vdb", last, 2);
	feed_disk(&x->feed, "vda", NULL, 0);
	memcpy(reference, x->model.blob, BLOB_ROOM);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, reference, true);
	feed_end(&x->feed);
	assert_int_equal(fixture_take(x, &error), 1);
	memset(x->model.disks[1], 0, DISK_BYTES - 1);
	x->model.disks[1][DISK_BYTES - 1] = 'z';
	assert_true(fixture_copy_is(x, &x->model));
	assert_int_equal(x->images.n_records >= 2, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hostile, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_bounds, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
