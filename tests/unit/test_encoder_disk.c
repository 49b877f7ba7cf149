/* Tests the encoder with changes of disks. A standby that decodes and applies them must get the
 * same disks as the primary. This must hold wherever the changes come in an epoch, and whenever the
 * backlog is full. */
#include "encoder_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "codec/encode.h"
#include "epoch/engine_private.h"
#include "wire/msg.h"

static const char *const names[N_DISKS] = {"vda", "vdb"};
static uint8_t disks[N_DISKS][DISK_BYTES]; /* the primary's disks */
static uint8_t data[DISK_BYTES];

static int setup(void **state)
{
	memset(disks, 0, sizeof(disks));
	return fixture_setup(state);
}

/* Change bytes of the primary's disk, and return the change. The record borrows `data`. */
static struct wire_disk_record change(size_t disk, uint8_t op, uint64_t offset, uint32_t bytes)
{
	for (uint32_t i = 0; op == WIRE_DISK_WRITE && i < bytes; i++)
		data[i] = (uint8_t)(i % 64 ? data[i] : rand());
	if (op == WIRE_DISK_WRITE)
		memcpy(disks[disk] + offset, data, bytes);
	else
		memset(disks[disk] + offset, 0, bytes);
	return (struct wire_disk_record){op, bytes, offset, op == WIRE_DISK_WRITE ? data : NULL};
}

static struct wire_disk_record random_change(size_t disk)
{
	static const uint32_t sizes[] = {1, 512, 4096, 65536, WIRE_PAYLOAD_MAX, 1 << 20};
	uint32_t bytes = sizes[rand() % 6] - (uint32_t)(rand() % 3 == 0);
	uint8_t op = (uint8_t)(rand() % 4 ? WIRE_DISK_WRITE : 2 + rand() % 2);

	bytes = bytes ? bytes : 1;
	return change(disk, op, (uint64_t)rand() % (DISK_BYTES - bytes), bytes);
}

static void send_changes(struct fixture *f, unsigned n)
{
	while (n-- > 0) {
		size_t disk = (size_t)rand() % N_DISKS;
		struct wire_disk_record record = random_change(disk);
		uint32_t done = 0;

		assert_int_equal(encoder_disk(f->encoder, names[disk], &record, &done), 0);
		assert_int_equal(done, record.bytes);
		memset(data, 0xee, record.bytes); /* the encoder must not use `data` any more */
	}
}

static void assert_same_disks(const struct fixture *f)
{
	for (size_t i = 0; i < N_DISKS; i++)
		assert_true(memcmp(f->standby.disks[i], disks[i], DISK_BYTES) == 0);
}

/* Changes of disks may come before, between and after the runs of pages. */
static void changes_rebuild_the_disks(void **state)
{
	struct fixture *f = *state;
	struct encoder_counts counts;

	for (uint64_t epoch = 1; epoch <= 6; epoch++) {
		encoder_set_second_stage(f->encoder, epoch % 2);
		assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1,
					       epoch == 1 ? WIRE_FLAG_FULL : 0),
				 0);
		send_changes(f, 7);
		for (uint32_t i = 0; i < 300; i++)
			fixture_change_page(f->pages + (size_t)i * 4096);
		fixture_offer_all(f);
		send_changes(f, 7);
		fixture_offer_all(f);
		send_changes(f, epoch == 3 ? 0 : 9);
		fixture_end(f);
		fixture_deliver(f);
		assert_same_disks(f);
		retain_drop(f->retain, epoch);
	}
	encoder_get_counts(f->encoder, &counts);
	assert_true(counts.n_disk_records >= 6 * 14);
	assert_true(counts.disk_bytes > DISK_BYTES);
	assert_true(f->standby.n_packed_disk_frames > 0);
	assert_true(f->standby.n_packed_disk_frames < f->standby.n_disk_frames);
}

/* Small changes of one disk share a frame. A change of another disk needs a frame of its own. */
static void frames_are_shared_by_changes_of_one_disk(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(encoder_begin(f->encoder, 1, 0, WIRE_FLAG_FULL), 0);
	for (unsigned i = 0; i < 30; i++) {
		struct wire_disk_record record =
			change(i / 10 % 2, i % 3 ? WIRE_DISK_WRITE : WIRE_DISK_ZERO, i * 1000, 700);
		uint32_t done = 0;

		assert_int_equal(encoder_disk(f->encoder, names[i / 10 % 2], &record, &done), 0);
	}
	fixture_end(f);
	fixture_deliver(f);
	assert_same_disks(f);
	assert_int_equal(f->standby.n_disk_frames, 3);
}

/* Encode one change that is larger than the backlog. Whenever the backlog is full, the test sends a
 * frame and repeats the call. */
static void a_full_backlog_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct wire_disk_record record;
	uint32_t done = 0, before = 0;
	unsigned n_full = 0;
	int r;

	fixture_make_encoder(f, RETAIN_BYTES_MIN);
	assert_int_equal(encoder_begin(f->encoder, 1, 0, WIRE_FLAG_FULL), 0);
	record = change(0, WIRE_DISK_WRITE, 1, DISK_BYTES - 1);
	while ((r = encoder_disk(f->encoder, "vda", &record, &done)) == -ENOBUFS) {
		assert_true(done < record.bytes && done >= before);
		before = done;
		n_full++;
		assert_true(fixture_deliver_frame(f));
	}
	assert_int_equal(r, 0);
	assert_int_equal(done, record.bytes);
	assert_true(n_full > 5);
	while ((r = encoder_device(f->encoder, f->blob, f->blob_size = 4096)) == -ENOBUFS)
		assert_true(fixture_deliver_frame(f));
	while ((r = encoder_end(f->encoder)) == -ENOBUFS)
		assert_true(fixture_deliver_frame(f));
	assert_int_equal(r, 0);
	fixture_deliver(f);
	assert_same_disks(f);
}

