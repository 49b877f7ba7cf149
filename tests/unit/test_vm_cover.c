/* test_vm_cover.c - tests what the agent reports about a suspended protection: whether the agent
 * still compares the guest with what was protected, and whether the two are the same again
 * (covered_again). A guest in another QEMU process is not compared. */
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
#include "vm/vm_private.h"

static struct qemu_shared *shared;
static char directory[64], path[96];
static struct agent_vm_config config;
static struct vm vm;
static pid_t pid; /* the QEMU that was protected */

static void wake(void *arg)
{
	(void)arg;
}

/* Suspend the protection of the guest in QEMU @pid. */
static int setup(void **state)
{
	(void)state;
	shared = qemu_share();
	strcpy(directory, "/tmp/test_vm_cover.XXXXXX");
	if (!shared || !mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/qmp", directory);
	config = (struct agent_vm_config){.name = "web1"};
	vm = (struct vm){.config = &config, .role = VM_ROLE_RUNNING};
	vm.environment.wake = wake;
	pthread_mutex_init(&vm.lock, NULL);
	pid = qemu_start_process(shared, path, true);
	vm.cover = (struct vm_cover){.is_suspended = true, .pid = pid};
	strcpy(vm.cover.qmp, path);
	strcpy(vm.cover.text, "added: rng1");
	return pid > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	rmdir(directory);
	pthread_mutex_destroy(&vm.lock);
	return munmap(shared, sizeof(*shared));
}

static bool says(const char *stat)
{
	struct wire_report report = {0};

	vm_cover_report(&vm, &report);
	return strstr(report.stats, stat) != NULL;
}

static void its_guest_is_compared(void **state)
{
	(void)state;
	assert_true(vm_cover_due_ns(&vm) < UINT64_MAX);
	/* This monitor does not list its devices, so the comparison finds nothing. */
	vm_cover_look(&vm);
	assert_true(says("suspended=1"));
	assert_false(says("covered_again"));
	vm.cover.is_again = true;
	assert_true(says("suspended=1") && says("covered_again=1"));
	assert_true(qemu_end_process(pid));
}

static void a_restarted_guest_is_another(void **state)
{
	(void)state;
	assert_true(qemu_end_process(pid));
	pid = qemu_start_process(shared, path, true);
	assert_true(pid > 0);
	vm.cover.pid = getpid(); /* now a different process has the protected QEMU's pid */
	vm_cover_look(&vm);
	assert_true(says("suspended=0"));
	assert_int_equal(vm_cover_due_ns(&vm), UINT64_MAX);
	assert_true(qemu_end_process(pid));
}

static void an_ended_guest_is_not_waited_for(void **state)
{
	(void)state;
	assert_true(qemu_end_process(pid));
	vm_cover_look(&vm);
	assert_true(says("suspended=0"));
}

/* An agent that was restarted does not know what was protected. It reports that it compares nothing
 * (suspended=0). */
static void a_new_agent_says_so(void **state)
{
	(void)state;
	assert_true(qemu_end_process(pid));
	vm.cover = (struct vm_cover){0};
	assert_true(says("suspended=0"));
	vm.role = VM_ROLE_STANDBY; /* a standby has no protection to suspend */
	assert_false(says("suspended"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(its_guest_is_compared, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restarted_guest_is_another, setup, teardown),
		cmocka_unit_test_setup_teardown(an_ended_guest_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_agent_says_so, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
