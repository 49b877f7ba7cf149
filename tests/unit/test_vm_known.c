/* test_vm_known.c - tests what a restarted agent reports about the guest that the previous agent
 * protected: the guest runs, has ended meanwhile, or nothing is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "mint_certs.h"
#include "qemu_process.h"
#include "vm/vm_known_private.h"
#include "vm/vm_private.h"

#define TERM 5u

static struct qemu_shared *shared;
static char directory[64], path[96], record[96];
static struct agent_config agent;
static struct agent_vm_config config;
static struct vm *vm;
static sem_t changed;
static pid_t pid;
static struct wire_tls_context *tls, *gateway_tls;

static void wake(void *arg)
{
	(void)arg;
	sem_post(&changed);
}

static int set_up_certs(void **state)
{
	(void)state;
	mint_two(&tls, &gateway_tls);
	return 0;
}

static int tear_down_certs(void **state)
{
	(void)state;
	wire_tls_context_free(tls);
	wire_tls_context_free(gateway_tls);
	return 0;
}

/* Set up a host on which an agent protected the guest of a QEMU and has ended since. */
static int setup(void **state)
{
	const struct vm before = {.environment.config = &agent, .config = &config};
	struct error error;

	(void)state;
	shared = qemu_share();
	strcpy(directory, "/tmp/test_vm_known.XXXXXX");
	if (!shared || !mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/qmp", directory);
	snprintf(record, sizeof(record), "%s/web1.guest", directory);
	strcpy(agent.run_dir, directory);
	strcpy(agent.role_dir, directory);
	strcpy(agent.pin_dir, directory);
	config = (struct agent_vm_config){.name = "web1"};
	strcpy(config.qmp, path);
	vm = NULL;
	pid = qemu_start_process(shared, path, true);
	assert_true(pid > 0);
	assert_int_equal(vm_known_store(&before, pid, &error), 0);
	assert_int_equal(vm_role_store(directory, directory, "web1", VM_ROLE_PRIMARY, TERM), 0);
	return sem_init(&changed, 0, 0);
}

static int teardown(void **state)
{
	char remove[128];

	(void)state;
	vm_close(vm);
	(void)qemu_end_process(pid);
	snprintf(remove, sizeof(remove), "rm -r %s", directory);
	return system(remove) == 0 ? munmap(shared, sizeof(*shared)) : -1;
}

static void open_agent(void)
{
	const struct vm_environment environment = {.config = &agent, .wake = wake, .tls = tls};

	assert_int_equal(vm_open(&environment, &config, NULL, &vm), 0);
}

static void end_guest(void)
{
	assert_true(qemu_end_process(pid));
	pid = -1;
}

/* Wait until the agent reports that it has found the guest, or the end of the guest. */
static void await(bool is_found, uint8_t verdict)
{
	uint64_t until_ns = clock_wall_ns() + 10 * CLOCK_NS_PER_S;
	struct timespec until = {.tv_sec = (time_t)(until_ns / CLOCK_NS_PER_S)};

	for (;;) {
		struct wire_report report;
		uint64_t term, epoch;

		vm_report(vm, &report, &term, &epoch);
		assert_int_equal(report.state, WIRE_STATE_LOST);
		assert_int_equal(term, TERM);
		if (!!strstr(report.stats, "guest_found=1\n") == is_found &&
		    report.verdict == verdict)
			return;
		assert_int_equal(sem_timedwait(&changed, &until), 0);
	}
}

static void the_guest_is_found(void **state)
{
	(void)state;
	open_agent();
	await(true, WIRE_VERDICT_NONE);
	/* it ends while this agent still waits for orders */
	end_guest();
	await(false, WIRE_VERDICT_EXITED);
}

/* Once the agent has reported the guest's end, it does not protect another QEMU at that monitor in
 * the same term. */
static void the_guest_has_ended(void **state)
{
	const struct wire_order order = {.order_id = 1, .verb = WIRE_VERB_PROTECT, .vm = "web1"};
	uint64_t term, epoch, until_ns = clock_mono_ns() + 10 * CLOCK_NS_PER_S;
	struct wire_order_done done;

	(void)state;
	end_guest();
	open_agent();
	await(false, WIRE_VERDICT_EXITED);
	pid = qemu_start_process(shared, path, true);
	assert_true(pid > 0);
	assert_int_equal(vm_order(vm, &order, TERM, 0), 0);
	while (vm_take_done(vm, &done, &term, &epoch) < 0)
		assert_true(clock_mono_ns() < until_ns);
	assert_int_equal(done.status, WIRE_ORDER_FAILED);
	assert_non_null(strstr(done.text, "has ended"));
	await(false, WIRE_VERDICT_EXITED);
}

/* ---- one look at a time */

static struct vm bare;

static enum vm_guest_state look(void)
{
	bare = (struct vm){.config = &config, .role = VM_ROLE_PRIMARY, .term = TERM};
	bare.environment.config = &agent;
	pthread_mutex_init(&bare.lock, NULL);
	vm_guest_init(&bare.guest);
	assert_true(vm_known_seeks(&bare));
	(void)vm_known_seek(&bare, 0);
	vm_guest_done(&bare.guest);
	return bare.found;
}

static void write_record(const char *text)
{
	FILE *file = fopen(record, "we");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

/* QEMU's process shows whether the guest runs, not the monitor's path, which may have been
 * changed. */
static void another_path(void **state)
{
	(void)state;
	strcat(config.qmp, ".moved");
	assert_int_equal(look(), VM_GUEST_ALIVE);
	end_guest();
	assert_int_equal(look(), VM_GUEST_GONE);
	/* nothing more to look for: the guest will not come back */
	assert_false(vm_known_seeks(&bare));
}

/* The guest has ended, and somebody has started another QEMU. Nothing is reported about the
 * guest. */
static void another_qemu(void **state)
{
	(void)state;
	end_guest();
	pid = qemu_start_process(shared, path, true);
	assert_true(pid > 0);
	assert_int_equal(look(), VM_GUEST_UNKNOWN);
}

static void another_process_has_its_pid(void **state)
{
	char text[32];

	(void)state;
	snprintf(text, sizeof(text), "%d 1\n", (int)getpid());
	write_record(text);
	/* the guest's QEMU still listens at the monitor */
	assert_int_equal(look(), VM_GUEST_UNKNOWN);
	end_guest();
	assert_int_equal(look(), VM_GUEST_GONE);
}

/* If there is no record (an older agent leaves none), nothing is reported about the guest. */
static void no_record(void **state)
{
	(void)state;
	end_guest();
	write_record("");
	assert_int_equal(look(), VM_GUEST_UNKNOWN);
	assert_int_equal(unlink(record), 0);
	assert_int_equal(look(), VM_GUEST_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_guest_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(the_guest_has_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(another_path, setup, teardown),
		cmocka_unit_test_setup_teardown(another_qemu, setup, teardown),
		cmocka_unit_test_setup_teardown(another_process_has_its_pid, setup, teardown),
		cmocka_unit_test_setup_teardown(no_record, setup, teardown),
	};

	/* the process that plays QEMU can greet a client that is gone already */
	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up_certs, tear_down_certs);
}
