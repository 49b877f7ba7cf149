/* test_durable.c - tests the disk log of a standby (standby/durable.h) when the power fails. The
 * agent is killed before every change of a file. Data that was not yet written to the disk can be
 * lost. The next agent must find the disks of the newest acknowledged epoch.
 *
 * This program has its own fdatasync(), which copies a file to FILE.disk. After a power failure
 * each sector of the file is as in FILE.disk, or as it was written later. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "standby/durable.h"
#include "standby_fixture.h"

#define LOG_BYTES   DISKLOG_BYTES_MIN
#define SECTOR	    512u
#define EPOCHS_MAX  32u
#define LARGE_BYTES 48000u

/* ---- a disk that loses what was not synced */

static char *read_file(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *data;

	if (fd < 0)
		return NULL;
	assert_int_equal(fstat(fd, &st), 0);
	data = malloc((size_t)st.st_size + 1);
	assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return data;
}

static void write_file(const char *path, const char *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

/* Map a file of @size bytes. Make it if it does not exist, and resize it if it has another size. */
static char *map_file(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char *data;

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(data != MAP_FAILED);
	close(fd);
	return data;
}

/* Copy the sectors that differ: all of them, or, if @all is false, a random half. */
static void copy_sectors(char *to, const char *from, size_t size, bool all)
{
	for (size_t at = 0; at < size; at += SECTOR) {
		if (memcmp(to + at, from + at, SECTOR) != 0 && (all || rand() % 2))
			memcpy(to + at, from + at, SECTOR);
	}
}

static const char *broken_disk; /* fdatasync() of a file with this in its path fails; NULL: none */

int fdatasync(int fd)
{
	char link[32], path[200] = "", disk[208], *now, *synced;
	struct stat st;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	assert_true(readlink(link, path, sizeof(path) - 1) > 0 && fstat(fd, &st) == 0);
	if (broken_disk && strstr(path, broken_disk)) {
		errno = EIO;
		return -1;
	}
	snprintf(disk, sizeof(disk), "%s.disk", path);
	now = map_file(path, (size_t)st.st_size);
	synced = map_file(disk, (size_t)st.st_size);
	copy_sectors(synced, now, (size_t)st.st_size, true);
	munmap(now, (size_t)st.st_size);
	munmap(synced, (size_t)st.st_size);
	return 0;
}

/* For each sector that was written after the last fdatasync(), choose at random whether the sector
 * has its old or its new content. */
static void lose(const char *path)
{
	char disk[208], *now, *synced;
	struct stat st;

	snprintf(disk, sizeof(disk), "%s.disk", path);
	if (stat(disk, &st) < 0)
		return;
	now = map_file(path, (size_t)st.st_size);
	synced = map_file(disk, (size_t)st.st_size);
	copy_sectors(now, synced, (size_t)st.st_size, false);
	copy_sectors(synced, now, (size_t)st.st_size, true);
	munmap(now, (size_t)st.st_size);
	munmap(synced, (size_t)st.st_size);
}

/* ---- the standby and what its primary sends */

struct epoch {
	char kind; /* see make_epoch() */
	uint8_t disks[N_DISKS][DISK_BYTES];
};

struct lab {
	struct fixture *x;
	struct durable durable;
	char log_path[80], saved[80];
	struct epoch epochs[EPOCHS_MAX + 1]; /* by epoch number; [0]: before the first epoch */
	/* number of the newest acknowledged epoch; in memory shared with child processes */
	unsigned *acked;
	uint64_t generations;
};

static void open_log(struct lab *lab)
{
	struct error error;

	assert_int_equal(durable_open(&lab->durable, &lab->x->rf, &lab->x->images, lab->log_path,
				      LOG_BYTES, &error), 0);
	lab->x->log.durable = &lab->durable;
}

static int set_up(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	void *x;

	assert_int_equal(fixture_setup(&x), 0);
	lab->x = x;
	lab->acked = mmap(NULL, sizeof(*lab->acked), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(lab->log_path, sizeof(lab->log_path), "%s/log", lab->x->dir);
	snprintf(lab->saved, sizeof(lab->saved), "%s.saved", lab->x->dir);
	open_log(lab);
	lab->x->model.blob_size = 100;
	*state = lab;
	return 0;
}

static int tear_down(void **state)
{
	struct lab *lab = *state;
	void *x = lab->x;

	durable_close(&lab->durable);
	fixture_remove_dir(lab->saved);
	munmap(lab->acked, sizeof(*lab->acked));
	free(lab);
	return fixture_teardown(&x);
}

static void add_write(struct lab *lab, uint32_t offset, uint32_t bytes, uint8_t value)
{
	struct model *m = &lab->x->model;
	struct wire_disk_record record = {WIRE_DISK_WRITE, bytes, offset, m->disks[0] + offset};

	memset(m->disks[0] + offset, value, bytes);
	memcpy(m->disks[1], m->disks[0], DISK_BYTES); /* both disks get the same change */
	feed_disk(&lab->x->feed, "vda", &record, 1);
	feed_disk(&lab->x->feed, "vdb", &record, 1);
}

/* Append an epoch to the feed. Kinds:
 *	u  not held (UNHELD), as in a first copy
 *	h  held, with writes
 *	e  held, without writes
 *	f  held; its writes fill a third of one half of the log
 *	L  held; its writes exceed one half of the log */
static void make_epoch(struct lab *lab, char kind)
{
	struct fixture *x = lab->x;
	uint8_t reference[BLOB_ROOM];
	unsigned n_large = kind == 'f' ? 2 : kind == 'L' ? 6 : 0;
	struct epoch *epoch;

	x->feed.is_unheld = kind == 'u';
	feed_begin(&x->feed, x->feed.epoch == 0);
	epoch = &lab->epochs[x->feed.epoch];
	for (unsigned i = 0; i < n_large; i++)
		add_write(lab, i * 64, LARGE_BYTES, (uint8_t)rand());
	if (kind != 'e')
		add_write(lab, fixture_roll(x, DISK_BYTES - 3000), 3000, (uint8_t)rand());
	/* Also write a sector that the epochs before and after this one do not write. */
	if (kind != 'e')
		add_write(lab, DISK_BYTES - SECTOR * (1 + x->feed.epoch % 2), 16, (uint8_t)rand());
	memset(reference, 0, sizeof(reference));
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, reference, false);
	feed_end(&x->feed);
	epoch->kind = kind;
	memcpy(epoch->disks, x->model.disks, sizeof(epoch->disks));
}

/* Feed a new stream with an epoch for each of @kinds. */
static void make_stream(struct lab *lab, const char *kinds)
{
	struct fixture *x = lab->x;

	x->feed.generation++;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	for (; *kinds; kinds++)
		make_epoch(lab, *kinds);
}

/* Let the standby take all epochs of the feed, as the agent does. Returns 0 or an error. */
static int take(struct lab *lab)
{
	const uint8_t *at = lab->x->feed.bytes, *end = at + lab->x->feed.size;
	struct epochcheck_error error;
	struct wire_frame frame;

	while (at < end) {
		int r;

		if (wire_frame_decode(&at, end, &frame, NULL) < 0)
			return -EBADMSG;
		r = epochlog_frame(&lab->x->log, &frame, NULL, &error);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		*lab->acked = (unsigned)epochlog_complete(&lab->x->log);
		r = epochlog_apply(&lab->x->log);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the end of an agent */

static void cut_here(void *arg)
{
	unsigned *left = arg;

	if ((*left)-- == 0)
		_exit(42);
}

static void start_agent(struct lab *lab)
{
	fixture_open(lab->x);
	open_log(lab);
}

static void end_agent(struct lab *lab)
{
	durable_close(&lab->durable);
	fixture_close(lab->x);
}

/* Take the feed in an agent that dies before its @n-th step. Returns true if the agent died. */
static bool run_cut(struct lab *lab, unsigned n)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		start_agent(lab);
		lab->x->rf.step = cut_here;
		lab->x->rf.step_arg = &n;
		_exit(take(lab) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 0));
	return WEXITSTATUS(status) == 42;
}

/* Call @each for every file of the flat directory @from. */
static void for_files(const char *from, const char *to,
		      void (*each)(const char *from_path, const char *to_path, const char *name))
{
	DIR *dir = opendir(from);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char from_path[400], to_path[400];

		snprintf(from_path, sizeof(from_path), "%s/%s", from, entry->d_name);
		snprintf(to_path, sizeof(to_path), "%s/%s", to, entry->d_name);
		if (entry->d_name[0] != '.')
			each(from_path, to_path, entry->d_name);
	}
	closedir(dir);
}

