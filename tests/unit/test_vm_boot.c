/* test_vm_boot.c - tests what an agent reports after a boot of its host, if this host owned the
 * guest. The agent looks for a guest that somebody has started again, and reports no guest before
 * it has found one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "mint_certs.h"
#include "qemu_process.h"
#include "standby/disklog.h"
#include "vm/vm_cold_private.h"
#include "vm/vm_private.h"

static struct qemu_shared *shared;
static char run_dir[64], role_dir[64], path[96];
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

static void open_agent(void)
{
	const struct vm_environment environment = {.config = &agent, .wake = wake, .tls = tls};

	assert_int_equal(vm_open(&environment, &config, NULL, &vm), 0);
}

static void restart_agent(void)
{
	vm_close(vm);
	open_agent();
}

/* Start an agent on a host that had @role in term 5 and has booted since. */
static void boot(enum vm_role role)
{
	assert_int_equal(vm_role_store(NULL, role_dir, "web1", role, 5), 0);
	open_agent();
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

static int setup(void **state)
{
	(void)state;
	shared = qemu_share();
	strcpy(run_dir, "/tmp/test_vm_boot.XXXXXX");
	strcpy(role_dir, "/tmp/test_vm_boot.XXXXXX");
	if (!shared || !mkdtemp(run_dir) || !mkdtemp(role_dir))
		return -1;
	snprintf(path, sizeof(path), "%s/qmp", run_dir);
	strcpy(agent.run_dir, run_dir);
	strcpy(agent.role_dir, role_dir);
	strcpy(agent.pin_dir, run_dir);
	config = (struct agent_vm_config){.name = "web1"};
	strcpy(config.qmp, path);
	pid = -1;
	return sem_init(&changed, 0, 0);
}

static int teardown(void **state)
{
	char remove[256];

	(void)state;
	vm_close(vm);
	(void)qemu_end_process(pid);
	snprintf(remove, sizeof(remove), "rm -r %s %s", run_dir, role_dir);
	if (system(remove) != 0)
		return -1;
	return munmap(shared, sizeof(*shared));
}

/* Wait until the agent reports @agent_state with @verdict, in @term. */
static void await(uint8_t agent_state, uint8_t verdict, uint64_t term)
{
	uint64_t until_ns = clock_wall_ns() + 10 * CLOCK_NS_PER_S;
	struct timespec until = {.tv_sec = (time_t)(until_ns / CLOCK_NS_PER_S)};

	for (;;) {
		struct wire_report report;
		uint64_t in_term, epoch;

		vm_report(vm, &report, &in_term, &epoch);
		if (report.state == agent_state && report.verdict == verdict && in_term == term)
			return;
		assert_int_equal(sem_timedwait(&changed, &until), 0);
	}
}

/* Returns the state that the agent reports now. */
static uint8_t state_now(void)
{
	struct wire_report report;
	uint64_t term, epoch;

	vm_report(vm, &report, &term, &epoch);
	return report.state;
}

static bool is_booted_still(void)
{
	enum vm_role role;
	uint64_t term;
	bool is_booted;

	assert_int_equal(vm_role_load(run_dir, role_dir, "web1", &role, &term, &is_booted), 0);
	assert_int_equal(role, VM_ROLE_RUNNING);
	return is_booted;
}

/* Wait until the agent has recorded that the guest was found. The agent reports its new state
 * before it records this. */
static void await_found(void)
{
	uint64_t until_ns = clock_mono_ns() + 10 * CLOCK_NS_PER_S;

	while (is_booted_still())
		assert_true(clock_mono_ns() < until_ns);
}

static void start_guest(bool runs)
{
	pid = qemu_start_process(shared, path, runs);
	assert_true(pid > 0);
}

static void await_clients(int n)
{
	uint64_t until_ns = clock_mono_ns() + 10 * CLOCK_NS_PER_S;

	while (shared->n_clients < n)
		assert_true(clock_mono_ns() < until_ns);
}

static void a_guest_started_again_is_found(void **state)
{
	(void)state;
	boot(VM_ROLE_RUNNING);
	assert_int_equal(state_now(), WIRE_STATE_IDLE);
	start_guest(true);
	await(WIRE_STATE_RUNNING, WIRE_VERDICT_NONE, 5);
	/* From now on, the end of this QEMU is the guest's end, for the next agent too. */
	await_found();
	assert_true(qemu_end_process(pid));
	pid = -1;
	await(WIRE_STATE_FAILED, WIRE_VERDICT_EXITED, 5);
	restart_agent();
	await(WIRE_STATE_FAILED, WIRE_VERDICT_EXITED, 5);
}

/* A QEMU that waits, for example for a migration, does not count as the guest. */
static void a_guest_that_does_not_run_is_not_claimed(void **state)
{
	(void)state;
	boot(VM_ROLE_RUNNING);
	start_guest(false);
	await_clients(3); /* the agent looks for a listener, asks QEMU, and looks again */
	assert_int_equal(state_now(), WIRE_STATE_IDLE);
	assert_true(is_booted_still());
	restart_agent();
	assert_int_equal(state_now(), WIRE_STATE_IDLE);
	shared->runs = true;
	await(WIRE_STATE_RUNNING, WIRE_VERDICT_NONE, 5);
}

static void order(uint8_t verb, uint64_t term)
{
	const struct wire_order o = {.order_id = 1, .verb = verb, .vm = "web1"};

	assert_int_equal(vm_order(vm, &o, term, 0), 0);
}

/* UNPROTECT records its term on the host, but not that the guest runs there. */
static void unprotect_claims_no_guest(void **state)
{
	static const enum vm_role roles[] = {VM_ROLE_RUNNING, VM_ROLE_PRIMARY};

	(void)state;
	for (int i = 0; i < 2; i++) {
		boot(roles[i]);
		order(WIRE_VERB_UNPROTECT, 6);
		await(WIRE_STATE_IDLE, WIRE_VERDICT_NONE, 6);
		assert_true(is_booted_still());
		if (i == 0)
			vm_close(vm);
	}
	start_guest(true);
	await(WIRE_STATE_RUNNING, WIRE_VERDICT_NONE, 6);
}

/* STANDBY_STOP ends the role, because another host has become the owner. */
static void standby_stop_ends_the_role(void **state)
{
	struct wire_report report;
	enum vm_role role;
	uint64_t term, epoch;
	bool is_booted;

	(void)state;
	boot(VM_ROLE_RUNNING);
	order(WIRE_VERB_STANDBY_STOP, 6);
	await(WIRE_STATE_IDLE, WIRE_VERDICT_NONE, 6);
	vm_report(vm, &report, &term, &epoch);
	assert_null(strstr(report.text, "booted"));
	assert_int_equal(vm_role_load(run_dir, role_dir, "web1", &role, &term, &is_booted), 0);
	assert_int_equal(role, VM_ROLE_NONE);
}

static const char *stats_now(void)
{
	static struct wire_report report;
	uint64_t term, epoch;

	vm_report(vm, &report, &term, &epoch);
	return report.stats;
}

/* The report says what the host's disks are worth after a loss of memory. This depends on the role
 * in the host's file. */
static void disks_are_told(void **state)
{
	static const struct {
		enum vm_role role;
		bool ignores_flushes;
		const char *says;
	} rows[] = {
		{VM_ROLE_PRIMARY, false, "cold=primary\ncold_disk=own\n"},
		{VM_ROLE_PRIMARY, true, "cold=primary\ncold_disk=unsound\n"},
		{VM_ROLE_RUNNING, true, "cold=running\ncold_disk=own\n"},
		{VM_ROLE_STANDBY, false, "cold=standby\ncold_disk=none\n"},
		{VM_ROLE_FENCED, false, "cold=fenced\ncold_disk=none\n"},
		{VM_ROLE_NONE, false, "cold=none\ncold_disk=none\n"},
	};
	struct error error;

	(void)state;
	config.n_disks = 1;
	strcpy(config.disk[0].name, "root");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		boot(rows[i].role);
		config.disk_flushes = rows[i].ignores_flushes;
		assert_int_equal(vm_cold_note(vm, &error), 0);
		/* the setting with which the guest ran counts, not the new one */
		config.disk_flushes = false;
		if (!strstr(stats_now(), rows[i].says))
			fail_msg("row %zu: %s", i, stats_now());
		vm_close(vm);
		vm = NULL;
	}
	config.n_disks = 0;
	boot(VM_ROLE_PRIMARY);
	assert_non_null(strstr(stats_now(), "cold=primary\ncold_disk=none\n"));
}

