/* Tests replace/inherited: the agent reaps children of its previous program, and leaves other
 * processes alone. */
#include "replace/inherited.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static pid_t start_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

static void a_child_is_reaped(void **state)
{
	static struct onward onward = {.n_vms = 3};
	static struct inherited inherited;
	pid_t first = start_child(), second = start_child();
	struct pollfd ended = {.events = POLLIN};

	(void)state;
	onward.vm[0].handed.pid = getppid(); /* a guest that was never the agent's child */
	onward.vm[1].handed.pid = first;
	onward.vm[2].handed.pid = second;
	inherited_take(&inherited, &onward);
	assert_int_equal(inherited.n, 3);
	inherited_reap(&inherited);
	assert_int_equal(inherited.n, 2);
	ended.fd = inherited.fd[0];
	assert_int_equal(kill(first, SIGKILL), 0);
	assert_int_equal(kill(second, SIGKILL), 0);
	for (uint32_t i = 0; i < 2; i++) {
		ended.fd = inherited.fd[i];
		assert_int_equal(poll(&ended, 1, 10000), 1);
	}
	inherited_reap(&inherited);
	assert_int_equal(inherited.n, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void nothing_was_handed_on(void **state)
{
	struct inherited inherited;

	(void)state;
	inherited_take(&inherited, NULL);
	assert_int_equal(inherited.n, 0);
	inherited_reap(&inherited);
	inherited_done(&inherited);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_is_reaped),
		cmocka_unit_test(nothing_was_handed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
