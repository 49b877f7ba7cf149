/* Tests epochlog, apply and ramfile:
 *	- random epochs, compared with a model;
 *	- a kill before every change of a file: the state must then be exactly one whole epoch;
 *	- terms, foreign files, and purge. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "standby_fixture.h"

static void test_random_epochs(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;

	feed_geometry(&x->feed);
	for (unsigned n = 1; n <= 150; n++) {
		fixture_make_epoch(x, n == 1 || n % 37 == 0);
		assert_int_equal(fixture_take(x, &error), 1);
		assert_int_equal(epochlog_complete(&x->log), x->feed.epoch);
		assert_int_equal(x->rf.meta.applied_epoch, x->feed.epoch);
		assert_true(fixture_copy_is(x, &x->model));
		feed_clear(&x->feed);
		if (n % 10 == 0) {
			fixture_close(x);
			fixture_open(x);
			assert_true(fixture_copy_is(x, &x->model));
			assert_int_equal(epochlog_complete(&x->log), x->feed.epoch);
			x->feed.generation++;
			feed_geometry(&x->feed);
		}
	}
	assert_null(ramfile_page(&x->rf, N_PAGES));
	assert_true(x->n_dups[0] > 100 && x->n_dups[1] > 5);
}

/* ---- a kill before every change of a file */

struct cut {
	unsigned left;
};

static void cut_here(void *arg)
{
	struct cut *cut = arg;

	if (cut->left-- == 0)
		_exit(42);
}

/* Let a child process play the standby and receive the frames of x->feed. The child may change
 * files @n times; it dies just before the next change. Returns true if the child died, or false if
 * @n changes were enough to receive all frames. */
static bool run_cut(struct fixture *x, unsigned n)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct epochcheck_error error;
		struct cut cut = {n};

		/* The child opens the directory itself and takes its lock, which the parent has
		 * released. */
		if (ramfile_open(x->dir, &x->rf) < 0 || ramfile_reserve(&x->rf, RAM_BYTES) < 0 ||
		    epochlog_open(&x->rf, &x->images, BYTES_MAX, &x->log) < 0)
			_exit(1);
		x->rf.step = cut_here;
		x->rf.step_arg = &cut;
		_exit(fixture_take(x, &error) == 1 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 0);
	return WEXITSTATUS(status) == 42;
}

static void copy_file(int from_dir, int to_dir, const char *name)
{
	AUTO_CLOSE int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	static char data[1 << 20];
	ssize_t n = read(from, data, sizeof(data));

	assert_true(from >= 0 && to >= 0 && n >= 0 && n < (ssize_t)sizeof(data));
	assert_int_equal(write(to, data, (size_t)n), n);
}

/* Make the flat directory @to a copy of @from. */
static void copy_dir(const char *from, const char *to)
{
	AUTO_CLOSE int from_fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int to_fd = -1;
	DIR *dir = opendir(from);
	struct dirent *entry;

	fixture_remove_dir(to); /* does nothing if @to does not exist yet */
	assert_int_equal(mkdir(to, 0700), 0);
	to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir && from_fd >= 0 && to_fd >= 0);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			copy_file(from_fd, to_fd, entry->d_name);
	}
	closedir(dir);
}

/* Receive one epoch again and again. Run N dies before change N of a file. After each death, do
 * what an agent does when it restarts. The copy must then equal the previous epoch or the new
 * epoch, and applied_epoch must say which of the two. */
