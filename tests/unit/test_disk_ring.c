/* Tests the ring between nbdkit's plugin (the writer) and the agent (the reader). Covers the order
 * of records, wrapping at the end of the ring, and back pressure. Also covers a full ring, and
 * blocks that are dropped because their content has not changed. Also tests that the reader
 * survives whatever a writer puts into the shared memory. */
#include "disk/ring.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "disk/ring_private.h"
#include "disk_image.h"

#define BLOCK	   DISK_RING_BLOCK_BYTES
#define SOFT	   (4u << 20) /* the ring's soft size; more than the disk's size */
#define N_BLOCKS   40u
#define DISK_BYTES (N_BLOCKS * BLOCK + 1000) /* the last block is short */

struct fixture {
	struct disk_ring *ring;	  /* the reader's end */
	/* the writer's end, in the same memory; NULL: change only the model */
	struct disk_ring *writer;
	uint8_t *image;		  /* content of the standby's disk */
	uint8_t *model;		  /* content of the guest's disk */
	uint8_t *data;		  /* scratch, as large as the disk */
};

static uint64_t random_state = 1;

static uint32_t next_random(uint32_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % below;
}

static void fill(uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)next_random(256);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error error;

	assert_int_equal(disk_ring_new(SOFT, DISK_BYTES, &f->ring, &error), 0);
	assert_int_equal(disk_ring_map(disk_ring_fd(f->ring), &f->writer), 0);
	f->image = calloc(1, DISK_BYTES);
	f->model = calloc(1, DISK_BYTES);
	f->data = malloc(DISK_BYTES);
	fill(f->data, DISK_BYTES);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_null(disk_ring_free(f->writer));
	assert_null(disk_ring_free(f->ring));
	free(f->image);
	free(f->model);
	free(f->data);
	free(f);
	return 0;
}

static struct disk_ring_counts counts_of(const struct fixture *f)
{
	struct disk_ring_counts counts;

	disk_ring_get_counts(f->ring, &counts);
	return counts;
}

/* Append a change that the guest makes to its disk, and make the same change in the model. */
static void append(struct fixture *f, enum disk_op op, uint64_t offset, uint64_t bytes,
		   const uint8_t *data)
{
	if (f->writer)
		assert_int_equal(disk_ring_append(f->writer, op, offset, bytes, data), 0);
	if (op == DISK_WRITE)
		memcpy(f->model + offset, data, bytes);
	else
		memset(f->model + offset, 0, bytes);
}

static void expect_record(struct fixture *f, uint64_t *pos, enum disk_op op, uint64_t offset,
			  uint32_t bytes)
{
	struct disk_record record;

	assert_int_equal(disk_ring_read(f->ring, pos, disk_ring_head(f->ring), &record), 1);
	assert_int_equal(record.op, op);
	assert_int_equal(record.offset, offset);
	assert_int_equal(record.bytes, bytes);
	if (op == DISK_WRITE)
		assert_memory_equal(record.data, f->model + offset, bytes);
	else
		assert_null(record.data);
}

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

/* Let the guest make a random change of its disk. */
static void act_at_random(struct fixture *f)
{
	uint32_t offset = next_random(DISK_BYTES), bytes = 1 + next_random(3 * BLOCK);
	uint32_t what = next_random(8), at;

	if (what & 1) { /* whole blocks */
		offset -= offset % BLOCK;
		bytes = (1 + next_random(3)) * BLOCK;
	}
	if (bytes > DISK_BYTES - offset)
		bytes = DISK_BYTES - offset;
	at = next_random(DISK_BYTES - bytes + 1);
	if (what < 6) {
		f->data[at] = (uint8_t)next_random(256);
		/* In one of three writes, write the bytes that are on the disk already. */
		append(f, DISK_WRITE, offset, bytes,
		       what < 2 ? memcpy(f->data, f->model + offset, bytes) : f->data + at);
	} else {
		append(f, what == 6 ? DISK_ZERO : DISK_DISCARD, offset, bytes, NULL);
	}
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
 * allows. The ring never drops such a write to a part of a block as unchanged, so each write fills
 * the ring further. */
static void fill_up(struct fixture *f, uint64_t limit)
{
	while (disk_ring_waiting(f->ring) + BLOCK / 2 + DISK_RING_HEADER_BYTES <= limit)
		append(f, DISK_WRITE, BLOCK / 2, BLOCK / 2, f->data);
	assert_int_equal(counts_of(f).waits, 0);
}

static void *append_one(void *arg)
{
	struct fixture *f = arg;

	append(f, DISK_WRITE, 3 * BLOCK, BLOCK - 1, f->data);
	return NULL;
}

/* Start a thread that appends one record. Returns when the thread waits for room in the ring. */
static pthread_t start_waiting(struct fixture *f)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, append_one, f), 0);
	while (!atomic_load(&f->ring->header->is_waiting))
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
	/* All records in the ring are whole. Once they are released, an append finds room again. */
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
	/* As long as there is no room, later appends do not wait. */
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