/* If a standby's images are an unfinished copy, the report says so. */
static void unfinished_copies_are_told(void **state)
{
	static const struct {
		enum vm_role role;
		enum standby_state state;
		uint64_t complete_epoch, disks_epoch;
		const char *says;
	} rows[] = {
		{VM_ROLE_STANDBY, STANDBY_STATE_IDLE, 0, 0, "cold=standby\ncold_disk=torn\n"},
		{VM_ROLE_FENCED, STANDBY_STATE_IDLE, 0, 0, "cold=fenced\ncold_disk=torn\n"},
		{VM_ROLE_NONE, STANDBY_STATE_IDLE, 0, 0, "cold=none\ncold_disk=torn\n"},
		{VM_ROLE_STANDBY, STANDBY_STATE_WARM, 0, 0, "\ncold_disk=torn\n"},
		{VM_ROLE_STANDBY, STANDBY_STATE_READY, 7, 0, "\ncold_disk=torn\n"},
		/* the disk log has a whole copy, which can be replayed over the unfinished one */
		{VM_ROLE_STANDBY, STANDBY_STATE_IDLE, 0, 812, "cold=standby\ncold_disk=copy\n"},
		/* since then, the guest itself has run on these images */
		{VM_ROLE_RUNNING, STANDBY_STATE_IDLE, 0, 0, "cold=running\ncold_disk=own\n"},
		{VM_ROLE_PRIMARY, STANDBY_STATE_IDLE, 0, 0, "cold=primary\ncold_disk=own\n"},
	};

	(void)state;
	config.n_disks = 1;
	strcpy(config.disk[0].name, "root");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct standby_status status = {.state = rows[i].state, .is_torn = true,
						      .complete_epoch = rows[i].complete_epoch,
						      .disks_epoch = rows[i].disks_epoch};
		struct wire_report report = {.stats = "\n"};

		boot(rows[i].role);
		vm_cold_report(vm, &status, &report);
		if (!strstr(report.stats, rows[i].says))
			fail_msg("row %zu: %s", i, report.stats);
		vm_close(vm);
		vm = NULL;
	}
}

