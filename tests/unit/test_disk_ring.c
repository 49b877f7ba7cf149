/* Tests the ring between nbdkit's plugin (the writer) and the agent (the reader): the order of
 * records, wrapping at the end of the ring, back pressure, and a full ring. */
#include "disk/ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "ring_lab.h"

static void test_order(void **state)
{
	struct fixture *f = *state;
	uint64_t pos = disk_ring_tail(f->ring), cut;
	struct disk_record record;

	append(f, DISK_WRITE, 3, 5, f->data);
	append(f, DISK_ZERO, BLOCK, 3 * BLOCK, NULL);
	cut = disk_ring_head(f->ring);
	append(f, DISK_DISCARD, 100, 7, NULL);
	append(f, DISK_WRITE, 2 * BLOCK - 10, BLOCK + 20, f->data + 50);
	append(f, DISK_WRITE, DISK_BYTES - 1, 1, f->data);
	assert_int_equal(disk_ring_waiting(f->ring), disk_ring_head(f->ring));
	expect_record(f, &pos, DISK_WRITE, 3, 5);
	expect_record(f, &pos, DISK_ZERO, BLOCK, 3 * BLOCK);
	assert_int_equal(pos, cut);
	assert_int_equal(disk_ring_read(f->ring, &pos, cut, &record), 0);
	expect_record(f, &pos, DISK_DISCARD, 100, 7);
	/* A write that crosses the ends of blocks is split there. */
	expect_record(f, &pos, DISK_WRITE, 2 * BLOCK - 10, 10);
	expect_record(f, &pos, DISK_WRITE, 2 * BLOCK, BLOCK);
	expect_record(f, &pos, DISK_WRITE, 3 * BLOCK, 10);
	expect_record(f, &pos, DISK_WRITE, DISK_BYTES - 1, 1);
	assert_int_equal(pos, disk_ring_head(f->ring));
	/* Records that were not released can be read again. */
	disk_ring_release(f->ring, cut);
	assert_int_equal(disk_ring_tail(f->ring), cut);
	pos = cut;
	expect_record(f, &pos, DISK_DISCARD, 100, 7);
	assert_int_equal(disk_ring_append(f->writer, DISK_ZERO, DISK_BYTES, 1, NULL), -EINVAL);
	assert_int_equal(disk_ring_append(f->writer, DISK_ZERO, UINT64_MAX, 2, NULL), -EINVAL);
	assert_int_equal(counts_of(f).writes, 3);
	assert_int_equal(counts_of(f).zeroes, 1);
	assert_int_equal(counts_of(f).discards, 1);
	assert_int_equal(counts_of(f).bytes, 5 + 3 * BLOCK + 7 + BLOCK + 20 + 1);
	assert_int_equal(counts_of(f).same_bytes, 0);
}

static void expect_run(struct fixture *f, uint64_t *pos, uint64_t end, enum disk_op op,
		       uint64_t offset, uint64_t bytes)
{
	struct disk_record record;

	assert_int_equal(disk_ring_read_run(f->ring, pos, end, &record), 1);
	assert_int_equal(record.op, op);
	assert_int_equal(record.offset, offset);
	assert_int_equal(record.bytes, bytes);
}

/* Records without data that are adjacent on the disk are read as one. */
static void test_runs(void **state)
{
	struct fixture *f = *state;
	uint64_t pos = disk_ring_tail(f->ring), cut, end;
	struct disk_record record;

	for (unsigned i = 0; i < 8; i++)
		append(f, DISK_ZERO, i * BLOCK, BLOCK, NULL);
	cut = disk_ring_head(f->ring);
	append(f, DISK_ZERO, 8 * BLOCK, BLOCK, NULL);
	append(f, DISK_DISCARD, 9 * BLOCK, 100, NULL);	    /* a different operation */
	append(f, DISK_DISCARD, 9 * BLOCK + 101, 10, NULL); /* a gap of one byte */
	append(f, DISK_DISCARD, 9 * BLOCK + 111, 7, NULL);
	append(f, DISK_DISCARD, 9 * BLOCK, 1, NULL); /* back to the start of block 9 */
	append(f, DISK_WRITE, 9 * BLOCK + 1, 9, f->data);
	append(f, DISK_WRITE, 9 * BLOCK + 10, 9, f->data);
	append(f, DISK_ZERO, 9 * BLOCK + 19, 9, NULL);
	end = disk_ring_head(f->ring);
	expect_run(f, &pos, cut, DISK_ZERO, 0, 8 * BLOCK);
	assert_int_equal(pos, cut); /* a run does not continue past the end of an epoch */
	assert_int_equal(disk_ring_read_run(f->ring, &pos, cut, &record), 0);
	expect_run(f, &pos, end, DISK_ZERO, 8 * BLOCK, BLOCK);
	expect_run(f, &pos, end, DISK_DISCARD, 9 * BLOCK, 100);
	expect_run(f, &pos, end, DISK_DISCARD, 9 * BLOCK + 101, 17);
	expect_run(f, &pos, end, DISK_DISCARD, 9 * BLOCK, 1);
	expect_run(f, &pos, end, DISK_WRITE, 9 * BLOCK + 1, 9);
	expect_run(f, &pos, end, DISK_WRITE, 9 * BLOCK + 10, 9);
	expect_run(f, &pos, end, DISK_ZERO, 9 * BLOCK + 19, 9);
	assert_int_equal(pos, end);
	/* A damaged record ends a run, and is reported after it. */
	pos = disk_ring_tail(f->ring);
	f->writer->data[3 * DISK_RING_HEADER_BYTES] = 9; /* the fourth record's op */
	expect_run(f, &pos, end, DISK_ZERO, 0, 3 * BLOCK);
	assert_int_equal(disk_ring_read_run(f->ring, &pos, end, &record), -EBADMSG);
}