/* ---- hashes */

/* Append one change. Returns how many records the ring made of it. */
static int records_of(struct fixture *f, enum disk_op op, uint64_t offset, uint64_t bytes,
		      const uint8_t *data)
{
	int n;

	append(f, op, offset, bytes, data);
	n = disk_image_apply(f->ring, f->image);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
	return n;
}

static void test_same_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint64_t last = N_BLOCKS * BLOCK;

	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), N_BLOCKS + 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), 0);
	assert_int_equal(counts_of(f).same_bytes, DISK_BYTES);
	assert_int_equal(counts_of(f).bytes, DISK_BYTES);
	/* A write of all 1000 bytes of the short last block counts as a write of a whole block. */
	assert_int_equal(records_of(f, DISK_WRITE, last, 1000, f->data + last), 0);
	/* Block 0 gets the content of block 1. For block 0 that is a change. */
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data + BLOCK), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 0);
	/* After a write, a discard or zeroes for only a part of block 0, the ring no longer knows
	 * the block's content. So the next write of the whole block makes a record. */
	assert_int_equal(records_of(f, DISK_WRITE, 9, 1, f->data + 9), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_DISCARD, 9, 1, NULL), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_ZERO, 9, 1, NULL), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), 0);
	assert_int_equal(disk_ring_match(f->ring, 1, f->data + BLOCK), DISK_RING_LATEST);
	disk_ring_forget_block(f->ring, 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), 1);
	disk_ring_forget_hashes(f->ring);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), N_BLOCKS + 1);
}

static void test_zeroes(void **state)
{
	struct fixture *f = *state;
	uint8_t *zeroes = calloc(1, DISK_BYTES);

	/* At first the ring does not know the content of any block, so zeroes make a record. */
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 1);
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 0);
	/* Zeroes for a block that is known to be zero are dropped. They may come as data, or for
	 * only a part of the block. */
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, zeroes), 0);
	assert_int_equal(records_of(f, DISK_ZERO, 10, BLOCK, NULL), 0);
	/* Zeroes for the whole disk make records only for blocks that are not known to be zero.
	 * Here these are one record for block 7, and one for blocks 9 and 10. */
	assert_int_equal(records_of(f, DISK_WRITE, 7 * BLOCK, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 9 * BLOCK + 5, 3, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 10 * BLOCK, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 2);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, zeroes), 0);
	/* disk_ring_assume_zero() is for a fresh image. It tells the ring, without a record, that
	 * all blocks are zero. */
	disk_ring_forget_hashes(f->ring);
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 1);
	disk_ring_forget_hashes(f->ring);
	disk_ring_assume_zero(f->ring);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, zeroes), 0);
	assert_int_equal(records_of(f, DISK_WRITE, 3, 1, f->data), 1);
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 1);
	disk_ring_forget_hashes(f->ring);
	assert_int_equal(records_of(f, DISK_WRITE, BLOCK, BLOCK, zeroes), 1);
	free(zeroes);
}

/* Each ring has its own random seed for the hashes. So a guest cannot know which two contents of a
 * block have the same hash. */
