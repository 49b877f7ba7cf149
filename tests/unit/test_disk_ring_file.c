/* Tests the ring in a file: what the next agent finds there, and when it must not use the file. */
#include "disk/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "disk/ring_private.h"
#include "disk_image.h"

#define BLOCK	   DISK_RING_BLOCK_BYTES
#define SOFT	   (4u << 20)
#define N_BLOCKS   16u
#define DISK_BYTES (N_BLOCKS * BLOCK)

static const struct disk_ring_id identity = {"web1", "root", 7};

struct fixture {
	char dir[64], path[96];
	struct disk_ring *ring, *writer;
	uint8_t *image; /* content of the standby's disk */
	uint8_t *model; /* content of the guest's disk */
};

static void open_ring(struct fixture *f, const struct disk_ring_id *id)
{
	struct error error;

	assert_int_equal(disk_ring_open(f->path, id, SOFT, DISK_BYTES, &f->ring, &error), 0);
	assert_int_equal(disk_ring_map(disk_ring_fd(f->ring), &f->writer), 0);
}

static void close_ring(struct fixture *f)
{
	f->writer = disk_ring_free(f->writer);
	f->ring = disk_ring_free(f->ring);
}

static void open_again(struct fixture *f, const struct disk_ring_id *id)
{
	close_ring(f);
	open_ring(f, id);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/dev/shm/holdfast-ring.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/web1-root.ring", f->dir);
	f->image = calloc(1, DISK_BYTES);
	f->model = calloc(1, DISK_BYTES);
	for (size_t i = 0; i < DISK_BYTES; i++)
		f->model[i] = (uint8_t)(i * 7 + i / BLOCK);
	open_ring(f, &identity);
	assert_non_null(disk_ring_why_new(f->ring));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_ring(f);
	(void)unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f->image);
	free(f->model);
	free(f);
	return 0;
}

/* Write the guest's whole disk, as a new mirror does. */
static void synchronise(struct fixture *f)
{
	assert_int_equal(disk_ring_append(f->writer, DISK_WRITE, 0, DISK_BYTES, f->model), 0);
}

static void guest_writes(struct fixture *f, uint64_t offset, uint64_t bytes, uint8_t value)
{
	memset(f->model + offset, value, bytes);
	if (f->writer)
		assert_int_equal(disk_ring_append(f->writer, DISK_WRITE, offset, bytes,
						  f->model + offset),
				 0);
}

static uint64_t same_bytes(const struct fixture *f)
{
	struct disk_ring_counts counts;

	disk_ring_get_counts(f->ring, &counts);
	return counts.same_bytes;
}

/* disk_ring_match() compares a block's content with what the ring got last for that block. The
 * reader calls it for a block that is wrong on the standby. */
static void test_match(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(disk_ring_match(f->ring, 2, f->model + 2 * BLOCK), DISK_RING_OTHER);
	synchronise(f);
	assert_int_equal(disk_ring_match(f->ring, 2, f->model + 2 * BLOCK), DISK_RING_LATEST);
	assert_int_equal(disk_ring_match(f->ring, 2, f->model + 3 * BLOCK), DISK_RING_OTHER);
	assert_int_equal(disk_ring_match(f->ring, N_BLOCKS, f->model), DISK_RING_OTHER);
	guest_writes(f, 2 * BLOCK + 512, 512, 'x');
	assert_int_equal(disk_ring_match(f->ring, 2, f->model + 2 * BLOCK), DISK_RING_UNKNOWN);
	guest_writes(f, 2 * BLOCK, BLOCK, 'y');
	assert_int_equal(disk_ring_match(f->ring, 2, f->model + 2 * BLOCK), DISK_RING_LATEST);
}

/* The standby has applied an epoch with three records, but the agent dies before that epoch's
 * COMMIT. The guest keeps writing. The next agent sends these records again, and of the rest of the
 * disk only the blocks that have changed. */
