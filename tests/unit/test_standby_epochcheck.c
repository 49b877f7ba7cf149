/* Tests epochcheck: frames of a hostile or broken peer, streams that restart, and guests that are
 * built differently. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "standby_fixture.h"

static void bad_index(struct feed *f)
{
	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_ZERO, N_PAGES, NULL, 0);
	feed_end(f);
}

static void bad_class(struct feed *f)
{
	feed_begin(f, false);
	feed_record(f, 99, 0, (const uint8_t *)"x", 1);
	feed_end(f);
}

static void bad_raw_size(struct feed *f)
{
	uint8_t data[100] = {1};

	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_RAW, 0, data, sizeof(data));
	feed_end(f);
}

static void bad_xrle(struct feed *f)
{
	uint8_t data[64];

	memset(data, 0xff, sizeof(data));
	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_XRLE, 0, data, sizeof(data));
	feed_end(f);
}

static void bad_bitmap(struct feed *f)
{
	uint8_t data[64] = {0}; /* a bitmap that marks no line as changed */

	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_BITMAP, 0, data, sizeof(data));
	feed_end(f);
}

static void dup_past_the_end(struct feed *f)
{
	feed_begin(f, false);
	feed_dup(f, 0, N_PAGES);
	feed_end(f);
}

static void hash_of_no_page(struct feed *f)
{
	static const uint8_t pages[2][WIRE_PAGE_SIZE];

	feed_begin(f, false);
	feed_ram_hash(f, N_PAGES - 1, 2, pages[0]);
	feed_end(f);
}

static void too_many_hashes(struct feed *f)
{
	static const uint8_t pages[N_PAGES][WIRE_PAGE_SIZE];

	feed_begin(f, false);
	for (uint32_t n = 0; n <= WIRE_RAM_HASHES_MAX; n += N_PAGES)
		feed_ram_hash(f, 0, N_PAGES, pages[0]);
	feed_end(f);
}

static void dup_of_itself(struct feed *f)
{
	feed_begin(f, false);
	feed_dup(f, 3, 3);
	feed_end(f);
}

static void dup_long(struct feed *f)
{
	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_DUP, 3, (const uint8_t[5]){0}, 5);
	feed_end(f);
}

static void dup_of_device(struct feed *f)
{
	static const uint8_t payload[] = {0, 0, 0x20, 0, WIRE_CLASS_DUP, 0, 0, 4, 0, 0, 0, 0,
					  0, 0, 0,    1};

	feed_begin(f, false);
	feed_frame(f, &(struct wire_header){.type = WIRE_DEVICE, .term = f->term, .epoch = f->epoch,
					    .seq = f->n_frames, .generation = f->generation},
		   payload, sizeof(payload));
	feed_end(f);
}

/* A later record changes page 1, the DUP's source. If such an epoch were applied a second time
 * after a crash, the DUP would copy the changed page. So such an epoch must be refused. */
static void dup_source_changes_later(struct feed *f)
{
	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_ZERO, 1, NULL, 0);
	feed_dup(f, 0, 1);
	feed_record(f, WIRE_CLASS_XRLE, 1, (const uint8_t *)"\0\1z", 3);
	feed_end(f);
}

static void dup_source_is_dup_later(struct feed *f)
{
	feed_begin(f, false);
	feed_dup(f, 0, 1);
	feed_dup(f, 1, 2);
	feed_end(f);
}

/* Do the same as dup_source_changes_later(), but with the DUP and the later record in two packed
 * frames. */
static void dup_source_in_a_later_frame(struct feed *f)
{
	uint8_t reference[WIRE_PAGE_SIZE] = {0};

	f->packs = true;
	feed_begin(f, false);
	feed_dup(f, 0, 1);
	feed_blob(f, reference, 100, reference, false);
	feed_record(f, WIRE_CLASS_ZERO, 1, NULL, 0);
	feed_end(f);
}

