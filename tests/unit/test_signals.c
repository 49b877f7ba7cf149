/* Tests what a daemon does with each signal, and what a program that it starts inherits. */
#include "base/signals.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/child.h"

static void each_signal_asks_for_one_thing(void **state)
{
	static const struct {
		int signal;
		enum signals_wish wish;
		const char *name;
	} rows[] = {
		{SIGTERM, SIGNALS_END, "TERM"},	  {SIGINT, SIGNALS_END, "INT"},
		{SIGQUIT, SIGNALS_END, "QUIT"},	  {SIGHUP, SIGNALS_RELOAD, "HUP"},
		{SIGUSR1, SIGNALS_NONE, "USR1"},  {SIGUSR2, SIGNALS_REPLACE, "USR2"},
		{SIGALRM, SIGNALS_NONE, "ALRM"},  {SIGVTALRM, SIGNALS_NONE, "VTALRM"},
		{SIGPROF, SIGNALS_NONE, "PROF"},  {SIGIO, SIGNALS_NONE, "POLL"},
		{SIGPWR, SIGNALS_NONE, "PWR"},	  {SIGSTKFLT, SIGNALS_NONE, "STKFLT"},
		{SIGXCPU, SIGNALS_NONE, "XCPU"},
	};
	const char *name;
	int fd = signals_open();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(signals_take(fd, &name), SIGNALS_NONE);
	assert_string_equal(name, "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(raise(rows[i].signal), 0);
		assert_int_equal(signals_take(fd, &name), rows[i].wish);
		assert_string_equal(name, rows[i].name);
	}
	assert_int_equal(raise(SIGRTMIN + 3), 0);
	assert_int_equal(signals_take(fd, &name), SIGNALS_NONE);
	assert_string_equal(name, "RT");
	/* SIGPIPE and SIGXFSZ are ignored and never become pending. */
	assert_int_equal(raise(SIGPIPE), 0);
	assert_int_equal(raise(SIGXFSZ), 0);
	assert_int_equal(signals_take(fd, &name), SIGNALS_NONE);
	assert_string_equal(name, "");
	close(fd);
}

/* This program exits with 0 only if it starts with no signal blocked or ignored. The signals 32 and
 * 33 do not count: they are glibc's own, and its posix_spawn() leaves them ignored. */
static char *const looks[] = {
	"awk",
	"/^Sig(Blk|Ign):/ { n++; bad += $2 !~ /^0+(180000000)?$/ } END { exit bad || n != 2 }",
	"/proc/self/status", NULL};

static void run_it(void *arg)
{
	(void)arg;
	child_signals();
	execvp(looks[0], looks);
	_exit(127);
}

static void ended_well(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void programs_inherit_nothing(void **state)
{
	posix_spawnattr_t attributes;
	int fd;
	pid_t pid;

	(void)state;
	/* whoever runs this test may have set some signals to be ignored */
	for (int i = 1; i < SIGRTMIN; i++)
		(void)signal(i, SIG_DFL);
	fd = signals_open();
	assert_true(fd >= 0);
	ended_well(child_start(run_it, NULL));
	assert_int_equal(child_attributes(&attributes, POSIX_SPAWN_SETSID), 0);
	assert_int_equal(posix_spawnp(&pid, looks[0], NULL, &attributes, looks, environ), 0);
	posix_spawnattr_destroy(&attributes);
	assert_int_equal(getsid(pid), pid);
	ended_well(pid);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_signal_asks_for_one_thing),
		cmocka_unit_test(programs_inherit_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
