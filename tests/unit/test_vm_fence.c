/* test_vm_fence.c - tests that the agent of a fenced host stops a running QEMU there. If somebody
 * starts another QEMU in its place, the agent stops that QEMU at its next check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "qemu_process.h"
#include "vm/vm_fence_private.h"
#include "vm/vm_private.h"

static struct qemu_shared *shared;
static char directory[64], path[96];
static struct agent_config agent;
static struct agent_vm_config config;
static struct vm vm;

static pid_t start_qemu(void)
{
	pid_t pid = qemu_start_process(shared, path, true);

	assert_true(pid > 0);
	return pid;
}

static void end_qemu(pid_t pid)
{
	assert_true(qemu_end_process(pid));
}

/* Do what the agent's worker does. Each time that a check is due, look for a guest that must not
 * run here. Return when the guest is stopped. */
static void look_until_stopped(void)
{
	uint64_t until_ns = clock_mono_ns() + 10 * CLOCK_NS_PER_S;

	while (shared->runs) {
		assert_true(clock_mono_ns() < until_ns);
		vm_fence_look(&vm);
	}
}

static void wake(void *arg)
{
	(void)arg;
}

static int setup(void **state)
{
	(void)state;
	shared = qemu_share();
	strcpy(directory, "/tmp/test_vm_fence.XXXXXX");
	if (!shared || !mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/qmp", directory);
	strcpy(config.name, "web1");
	strcpy(config.qmp, path);
	strcpy(agent.run_dir, directory);
	strcpy(agent.role_dir, directory);
	vm.config = &config;
	vm.environment.config = &agent;
	vm.environment.wake = wake;
	vm.role = VM_ROLE_FENCED;
	pthread_mutex_init(&vm.lock, NULL);
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"qmp", "web1.role", "web1.fenced"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
	pthread_mutex_destroy(&vm.lock);
	return munmap(shared, sizeof(*shared));
}

static void test_its_successor_is_stopped_at_once(void **state)
{
	pid_t pid;
	int n_clients;

	(void)state;
	assert_true(vm_fence_watches(&vm));
	pid = start_qemu();
	look_until_stopped();
	assert_int_equal(vm.stopped_pid, pid);
	assert_non_null(strstr(vm.fenced_text, "was started here"));
	/* For one second, a stopped QEMU is not asked again. */
	n_clients = shared->n_clients;
	vm_fence_look(&vm);
	assert_int_equal(shared->n_clients, n_clients);
	assert_true(vm.look_at_ns - clock_mono_ns() <= 100 * CLOCK_NS_PER_MS);
	/* The agent finds a new process in QEMU's place at its next check. */
	end_qemu(pid);
	pid = start_qemu();
	look_until_stopped();
	assert_true(shared->n_clients > n_clients);
	assert_int_equal(vm.stopped_pid, pid);
	end_qemu(pid);
	vm_fence_look(&vm);
	assert_int_equal(vm.stopped_pid, 0);
	assert_string_equal(vm.fenced_text, "");
}

/* A QEMU that was moved away has ended, and another has its pid by chance: a later fence, which
 * follows no move, must not take that one for the moved guest. It may be worth a look. */
static void test_a_later_fence_is_of_no_move(void **state)
{
	struct error error;
	pid_t pid = start_qemu();

	(void)state;
	vm.moved_pid = pid;
	vm.term = 5;
	assert_int_equal(vm_fence(&vm, 6, &error), 0); /* the order again, while it is fenced */
	assert_int_equal(vm.moved_pid, pid);
	vm.role = VM_ROLE_NONE;
	assert_int_equal(vm_fence(&vm, 7, &error), 0);
	assert_int_equal(vm.role, VM_ROLE_FENCED);
	assert_int_equal(vm.moved_pid, 0);
	end_qemu(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_its_successor_is_stopped_at_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_later_fence_is_of_no_move, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
