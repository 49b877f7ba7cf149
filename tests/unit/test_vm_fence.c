/* test_vm_fence.c - tests that the agent of a fenced host stops a QEMU that runs there. If somebody
 * starts another QEMU in its place, the agent stops that one at its next check. The order FENCE
 * also ends a copy that the agent has not found yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bare_standby.h"
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
	vm.config = vm.witness.config = &config;
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

/* The QEMU of a guest that was moved away has ended, and a new QEMU has its pid by chance. A later
 * fence that follows no move must not take the new QEMU for the moved guest: an operator may want
 * to examine the new QEMU. */
static void test_a_later_fence_is_of_no_move(void **state)
{
	struct error error;
	pid_t pid = start_qemu();

	(void)state;
	vm.moved_pid = pid;
	vm.term = 5;
	assert_int_equal(vm_fence(&vm, 6, &error), 0); /* FENCE again, while the host is fenced */
	assert_int_equal(vm.moved_pid, pid);
	vm.role = VM_ROLE_NONE;
	assert_int_equal(vm_fence(&vm, 7, &error), 0);
	assert_int_equal(vm.role, VM_ROLE_FENCED);
	assert_int_equal(vm.moved_pid, 0);
	end_qemu(pid);
}

/* Plays the standby's thread. The thread has not looked for the previous agent's copy when the
 * first command comes. It ends after that command, or when the test tells it to. */
static void *late_thread(void *arg)
{
	struct standby *sb = arg;
	struct standby_command *command = NULL;
	uint64_t n;

	assert_int_equal(read(sb->wake_fd, &n, sizeof(n)), sizeof(n));
	pthread_mutex_lock(&sb->lock);
	command = sb->commands;
	sb->commands = NULL;
	pthread_mutex_unlock(&sb->lock);
	if (!command)
		return NULL;
	standby_set_warm(sb); /* now the thread finds the copy */
	standby_carry_out(sb, command);
	pthread_mutex_lock(&sb->lock);
	command->done = true;
	pthread_cond_broadcast(&sb->command_done);
	pthread_mutex_unlock(&sb->lock);
	return command;
}

/* Fence a host whose agent was started a moment ago and has the role @role of term
 * BARE_STANDBY_TERM. A copy of that term is there, but the status does not say so yet. */
static void expect_copy_ended(enum vm_role role)
{
	struct bare_standby x;
	const uint64_t one = 1;
	struct error error = {""};
	void *command;

	bare_standby_open(&x);
	bare_standby_hold(&x, 5);
	x.sb.want_stream = true;
	assert_int_equal(fcntl(x.sb.wake_fd, F_SETFL, 0), 0); /* the thread waits in read() */
	pthread_cond_init(&x.sb.command_done, NULL);
	assert_int_equal(pthread_create(&x.sb.thread, NULL, late_thread, &x.sb), 0);
	vm.standby = &x.sb;
	vm.role = role;
	vm.term = BARE_STANDBY_TERM;
	assert_int_equal(vm_fence(&vm, BARE_STANDBY_TERM + 1, &error), 0);
	assert_int_equal(write(x.sb.wake_fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(pthread_join(x.sb.thread, &command), 0);
	assert_non_null(command); /* NULL: nobody told the standby to end its copy */
	assert_int_equal(epochlog_complete(&x.sb.log), 0);
	assert_int_equal(x.sb.state, STANDBY_STATE_IDLE);
	assert_false(x.sb.want_stream || x.sb.want_qemu);
	assert_int_equal(vm.role, VM_ROLE_FENCED);
	vm.standby = NULL;
	pthread_cond_destroy(&x.sb.command_done);
	bare_standby_close(&x);
}

/* A guest was promoted here, and fenced since, but its QEMU did not end. A PROMOTE order must not
 * take this QEMU for the guest that is to be promoted. */
static void test_a_fenced_guest_is_not_promoted(void **state)
{
	static const enum vm_role roles[] = {VM_ROLE_FENCED, VM_ROLE_PRIMARY};
	const struct wire_order o = {.order_id = 1, .verb = WIRE_VERB_PROMOTE, .vm = "web1"};
	uint64_t until_ns = clock_mono_ns() + 10 * CLOCK_NS_PER_S, term, epoch;
	struct wire_order_done done;
	struct bare_standby x;

	(void)state;
	bare_standby_open(&x);
	x.sb.status.state = STANDBY_STATE_RUNNING;
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		vm.standby = &x.sb;
		vm.role = roles[i];
		vm.term = BARE_STANDBY_TERM + 1;
		vm.must_stop = false;
		assert_int_equal(vm_order(&vm, &o, BARE_STANDBY_TERM + 2, 0), 0);
		assert_int_equal(pthread_create(&vm.thread, NULL, vm_work, &vm), 0);
		while (vm_take_done(&vm, &done, &term, &epoch) < 0)
			assert_true(clock_mono_ns() < until_ns);
		vm_stop_worker(&vm);
		assert_int_equal(done.status, WIRE_ORDER_REFUSED);
		assert_int_equal(vm.role, roles[i]);
	}
	vm.standby = NULL;
	bare_standby_close(&x);
}

static void test_a_copy_is_ended_before_it_is_found(void **state)
{
	(void)state;
	expect_copy_ended(VM_ROLE_STANDBY);
}

/* The previous agent had recorded that its host is fenced, and died before it had ended the copy.
 * The next FENCE order must end the copy. */
static void test_a_copy_is_ended_by_the_next_fence(void **state)
{
	(void)state;
	expect_copy_ended(VM_ROLE_FENCED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_its_successor_is_stopped_at_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_later_fence_is_of_no_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_fenced_guest_is_not_promoted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_copy_is_ended_before_it_is_found, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_copy_is_ended_by_the_next_fence, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
