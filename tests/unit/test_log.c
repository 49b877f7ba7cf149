/* Tests log.h: lines, limits and the thread that writes them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"

static int saved_stderr, pipe_fds[2];

static int divert_stderr(void **state)
{
	(void)state;
	saved_stderr = dup(STDERR_FILENO);
	if (saved_stderr < 0 || pipe(pipe_fds) < 0 || fd_set_nonblock(pipe_fds[0]) < 0)
		return -1;
	return dup2(pipe_fds[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int restore_stderr(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	fd_close(saved_stderr);
	fd_close(pipe_fds[0]);
	fd_close(pipe_fds[1]);
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

/* Returns all text logged since the last call, as one string. */
static const char *logged(void)
{
	static char text[8192];
	ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void test_line_form(void **state)
{
	(void)state;
	errno = EPROTO;
	log_write(LOG_LEVEL_INFO, "../a/b/seal.c", "epoch=%d vm=%s two\nlines", 812, "web1");
	assert_int_equal(errno, EPROTO);
	assert_string_equal(logged(), "<6>seal: epoch=812 vm=web1 two lines\n");
	log_error("x");
	assert_string_equal(logged(), "<3>test_log: x\n");
}

static void test_levels(void **state)
{
	enum log_level level = LOG_LEVEL_WARN;

	(void)state;
	log_debug("hidden");
	assert_string_equal(logged(), "");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("shown");
	assert_string_equal(logged(), "<7>test_log: shown\n");
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("hidden");
	assert_string_equal(logged(), "");
	assert_int_equal(log_level_parse("verbose", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_WARN);
	setenv("HOLDFAST_LOG", "debug", 1);
	assert_int_equal(log_init(), 0);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	setenv("HOLDFAST_LOG", "loud", 1);
	assert_int_equal(log_init(), -EINVAL);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	unsetenv("HOLDFAST_LOG");
}

static void test_long_line_is_cut(void **state)
{
	char text[4000];
	const char *line;

	(void)state;
	memset(text, 'y', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_write(LOG_LEVEL_INFO, "x.c", "%s", text);
	line = logged();
	assert_in_range(strlen(line), 1000, 1024);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void test_limited_site_counts_what_it_drops(void **state)
{
	struct log_limit limit = {0};
	uint64_t suppressed = 99;

	(void)state;
	assert_int_equal(log_limit_pass(&limit, &suppressed), 1);
	assert_int_equal(suppressed, 0);
	suppressed = 99;
	assert_int_equal(log_limit_pass(&limit, &suppressed), 0);
	assert_int_equal(log_limit_pass(&limit, &suppressed), 0);
	assert_int_equal(suppressed, 99);
	limit.next_ns = 0; /* as if a second had passed */
	assert_int_equal(log_limit_pass(&limit, &suppressed), 1);
	assert_int_equal(suppressed, 2);
	for (int i = 0; i < 3; i++)
		log_limited(LOG_LEVEL_WARN, "n=%d", i);
	assert_string_equal(logged(), "<4>test_log: n=0 (suppressed=0)\n");
}

/* Read from the pipe until the text @words has come. If it never comes, only the time limit of the
 * whole test ends the wait. */
static void read_until(const char *words)
{
	static char text[65536];
	size_t size = 0, n_words = strlen(words);

	for (;;) {
		ssize_t n = read(pipe_fds[0], text + size, sizeof(text) - size);

		if (n <= 0)
			continue;
		size += (size_t)n;
		if (memmem(text, size, words, n_words))
			return;
		if (size > n_words) { /* keep only the last bytes, in which @words could begin */
			memmove(text, text + size - n_words, n_words);
			size = n_words;
		}
	}
}

/* Nobody reads the pipe that is the log's output. Logging does not block. Lines go to the spool,
 * and lines for which the spool has no room are lost. When the pipe is read, it gets the spool's
 * lines and the number of lost lines. */
static void test_nobody_reads(void **state)
{
	(void)state;
	assert_int_equal(log_spool_start(), 0);
	for (int i = 0; i < 20000; i++)
		log_warn("line %d of a flood that nobody reads, with some more text to fill it up",
			 i);
	read_until("lines were dropped, stderr did not take them\n");
	log_warn("the last one");
	read_until("<4>test_log: the last one\n");
	log_spool_stop();
	log_warn("at once again");
	assert_string_equal(logged(), "<4>test_log: at once again\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_line_form, divert_stderr, restore_stderr),
		cmocka_unit_test_setup_teardown(test_levels, divert_stderr, restore_stderr),
		cmocka_unit_test_setup_teardown(test_long_line_is_cut, divert_stderr,
						restore_stderr),
		cmocka_unit_test_setup_teardown(test_nobody_reads, divert_stderr, restore_stderr),
		cmocka_unit_test_setup_teardown(test_limited_site_counts_what_it_drops,
						divert_stderr, restore_stderr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
