/* test_vm_end.c - tests when the agent ends the QEMU of a guest that was fenced here, and that the
 * agent keeps this QEMU in all other cases. Covers each refusal, and each way in which QEMU ends or
 * fails to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "qemu_process.h"
#include "standby/ramfile.h"
#include "vm/vm_end_private.h"
#include "vm/vm_fence_private.h"
#include "vm/vm_fenced_private.h"
#include "vm/vm_private.h"

#define FENCED_TERM 5u
#define TIMEOUT_NS  (10 * CLOCK_NS_PER_S)

static struct qemu_shared *shared;
static char directory[64], path[96], role_path[96], fenced_path[96];
static struct agent_config agent;
static struct agent_vm_config config;
static struct vm vm;
static struct error error;
static pid_t pid; /* QEMU of the guest that was fenced here and is stopped */
static char *words; /* WORDS_ROOM bytes of this process's command line */
static sem_t changed;

#define WORDS_ROOM                                                                                 \
	"......................................................" \
	"......................................................"

/* Record that this host was fenced @after_ms after now. */
static void fence_at(int64_t after_ms)
{
	int64_t ns = (int64_t)clock_wall_ns() + after_ms * (int64_t)CLOCK_NS_PER_MS;
	struct timespec times[2];

	assert_int_equal(vm_role_store(directory, directory, "web1", VM_ROLE_FENCED, FENCED_TERM),
			 0);
	assert_int_equal(vm_fenced_store(directory, "web1", &pid, 1, 0, UINT64_MAX), 0);
	times[0] = times[1] = (struct timespec){.tv_sec = ns / (int64_t)CLOCK_NS_PER_S,
						.tv_nsec = ns % (int64_t)CLOCK_NS_PER_S};
	assert_int_equal(utimensat(AT_FDCWD, role_path, times, 0), 0);
}

