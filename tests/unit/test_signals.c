/* Tests what a daemon does with each signal. */
#include "base/signals.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_signal_asks_for_one_thing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