static void kill_at_every_change(struct fixture *x, bool full)
{
	static struct model before;
	char saved[80];
	unsigned cuts = 0, torn_and_redone = 0;
	uint64_t epoch = x->feed.epoch, new_epoch;
	bool died = true;

	snprintf(saved, sizeof(saved), "%s.saved", x->dir);
	before = x->model;
	x->feed.generation++;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	fixture_make_epoch(x, full);
	new_epoch = x->feed.epoch;
	fixture_close(x);
	copy_dir(x->dir, saved);
	while (died) {
		copy_dir(saved, x->dir);
		died = run_cut(x, cuts++);
		fixture_open(x);
		if (x->rf.meta.applied_epoch == epoch) {
			if (epoch)
				assert_true(fixture_copy_is(x, &before));
		} else {
			assert_int_equal(x->rf.meta.applied_epoch, new_epoch);
			assert_true(fixture_copy_is(x, &x->model));
			torn_and_redone += died;
		}
		assert_int_equal(epochlog_complete(&x->log), x->rf.meta.applied_epoch);
		fixture_close(x);
	}
	assert_true(torn_and_redone > 2);
	fixture_remove_dir(saved);
	feed_clear(&x->feed);
	fixture_open(x);
}

static void test_kill(void **state)
{
	struct fixture *x = *state;

	kill_at_every_change(x, true); /* the first epoch: there is no old state */
	kill_at_every_change(x, false);
	kill_at_every_change(x, true); /* a FULL epoch over an old state */
	for (unsigned i = 0; i < 4; i++)
		kill_at_every_change(x, false);
	assert_true(x->n_dups[0] > 5 && x->n_dups[1] > 1);
}

/* Kill the agent at every change of FULL epochs that keep pages of the copy. */
static void test_kept_pages(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;

	kill_at_every_change(x, true);
	x->keeps = true;
	for (unsigned i = 0; i < 4; i++)
		kill_at_every_change(x, true);
	feed_geometry(&x->feed);
	for (unsigned n = 1; n <= 40; n++) {
		fixture_make_epoch(x, n % 3 == 0);
		assert_int_equal(fixture_take(x, &error), 1);
		assert_true(fixture_copy_is(x, &x->model));
		feed_clear(&x->feed);
	}
	assert_true(x->n_kept > 50);
}

/* ---- disks that cannot be written */

/* Receive all frames of x->feed while vda's image is open for reading only. The standby
 * acknowledges the epoch, because it has all of it, but cannot apply it. */
static void take_without_writing(struct fixture *x)
{
	struct image *vda = &x->images.item[0];
	struct epochcheck_error error;
	int writable;

	assert_int_equal(images_open(&x->images, &error.why), 0);
	writable = vda->fd;
	vda->fd = open(vda->path, O_RDONLY | O_CLOEXEC);
	assert_true(vda->fd >= 0);
	assert_int_equal(fixture_take(x, &error), -EBADF);
	assert_int_equal(close(vda->fd), 0);
	vda->fd = writable;
}

/* Put an epoch that changes vda into x->feed, and change the model's disk in the same way. */
static void make_disk_epoch(struct fixture *x, uint8_t value)
{
	const struct wire_disk_record record = {WIRE_DISK_WRITE, 512, 1024,
						x->model.disks[0] + 1024};
	uint8_t reference[BLOB_ROOM];

	memset(x->model.disks[0] + 1024, value, 512);
	memcpy(reference, x->model.blob, BLOB_ROOM);
	feed_clear(&x->feed);
	x->feed.packs = false;
	feed_begin(&x->feed, false);
	feed_disk(&x->feed, "vda", &record, 1);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, reference, true);
	feed_end(&x->feed);
}

/* An epoch that cannot be applied stays stored. No other epoch is accepted before this one is
 * applied. After the disk can be written again, a restart of the agent or the arrival of the next
 * epoch applies this epoch. */