static void remove_if_new(const char *path, const char *other, const char *name)
{
	(void)name;
	if (access(other, F_OK) < 0)
		assert_int_equal(unlink(path), 0);
}

static void copy_file(const char *from, const char *to, const char *name)
{
	size_t size;
	char *data = read_file(from, &size);

	(void)name;
	write_file(to, data, size);
	free(data);
}

/* Make the flat directory @to a copy of @from. */
static void copy_dir(const char *from, const char *to)
{
	assert_true(mkdir(to, 0700) == 0 || errno == EEXIST);
	for_files(to, from, remove_if_new);
	for_files(from, to, copy_file);
}

static void remove_if_memory(const char *path, const char *other, const char *name)
{
	(void)other;
	if (!strstr(name, ".raw") && strncmp(name, "log", 3) != 0)
		assert_int_equal(unlink(path), 0);
}

/* Simulate a power failure: remove what was in memory, and lose what was not on the disk. */
static void fail_power(struct lab *lab)
{
	for (unsigned i = 0; i < N_DISKS; i++)
		lose(lab->x->image_paths[i]);
	lose(lab->log_path);
	for_files(lab->x->dir, lab->x->dir, remove_if_memory);
}

static bool images_are_of(struct lab *lab, unsigned epoch)
{
	bool is_same = true;

	for (unsigned i = 0; i < N_DISKS; i++) {
		size_t size;
		char *data = read_file(lab->x->image_paths[i], &size);

		is_same &= memcmp(data, lab->epochs[epoch].disks[i], DISK_BYTES) == 0;
		free(data);
	}
	return is_same;
}