static void test_restart(void **state)
{
	struct fixture *f = *state;
	uint64_t tail, same;

	synchronise(f);
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	tail = disk_ring_tail(f->ring);
	guest_writes(f, 0, 100, 1);
	guest_writes(f, BLOCK, BLOCK, 2);
	guest_writes(f, BLOCK + 5, 10, 3);
	assert_true(disk_image_apply(f->ring, f->image) > 0); /* the standby has the records ... */
	atomic_store(&f->ring->header->tail, tail); /* ... but the agent does not know that */
	disk_ring_set_note(f->ring, DISK_RING_NOTE_COMMITTED, 41);
	disk_ring_set_sealing(f->ring, true);
	close_ring(f);
	guest_writes(f, 3 * BLOCK + 9, 1, 4); /* no server appends this write to the ring */
	open_ring(f, &identity);
	assert_null(disk_ring_why_new(f->ring));
	assert_int_equal(disk_ring_tail(f->ring), tail);
	assert_int_equal(disk_ring_note(f->ring, DISK_RING_NOTE_COMMITTED), 41);
	assert_int_equal(disk_ring_note(f->ring, DISK_RING_NOTE_EARLY), 0);
	assert_int_equal(atomic_load(&f->ring->header->is_sealing), 0);
	same = same_bytes(f);
	synchronise(f);
	/* The ring now has the three old records, and new ones for three blocks: two blocks were
	 * written in part, and one differs. */
	assert_int_equal(same_bytes(f) - same, (N_BLOCKS - 3) * BLOCK);
	assert_int_equal(disk_image_apply(f->ring, f->image), 3 + 3);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
}

/* The file is used again only if its whole identity is the same. */
static void test_identity(void **state)
{
	static const struct disk_ring_id others[] = {
		{"web1", "root", 8}, {"web1", "root", 6}, {"web2", "root", 7}, {"web1", "data", 7}};
	struct fixture *f = *state;
	struct disk_ring *ring;
	struct error error;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		open_again(f, &identity);
		synchronise(f);
		open_again(f, &others[i]);
		assert_non_null(disk_ring_why_new(f->ring));
		assert_int_equal(disk_ring_waiting(f->ring), 0);
		open_again(f, &others[i]);
		assert_null(disk_ring_why_new(f->ring));
	}
	close_ring(f);
	assert_int_equal(disk_ring_open(f->path, &others[3], SOFT, DISK_BYTES + BLOCK, &ring,
					&error), 0);
	assert_non_null(disk_ring_why_new(ring));
	disk_ring_free(ring);
	assert_int_equal(disk_ring_open(f->path, &others[3], 2 * SOFT, DISK_BYTES + BLOCK, &ring,
					&error), 0);
	assert_non_null(disk_ring_why_new(ring));
	disk_ring_free(ring);
	/* After a boot of the host, the old ring is not used. A ring is used in a later term if
	 * disk_ring_set_term() has stored this term in it. */
	open_ring(f, &identity);
	f->ring->header->boot[0] ^= 1;
	open_again(f, &identity);
	assert_non_null(disk_ring_why_new(f->ring));
	disk_ring_set_term(f->ring, 8);
	open_again(f, &others[0]);
	assert_null(disk_ring_why_new(f->ring));
}

/* Check that a new ring replaces the file in its present state. */
static void expect_replaced(struct fixture *f)
{
	open_again(f, &identity);
	assert_non_null(disk_ring_why_new(f->ring));
	assert_int_equal(disk_ring_waiting(f->ring), 0);
	synchronise(f);
	assert_int_equal(same_bytes(f), 0);
	open_again(f, &identity);
	assert_null(disk_ring_why_new(f->ring));
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	char target[128];
	uint64_t head;

	synchronise(f);
	head = disk_ring_head(f->ring);
	f->ring->header->magic = 0; /* the agent died while it made the file */
	expect_replaced(f);
	f->ring->header->version++;
	expect_replaced(f);
	atomic_store(&f->ring->header->head, head - 8); /* not at the end of a record */
	expect_replaced(f);
	atomic_store(&f->ring->header->head, head + f->ring->data_bytes);
	expect_replaced(f);
	atomic_store(&f->ring->header->tail, 4);
	expect_replaced(f);
	f->writer->data[BLOCK + DISK_RING_HEADER_BYTES] = 9; /* the second record's op */
	expect_replaced(f);
	assert_int_equal(ftruncate(f->writer->fd, RING_ALIGN), 0);
	expect_replaced(f);
	/* A symbolic link in the file's place is not followed. */
	snprintf(target, sizeof(target), "%s/target", f->dir);
	assert_int_equal(rename(f->path, target), 0);
	assert_int_equal(symlink(target, f->path), 0);
	expect_replaced(f);
	assert_int_equal(unlink(target), 0);
}