static void dup_source_unknown_in_full(struct feed *f)
{
	feed_begin(f, true);
	feed_dup(f, 0, 1);
	feed_end(f);
}

static void dup_source_later_in_full(struct feed *f)
{
	feed_begin(f, true);
	feed_record(f, WIRE_CLASS_ZERO, 2, NULL, 0);
	feed_dup(f, 0, 1);
	feed_record(f, WIRE_CLASS_ZERO, 1, NULL, 0);
	feed_end(f);
}

static void packed_bad_index(struct feed *f)
{
	f->packs = true;
	bad_index(f);
}

/* Append a packed frame of @type that claims to unpack to @plain_size bytes. */
static void packed_frame(struct feed *f, uint8_t type, uint32_t plain_size, const uint8_t *block,
			 size_t size)
{
	uint8_t payload[64];

	bytes_put_be32(payload, plain_size);
	memcpy(payload + 4, block, size);
	feed_begin(f, false);
	feed_frame(f, &(struct wire_header){.type = type, .flags = WIRE_FLAG_LZ4, .term = f->term,
					    .epoch = f->epoch, .seq = f->n_frames,
					    .generation = f->generation},
		   payload, 4 + size);
	feed_end(f);
}

/* An LZ4 block of eight literals: a ZERO record for page 1. */
static const uint8_t good_block[] = {0x80, 1, 0, 0, 0, 0, 0, 0, 1};

static void packed_short(struct feed *f)
{
	packed_frame(f, WIRE_PAGES, 9, good_block, sizeof(good_block));
}

static void packed_long(struct feed *f)
{
	packed_frame(f, WIRE_PAGES, 7, good_block, sizeof(good_block));
}

static void packed_garbage(struct feed *f)
{
	uint8_t block[40];

	memset(block, 0xff, sizeof(block));
	packed_frame(f, WIRE_DEVICE, WIRE_PAYLOAD_MAX, block, sizeof(block));
}

static void packed_too_large(struct feed *f)
{
	packed_frame(f, WIRE_PAGES, WIRE_PAYLOAD_MAX + 1, good_block, sizeof(good_block));
}

static void packed_device_of_pages(struct feed *f)
{
	packed_frame(f, WIRE_DEVICE, 8, good_block, sizeof(good_block));
}

static void one_page(struct feed *f)
{
	feed_record(f, WIRE_CLASS_ZERO, 1, NULL, 0);
}

static void one_blob(struct feed *f)
{
	static const uint8_t blob[WIRE_PAGE_SIZE] = {3};
	uint8_t reference[WIRE_PAGE_SIZE] = {0};

	feed_blob(f, blob, 100, reference, false);
}

static void no_device(struct feed *f)
{
	feed_begin(f, false);
	one_page(f);
	feed_end(f);
}

static void two_blob_sizes(struct feed *f)
{
	static const uint8_t blob[WIRE_PAGE_SIZE] = {3};
	uint8_t reference[WIRE_PAGE_SIZE] = {0};

	feed_begin(f, false);
	one_blob(f);
	feed_blob(f, blob, 101, reference, false);
	feed_end(f);
}

static void wrong_record_count(struct feed *f)
{
	feed_begin(f, false);
	one_page(f);
	f->n_records++;
	one_blob(f);
	feed_end(f);
}

static void feed_clock(struct feed *f, uint64_t ticks_per_s)
{
	uint8_t payload[48] = {0};

	bytes_put_be64(payload + 40, ticks_per_s);
	feed_frame(f, &(struct wire_header){.type = WIRE_CLOCK, .term = f->term, .epoch = f->epoch,
					    .seq = f->n_frames, .generation = f->generation},
		   payload, sizeof(payload));
}

static void two_clocks(struct feed *f)
{
	feed_begin(f, false);
	one_blob(f);
	feed_clock(f, 1000);
	feed_clock(f, 1000);
	feed_end(f);
}

static void clock_without_ticks(struct feed *f)
{
	feed_begin(f, false);
	one_blob(f);
	feed_clock(f, 0);
	feed_end(f);
}