static int setup(void **state)
{
	(void)state;
	shared = qemu_share();
	strcpy(directory, "/tmp/test_vm_end.XXXXXX");
	if (!shared || !mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/qmp", directory);
	snprintf(role_path, sizeof(role_path), "%s/web1.role", directory);
	snprintf(fenced_path, sizeof(fenced_path), "%s/web1.fenced", directory);
	strcpy(agent.run_dir, directory);
	strcpy(agent.role_dir, directory);
	config = (struct agent_vm_config){.name = "web1",
					  .fenced_guest = AGENT_FENCED_GUEST_END};
	strcpy(config.qmp, path);
	vm = (struct vm){.config = &config, .role = VM_ROLE_FENCED, .term = FENCED_TERM};
	vm.environment.config = &agent;
	pthread_mutex_init(&vm.lock, NULL);
	progress_init(&vm.progress);
	error.text[0] = '\0';
	pid = qemu_start_process(shared, path, false);
	fence_at(0);
	return pid > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	(void)qemu_end_process(pid);
	unlink(path);
	unlink(role_path);
	unlink(fenced_path);
	rmdir(directory);
	progress_done(&vm.progress);
	pthread_mutex_destroy(&vm.lock);
	return munmap(shared, sizeof(*shared));
}

static int end(uint64_t term)
{
	return vm_end_fenced(&vm, term, TIMEOUT_NS, &error);
}

static void expect_kept(int result, const char *says)
{
	assert_int_equal(end(FENCED_TERM + 1), result);
	assert_non_null(strstr(error.text, says));
	assert_int_equal(shared->n_quits, 0);
	assert_false(qemu_process_has_ended(pid));
}

static void a_newer_term_ends_it(void **state)
{
	(void)state;
	assert_int_equal(end(FENCED_TERM + 1), 0);
	assert_int_equal(shared->n_quits, 1);
	assert_true(qemu_process_has_ended(pid));
	assert_int_equal(end(FENCED_TERM + 1), 0); /* the order again: there is nothing to end */
}

static void its_end_counts_not_its_answer(void **state)
{
	(void)state;
	shared->quit = QEMU_QUIT_SILENT;
	assert_int_equal(end(FENCED_TERM + 1), 0);
	assert_true(qemu_process_has_ended(pid));
}

static void the_default_keeps_it(void **state)
{
	(void)state;
	config.fenced_guest = AGENT_FENCED_GUEST_KEEP;
	expect_kept(0, "");
}

/* Nobody needs the old QEMU of a guest that was moved away, so it is ended whatever the policy
 * is. */
static void a_moved_guest_is_ended_whatever_the_policy_is(void **state)
{
	(void)state;
	config.fenced_guest = AGENT_FENCED_GUEST_KEEP;
	config.fenced_guest_keep_s = 3600;
	vm.moved_pid = pid + 1; /* this is not the pid of the QEMU that is found */
	expect_kept(0, "");
	vm.moved_pid = pid;
	assert_int_equal(end(FENCED_TERM), -EBUSY); /* not by an order of the fence's own term */
	assert_int_equal(end(FENCED_TERM + 1), 0);
	assert_true(qemu_process_has_ended(pid));
}

/* The old QEMU of a moved guest is kept if somebody let it run after the move. */
static void a_moved_guest_that_ran_is_kept(void **state)
{
	(void)state;
	vm.moved_pid = pid;
	shared->runs = true;
	expect_kept(-EBUSY, "or let run, after this host was fenced");
}

static void only_a_fenced_host_ends_it(void **state)
{
	(void)state;
	for (enum vm_role role = VM_ROLE_NONE; role < VM_ROLE_FENCED; role++) {
		vm.role = role;
		expect_kept(0, "");
	}
	vm.role = VM_ROLE_FENCED;
	vm.is_unsure = true;
	expect_kept(0, "");
}

static void the_term_of_the_fence_keeps_it(void **state)
{
	(void)state;
	vm.term = FENCED_TERM + 1;
	expect_kept(-EBUSY, "fenced here in term 6, and only an order of a newer term ends it");
}

static void a_guest_that_ran_is_stopped_and_kept(void **state)
{
	(void)state;
	shared->runs = true;
	expect_kept(-EBUSY, "or let run, after this host was fenced");
	assert_false(shared->runs);
	/* even if it was stopped again */
	expect_kept(-EBUSY, "or let run, after this host was fenced");
}

static void a_guest_let_run_meanwhile_is_kept(void **state)
{
	(void)state;
	shared->cont_at = 2; /* let run just before `quit`, after it was found stopped */
	expect_kept(-EBUSY, "does not say that the guest is stopped");
	assert_int_equal(shared->n_clients, 2);
}

/* If somebody let the fenced guest run, an agent that is restarted afterwards also keeps it. */
static void the_next_agent_keeps_it_too(void **state)
{
	(void)state;
	shared->runs = true;
	expect_kept(-EBUSY, "or let run, after this host was fenced");
	vm.intruder_pid = 0;
	expect_kept(-EBUSY, "or let run, after this host was fenced");
}

static void start_another(void)
{
	assert_true(qemu_end_process(pid));
	pid = qemu_start_process(shared, path, false);
	assert_true(pid > 0);
}

static void a_qemu_started_after_the_fence_is_kept(void **state)
{
	(void)state;
	start_another();
	expect_kept(-EBUSY, "was started here, or let run, after this host was fenced");
}

/* The host is fenced, a QEMU is started there, the host is fenced again, and the agent restarts.
 * The QEMU that was started between the fences is kept. */
static void a_qemu_started_between_two_fences_is_kept(void **state)
{
	(void)state;
	vm.term = FENCED_TERM - 2;
	vm.role = VM_ROLE_RUNNING;
	assert_int_equal(vm_fence(&vm, FENCED_TERM - 1, &error), 0);
	assert_int_equal(vm_fenced_find(directory, "web1", pid), 1);
	start_another();
	assert_int_equal(vm_fence(&vm, FENCED_TERM, &error), 0);
	assert_int_equal(vm_fence(&vm, FENCED_TERM, &error), 0); /* the order again */
	vm.intruder_pid = 0;
	expect_kept(-EBUSY, "was started here, or let run, after this host was fenced");
}

/* After two fences, the guest that the first fence found still counts as the fenced guest, and is
 * ended. */
static void the_fenced_guest_is_ended_after_two_fences(void **state)
{
	(void)state;
	vm.term = FENCED_TERM - 2;
	vm.role = VM_ROLE_RUNNING;
	shared->runs = true;
	assert_int_equal(vm_fence(&vm, FENCED_TERM - 1, &error), 0);
	assert_false(shared->runs);
	assert_int_equal(vm_fence(&vm, FENCED_TERM, &error), 0);
	assert_int_equal(end(FENCED_TERM + 1), 0);
	assert_true(qemu_process_has_ended(pid));
}

/* A QEMU that an autostart has started after a boot is not the guest that was protected, so it is
 * kept. */
static void a_qemu_started_by_a_boot_is_kept(void **state)
{
	(void)state;
	vm.term = FENCED_TERM - 1;
	vm.role = VM_ROLE_PRIMARY;
	vm.is_unsure = true;
	assert_int_equal(vm_fence(&vm, FENCED_TERM, &error), 0);
	expect_kept(-EBUSY, "was started here, or let run, after this host was fenced");
}

static void a_number_given_again_is_another_process(void **state)
{
	char text[32];
	FILE *file = fopen(fenced_path, "w");

	(void)state;
	assert_non_null(file);
	snprintf(text, sizeof(text), "%d 1\n", (int)pid);
	fputs(text, file);
	fclose(file);
	expect_kept(-EBUSY, "was started here, or let run, after this host was fenced");
}

/* No record says which QEMU was fenced: the fence was not completed at first, or an older agent
 * carried it out. Then only a QEMU that was started before the fence is ended. */
static void a_fence_without_a_record_looks_at_the_time(void **state)
{
	(void)state;
	unlink(fenced_path);
	expect_kept(-EBUSY, "it is not known which QEMU was fenced here (web1.fenced in /tmp/");
	fence_at(-5000);
	unlink(fenced_path);
	assert_int_equal(vm_fence(&vm, FENCED_TERM, &error), 0);
	expect_kept(-EBUSY, "was started here, or let run, after this host was fenced");
	fence_at(100); /* later than now, because the start of a process is known only to 10 ms */
	unlink(fenced_path);
	assert_int_equal(vm_fence(&vm, FENCED_TERM, &error), 0);
	assert_int_equal(end(FENCED_TERM + 1), 0);
}

static void it_is_kept_for_a_look(void **state)
{
	uint64_t until_ns = clock_mono_ns() + TIMEOUT_NS;
	int r;

	(void)state;
	config.fenced_guest_keep_s = 3600;
	expect_kept(-EBUSY, "is kept for a look until 20");
	assert_true(strstr(error.text, " UTC, 60:0") || strstr(error.text, " UTC, 59:5"));
	config.fenced_guest_keep_s = 1;
	fence_at(0);
	expect_kept(-EBUSY, "fenced_guest_keep_s = 1");
	do {
		r = end(FENCED_TERM + 1);
		assert_true(clock_mono_ns() < until_ns);
	} while (r == -EBUSY);
	assert_int_equal(r, 0);
	assert_true(qemu_process_has_ended(pid));
}

static void it_is_kept_if_the_fence_has_no_time(void **state)
{
	(void)state;
	unlink(role_path);
	expect_kept(-EBUSY, "it is not known when the guest was fenced here (web1.role in /tmp/");
}

static void a_refusal_names_pid_and_next_step(void **state)
{
	char says[64];

	(void)state;
	shared->quit = QEMU_QUIT_REFUSES;
	assert_int_equal(end(FENCED_TERM + 1), -EREMOTEIO);
	snprintf(says, sizeof(says), "QEMU pid %d (monitor ", (int)pid);
	assert_non_null(strstr(error.text, says));
	assert_non_null(strstr(error.text, "refuses `quit`: GenericError: not now; end it"));
	assert_false(qemu_process_has_ended(pid));
}

static void a_qemu_that_hangs_has_its_time(void **state)
{
	char says[64];

	(void)state;
	shared->quit = QEMU_QUIT_HANGS;
	assert_int_equal(vm_end_fenced(&vm, FENCED_TERM + 1, 50 * CLOCK_NS_PER_MS, &error),
			 -ETIMEDOUT);
	snprintf(says, sizeof(says), "QEMU pid %d (monitor ", (int)pid);
	assert_non_null(strstr(error.text, says));
	assert_non_null(strstr(error.text, "end it by hand and try again"));
	assert_int_equal(shared->n_quits, 1);
}

/* ---- a guest that was promoted here */

static void on_change(void *arg)
{
	(void)arg;
	sem_post(&changed);
}

static void await(enum standby_state state)
{
	uint64_t until_ns = clock_wall_ns() + TIMEOUT_NS;
	struct timespec until = {.tv_sec = (time_t)(until_ns / CLOCK_NS_PER_S)};
	struct standby_status status;

	for (;;) {
		standby_status(vm.standby, &status);
		if (status.state == state)
			return;
		assert_int_equal(sem_timedwait(&changed, &until), 0);
	}
}

/* Leave the files of a guest that was promoted here in a term before the fence. */
static void leave_promoted(const char *pid_path)
{
	struct ramfile_meta meta = {.term = FENCED_TERM - 1, .phase = RAMFILE_RUNNING};
	struct ramfile rf;
	FILE *file = fopen(pid_path, "w");

	assert_non_null(file);
	fprintf(file, "%d\n", (int)pid);
	fclose(file);
	assert_int_equal(ramfile_open(directory, &rf), 0);
	assert_int_equal(ramfile_store_meta(&rf, &meta), 0);
	ramfile_close(&rf);
}

/* One agent could not open its standby (standby_open() failed), so it only stopped the guest that
 * had been promoted here. The next agent can open its standby, and ends this guest. */
static void a_promoted_guest_is_ended_too(void **state)
{
	char qmp_path[96], pid_path[96], remove[128];
	struct standby_config standby = {
		.vm = "web1",
		.state_dir = directory,
		.run_dir = directory,
		.command_file = "/nonexistent",
		.changed = on_change,
	};
	struct standby_status status;

	(void)state;
	assert_true(qemu_end_process(pid));
	config.qmp[0] = '\0';
	snprintf(qmp_path, sizeof(qmp_path), "%s/web1.standby.qmp", directory);
	snprintf(pid_path, sizeof(pid_path), "%s/web1.standby.pid", directory);
	snprintf(words, sizeof(WORDS_ROOM), "unix:%s,", qmp_path);
	pid = qemu_start_process(shared, qmp_path, false);
	assert_true(pid > 0);
	leave_promoted(pid_path);
	unlink(fenced_path);
	vm.role = VM_ROLE_RUNNING;
	vm.term = FENCED_TERM - 1;
	assert_int_equal(vm_fence(&vm, FENCED_TERM, &error), 0);
	assert_int_equal(sem_init(&changed, 0, 0), 0);
	assert_int_equal(standby_open(&standby, &vm.standby, &error), 0);
	await(STANDBY_STATE_RUNNING);
	config.fenced_guest_keep_s = 3600;
	expect_kept(-EBUSY, "is kept for a look until 20");
	config.fenced_guest_keep_s = 0;
	assert_int_equal(end(FENCED_TERM + 1), 0);
	assert_int_equal(kill(pid, 0), -1); /* the standby has reaped it */
	pid = -1;
	standby_status(vm.standby, &status);
	assert_int_equal(status.state, STANDBY_STATE_IDLE);
	assert_int_equal(status.term, FENCED_TERM + 1);
	standby_close(vm.standby);
	snprintf(remove, sizeof(remove), "rm -r %s", directory);
	assert_int_equal(system(remove), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_newer_term_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(its_end_counts_not_its_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(the_default_keeps_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_moved_guest_is_ended_whatever_the_policy_is,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_moved_guest_that_ran_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(only_a_fenced_host_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(the_term_of_the_fence_keeps_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_ran_is_stopped_and_kept, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_guest_let_run_meanwhile_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_qemu_started_after_the_fence_is_kept, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_next_agent_keeps_it_too, setup, teardown),
		cmocka_unit_test_setup_teardown(a_qemu_started_between_two_fences_is_kept, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_fenced_guest_is_ended_after_two_fences, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_qemu_started_by_a_boot_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_number_given_again_is_another_process, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_fence_without_a_record_looks_at_the_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(it_is_kept_for_a_look, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_kept_if_the_fence_has_no_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_refusal_names_pid_and_next_step, setup, teardown),
		cmocka_unit_test_setup_teardown(a_qemu_that_hangs_has_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(a_promoted_guest_is_ended_too, setup, teardown),
	};

	/* The standby recognises its QEMU by a word of the command line. Make room for this
	 * word. */
	if (argc < 2)
		return execl("/proc/self/exe", argv[0], WORDS_ROOM, NULL);
	words = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