/* Recover as the next agent does. Returns true if the log says that the images are a copy of the
 * guest's disks. */
static bool recover(struct lab *lab)
{
	struct disklog_state found;
	struct error error;
	int r;

	start_agent(lab);
	assert_int_equal(lab->x->rf.meta.applied_epoch, 0);
	r = durable_recover(&lab->durable, &found, &error);
	assert_true(r >= 0);
	if (r > 0)
		assert_int_equal(found.term, TERM);
	end_agent(lab);
	return r > 0;
}

static bool is_logged(char kind)
{
	return kind == 'h' || kind == 'e' || kind == 'f';
}

/* Let the power fail, and recover. The images must then be those of the newest acknowledged epoch
 * or of the next one. Only if one of these two epochs is not logged, the log may instead say
 * nothing about the images. */
static void check_power_failure(struct lab *lab, unsigned step)
{
	unsigned acked = *lab->acked;
	char kind = lab->epochs[acked].kind, next = lab->epochs[acked + 1].kind;

	fail_power(lab);
	if (!recover(lab)) {
		if (is_logged(kind) && (is_logged(next) || !next))
			fail_msg("step %u: epoch %u (%c) was acknowledged and lost", step, acked,
				 kind);
	} else if (!(images_are_of(lab, acked) && kind != 'u') &&
		   !images_are_of(lab, acked + 1)) {
		fail_msg("step %u: the images are not of epoch %u (%c)", step, acked, kind);
	}
}

static void test_power_fails_at_every_step(void **state)
{
	struct lab *lab = *state;
	unsigned n = 0;
	bool died = true;

	make_stream(lab, "uhefffhLhuh");
	end_agent(lab);
	copy_dir(lab->x->dir, lab->saved);
	for (; died; n++) {
		copy_dir(lab->saved, lab->x->dir);
		*lab->acked = 0;
		died = run_cut(lab, n);
		check_power_failure(lab, n);
	}
	assert_int_equal(*lab->acked, 11);
	assert_true(n > 100);
	start_agent(lab);
}

/* Kill an agent at each of its steps. One of the steps is between the logging of an epoch and its
 * acknowledgement. The next agent continues without this epoch. Then the power fails. The epoch's
 * writes must not come back. */
static void test_an_entry_without_an_epoch(void **state)
{
	struct lab *lab = *state;
	struct feed *f = &lab->x->feed;
	static struct model before;
	unsigned n = 0, n_lost = 0;
	bool died = true;

	make_stream(lab, "hh");
	assert_int_equal(take(lab), 0);
	end_agent(lab);
	copy_dir(lab->x->dir, lab->saved);
	before = lab->x->model;
	for (; died; n++) {
		copy_dir(lab->saved, lab->x->dir);
		*lab->acked = 2;
		lab->x->model = before;
		f->epoch = 2;
		make_stream(lab, "h");
		died = run_cut(lab, n);
		if (*lab->acked == 2) {
			n_lost++;
			/* The epoch was not acknowledged. If the standby did not apply it either,
			 * the guest goes on from its state before the epoch. */
			fixture_open(lab->x);
			f->epoch = lab->x->rf.meta.applied_epoch;
			fixture_close(lab->x);
			if (f->epoch == 2)
				lab->x->model = before;
		}
		make_stream(lab, "h");
		assert_false(run_cut(lab, 1000000));
		fail_power(lab);
		assert_true(recover(lab));
		if (!images_are_of(lab, *lab->acked))
			fail_msg("step %u: the images are not of epoch %u", n, *lab->acked);
	}
	assert_true(n_lost > 3);
	start_agent(lab);
}