static void test_disk_that_fails(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;
	struct image *vda = &x->images.item[0];
	int writable;

	fixture_hold_one(x);
	/* receives the GEOMETRY frame; no epoch is complete yet */
	assert_int_equal(fixture_take(x, &error), 0);
	for (uint8_t turn = 0; turn < 2; turn++) {
		static struct model before;
		uint64_t epoch;

		before = x->model;
		make_disk_epoch(x, (uint8_t)(0x50 + turn));
		epoch = x->feed.epoch;
		take_without_writing(x);
		assert_true(fixture_copy_is(x, &before));
		assert_int_equal(epochlog_complete(&x->log), epoch);
		assert_int_equal(x->rf.meta.applied_epoch, epoch - 1);
		assert_non_null(strstr(x->log.why.text, "disk vda: image "));
		assert_non_null(strstr(x->log.why.text,
				       "vda.raw: cannot write 512 bytes at offset 1024"));
		if (turn == 0) {
			fixture_close(x);
			fixture_open(x);
			assert_true(fixture_copy_is(x, &x->model));
			x->feed.generation++;
			feed_clear(&x->feed);
			feed_geometry(&x->feed);
			assert_int_equal(fixture_take(x, &error), 0);
		}
	}
	writable = vda->fd;
	vda->fd = open(vda->path, O_RDONLY | O_CLOEXEC);
	feed_clear(&x->feed);
	feed_begin(&x->feed, false);
	assert_int_equal(fixture_take(x, &error), -EBADF);
	assert_int_equal(error.code, WIRE_STREAM_ERROR_APPLY);
	assert_non_null(strstr(error.why.text, "and takes no other before it: disk vda"));
	assert_int_equal(close(vda->fd), 0);
	vda->fd = writable;
	x->feed.epoch--;
	x->feed.generation++;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	fixture_make_epoch(x, false);
	assert_int_equal(fixture_take(x, &error), 1);
	assert_true(fixture_copy_is(x, &x->model));
}

/* After a promotion, only QEMU may write to the guest's disks, so the agent no longer applies
 * epochs. */
static void test_no_write_after_a_promotion(void **state)
{
	static struct model before;
	struct fixture *x = *state;
	struct epochcheck_error error;
	struct ramfile_meta meta;

	fixture_hold_one(x);
	assert_int_equal(fixture_take(x, &error), 0);
	before = x->model;
	make_disk_epoch(x, 0x77);
	take_without_writing(x);
	meta = x->rf.meta;
	meta.phase = RAMFILE_PROMOTED;
	assert_int_equal(ramfile_store_meta(&x->rf, &meta), 0);
	assert_int_equal(epochlog_apply(&x->log), -EBUSY);
	assert_true(fixture_copy_is(x, &before));
	/* An agent that starts after the promotion does not apply the epoch either. */
	fixture_close(x);
	fixture_open(x);
	assert_true(fixture_copy_is(x, &before));
	assert_false(x->images.is_open);
	/* The images stay closed even if a stream begins by mistake. */
	x->feed.generation++;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	feed_begin(&x->feed, false);
	assert_int_equal(fixture_take(x, &error), -EBUSY);
	assert_false(x->images.is_open);
	assert_true(fixture_copy_is(x, &before));
}

/* If an image is missing, an epoch is refused at its first frame, before any part of it is
 * stored. */
static void test_missing_image(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;

	assert_int_equal(unlink(x->image_paths[1]), 0);
	feed_geometry(&x->feed);
	fixture_make_epoch(x, true);
	assert_int_equal(fixture_take(x, &error), -ENOENT);
	assert_int_equal(error.code, WIRE_STREAM_ERROR_APPLY);
	assert_non_null(strstr(error.why.text, "disk vdb: there is no image "));
	assert_non_null(strstr(error.why.text, "truncate -s SIZE /"));
	assert_int_equal(epochlog_complete(&x->log), 0);
}

