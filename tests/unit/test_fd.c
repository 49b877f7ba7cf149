/* Tests fd.h: closing, reading and replacing files, and making directories. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

static char dir[] = "/tmp/holdfast-test-fd-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/file", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	(void)unlink(path); /* some tests leave no file */
	return rmdir(dir);
}

static void test_close_keeps_errno(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	errno = EPROTO;
	assert_int_equal(fd_close(fd), -1);
	assert_int_equal(fd_close(-1), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* If a FIFO is at the file's path, the reader must not wait for a writer. */
static void test_a_pipe_in_the_place_of_a_file(void **state)
{
	char *data = NULL;
	size_t size = 1;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(10); /* ends the test if it hangs */
	assert_int_equal(fd_read_file(path, 100, &data, &size), 0);
	alarm(0);
	assert_int_equal(size, 0);
	free(data);
	assert_int_equal(unlink(path), 0);
}

/* A process that runs as root accepts a file only if no other user may write it. */
static void test_a_file_that_others_may_change(void **state)
{
	static const struct {
		uid_t owner;
		mode_t mode;
		int wanted;
	} rows[] = {
		{0, 0644, 0}, {0, 0400, 0}, {0, 0664, -EPERM}, {0, 0646, -EPERM}, {1, 0600, -EPERM},
	};

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can give files away */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *data = NULL;
		size_t size;

		assert_int_equal(fd_write_file_atomic(path, "x", 1), 0);
		assert_int_equal(chown(path, rows[i].owner, (gid_t)-1), 0);
		assert_int_equal(chmod(path, rows[i].mode), 0);
		assert_int_equal(fd_read_trusted_file(path, 10, &data, &size), rows[i].wanted);
		free(data);
	}
	assert_non_null(strstr(fd_trust_text(-EPERM), "chown root"));
	assert_string_equal(fd_trust_text(-ENOENT), strerror(ENOENT));
}

static void test_write_then_read(void **state)
{
	char *data = NULL, *large;
	size_t size = 0;

	(void)state;
	assert_int_equal(fd_write_file_atomic(path, "one", 3), 0);
	assert_int_equal(fd_write_file_atomic(path, "three", 5), 0);
	assert_int_equal(fd_read_file(path, 5, &data, &size), 0);
	assert_int_equal(size, 5);
	assert_string_equal(data, "three");
	free(data);
	assert_int_equal(fd_read_file(path, 4, &data, &size), -EFBIG);

	large = malloc(10000);
	assert_non_null(large);
	memset(large, 'x', 10000);
	assert_int_equal(fd_write_file_atomic(path, large, 10000), 0);
	assert_int_equal(fd_read_file(path, 10000, &data, &size), 0);
	assert_int_equal(size, 10000);
	assert_memory_equal(data, large, 10000);
	free(data);
	assert_int_equal(fd_read_file(path, 9999, &data, &size), -EFBIG);
	free(large);
}

static void test_at_an_offset(void **state)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char data[8] = "";

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fd_write_at(fd, "world", 5, 6), 0);
	assert_int_equal(fd_write_at(fd, "hello ", 6, 0), 0);
	assert_int_equal(fd_read_at(fd, data, 5, 4), 0);
	assert_string_equal(data, "o wor");
	assert_int_equal(fd_read_at(fd, data, 5, 7), -EIO); /* the file has only four bytes there */
	assert_int_equal(fd_read_at(-1, data, 1, 0), -EBADF);
	assert_int_equal(fd_write_at(-1, data, 1, 0), -EBADF);
	fd_close(fd);
}

static void test_failed_replace_keeps_the_old_file(void **state)
{
	char tmp[80], *data = NULL;
	size_t size;

	(void)state;
	assert_int_equal(fd_write_file_atomic(path, "old", 3), 0);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	assert_int_equal(mkdir(tmp, 0700), 0); /* a directory at the temporary file's path */
	assert_int_equal(fd_write_file_atomic(path, "new", 3), -EISDIR);
	assert_int_equal(rmdir(tmp), 0);
	assert_int_equal(fd_read_file(path, 10, &data, &size), 0);
	assert_string_equal(data, "old");
	free(data);
}

static void test_missing_file(void **state)
{
	char *data = NULL;
	size_t size;

	(void)state;
	assert_int_equal(fd_read_file("/nonexistent/x", 10, &data, &size), -ENOENT);
	assert_null(data);
	assert_int_equal(fd_write_file_atomic("/nonexistent/x", "", 0), -ENOENT);
}

static void test_mkdir_p(void **state)
{
	char deep[64], mid[64];
	struct stat st;

	(void)state;
	snprintf(mid, sizeof(mid), "%s/a", dir);
	snprintf(deep, sizeof(deep), "%s/a/b", dir);
	assert_int_equal(fd_mkdir_p(deep, 0700), 0);
	assert_int_equal(fd_mkdir_p(deep, 0700), 0);
	assert_int_equal(stat(deep, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(rmdir(deep), 0);
	assert_int_equal(rmdir(mid), 0);
	assert_int_equal(fd_mkdir_p("/dev/null/x", 0700), -ENOTDIR);
}

static void test_set_nonblock(void **state)
{
	int fds[2];
	char c;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fd_set_nonblock(fds[0]), 0);
	assert_int_equal(read(fds[0], &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
	fd_close(fds[0]);
	fd_close(fds[1]);
	assert_int_equal(fd_set_nonblock(-1), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_keeps_errno),
		cmocka_unit_test(test_a_pipe_in_the_place_of_a_file),
		cmocka_unit_test(test_a_file_that_others_may_change),
		cmocka_unit_test(test_write_then_read),
		cmocka_unit_test(test_at_an_offset),
		cmocka_unit_test(test_failed_replace_keeps_the_old_file),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_mkdir_p),
		cmocka_unit_test(test_set_nonblock),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
