/* Tests that two processes can share the ring's memory. The reader survives whatever a writer puts
 * into it. A writer may be killed at any moment. */
#include "disk/ring.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_lab.h"

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
		/* The head is set past the end of each of these records, except the last: its data
		 * ends one byte past the head. */
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
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_positions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_writer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
