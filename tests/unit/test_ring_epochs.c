/* Tests how commits, RESUMEs and deaths of agents change a ring's records and hashes. */
#include "epoch/ring_epochs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "epoch/engine.h"

#define BLOCK	   DISK_RING_BLOCK_BYTES
#define SOFT	   (1u << 20)
#define DISK_BYTES (4 * BLOCK)

struct fixture {
	char dir[64], path[96];
	struct disk_ring *ring, *writer;
	struct ring_early early;
};

static const uint8_t content[BLOCK] = {1, 2, 3};

static void open_ring(struct fixture *f)
{
	static const struct disk_ring_id id = {"web1", "root", 7};
	struct error error;

	assert_int_equal(disk_ring_open(f->path, &id, SOFT, DISK_BYTES, &f->ring, &error), 0);
	assert_int_equal(disk_ring_map(disk_ring_fd(f->ring), &f->writer), 0);
}

/* Let the agent and its server die, and let the next agent and server begin. */
static void die(struct fixture *f)
{
	disk_ring_free(f->writer);
	disk_ring_free(f->ring);
	ring_early_free(&f->early);
	open_ring(f);
	assert_null(disk_ring_why_new(f->ring));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/dev/shm/holdfast-ring.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/ring", f->dir);
	open_ring(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	disk_ring_free(f->writer);
	disk_ring_free(f->ring);
	ring_early_free(&f->early);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* Write a block, and return where its record ends. */
static uint64_t put(struct fixture *f, uint64_t block)
{
	assert_int_equal(disk_ring_append(f->writer, DISK_WRITE, block * BLOCK, BLOCK, content), 0);
	return disk_ring_head(f->ring);
}

/* Write the content of @block again. Returns true if the ring makes no record of it. */
static bool is_known(struct fixture *f, uint64_t block)
{
	uint64_t head = disk_ring_head(f->ring);

	return put(f, block) == head;
}

static void test_commit_releases(void **state)
{
	struct fixture *f = *state;
	uint64_t cut = put(f, 0), end = put(f, 1);

	ring_epochs_committed(f->ring, 5, cut);
	assert_int_equal(disk_ring_tail(f->ring), cut);
	/* The next agent does not know where epoch 6 ends in the ring, so it sends the records of
	 * epoch 6 again. */
	die(f);
	assert_false(ring_epochs_resumed(f->ring, 6));
	assert_int_equal(disk_ring_tail(f->ring), cut);
	assert_int_equal(disk_ring_head(f->ring), end);
	assert_false(ring_epochs_full_begins(f->ring, &f->early, false));
	assert_true(is_known(f, 0));
	assert_true(is_known(f, 1));
}

/* The standby has lost its copy, or another standby has taken its place, and the primary's agent
 * restarts. The ring then forgets its hashes. */
static void test_standby_lost(void **state)
{
	struct fixture *f = *state;

	ring_epochs_committed(f->ring, 5, put(f, 0));
	assert_false(ring_epochs_resumed(f->ring, 5));
	assert_true(is_known(f, 0));
	die(f);
	assert_true(ring_epochs_resumed(f->ring, 0));
	assert_false(is_known(f, 0));
	/* From here on, all hashes are of blocks that were sent after the standby lost its copy. */
	die(f);
	assert_false(ring_epochs_resumed(f->ring, 0));
	assert_true(is_known(f, 0));
	ring_epochs_committed(f->ring, 6, disk_ring_head(f->ring));
	assert_true(ring_epochs_resumed(f->ring, 5));
	/* The first agent ordered the ring to forget its hashes, and no writer has done so yet. The
	 * order is still valid after the agent's death. */
	die(f);
	assert_false(ring_epochs_resumed(f->ring, 5));
	assert_false(is_known(f, 0));
}

/* Records were released during FULL epoch 9, and this epoch is given up. The ring then forgets its
 * hashes. */
static void test_early_is_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t cut = put(f, 0), pos = put(f, 1);

	ring_epochs_release_early(f->ring, 9, pos);
	/* A commit of epoch 8 does not bring back the records released for epoch 9. */
	ring_epochs_committed(f->ring, 8, cut);
	assert_int_equal(disk_ring_tail(f->ring), pos);
	assert_false(ring_epochs_resumed(f->ring, 8));
	assert_true(ring_epochs_full_begins(f->ring, &f->early, false));
	assert_false(is_known(f, 0));
	assert_false(ring_epochs_full_begins(f->ring, &f->early, false));
}

/* Block 1 was put into a FULL epoch that is given up. If no writer runs and the agent has not died,
 * only block 1 must be sent again. Otherwise, all blocks must be sent again. */
static void test_early_blocks_are_lost(void **state)
{
	const struct disk_record record = {.op = DISK_WRITE, .bytes = BLOCK, .offset = BLOCK};
	struct fixture *f = *state;

	for (int kind = 0; kind < 3; kind++) {
		ring_epochs_committed(f->ring, 8 + (uint64_t)kind, put(f, 0));
		assert_false(ring_epochs_full_begins(f->ring, &f->early, false));
		ring_epochs_release_early(f->ring, 20, put(f, 1));
		ring_early_add(&f->early, &record);
		assert_true(ring_epochs_has_early(f->ring));
		if (kind == 2)
			die(f);
		assert_true(ring_epochs_full_begins(f->ring, &f->early, kind == 1));
		assert_false(ring_epochs_has_early(f->ring));
		assert_int_equal(is_known(f, 0), kind == 0);
		assert_false(is_known(f, 1));
	}
}

static void test_early_is_committed(void **state)
{
	struct fixture *f = *state;
	uint64_t pos = put(f, 0);

	ring_epochs_release_early(f->ring, 9, pos);
	ring_epochs_committed(f->ring, 9, pos);
	assert_false(ring_epochs_full_begins(f->ring, &f->early, false));
	assert_true(is_known(f, 0));
}

/* If the agent dies in the middle of FULL epoch 9, the ring forgets its hashes. If the agent dies
 * after the standby got all of epoch 9, the ring keeps them. */
static void test_early_and_death(void **state)
{
	struct fixture *f = *state;

	ring_epochs_release_early(f->ring, 9, put(f, 0));
	die(f);
	assert_false(ring_epochs_resumed(f->ring, 8));
	assert_true(ring_epochs_full_begins(f->ring, &f->early, false));
	assert_false(is_known(f, 0));

	ring_epochs_release_early(f->ring, 9, put(f, 1));
	die(f);
	assert_false(ring_epochs_resumed(f->ring, 9));
	assert_false(ring_epochs_full_begins(f->ring, &f->early, false));
	assert_true(is_known(f, 1));
	/* The resume after epoch 9 counted as that epoch's commit. */
	assert_true(ring_epochs_resumed(f->ring, 8));
}

/* Names of VMs and disks may contain dashes, but each disk still has a file of its own. */
static void test_each_disk_has_its_own_file(void **state)
{
	static const char *const left[] = {"web-1-root.ring", "web.1-root.ring"};
	struct fixture *f = *state;
	char path[96];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, left[i]);
		assert_int_equal(close(creat(path, 0600)), 0);
	}
	engine_remove_ring(f->dir, "web-1", "root");
	snprintf(path, sizeof(path), "%s/%s", f->dir, left[0]);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/%s", f->dir, left[1]);
	assert_int_equal(access(path, F_OK), 0);
	engine_remove_ring(f->dir, "web", "1-root");
	assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commit_releases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_standby_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early_blocks_are_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early_is_committed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early_and_death, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_disk_has_its_own_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
