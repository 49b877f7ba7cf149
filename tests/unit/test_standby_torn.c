/* test_standby_torn.c - tests the record of an unfinished copy of the disks (standby/torn.h): at
 * every moment at which the agent or the host can end, either the record is on the disk, or the
 * images are whole.
 *
 * This program replaces the functions of the C library that change the record and the images. The
 * replacements note the order of the changes, and can end the process before any of them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "standby_fixture.h"

/* ---- the order of the changes
 *
 *	f  fsync() of the record's temporary file	w  a write to an image
 *	r  rename() to the record's name		s  fdatasync() of an image
 *	d  fsync() of the record's directory		u  unlink() of the record */

static char changes[512];
static int left = -1; /* number of changes before the process is ended; -1: no limit */

static void note(char change)
{
	size_t n = strlen(changes);

	if (left-- == 0)
		_exit(42);
	assert_true(n + 1 < sizeof(changes));
	changes[n] = change;
}

static bool is_record(const char *path)
{
	return strstr(path, "/roles/web1.copying") != NULL;
}

static void note_fd(int fd, char image, char record, char dir)
{
	char link[32], path[200] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	assert_true(readlink(link, path, sizeof(path) - 1) > 0);
	if (image && strstr(path, ".raw"))
		note(image);
	else if (record && is_record(path))
		note(record);
	else if (dir && strstr(path, "/roles"))
		note(dir);
}

int fsync(int fd)
{
	note_fd(fd, 0, 'f', 'd');
	return 0;
}

int fdatasync(int fd)
{
	note_fd(fd, 's', 0, 0);
	return 0;
}

int rename(const char *from, const char *to)
{
	if (is_record(to))
		note('r');
	return (int)syscall(SYS_rename, from, to);
}

int unlink(const char *path)
{
	if (is_record(path))
		note('u');
	return (int)syscall(SYS_unlink, path);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	note_fd(fd, 'w', 0, 0);
	return syscall(SYS_pwrite64, fd, data, size, at);
}

int fallocate(int fd, int mode, off_t at, off_t bytes)
{
	note_fd(fd, 'w', 0, 0);
	return (int)syscall(SYS_fallocate, fd, mode, at, bytes);
}

/* ---- the standby */

static char role_dir[80], record[112];
static struct durable durable;

static void start_agent(struct fixture *x)
{
	torn_init(&x->images.torn, role_dir, "web1");
	fixture_open(x);
}

static int open_log(struct fixture *x)
{
	char path[112];
	struct error error;

	snprintf(path, sizeof(path), "%s/log", x->dir);
	return durable_open(&durable, &x->rf, &x->images, path, 16 << 20, &error);
}

static int set_up(void **state)
{
	struct fixture *x;

	if (fixture_setup(state) != 0)
		return -1;
	x = *state;
	left = -1;
	snprintf(role_dir, sizeof(role_dir), "%s/roles", x->dir);
	snprintf(record, sizeof(record), "%s/web1.copying", role_dir);
	fixture_close(x);
	start_agent(x);
	memset(changes, 0, sizeof(changes));
	return mkdir(role_dir, 0700) < 0 ? -1 : open_log(x);
}

static bool is_recorded(void)
{
	return access(record, F_OK) == 0;
}

/* Make an epoch and let the standby take it. Returns the changes that were made, in order. */
static const char *take(struct fixture *x, bool full, bool is_unheld)
{
	struct epochcheck_error error;

	memset(changes, 0, sizeof(changes));
	feed_clear(&x->feed);
	if (full) {
		x->feed.generation++;
		feed_geometry(&x->feed);
	}
	x->feed.is_unheld = is_unheld;
	fixture_make_epoch(x, full);
	assert_int_equal(fixture_take(x, &error), 1);
	(void)torn_settle(&x->images, &durable);
	return changes;
}

/* Does @text begin with @first, and contain only characters of @others after that? */
static bool is_order(const char *text, const char *first, const char *others)
{
	size_t n = strlen(first);

	return strncmp(text, first, n) == 0 && text[n + strspn(text + n, others)] == '\0';
}

static void the_record_comes_first_and_goes_last(void **state)
{
	struct fixture *x = *state;
	const char *order;

	for (int i = 0; i < 2; i++) {
		assert_false(is_recorded());
		/* a first copy: the record is on the disk before the first write */
		order = take(x, true, true);
		assert_true(is_order(order, "frdw", "w"));
		assert_true(is_recorded() && x->images.torn.is_set);
		assert_true(is_order(take(x, false, true), "w", "w"));
		assert_true(is_recorded());
		/* the first held epoch: all images are on the disk before the record is removed */
		order = take(x, false, false);
		assert_true(is_order(order, "w", "wsu"));
		assert_non_null(strchr(order, 's'));
		assert_string_equal(strchr(order, 's'), "sssu");
		assert_false(is_recorded() || x->images.torn.is_set);
		/* after that, nothing is synced any more */
		assert_true(is_order(take(x, false, false), "w", "w"));
	}
	assert_true(fixture_copy_is(x, &x->model));
}