/* The standby finds the record that an earlier agent has left in role_dir. */
static void a_record_in_role_dir_is_found(void **state)
{
	char copying[96];
	FILE *file;

	(void)state;
	snprintf(config.state_dir, sizeof(config.state_dir), "%s/web1", run_dir);
	snprintf(config.command_file, sizeof(config.command_file), "%s/web1.command", run_dir);
	snprintf(config.disk[0].path, sizeof(config.disk[0].path), "%s/web1.raw", run_dir);
	strcpy(config.disk[0].name, "root");
	config.n_disks = 1;
	boot(VM_ROLE_STANDBY);
	assert_non_null(strstr(stats_now(), "cold=standby\ncold_disk=none\n"));
	snprintf(copying, sizeof(copying), "%s/web1.copying", role_dir);
	file = fopen(copying, "w");
	assert_non_null(file);
	fclose(file);
	restart_agent();
	assert_non_null(strstr(stats_now(), "cold=standby\ncold_disk=torn\n"));
}

/* Append an entry to the standby's disk log: it has a whole copy. */
static void log_a_copy(void)
{
	struct disklog *log;
	struct error error;

	assert_int_equal(disklog_open(config.disk_log, DISKLOG_BYTES_MIN, &log, &error), 0);
	assert_int_equal(disklog_append(log, 5, 812, DISKLOG_START, NULL, 0, &error), 0);
	disklog_close(log);
}

static bool log_has_a_copy(void)
{
	struct disklog_state log_state;
	struct disklog *log;
	struct error error;

	assert_int_equal(disklog_open(config.disk_log, 0, &log, &error), 0);
	disklog_get_state(log, &log_state);
	disklog_close(log);
	return log_state.is_copy;
}

/* The disk log of an earlier copy ends when this host owns the guest: the log's writes are older
 * than the images. (The image is missing here, so nothing is replayed.) */
static void an_owner_ends_the_disk_log(void **state)
{
	static const enum vm_role owners[] = {VM_ROLE_RUNNING, VM_ROLE_PRIMARY};
	struct error error;

	(void)state;
	snprintf(config.state_dir, sizeof(config.state_dir), "%s/web1", run_dir);
	snprintf(config.command_file, sizeof(config.command_file), "%s/web1.command", run_dir);
	snprintf(config.disk_log, sizeof(config.disk_log), "%s/web1.hflog", run_dir);
	snprintf(config.disk[0].path, sizeof(config.disk[0].path), "%s/web1.raw", run_dir);
	strcpy(config.disk[0].name, "root");
	config.n_disks = 1;
	for (int i = 0; i < 2; i++) { /* an agent finds that role */
		log_a_copy();
		boot(owners[i]);
		assert_false(log_has_a_copy());
		vm_close(vm);
	}
	log_a_copy();
	boot(VM_ROLE_STANDBY);
	assert_true(log_has_a_copy());
	assert_int_equal(vm_set_role(vm, VM_ROLE_PRIMARY, 6, &error), 0); /* as PROTECT does */
	assert_false(log_has_a_copy());
}