static void test_seed(void **state)
{
	struct fixture *f = *state;
	struct disk_ring *other;
	struct error error;

	assert_int_equal(disk_ring_new(SOFT, DISK_BYTES, &other, &error), 0);
	assert_int_not_equal(other->header->seed, f->ring->header->seed);
	disk_ring_free(other);
}

/* ---- limits, and hostile memory */

static void test_limits(void **state)
{
	static const struct {
		uint64_t soft, disk;
	} bad[] = {
		{DISK_RING_SOFT_MIN - 1, 1}, {DISK_RING_SOFT_MAX + 1, 1}, {UINT64_MAX, 1},
		{SOFT, 0}, {SOFT, DISK_RING_DISK_MAX + 1}, {SOFT, UINT64_MAX},
	};
	struct fixture *f = *state;
	struct disk_ring *ring;
	struct error error;
	int fd = memfd_create("not-a-ring", MFD_CLOEXEC);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		error.text[0] = '\0';
		assert_int_equal(disk_ring_new(bad[i].soft, bad[i].disk, &ring, &error), -EINVAL);
		assert_true(error.text[0]);
	}
	assert_int_equal(disk_ring_new(SOFT, DISK_RING_DISK_MAX, &ring, &error), 0);
	assert_null(disk_ring_free(ring));
	assert_null(disk_ring_free(NULL));
	assert_int_equal(disk_ring_map(fd, &ring), -EINVAL);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(disk_ring_map(fd, &ring), -EINVAL);
	close(fd);
	f->ring->header->version++;
	assert_int_equal(disk_ring_map(disk_ring_fd(f->ring), &ring), -EINVAL);
	f->ring->header->version--;
	/* A writer can neither shrink nor grow the ring's file. If it could shrink the file, our
	 * next access to the missing part would kill us. */
	assert_int_equal(ftruncate(f->writer->fd, 4096), -1);
	assert_int_equal(ftruncate(f->writer->fd, 1 << 30), -1);
	assert_int_equal(errno, EPERM);
}

static void test_hostile_records(void **state)
{
	static const struct {
		uint64_t op, bytes, offset;
	} bad[] = {
		{0, 1, 0}, {4, 1, 0}, {0x101, 1, 0}, {0x01000001, 1, 0}, {1, 0, 0}, {2, 0, 0},
		{1, BLOCK + 1, 0}, {1, 2, BLOCK - 1}, {1, 1, DISK_BYTES}, {2, 2, DISK_BYTES - 1},
		{2, 0xffffffff, 0}, {3, 1, UINT64_MAX}, {3, 0x80000001, 0}, {1, 9, 0},
	};
	struct fixture *f = *state;
	uint64_t *words = (uint64_t *)f->writer->data, pos = 0;
	struct disk_record record;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		words[0] = bad[i].op | bad[i].bytes << 32;
		words[1] = bad[i].offset;
		/* The head is far enough for each of these records, except the last. The data of
		 * that record ends one byte past the head. */
		atomic_store(&f->writer->header->head, bad[i].bytes == 9 ? 24 : 2 * BLOCK);
		assert_int_equal(disk_ring_read(f->ring, &pos, disk_ring_head(f->ring), &record),
				 -EBADMSG);
		assert_int_equal(pos, 0);
	}
	words[0] = 1 | UINT64_C(8) << 32;
	words[1] = 0;
	atomic_store(&f->writer->header->head, 24);
	assert_int_equal(disk_ring_read(f->ring, &pos, disk_ring_head(f->ring), &record), 1);
	assert_int_equal(pos, 24);
}