static void wrong_byte_count(struct feed *f)
{
	feed_begin(f, false);
	one_blob(f);
	f->payload_bytes--;
	feed_end(f);
}

static void wrong_frame_count(struct feed *f)
{
	uint8_t payload[16];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct wire_epoch_end end;

	feed_begin(f, false);
	one_blob(f);
	end = (struct wire_epoch_end){f->n_frames + 1, f->n_records, f->payload_bytes};
	assert_int_equal(wire_epoch_end_encode(&end, &w), 0);
	feed_frame(f, &(struct wire_header){.type = WIRE_EPOCH_END, .term = f->term,
					    .epoch = f->epoch, .seq = f->n_frames,
					    .generation = f->generation},
		   payload, (size_t)(w.at - payload));
}

static void missing_frame(struct feed *f)
{
	feed_begin(f, false);
	f->n_frames++;
	one_blob(f);
	feed_end(f);
}

static void begin_twice(struct feed *f)
{
	feed_begin(f, false);
	f->epoch--;
	feed_begin(f, false);
}

static void pages_first(struct feed *f)
{
	f->epoch++;
	one_blob(f);
}

static void epoch_gap(struct feed *f)
{
	f->epoch++;
	feed_begin(f, false);
}

static void epoch_again(struct feed *f)
{
	f->epoch--;
	feed_begin(f, true);
}

static void wrong_previous(struct feed *f)
{
	uint8_t payload[8] = {0}; /* says that this epoch builds on epoch 0 */

	f->n_frames = 0;
	feed_frame(f, &(struct wire_header){.type = WIRE_EPOCH_BEGIN, .term = f->term,
					    .epoch = f->epoch + 1, .generation = f->generation},
		   payload, sizeof(payload));
}

static void stale_term(struct feed *f)
{
	f->term--;
	feed_begin(f, false);
}

static void newer_term(struct feed *f)
{
	f->term++;
	feed_begin(f, false);
}

static void newer_generation(struct feed *f)
{
	f->generation++;
	feed_begin(f, false);
}

static void geometry_twice(struct feed *f)
{
	feed_geometry(f);
}

static void wrong_epoch_inside(struct feed *f)
{
	feed_begin(f, false);
	f->epoch++;
	one_blob(f);
}

static void too_large(struct feed *f)
{
	static const uint8_t page[WIRE_PAGE_SIZE] = {1};

	feed_begin(f, false);
	for (unsigned i = 0; i < BYTES_MAX / WIRE_PAGE_SIZE + 40; i++)
		feed_record(f, WIRE_CLASS_RAW, 0, page, sizeof(page));
	one_blob(f);
	feed_end(f);
}

/* Feed frames with almost no payload, whose headers alone fill the buffer. */
static void empty_frames(struct feed *f)
{
	feed_begin(f, false);
	for (unsigned i = 0; i < BYTES_MAX / WIRE_HEADER_SIZE; i++)
		feed_frame(f, &(struct wire_header){.type = WIRE_PAGES, .term = f->term,
						    .epoch = f->epoch, .seq = f->n_frames,
						    .generation = f->generation},
			   NULL, 0);
	one_blob(f);
	feed_end(f);
}

static void commit_frame(struct feed *f)
{
	feed_frame(f, &(struct wire_header){.type = WIRE_COMMIT, .term = f->term,
					    .epoch = f->epoch, .generation = f->generation},
		   NULL, 0);
}