static void test_wrap(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2000; i++) {
		act_at_random(f);
		if (disk_ring_waiting(f->ring) > SOFT / 2)
			assert_true(disk_image_apply(f->ring, f->image) > 0);
	}
	assert_true(disk_image_apply(f->ring, f->image) >= 0);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
	assert_true(disk_ring_head(f->ring) > 2 * f->ring->data_bytes);
	assert_true(counts_of(f).same_bytes > 0);
	assert_int_equal(counts_of(f).waits, 0);
	assert_int_equal(counts_of(f).overflows, 0);
}

/* ---- a full ring */

/* Write to the second half of a block again and again, until the ring holds as much as @limit
 * allows. The ring skips a write with unchanged content only if the write covers a whole block.
 * These writes cover half a block, so each one fills the ring further. */
static void fill_up(struct fixture *f, uint64_t limit)
{
	while (disk_ring_waiting(f->ring) + BLOCK / 2 + DISK_RING_HEADER_BYTES <= limit)
		append(f, DISK_WRITE, BLOCK / 2, BLOCK / 2, f->data);
	assert_int_equal(counts_of(f).waits, 0);
}

static _Atomic bool has_appended;

static void *append_one(void *arg)
{
	struct fixture *f = arg;

	append(f, DISK_WRITE, 3 * BLOCK, BLOCK - 1, f->data);
	atomic_store(&has_appended, true);
	return NULL;
}

/* Start a thread that appends one record. Returns when the thread waits for room in the ring, or
 * when it has appended the record. (A wait in the ring's last quarter is over after some ms.) */
static pthread_t start_waiting(struct fixture *f)
{
	pthread_t thread;

	atomic_store(&has_appended, false);
	assert_int_equal(pthread_create(&thread, NULL, append_one, f), 0);
	while (!atomic_load(&f->ring->header->is_waiting) && !atomic_load(&has_appended))
		(void)sched_yield();
	return thread;
}

static void test_release_wakes(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	fill_up(f, f->ring->soft_bytes);
	thread = start_waiting(f);
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(disk_image_apply(f->ring, f->image), 1);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
	assert_int_equal(counts_of(f).waits, 1);
	assert_true(counts_of(f).waits_ns > 0);
	assert_true(counts_of(f).waits_ns < DISK_RING_WAIT_NS);
	assert_int_equal(counts_of(f).overflows, 0);
}

/* When the ring is more than three quarters full, each append waits a little. A release ends the
 * wait. */
static void test_slow(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns, waited_ns;
	pthread_t thread;

	fill_up(f, f->ring->soft_bytes / 4 * 3);
	assert_int_equal(counts_of(f).waits_ns, 0);
	start_ns = clock_mono_ns();
	append_one(f); /* a block and its header, so at least DISK_RING_SLOW_NS */
	assert_true(clock_mono_ns() - start_ns >= DISK_RING_SLOW_NS);
	assert_true(counts_of(f).waits_ns >= DISK_RING_SLOW_NS);
	/* Appends during a seal do not wait. */
	disk_ring_set_sealing(f->ring, true);
	waited_ns = counts_of(f).waits_ns;
	for (int i = 0; i < 8; i++)
		append_one(f);
	assert_int_equal(counts_of(f).waits_ns, waited_ns);
	disk_ring_set_sealing(f->ring, false);
	thread = start_waiting(f);
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(disk_image_apply(f->ring, f->image) >= 0);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
	assert_int_equal(counts_of(f).waits, 0);
	assert_int_equal(counts_of(f).overflows, 0);
}