static void test_hostile_positions(void **state)
{
	struct fixture *f = *state;
	uint64_t pos, size = f->ring->data_bytes;
	/* positions before the tail, not aligned, or too far ahead */
	const uint64_t bad[] = {8, 0, 4, 25, size + 24, size + 4096, UINT64_MAX, UINT64_MAX - 7};
	struct disk_record record;

	append(f, DISK_ZERO, 0, 1, NULL);
	append(f, DISK_ZERO, 5, 1, NULL);
	assert_int_equal(disk_ring_head(f->ring), 32);
	disk_ring_release(f->ring, 16);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		atomic_store(&f->writer->header->head, bad[i]);
		pos = 16;
		assert_int_equal(disk_ring_read(f->ring, &pos, disk_ring_head(f->ring), &record),
				 -EBADMSG);
		assert_int_equal(pos, 16);
		assert_true(disk_ring_waiting(f->ring) <= size);
		pos = bad[i];
		assert_int_equal(disk_ring_read(f->ring, &pos, 32, &record), -EBADMSG);
		disk_ring_release(f->ring, bad[i]);
		assert_int_equal(disk_ring_tail(f->ring), 16);
	}
	/* The reader uses its own tail, not the tail in the memory that the writer can change. */
	atomic_store(&f->writer->header->head, 32);
	atomic_store(&f->writer->header->tail, 4711);
	pos = disk_ring_tail(f->ring);
	assert_int_equal(pos, 16);
	expect_record(f, &pos, DISK_ZERO, 5, 1);
}

/* ---- two processes */

/* Run @act in another process, which maps the ring anew from its descriptor. Returns the process's
 * id. */
static pid_t start_writer(const struct fixture *f, void (*act)(struct fixture *f))
{
	struct fixture own = *f;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (disk_ring_map(disk_ring_fd(f->ring), &own.writer) < 0)
		_exit(1);
	act(&own);
	_exit(0);
}

#define N_ACTIONS 3000

static void act_often(struct fixture *f)
{
	random_state = 4711;
	for (int i = 0; i < N_ACTIONS; i++)
		act_at_random(f);
}

static void test_two_processes(void **state)
{
	struct fixture *f = *state;
	struct fixture model = *f;
	int status = -1, pidfd, n;
	pid_t pid = start_writer(f, act_often);
	struct pollfd fds;

	pidfd = pidfd_open(pid, 0);
	fds = (struct pollfd){.fd = pidfd, .events = POLLIN};
	do { /* the ring is small, so the writer often waits until we release records */
		n = disk_image_apply(f->ring, f->image);
		assert_true(n >= 0);
	} while (poll(&fds, 1, n ? 0 : 1) == 0);
	assert_true(disk_image_apply(f->ring, f->image) >= 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(pidfd);
	assert_int_equal(counts_of(f).overflows, 0);
	/* Make the same changes without a ring, to know the right result. */
	model.writer = NULL;
	act_often(&model);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
}

static void act_for_ever(struct fixture *f)
{
	random_state = (uint64_t)getpid();
	for (;;)
		act_at_random(f);
}

/* A writer is killed at a random moment. The next writer writes the whole disk, and the ring drops
 * the blocks whose content is known and unchanged. After that, the standby's disk must be right. */
static void test_killed_writer(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 8; i++) {
		pid_t pid = start_writer(f, act_for_ever);
		uint64_t seen = 10 + next_random(60), n = 0;

		while (n < seen) {
			int r = disk_image_apply(f->ring, f->image);

			assert_true(r >= 0);
			(void)sched_yield();
			n += (uint64_t)r;
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_true(disk_image_apply(f->ring, f->image) >= 0);
		disk_ring_free(f->writer);
		assert_int_equal(disk_ring_map(disk_ring_fd(f->ring), &f->writer), 0);
		/* The guest's disk differs from the standby's in one byte. */
		memcpy(f->data, f->image, DISK_BYTES);
		f->data[next_random(DISK_BYTES)]++;
		for (uint64_t at = 0; at < DISK_BYTES; at += BLOCK) {
			append(f, DISK_WRITE, at,
			       DISK_BYTES - at < BLOCK ? DISK_BYTES - at : BLOCK, f->data + at);
			assert_true(disk_image_apply(f->ring, f->image) >= 0);
		}
		assert_memory_equal(f->image, f->data, DISK_BYTES);
	}
	assert_true(counts_of(f).same_bytes > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_release_wakes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overflow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeroes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_positions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_writer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