static void is_on_disk(enum vm_role want, uint64_t want_term)
{
	enum vm_role role;
	uint64_t term;
	bool is_booted;

	/* without run_dir, as after a boot */
	assert_int_equal(vm_role_load("/nonexistent", role_dir, "web1", &role, &term, &is_booted),
			 0);
	assert_int_equal(role, want);
	assert_int_equal(term, want_term);
}

/* A promotion and a start record the role on the disk before the guest runs. Until they have
 * succeeded, the next agent of the same boot does not see this role. */
static void a_guest_that_may_run_is_on_disk(void **state)
{
	struct error error;
	enum vm_role role;
	uint64_t term;
	bool is_booted;

	(void)state;
	assert_int_equal(vm_role_store(run_dir, role_dir, "web1", VM_ROLE_STANDBY, 5), 0);
	open_agent();
	assert_int_equal(vm_cold_may_run(vm, 6, CLOCK_NS_PER_S, &error), 0);
	is_on_disk(VM_ROLE_RUNNING, 6);
	assert_int_equal(vm_role_load(run_dir, role_dir, "web1", &role, &term, &is_booted), 0);
	assert_int_equal(role, VM_ROLE_STANDBY);
}

/* Somebody started the guest at the boot, and the agent keeps it stopped. START lets it go on. */
static void start_lets_a_kept_guest_go_on(void **state)
{
	(void)state;
	start_guest(true);
	boot(VM_ROLE_PRIMARY);
	while (shared->runs)
		sched_yield();
	assert_non_null(strstr(stats_now(), "cold=primary\n"));
	order(WIRE_VERB_START, 6);
	await(WIRE_STATE_RUNNING, WIRE_VERDICT_NONE, 6);
	assert_true(shared->runs);
	is_on_disk(VM_ROLE_RUNNING, 6);
	assert_null(strstr(stats_now(), "cold="));
	await_found();
}

/* On a host that had a copy, START does not resume a QEMU that somebody else started: this QEMU
 * would write to the copy's images. */
static void start_refuses_a_strange_guest(void **state)
{
	struct wire_order_done done;
	uint64_t term, epoch, until_ns = clock_mono_ns() + 10 * CLOCK_NS_PER_S;

	(void)state;
	start_guest(true);
	boot(VM_ROLE_STANDBY);
	while (shared->runs)
		sched_yield();
	order(WIRE_VERB_START, 6);
	while (vm_take_done(vm, &done, &term, &epoch) < 0)
		assert_true(clock_mono_ns() < until_ns);
	assert_int_equal(done.status, WIRE_ORDER_REFUSED);
	assert_non_null(strstr(done.text, "end it"));
	assert_false(shared->runs);
	is_on_disk(VM_ROLE_STANDBY, 5);
}

/* Without a QEMU and without a [standby] section, nothing can be started, and the host's role stays
 * as it was. */
static void start_without_a_command_fails(void **state)
{
	struct wire_order_done done;
	uint64_t term, epoch, until_ns = clock_mono_ns() + 10 * CLOCK_NS_PER_S;

	(void)state;
	boot(VM_ROLE_PRIMARY);
	order(WIRE_VERB_START, 6);
	while (vm_take_done(vm, &done, &term, &epoch) < 0)
		assert_true(clock_mono_ns() < until_ns);
	assert_int_equal(done.status, WIRE_ORDER_FAILED);
	assert_non_null(strstr(done.text, "no [standby] section"));
	is_on_disk(VM_ROLE_PRIMARY, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_guest_started_again_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_does_not_run_is_not_claimed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(unprotect_claims_no_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(standby_stop_ends_the_role, setup, teardown),
		cmocka_unit_test_setup_teardown(disks_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(unfinished_copies_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_record_in_role_dir_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(an_owner_ends_the_disk_log, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_may_run_is_on_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(start_lets_a_kept_guest_go_on, setup, teardown),
		cmocka_unit_test_setup_teardown(start_refuses_a_strange_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(start_without_a_command_fails, setup, teardown),
	};

	/* The process that plays QEMU can greet a client that is gone already: the agent's first
	 * connection only checks that somebody listens. Ignore the SIGPIPE. */
	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up_certs, tear_down_certs);
}