/* Encode one change that zeroes more bytes than a single record can describe. */
static void a_large_zero_is_split(void **state)
{
	const struct wire_disk_record record = {WIRE_DISK_ZERO, UINT32_MAX, 5, NULL};
	struct fixture *f = *state;
	struct encoder_counts counts;
	uint32_t done = 0;

	assert_int_equal(encoder_begin(f->encoder, 1, 0, WIRE_FLAG_FULL), 0);
	assert_int_equal(encoder_disk(f->encoder, "vda", &record, &done), 0);
	assert_true(done == UINT32_MAX);
	encoder_get_counts(f->encoder, &counts);
	assert_int_equal(counts.n_disk_records, 2);
	assert_int_equal(counts.disk_bytes, 0);
}

static void retained_changes_need_their_feature(void **state)
{
	const uint64_t rest = WIRE_FEATURE_XRLE | WIRE_FEATURE_BITMAP;
	struct fixture *f = *state;

	assert_int_equal(encoder_begin(f->encoder, 1, 0, WIRE_FLAG_FULL), 0);
	fixture_end(f);
	assert_true(encoder_can_resend(f->encoder, rest));
	assert_int_equal(encoder_begin(f->encoder, 2, 1, 0), 0);
	send_changes(f, 1);
	fixture_end(f);
	assert_false(encoder_can_resend(f->encoder, rest));
	assert_true(encoder_can_resend(f->encoder, rest | WIRE_FEATURE_DISK));
	fixture_deliver(f);
	retain_drop(f->retain, 2);
	assert_true(encoder_can_resend(f->encoder, rest));
}

static void wrong_changes_are_refused(void **state)
{
	static const struct wire_disk_record wrong[] = {
		{0, 512, 0, data},
		{5, 512, 0, data},
		{WIRE_DISK_HASH, WIRE_DISK_HASHED_MAX + 1, 0, data},
		{WIRE_DISK_WRITE, 0, 0, data},
		{WIRE_DISK_WRITE, 512, WIRE_DISK_SIZE_MAX - 511, data},
		{WIRE_DISK_ZERO, 1, UINT64_MAX, NULL},
	};
	const struct wire_disk_record good = {WIRE_DISK_WRITE, 512, WIRE_DISK_SIZE_MAX - 512, data};
	char name[WIRE_DISK_NAME_MAX + 2] = "";
	struct fixture *f = *state;
	struct encoder_counts counts;
	uint32_t done = 0;

	assert_int_equal(encoder_begin(f->encoder, 1, 0, WIRE_FLAG_FULL), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(encoder_disk(f->encoder, "vda", &wrong[i], &done), -EINVAL);
	memset(name, 'n', sizeof(name) - 1);
	assert_int_equal(encoder_disk(f->encoder, name, &good, &done), -EINVAL);
	assert_int_equal(encoder_disk(f->encoder, "", &good, &done), -EINVAL);
	name[WIRE_DISK_NAME_MAX] = '\0';
	assert_int_equal(encoder_disk(f->encoder, name, &good, &done), 0);
	encoder_get_counts(f->encoder, &counts);
	assert_int_equal(counts.n_disk_records, 1);
}

#define TEST(test, n_threads)                                                                      \
	{#test, test, setup, fixture_teardown, &n_threads}

/* The engine joins adjacent ZERO records of a ring into one record, because the standby makes a
 * system call for each record. */
static void zeros_that_follow_are_one_record(void **state)
{
	static struct engine engine = {.config = {.vm = "web1"}};
	static struct engine_disk disk = {.found = {.name = "vda"}};
	struct fixture *f = *state;
	struct encoder_counts counts;
	struct disk_ring *writer;
	struct error error;

	assert_int_equal(disk_ring_new(DISK_RING_SOFT_MIN, DISK_BYTES, &disk.ring, &error), 0);
	assert_int_equal(disk_ring_map(disk_ring_fd(disk.ring), &writer), 0);
	engine.disks.disk = &disk;
	engine.disks.n = 1;
	engine.epochs.encoder = f->encoder;
	for (uint64_t at = 0; at < DISK_BYTES; at += DISK_BYTES / 16)
		assert_int_equal(disk_ring_append(writer, DISK_ZERO, at, DISK_BYTES / 16, NULL), 0);
	assert_int_equal(encoder_begin(f->encoder, 1, 0, WIRE_FLAG_FULL), 0);
	memset(f->standby.disks[0], 1, DISK_BYTES);
	engine_disks_cut(&engine, 1);
	assert_int_equal(engine_disks_encode(&engine, 1), 0);
	assert_int_equal(disk.encoded, disk_ring_head(disk.ring));
	encoder_get_counts(f->encoder, &counts);
	assert_int_equal(counts.n_disk_records, 1);
	fixture_end(f);
	fixture_deliver(f);
	assert_same_disks(f);
	disk_ring_free(writer);
	disk.ring = disk_ring_free(disk.ring);
}

int main(void)
{
	static uint32_t one = 1, four = 4;
	const struct CMUnitTest tests[] = {
		TEST(changes_rebuild_the_disks, one),
		TEST(changes_rebuild_the_disks, four),
		TEST(frames_are_shared_by_changes_of_one_disk, one),
		TEST(a_full_backlog_loses_nothing, one),
		TEST(a_full_backlog_loses_nothing, four),
		TEST(a_large_zero_is_split, one),
		TEST(zeros_that_follow_are_one_record, one),
		TEST(retained_changes_need_their_feature, one),
		TEST(retained_changes_need_their_feature, four),
		TEST(wrong_changes_are_refused, one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