/* After a promotion, or after a replay of the log, a guest writes to the images. The log must not
 * undo these writes. */
static void test_nothing_is_replayed_over_the_guest(void **state)
{
	struct lab *lab = *state;
	struct disklog_state now;
	struct error error;
	static const char guest[4] = "mine";
	size_t size;
	char *data;

	for (int promoted = 0; promoted < 2; promoted++) {
		make_stream(lab, "hh");
		assert_int_equal(take(lab), 0);
		if (promoted)
			assert_int_equal(durable_end(&lab->durable, &error), 0);
		end_agent(lab);
		for (int i = 0; i < 2; i++) {
			fail_power(lab);
			assert_int_equal(recover(lab), !promoted);
			data = read_file(lab->x->image_paths[0], &size);
			if (i > 0)
				assert_memory_equal(data, guest, sizeof(guest));
			memcpy(data, guest, sizeof(guest));
			write_file(lab->x->image_paths[0], data, size);
			free(data);
			start_agent(lab);
			assert_int_equal(images_open(&lab->x->images, &error), 0);
			assert_int_equal(images_sync(&lab->x->images, &error), 0);
			end_agent(lab);
		}
		start_agent(lab);
		disklog_get_state(lab->durable.log, &now);
		assert_int_equal(now.is_copy, !promoted);
		assert_int_equal(epochlog_set_term(&lab->x->log, TERM), 0);
		lab->x->feed.epoch = 0;
	}
}

/* When the log cannot be written, the epoch is refused, and the error text says why. */
static void test_a_log_that_fails(void **state)
{
	struct lab *lab = *state;
	struct epochcheck_error error;

	make_stream(lab, "h");
	assert_int_equal(take(lab), 0);
	make_stream(lab, "h");
	assert_int_equal(truncate(lab->x->image_paths[0], DISK_BYTES), 0);
	lab->x->images.item[0].is_lost = true;
	durable_forget(&lab->durable);
	assert_int_equal(fixture_take(lab->x, &error), -EIO);
	assert_int_equal(error.code, WIRE_STREAM_ERROR_APPLY);
	assert_non_null(strstr(error.why.text, "cannot log the disk writes of epoch 2: disk vda"));
	assert_int_equal(epochlog_complete(&lab->x->log), 1);
	lab->x->images.item[0].is_lost = false;
}

/* The disk of an image is broken. Even when the disk is repaired, epochs are refused until the
 * guest's disks are copied again. The agent need not be restarted for that. */
static void test_a_new_copy_after_a_broken_disk(void **state)
{
	struct lab *lab = *state;
	struct epochcheck_error error;

	make_stream(lab, "h");
	assert_int_equal(take(lab), 0);
	broken_disk = ".raw";
	durable_forget(&lab->durable);
	make_stream(lab, "h");
	assert_int_equal(fixture_take(lab->x, &error), -EIO);
	assert_non_null(strstr(error.why.text, "did not reach the disk"));
	broken_disk = NULL;
	lab->x->feed.epoch = 1; /* the primary sends epoch 2 again */
	make_stream(lab, "h");
	assert_int_equal(fixture_take(lab->x, &error), -EIO);
	assert_true(lab->x->rf.meta.disks_lost);
	/* begin a new protection, as the order STANDBY_START does */
	assert_int_equal(epochlog_set_term(&lab->x->log, TERM), 0);
	lab->x->feed.epoch = 0;
	make_stream(lab, "uh");
	assert_int_equal(take(lab), 0);
	assert_int_equal(*lab->acked, 2);
	assert_false(lab->x->rf.meta.disks_lost);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_power_fails_at_every_step, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_entry_without_an_epoch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_is_replayed_over_the_guest, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_log_that_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_new_copy_after_a_broken_disk, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
