/* Tests fault points. The test compiles fault.c itself with fault points on, because the library
 * has none. */
#define HOLDFAST_FAULT_POINTS 1
#include "base/error.h"
#include "base/fault.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_names_are_complete_and_distinct(void **state)
{
	(void)state;
	for (int i = 0; i < FAULT_N_POINTS; i++) {
		assert_non_null(fault_name((enum fault_point)i));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(names[i], names[j]);
	}
}

static void test_malformed_is_refused_with_the_names(void **state)
{
	static const char *const texts[] = {"",
					    "nowhere",
					    "mid_send:",
					    "mid_send:0",
					    "mid_send:-1",
					    "mid_send:kil",
					    "mid_send:1:kill:x",
					    "mid_send:kill:2",
					    "mid_send:1:2",
					    "mid_send:delay=",
					    "mid_send:delay=x",
					    "MID_SEND",
					    "mid_send:99999999999999999999"};
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		setenv("HOLDFAST_FAULT", texts[i], 1);
		error.text[0] = '\0';
		assert_int_equal(fault_init(&error), -EINVAL);
		assert_non_null(strstr(error.text, "before_stop"));
		assert_non_null(strstr(error.text, "gateway_promoting"));
	}
	unsetenv("HOLDFAST_FAULT");
	assert_int_equal(fault_init(&error), 0);
	FAULT_POINT(FAULT_MID_SEND); /* not armed, so this returns */
}

/* Run a child that has HOLDFAST_FAULT=@fault and passes the fault point mid_send three times.
 * Returns its wait status. */
static int run_child(const char *fault)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct error error;

		setenv("HOLDFAST_FAULT", fault, 1);
		if (fault_init(&error) < 0)
			_exit(99);
		FAULT_POINT(FAULT_AFTER_SEND);
		for (int i = 1; i <= 3; i++)
			FAULT_POINT(FAULT_MID_SEND);
		_exit(3);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		int ignored;

		kill(pid, SIGKILL);
		waitpid(pid, &ignored, 0);
	}
	return status;
}

static void test_actions(void **state)
{
	int status;

	(void)state;
	status = run_child("mid_send");
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = run_child("mid_send:3:kill");
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = run_child("mid_send:4:kill");
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	status = run_child("mid_send:2:exit");
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATUS);
	status = run_child("mid_send:stop");
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	status = run_child("before_stop");
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void test_delay_from_the_nth_pass_on(void **state)
{
	struct error error;
	uint64_t start_ns;

	(void)state;
	setenv("HOLDFAST_FAULT", "mid_send:2:delay=5", 1);
	assert_int_equal(fault_init(&error), 0);
	start_ns = clock_mono_ns();
	for (int i = 0; i < 3; i++)
		FAULT_POINT(FAULT_MID_SEND);
	assert_true(clock_mono_ns() - start_ns >= 10 * CLOCK_NS_PER_MS);
	unsetenv("HOLDFAST_FAULT");
}

static void test_nothing_counts_before_the_gate(void **state)
{
	char path[] = "/tmp/holdfast-test-fault-XXXXXX";
	int fd = mkstemp(path), status;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	setenv("HOLDFAST_FAULT_GATE", path, 1);
	status = run_child("mid_send:3");
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	unlink(path);
	status = run_child("mid_send:1");
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	unsetenv("HOLDFAST_FAULT_GATE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_complete_and_distinct),
		cmocka_unit_test(test_malformed_is_refused_with_the_names),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_delay_from_the_nth_pass_on),
		cmocka_unit_test(test_nothing_counts_before_the_gate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