static void test_terms(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;

	fixture_hold_one(x);
	assert_int_equal(epochlog_set_term(&x->log, TERM + 1), 0);
	assert_int_equal(epochlog_complete(&x->log), 0);
	fixture_close(x);
	fixture_open(x);
	assert_int_equal(x->rf.meta.term, TERM + 1);
	assert_int_equal(epochlog_complete(&x->log), 0);
	/* The first epoch of a term must be FULL: it cannot build on another epoch. */
	feed_clear(&x->feed);
	x->feed.term = TERM + 1;
	x->feed.epoch = 0;
	feed_geometry(&x->feed);
	feed_begin(&x->feed, false);
	assert_int_equal(fixture_take(x, &error), -EPROTO);
	assert_non_null(strstr(error.why.text, "FULL"));
	feed_clear(&x->feed);
	x->feed.epoch = 0;
	feed_geometry(&x->feed);
	fixture_make_epoch(x, true);
	assert_int_equal(fixture_take(x, &error), 1);
	assert_true(fixture_copy_is(x, &x->model));
}

static void test_second_agent(void **state)
{
	struct fixture *x = *state;
	struct ramfile other;

	assert_int_equal(ramfile_open(x->dir, &other), -EBUSY);
}

static void write_text(struct fixture *x, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", x->dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void test_foreign_files(void **state)
{
	static const char *const metas[] = {
		"", "x", "holdfast-standby 1 term=7 applied=1 phase=copy",
		"holdfast-standby 1 term=7 applied=1 phase=dancing\n",
		"holdfast-standby 2 term=7 applied=1 phase=copy\n",
		"holdfast-standby 1 term=7 applied=1 phase=copy\n ",
	};
	struct fixture *x = *state;
	struct ramfile_meta meta;

	fixture_hold_one(x);
	meta = x->rf.meta;
	epochlog_close(&x->log);
	ramfile_close(&x->rf);
	for (size_t i = 0; i < ARRAY_SIZE(metas); i++) {
		write_text(x, "meta", metas[i]);
		assert_int_equal(ramfile_open(x->dir, &x->rf), -EBADMSG);
	}
	write_text(x, "meta", "holdfast-standby 1 term=7 applied=1 phase=copy\n");
	assert_int_equal(ramfile_open(x->dir, &x->rf), 0);
	assert_int_equal(x->rf.meta.term, meta.term);
	assert_int_equal(x->rf.meta.applied_epoch, meta.applied_epoch);
	assert_int_equal(x->rf.meta.phase, RAMFILE_COPY);
	/* An epoch file is named as complete but holds garbage. The copy could be torn, so the
	 * standby refuses to open it. */
	write_text(x, "epoch-2.complete",
		   "garbage garbage garbage garbage garbage garbage garbage");
	assert_int_equal(epochlog_open(&x->rf, &x->images, BYTES_MAX, &x->log), -EBADMSG);
	ramfile_close(&x->rf);
	fixture_remove_dir(x->dir);
	fixture_open(x);
}

static void test_purge(void **state)
{
	struct fixture *x = *state;
	struct ramfile_meta meta;

	fixture_hold_one(x);
	meta = x->rf.meta;
	meta.phase = RAMFILE_RUNNING;
	assert_int_equal(ramfile_store_meta(&x->rf, &meta), 0);
	assert_int_equal(ramfile_purge(&x->rf), -EBUSY);
	assert_true(fixture_copy_is(x, &x->model));
	meta.phase = RAMFILE_COPY;
	meta.vote = RAMFILE_VOTE_DIRECT;
	assert_int_equal(ramfile_store_meta(&x->rf, &meta), 0);
	assert_int_equal(ramfile_purge(&x->rf), 0);
	assert_int_equal(x->rf.meta.term, TERM);
	assert_int_equal(x->rf.meta.vote, RAMFILE_VOTE_DIRECT);
	assert_int_equal(x->rf.meta.applied_epoch, 0);
	assert_null(ramfile_page(&x->rf, 0));
}

static uint64_t allocated(struct fixture *x)
{
	struct dirent *entry;
	DIR *dir = opendir(x->dir);
	uint64_t bytes = 0;
	struct stat st;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, "spare") == 0 ||
		    strncmp(entry->d_name, "epoch-", 6) == 0) {
			assert_int_equal(fstatat(x->rf.dir_fd, entry->d_name, &st, 0), 0);
			bytes += (uint64_t)st.st_blocks * 512;
		}
	}
	closedir(dir);
	return bytes;
}