static const struct fixture_lie hostile[] = {
	{"index out of range", bad_index, WIRE_STREAM_ERROR_FORMAT, "epoch 2"},
	{"unknown class", bad_class, WIRE_STREAM_ERROR_FORMAT, ""},
	{"raw of 100 bytes", bad_raw_size, WIRE_STREAM_ERROR_FORMAT, ""},
	{"broken delta", bad_xrle, WIRE_STREAM_ERROR_FORMAT, "index 0"},
	{"broken bitmap", bad_bitmap, WIRE_STREAM_ERROR_FORMAT, "index 0"},
	{"dup, past the end", dup_past_the_end, WIRE_STREAM_ERROR_FORMAT, "source at"},
	{"hash of no page", hash_of_no_page, WIRE_STREAM_ERROR_FORMAT,
	 "RAM_HASH of 2 pages from page 9, the guest has 10"},
	{"too many hashes", too_many_hashes, WIRE_STREAM_ERROR_FORMAT,
	 "RAM_HASH frames of more than 1024 pages in one epoch"},
	{"dup, of itself", dup_of_itself, WIRE_STREAM_ERROR_FORMAT, "the page itself"},
	{"dup, too long", dup_long, WIRE_STREAM_ERROR_FORMAT, "does not fit its class"},
	{"dup, of device state", dup_of_device, WIRE_STREAM_ERROR_FORMAT, "guest pages only"},
	{"dup, changed later", dup_source_changes_later, WIRE_STREAM_ERROR_FORMAT,
	 "index 1: a DUP record before it"},
	{"dup, dup later", dup_source_is_dup_later, WIRE_STREAM_ERROR_FORMAT, "index 1: a DUP"},
	{"dup, packed, later frame", dup_source_in_a_later_frame, WIRE_STREAM_ERROR_FORMAT,
	 "index 1: a DUP"},
	{"dup, full, no record", dup_source_unknown_in_full, WIRE_STREAM_ERROR_FORMAT,
	 "index 0: it copies a page that has no record yet"},
	{"dup, full, later", dup_source_later_in_full, WIRE_STREAM_ERROR_FORMAT,
	 "index 0: it copies a page that has no record yet"},
	{"packed, index out of range", packed_bad_index, WIRE_STREAM_ERROR_FORMAT, "past the last"},
	{"packed, too short", packed_short, WIRE_STREAM_ERROR_FORMAT, "no LZ4 block"},
	{"packed, too long", packed_long, WIRE_STREAM_ERROR_FORMAT, "no LZ4 block"},
	{"packed, garbage", packed_garbage, WIRE_STREAM_ERROR_FORMAT, "no LZ4 block"},
	{"packed, too large", packed_too_large, WIRE_STREAM_ERROR_FORMAT, "plain size"},
	{"packed, no blob", packed_device_of_pages, WIRE_STREAM_ERROR_FORMAT, "truncated"},
	{"no device", no_device, WIRE_STREAM_ERROR_ORDER, "no DEVICE"},
	{"two blob sizes", two_blob_sizes, WIRE_STREAM_ERROR_FORMAT, "100 and 101"},
	{"two clocks", two_clocks, WIRE_STREAM_ERROR_ORDER, "a second CLOCK"},
	{"clock without ticks", clock_without_ticks, WIRE_STREAM_ERROR_FORMAT, "ticks_per_s"},
	{"record count", wrong_record_count, WIRE_STREAM_ERROR_ORDER, "2 records"},
	{"byte count", wrong_byte_count, WIRE_STREAM_ERROR_ORDER, "bytes"},
	{"frame count", wrong_frame_count, WIRE_STREAM_ERROR_ORDER, "frames"},
	{"missing frame", missing_frame, WIRE_STREAM_ERROR_ORDER, "was due"},
	{"begin twice", begin_twice, WIRE_STREAM_ERROR_ORDER, "before its EPOCH_END"},
	{"no begin", pages_first, WIRE_STREAM_ERROR_ORDER, "before EPOCH_BEGIN"},
	{"gap", epoch_gap, WIRE_STREAM_ERROR_EPOCH, "epoch 3 begins"},
	{"again", epoch_again, WIRE_STREAM_ERROR_EPOCH, "epoch 1 begins"},
	{"wrong previous", wrong_previous, WIRE_STREAM_ERROR_EPOCH, "stands on 0"},
	{"stale term", stale_term, WIRE_STREAM_ERROR_TERM, "term 6"},
	{"newer term", newer_term, WIRE_STREAM_ERROR_TERM, "term 8"},
	{"newer generation", newer_generation, WIRE_STREAM_ERROR_ORDER, "before its GEOMETRY"},
	{"geometry twice", geometry_twice, WIRE_STREAM_ERROR_ORDER, "second GEOMETRY"},
	{"another epoch inside", wrong_epoch_inside, WIRE_STREAM_ERROR_ORDER, "of epoch 3"},
	{"too large", too_large, WIRE_STREAM_ERROR_LIMIT, "log_bytes_max"},
	{"too many empty frames", empty_frames, WIRE_STREAM_ERROR_LIMIT, "log_bytes_max"},
	{"not of a stream", commit_frame, WIRE_STREAM_ERROR_ORDER, "COMMIT"},
};