/* A writer is killed in the middle of a record. This record lies past the head and is ignored. */
static void test_half_record(void **state)
{
	struct fixture *f = *state;
	uint64_t *words, head;

	synchronise(f);
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	head = disk_ring_head(f->ring);
	ring_hash_forget(f->writer, 2);
	words = (uint64_t *)(f->writer->data + head % f->writer->data_bytes);
	words[0] = DISK_WRITE | (uint64_t)BLOCK << 32;
	words[1] = 2 * BLOCK;
	memset(words + 2, 0x55, BLOCK / 2);
	close_ring(f);
	guest_writes(f, 2 * BLOCK, BLOCK, 0x55);
	open_ring(f, &identity);
	assert_null(disk_ring_why_new(f->ring));
	assert_int_equal(disk_ring_waiting(f->ring), 0);
	synchronise(f);
	assert_int_equal(disk_image_apply(f->ring, f->image), 1);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
}

/* ---- a writer that outlives its agent */

/* Start a process that inherits the ring, as a server does. The process closes its descriptor but
 * keeps its mapping. After @ms milliseconds it writes once more and ends. */
static pid_t start_writer(struct fixture *f, unsigned int ms)
{
	int pipe_fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(f->ring->fd);
		(void)close(f->writer->fd);
		(void)munmap(f->ring->header, f->ring->map_bytes);
		(void)!write(pipe_fds[1], "", 1);
		(void)usleep(ms * 1000);
		_exit(disk_ring_append(f->writer, DISK_WRITE, 0, BLOCK, f->model) < 0);
	}
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return pid;
}

static void test_writer_ends(void **state)
{
	struct fixture *f = *state;
	int status = -1;
	pid_t pid;

	guest_writes(f, 5 * BLOCK, BLOCK, 1);
	pid = start_writer(f, 100);
	open_again(f, &identity);
	/* The writer has ended: its last write is in the ring, and no more can come. */
	assert_null(disk_ring_why_new(f->ring));
	assert_int_equal(disk_image_apply(f->ring, f->image), 2);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_writer_stays(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	uint64_t start_ns;
	pid_t pid;

	assert_int_equal(stat(f->path, &before), 0);
	pid = start_writer(f, 60000);
	start_ns = clock_mono_ns();
	open_again(f, &identity);
	assert_true(clock_mono_ns() - start_ns >= CLOCK_NS_PER_S);
	assert_non_null(disk_ring_why_new(f->ring));
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void act_for_ever(struct fixture *f)
{
	for (uint32_t i = 0;; i++) {
		uint64_t block = i * 7 % N_BLOCKS, part = i % 3 ? BLOCK : 1 + i % BLOCK;

		memset(f->model, (int)(i / 5), part);
		if (disk_ring_append(f->writer, i % 11 ? DISK_WRITE : DISK_ZERO, block * BLOCK,
				     part, f->model) < 0)
			_exit(1);
	}
}

/* The writer is killed, and the reader closed, at a random moment. The next reader applies the
 * records that it finds. Then a new mirror writes the guest's whole disk, and the ring takes only
 * the blocks that differ from the standby's. After that both disks are equal. */
static void test_killed_at_any_moment(void **state)
{
	struct fixture *f = *state;
	uint64_t same = 0;

	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (pid == 0)
			act_for_ever(f);
		for (int n = 0; n < 3 + i; n++)
			assert_true(disk_image_apply(f->ring, f->image) >= 0);
		assert_int_equal(usleep(500u * (unsigned int)i), 0);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		open_again(f, &identity);
		assert_null(disk_ring_why_new(f->ring));
		assert_true(disk_image_apply(f->ring, f->image) >= 0);
		/* The guest's disk differs from the standby's in one byte. */
		memcpy(f->model, f->image, DISK_BYTES);
		f->model[(size_t)i * 12345 % DISK_BYTES]++;
		synchronise(f);
		assert_true(disk_image_apply(f->ring, f->image) >= 1);
		assert_memory_equal(f->image, f->model, DISK_BYTES);
		same = same_bytes(f);
	}
	assert_true(same > 0);
}

static void test_no_file(void **state)
{
	struct fixture *f = *state;
	struct disk_ring *ring;
	struct error error = {""};
	char path[128];

	snprintf(path, sizeof(path), "%s/missing/web1-root.ring", f->dir);
	assert_int_equal(disk_ring_open(path, &identity, SOFT, DISK_BYTES, &ring, &error),
			 -ENOENT);
	assert_non_null(strstr(error.text, path));
	assert_int_equal(disk_ring_open(f->path, &identity, 1, DISK_BYTES, &ring, &error),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_match, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writer_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writer_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_at_any_moment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