/* Disk space that was reserved for epochs is never freed. A whole epoch, half an epoch and a
 * restart of the agent leave it reserved. */
static void test_reserve(void **state)
{
	const uint64_t reserve = UINT64_C(1) << 20;
	struct fixture *x = *state;
	struct epochcheck_error error;

	assert_int_equal(epochlog_reserve(&x->log, reserve), 0);
	if (allocated(x) == 0)
		skip(); /* needs fallocate() */
	fixture_hold_one(x);
	assert_in_range(allocated(x), reserve, 2 * reserve);
	for (unsigned n = 0; n < 8; n++) {
		fixture_make_epoch(x, n % 4 == 0);
		assert_int_equal(fixture_take(x, &error), 1);
		assert_in_range(allocated(x), reserve, 2 * reserve);
		feed_clear(&x->feed);
	}
	feed_begin(&x->feed, false);
	assert_int_equal(fixture_take(x, &error), 0);
	assert_in_range(allocated(x), reserve, 2 * reserve);
	epochlog_reset(&x->log); /* the stream breaks off */
	assert_in_range(allocated(x), reserve, 2 * reserve);
	fixture_close(x);
	fixture_open(x);
	assert_in_range(allocated(x), reserve, 2 * reserve);
	assert_int_equal(epochlog_reserve(&x->log, reserve), 0);
	assert_in_range(allocated(x), reserve, 2 * reserve);
	epochlog_give_back(&x->log);
	assert_int_equal(allocated(x), 0);
}

/* After a whole epoch was applied, the primary's hashes are compared with the copy: main memory and
 * the other RAM blocks. Differences are named, and the epoch counts as applied all the same. */
static void test_hashes(void **state)
{
	struct fixture *x = *state;
	uint8_t blob[BLOB_ROOM], page[WIRE_PAGE_SIZE];
	struct epochcheck_error error;

	fixture_hold_one(x);
	assert_int_equal(x->rf.checked.n_checked, 0);
	memcpy(blob, x->model.blob, sizeof(blob));
	memcpy(page, x->model.pages[2], sizeof(page));
	x->model.pages[2][100] ^= 1; /* page 2 changes after its hash was made */
	ramfile_page(&x->rf, 5)[WIRE_PAGE_SIZE - 1] ^= 1;
	ramfile_page(&x->rf, N_PAGES - 1)[0] ^= 1;
	x->feed.packs = false;
	feed_begin(&x->feed, false);
	feed_ram_hash(&x->feed, 0, 4, x->model.pages[0]);
	feed_page(&x->feed, 2, x->model.pages[2], page, true);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, blob, true);
	feed_ram_hash(&x->feed, 4, N_PAGES - 4, x->model.pages[4]);
	feed_end(&x->feed);
	assert_int_equal(fixture_take(x, &error), 1);
	assert_int_equal(x->rf.checked.n_checked, N_PAGES);
	assert_int_equal(x->rf.checked.n_differ, 2);
	assert_int_equal(x->rf.checked.page[0], 5);
	assert_int_equal(x->rf.checked.page[1], N_PAGES - 1);
	assert_int_equal(x->rf.n_differ, 2);
	assert_int_equal(x->rf.meta.applied_epoch, x->feed.epoch);
	/* an epoch without hashes has no result */
	feed_clear(&x->feed);
	fixture_make_epoch(x, false);
	assert_int_equal(fixture_take(x, &error), 1);
	assert_int_equal(x->rf.checked.n_checked, 0);
	assert_int_equal(x->rf.n_checked, N_PAGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random_epochs, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_hashes, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_kill, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_kept_pages, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_disk_that_fails, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_no_write_after_a_promotion, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_missing_image, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_terms, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_second_agent, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_foreign_files, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_purge, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_reserve, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
