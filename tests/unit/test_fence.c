/* Tests fence commands: the end of a command is reported exactly once, however the command ends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fence/fence.h"
#include "loop/source.h"

static struct {
	struct fence *fence;
	char dir[64];
	int epoll_fd;
	unsigned n_told;
	int result; /* returned by the callback */
	bool ok;
	uint64_t term;
	char vm[64], host[64], text[FENCE_TEXT_MAX];
} t;

static int ended(void *arg, const char *vm, const char *host, uint64_t term, bool ok,
		 const char *text)
{
	assert_ptr_equal(arg, &t);
	t.n_told++;
	t.ok = ok;
	t.term = term;
	strcpy(t.vm, vm);
	strcpy(t.host, host);
	strcpy(t.text, text);
	return t.result;
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	strcpy(t.dir, "/tmp/holdfast-fence-XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	t.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return fence_open(t.epoll_fd, t.dir, ended, &t, &t.fence);
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	fence_close(t.fence);
	close(t.epoll_fd);
	(void)snprintf(command, sizeof(command), "rm -r %s", t.dir);
	return system(command);
}

static void start(const char *command, uint64_t timeout_ns)
{
	fence_start(t.fence, command, "web1", "alpha", 7, timeout_ns, clock_mono_ns());
	assert_int_equal(t.n_told, 0); /* starting a command never calls back */
}

/* Run the event loop as main() does, until the callback was called. */
static void wait_told(void)
{
	uint64_t give_up_ns = clock_mono_ns() + 30 * CLOCK_NS_PER_S;

	while (t.n_told == 0) {
		uint64_t now_ns = clock_mono_ns(), at_ns = fence_deadline_ns(t.fence);

		assert_true(now_ns < give_up_ns);
		assert_true(source_wait(t.epoll_fd, at_ns > now_ns ? at_ns - now_ns : 0) >= 0);
		fence_poll(t.fence, clock_mono_ns());
	}
}

static void success_is_told(void **state)
{
	(void)state;
	start("test \"$HOLDFAST_VM $HOLDFAST_HOST $HOLDFAST_TERM\" = 'web1 alpha 7' && echo plug 3 "
	      "is off",
	      10 * CLOCK_NS_PER_S);
	wait_told();
	assert_true(t.ok);
	assert_string_equal(t.vm, "web1");
	assert_string_equal(t.host, "alpha");
	assert_int_equal(t.term, 7);
	assert_string_equal(t.text, "exit status 0: plug 3 is off");
	fence_poll(t.fence, clock_mono_ns());
	assert_int_equal(t.n_told, 1);
	assert_true(fence_deadline_ns(t.fence) == UINT64_MAX);
}

static void failures_are_told(void **state)
{
	static const struct {
		const char *command, *text;
	} rows[] = {
		{"echo first; printf 'no \\033such plug\\n' >&2; exit 3",
		 "exit status 3: no ?such plug"},
		{"kill -KILL $$", "ended by signal 9"},
		{"/nonexistent/fence", "exit status 127"},
		{"cat", "exit status 0"}, /* standard input is empty */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		t.n_told = 0;
		start(rows[i].command, 10 * CLOCK_NS_PER_S);
		wait_told();
		assert_int_equal(t.ok, strstr(rows[i].text, "status 0") != NULL);
		assert_memory_equal(t.text, rows[i].text, strlen(rows[i].text));
	}
}

/* The timeout also kills the command's children, which would otherwise keep the log open. */
static void time_is_bounded(void **state)
{
	(void)state;
	start("sleep 1000 & sleep 1000", 50 * CLOCK_NS_PER_MS);
	wait_told();
	assert_false(t.ok);
	assert_string_equal(t.text, "killed after 50 ms");
}

static void what_was_not_taken_is_told_again(void **state)
{
	uint64_t now_ns;

	(void)state;
	t.result = -5;
	start("true", 10 * CLOCK_NS_PER_S);
	wait_told();
	now_ns = clock_mono_ns();
	fence_poll(t.fence, now_ns);
	assert_int_equal(t.n_told, 1);
	t.result = 0;
	fence_poll(t.fence, now_ns + 2 * CLOCK_NS_PER_S);
	assert_int_equal(t.n_told, 2);
	fence_poll(t.fence, now_ns + 9 * CLOCK_NS_PER_S);
	assert_int_equal(t.n_told, 2);
}

static void closing_ends_what_runs(void **state)
{
	(void)state;
	start("sleep 1000", 1000 * CLOCK_NS_PER_S);
	start("exec sleep 1000", 1000 * CLOCK_NS_PER_S);
	/* teardown kills this command and need not wait for it */
}

/* The command must not inherit a descriptor without O_CLOEXEC, for example from a library. */
static void it_inherits_no_descriptor(void **state)
{
	int leak = dup(STDERR_FILENO);

	(void)state;
	assert_true(leak > 2);
	start("n=0; for f in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$f ] && n=$((n + 1)); done; "
	      "echo $n",
	      10 * CLOCK_NS_PER_S);
	wait_told();
	close(leak);
	assert_true(t.ok);
	assert_string_equal(t.text, "exit status 0: 0");
}

/* A log that cannot be opened must not keep the command from running. A log on a disk that hangs
 * must not stop the loop. */
static void the_log_is_not_waited_for(void **state)
{
	struct stat st;
	char log[96];

	(void)state;
	(void)snprintf(log, sizeof(log), "%s/fence-web1.log", t.dir);
	assert_int_equal(mkdir(log, 0700), 0);
	start("echo off; exit 4", 10 * CLOCK_NS_PER_S);
	wait_told();
	assert_memory_equal(t.text, "exit status 4", 13);
	assert_int_equal(rmdir(log), 0);
	t.n_told = 0;
	/* only the log gets a private mode; the command runs with our own umask */
	start("umask", 10 * CLOCK_NS_PER_S);
	wait_told();
	assert_string_not_equal(t.text, "exit status 0: 0077");
	assert_int_equal(stat(log, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(unlink(log), 0);
	t.n_told = 0;
	assert_int_equal(mkfifo(log, 0600), 0); /* opening it would block */
	alarm(10); /* ends the test if it hangs */
	start("echo off", 50 * CLOCK_NS_PER_MS);
	alarm(0);
	wait_told();
	assert_string_equal(t.text, "killed after 50 ms");
}

static void a_command_without_a_program_is_seen(void **state)
{
	static const struct {
		const char *command, *words; /* words: a part of the error; NULL: no error */
	} rows[] = {
		{"", NULL},
		{"/bin/sh", NULL},
		{"  sh -c 'exit 0'", NULL},
		{"/nowhere/fence", "/nowhere/fence does not exist"},
		{" /nowhere/fence -o off || exit 1", "/nowhere/fence does not exist"},
		{"no-such-fence -a $HOLDFAST_HOST", "no-such-fence is in no directory of PATH"},
		{"/etc/passwd -x", "/etc/passwd is no program"},
		{"/tmp", "/tmp is no program"},
		/* fence_check() accepts commands that the shell carries out itself, and words that
		 * the shell changes */
		{"exec /nowhere/fence", NULL},
		{"exit 1", NULL},
		{"if no-such-fence; then exit 1; fi", NULL},
		{"PLUG=3 no-such-fence", NULL},
		{"$FENCE off", NULL},
		{"no-such-fence; true", NULL},
		{"(no-such-fence)", NULL},
		{"'/nowhere/fence'", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct error error = {.text = ""};
		int r = fence_check(rows[i].command, &error);

		assert_int_equal(r, rows[i].words ? -ENOENT : 0);
		assert_string_equal(error.text, rows[i].words ? rows[i].words : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(success_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(failures_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(it_inherits_no_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(the_log_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(time_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_not_taken_is_told_again, setup, teardown),
		cmocka_unit_test_setup_teardown(closing_ends_what_runs, setup, teardown),
		cmocka_unit_test(a_command_without_a_program_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