static void without_disk_writes_nothing_is_recorded(void **state)
{
	struct fixture *x = *state;
	uint8_t reference[BLOB_ROOM];
	struct epochcheck_error error;

	(void)take(x, true, false);
	memset(changes, 0, sizeof(changes));
	memcpy(reference, x->model.blob, sizeof(reference));
	feed_clear(&x->feed);
	x->feed.is_unheld = true;
	feed_begin(&x->feed, false);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, reference, true);
	feed_end(&x->feed);
	assert_int_equal(fixture_take(x, &error), 1);
	(void)torn_settle(&x->images, &durable);
	assert_string_equal(changes, "");
	assert_false(is_recorded());
}

/* If the record cannot be written, the images stay whole. */
static void without_a_record_nothing_is_written(void **state)
{
	struct fixture *x = *state;
	struct model before = x->model;
	struct epochcheck_error error;

	assert_int_equal(rmdir(role_dir), 0);
	feed_geometry(&x->feed);
	x->feed.is_unheld = true;
	fixture_make_epoch(x, true);
	assert_int_equal(fixture_take(x, &error), -ENOENT);
	assert_non_null(strstr(x->log.why.text, record));
	assert_null(strchr(changes, 'w'));
	assert_int_equal(mkdir(role_dir, 0700), 0);
	assert_int_equal(epochlog_apply(&x->log), 0); /* the epoch was kept */
	assert_true(is_order(changes, "frdw", "w"));
	assert_memory_not_equal(&before, &x->model, sizeof(before));
	assert_true(fixture_copy_is(x, &x->model));
}

static bool images_are(struct fixture *x, const struct model *m)
{
	static uint8_t bytes[DISK_BYTES];

	for (unsigned i = 0; i < N_DISKS; i++) {
		int fd = open(x->image_paths[i], O_RDONLY | O_CLOEXEC);

		assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
		close(fd);
		if (memcmp(bytes, m->disks[i], sizeof(bytes)) != 0)
			return false;
	}
	return true;
}

/* Let a child process take the feed, and end the child after @n changes, before the next one.
 * Returns true if the child ended there; false if @n changes were enough. */
static bool run_cut(struct fixture *x, int n)
{
	struct epochcheck_error error;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		start_agent(x);
		left = n;
		status = fixture_take(x, &error);
		(void)torn_settle(&x->images, &durable);
		_exit(status == 3 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 0));
	return WEXITSTATUS(status) == 42;
}

/* Kill the agent before each change that a copy makes. If there is no record then, the images are
 * what they were before the copy, or what the first held epoch made them. */
static void a_kill_leaves_the_record(void **state)
{
	struct fixture *x = *state;
	struct model before;
	unsigned n_torn = 0;
	char saved[96], command[400];

	(void)take(x, true, false);
	before = x->model;
	feed_clear(&x->feed);
	x->feed.generation++;
	feed_geometry(&x->feed);
	for (int i = 0; i < 3; i++) {
		x->feed.is_unheld = i < 2;
		fixture_make_epoch(x, i == 0);
	}
	fixture_close(x);
	snprintf(saved, sizeof(saved), "%s.saved", x->dir);
	snprintf(command, sizeof(command), "cp -a %s %s", x->dir, saved);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "rm -r %s && cp -a %s %s", x->dir, saved, x->dir);
	for (int n = 0; run_cut(x, n); n++) {
		bool is_old = images_are(x, &before), is_new = images_are(x, &x->model);

		if (!is_recorded() && !is_old && !is_new)
			fail_msg("change %d: the images are torn, and nothing says so", n);
		n_torn += !is_old && !is_new;
		/* the next agent finds the record */
		torn_init(&x->images.torn, role_dir, "web1");
		assert_int_equal(x->images.torn.is_set, is_recorded());
		assert_int_equal(system(command), 0);
	}
	assert_true(n_torn > 3);
	assert_false(is_recorded());
	assert_true(images_are(x, &x->model));
	fixture_remove_dir(saved);
	start_agent(x);
}

/* The next agent uses the record that it finds. It writes the record to the disk again, because the
 * previous agent may have died before the record was on the disk. */
static void the_next_agent_goes_on(void **state)
{
	struct fixture *x = *state;

	(void)take(x, true, true);
	fixture_close(x);
	start_agent(x);
	assert_true(x->images.torn.is_set);
	assert_true(is_order(take(x, true, true), "frdw", "w"));
	fixture_close(x);
	start_agent(x);
	assert_non_null(strstr(take(x, true, false), "sssu"));
	assert_false(is_recorded());
}

/* When the guest itself runs on the images, the record is removed. */
static void a_guest_ends_the_record(void **state)
{
	struct fixture *x = *state;

	(void)take(x, true, true);
	images_close(&x->images);
	assert_false(torn_settle(&x->images, &durable));
	torn_end(&x->images.torn);
	assert_false(is_recorded() || x->images.torn.is_set);
	torn_end(&x->images.torn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_record_comes_first_and_goes_last, set_up,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(without_disk_writes_nothing_is_recorded, set_up,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(without_a_record_nothing_is_written, set_up,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_kill_leaves_the_record, set_up,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(the_next_agent_goes_on, set_up, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_guest_ends_the_record, set_up, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