/* The smaller a record is, the shorter the wait of its append. */
static void test_slow_by_size(void **state)
{
	struct fixture *f = *state;
	const uint64_t n = 64;

	fill_up(f, f->ring->soft_bytes / 4 * 3);
	/* After this record, the ring is more than three quarters full, so the small appends wait,
	 * too. */
	append_one(f);
	for (uint64_t i = 0; i < n; i++)
		append(f, DISK_WRITE, BLOCK / 2, 512, f->data);
	assert_true(counts_of(f).waits_ns < n * DISK_RING_SLOW_NS);
	assert_int_equal(counts_of(f).overflows, 0);
}

/* While the reader releases nothing, the sum of the waits in the ring's last quarter is limited.
 * When the limit is reached, appends no longer wait there. After a release they wait again. */
static void test_slow_has_an_end(void **state)
{
	struct fixture *f = *state;
	uint64_t waited_ns;

	fill_up(f, f->ring->soft_bytes / 4 * 3);
	append_one(f);
	assert_true(f->writer->slow_ns >= DISK_RING_SLOW_NS);
	f->writer->slow_ns = DISK_RING_SLOW_SUM_NS; /* as after many waits */
	waited_ns = counts_of(f).waits_ns;
	append_one(f);
	assert_int_equal(counts_of(f).waits_ns, waited_ns);
	assert_int_equal(counts_of(f).overflows, 0);
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	while (disk_ring_waiting(f->ring) <= f->ring->soft_bytes / 4 * 3)
		append(f, DISK_WRITE, BLOCK / 2, BLOCK / 2, f->data);
	assert_true(counts_of(f).waits_ns > waited_ns);
	assert_true(f->writer->slow_ns < DISK_RING_SLOW_SUM_NS);
}

static void test_sealing(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	uint64_t used;

	fill_up(f, f->ring->soft_bytes);
	/* When a seal begins, a waiting writer may use the ring's reserve, so the wait ends. */
	thread = start_waiting(f);
	disk_ring_set_sealing(f->ring, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(counts_of(f).waits, 1);
	while (counts_of(f).overflows == 0)
		append(f, DISK_WRITE, BLOCK / 2, BLOCK / 2, f->data);
	used = disk_ring_waiting(f->ring);
	assert_true(used <= SOFT + DISK_RING_RESERVE_BYTES);
	assert_true(used > SOFT + DISK_RING_RESERVE_BYTES - BLOCK);
	assert_int_equal(counts_of(f).waits, 1);
	disk_ring_set_sealing(f->ring, false);
	/* All records in the ring are whole. After they have been released, an append finds room
	 * again. */
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	append(f, DISK_WRITE, 0, 10, f->data);
	assert_int_equal(disk_image_apply(f->ring, f->image), 1);
	assert_int_equal(counts_of(f).overflows, 1);
}

static void test_overflow(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns, head;

	append(f, DISK_WRITE, 5 * BLOCK, BLOCK, f->data);
	fill_up(f, f->ring->soft_bytes);
	head = disk_ring_head(f->ring);
	start_ns = clock_mono_ns();
	append(f, DISK_WRITE, 5 * BLOCK, BLOCK, f->data + 1);
	assert_true(clock_mono_ns() - start_ns >= DISK_RING_WAIT_NS);
	assert_int_equal(counts_of(f).overflows, 1);
	/* After an overflow, appends do not wait until one has found room again. */
	start_ns = clock_mono_ns();
	for (int i = 0; i < 100; i++)
		append(f, DISK_WRITE, 5 * BLOCK, BLOCK, f->data + 2 + i);
	assert_true(clock_mono_ns() - start_ns < DISK_RING_WAIT_NS);
	assert_int_equal(counts_of(f).overflows, 101);
	assert_int_equal(counts_of(f).waits, 1);
	assert_int_equal(disk_ring_head(f->ring), head);
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	assert_memory_not_equal(f->image, f->model, DISK_BYTES);
	/* The ring did not store the data of the append that overflowed last. So the same data
	 * written again makes a record. */
	append(f, DISK_WRITE, 5 * BLOCK, BLOCK, f->data + 101);
	assert_int_equal(disk_image_apply(f->ring, f->image), 1);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
	/* There is room again, so an append will wait again when the ring is full the next time. */
	assert_int_equal(atomic_load(&f->ring->header->is_full), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_release_wakes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_by_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_has_an_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overflow, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