static void test_hostile(void **state)
{
	struct fixture *x = *state;

	fixture_hold_one(x);
	fixture_refuses(x, hostile, ARRAY_SIZE(hostile));
	/* A good stream is still accepted. */
	x->feed.generation = 1000;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	fixture_make_epoch(x, false);
	{
		struct epochcheck_error error;

		assert_int_equal(fixture_take(x, &error), 1);
	}
	assert_true(fixture_copy_is(x, &x->model));
}

static void test_old_generation(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;
	uint32_t generation;

	fixture_hold_one(x);
	/* The stream restarts after half an epoch: that half is discarded. */
	feed_begin(&x->feed, false);
	one_page(&x->feed);
	one_blob(&x->feed);
	assert_int_equal(fixture_take(x, &error), 0);
	feed_clear(&x->feed);
	x->feed.epoch--;
	generation = x->feed.generation++;
	feed_geometry(&x->feed);
	assert_int_equal(fixture_take(x, &error), 0);
	assert_int_equal(x->log.stats.epochs_discarded, 1);
	/* Late frames of the old generation are dropped and do no harm. */
	feed_clear(&x->feed);
	x->feed.generation = generation;
	feed_geometry(&x->feed);
	feed_begin(&x->feed, false);
	one_blob(&x->feed);
	feed_end(&x->feed);
	assert_int_equal(fixture_take(x, &error), 0);
	assert_int_equal(x->log.stats.frames_dropped, 4);
	x->feed.generation = generation + 1;
	x->feed.epoch--;
	feed_clear(&x->feed);
	fixture_make_epoch(x, false);
	assert_int_equal(fixture_take(x, &error), 1);
	assert_true(fixture_copy_is(x, &x->model));
}

static void test_geometry(void **state)
{
	struct error error;
	struct wire_geometry a, b;

	(void)state;
	feed_small_geometry(&a, RAM_PAGES, ROM_PAGES);
	b = a;
	assert_int_equal(epochcheck_geometry(&a, &b, &error), 0);
	strcpy(b.qemu_version, "7.2.9");
	assert_int_equal(epochcheck_geometry(&a, &b, &error), 0);
	strcpy(b.qemu_version, "7.20.1");
	assert_int_equal(epochcheck_geometry(&a, &b, &error), -ESTALE);
	assert_non_null(strstr(error.text, "7.2.22 Debian"));
	assert_non_null(strstr(error.text, "7.20.1"));
	b = a;
	strcpy(b.machine, "pc-q35-7.2");
	assert_int_equal(epochcheck_geometry(&a, &b, &error), -ESTALE);
	assert_non_null(strstr(error.text, "machine types differ: primary pc-i440fx-7.2, standby "
				     "pc-q35-7.2; use the same -M in the [standby] command"));
	b = a;
	b.n_vcpus = 2;
	assert_int_equal(epochcheck_geometry(&a, &b, &error), -ESTALE);
	b = a;
	b.ram_bytes += WIRE_PAGE_SIZE;
	assert_int_equal(epochcheck_geometry(&a, &b, &error), -ESTALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hostile, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_old_generation, fixture_setup,
						fixture_teardown),
		cmocka_unit_test(test_geometry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
