/* Tests a journal whose disk stalls or fails. Only the VM whose record is being written waits. None
 * of a step's actions is carried out before the step's record is durable. */
#include "base/error.h"
#include "fake_disk.h"
#include "gateway_fixture.h"
#include "base/clock.h"
#include "incarnating.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct fixture f;
static struct agent alpha, beta, primary, standby;
static struct agent *const all[] = {&alpha, &beta, &primary, &standby};
static struct journal_thread *thread;
static struct fleet_vm *web1, *db1;
static struct wire_frame frame;
static char reply_code[32];
static unsigned int n_replies, n_slow_events;

/* ---- the gateway ---- */

static void on_reply(void *arg, uint64_t op_id, bool ok, const char *code, const char *text)
{
	(void)arg;
	(void)op_id;
	(void)ok;
	(void)text;
	n_replies++;
	(void)snprintf(reply_code, sizeof(reply_code), "%s", code);
}

static bool on_event(void *arg, uint64_t now_ns, const char *vm, const char *kind,
		     const char *from, const char *to, const char *text)
{
	(void)arg;
	(void)now_ns;
	(void)vm;
	(void)from;
	(void)to;
	n_slow_events += strcmp(kind, "journal") == 0 && strstr(text, "does not answer");
	return true;
}

static int open_fixture(void **state)
{
	struct vm_config second;
	struct error error;

	(void)state;
	set_disk(false, 0);
	fixture_open(&f);
	for (size_t i = 0; i < 4; i++) {
		memset(all[i], 0, sizeof(*all[i]));
		all[i]->f = &f;
	}
	web1 = f.fleet->vms[0];
	second = web1->config;
	(void)snprintf(second.name, sizeof(second.name), "db1");
	assert_int_equal(fleet_add_vm(f.fleet, &second, vm_journal_get_table(f.journal), f.now_ns,
				      &error), 0);
	db1 = f.fleet->vms[1];
	f.fleet->config.lease_ms = 2000;
	f.fleet->config.release_ms = 150;
	f.fleet->sinks = (struct fleet_sinks){.event = on_event, .reply = on_reply};
	assert_int_equal(journal_thread_open(f.journal, &thread), 0);
	f.fleet->config.journal_thread = thread;
	n_replies = n_slow_events = 0;
	return 0;
}

static int close_fixture(void **state)
{
	(void)state;
	set_disk(false, 0);
	for (size_t i = 0; i < 4; i++)
		agent_close(all[i]);
	thread = journal_thread_close(thread);
	fixture_close(&f);
	return 0;
}

static void pump(void)
{
	fixture_pump(all, 4);
}

static void say_hello(struct agent *a, struct wire_tls_context *context)
{
	agent_open(a, &f, context);
	agent_hello(a, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_true(agent_take(a, WIRE_WELCOME, &frame));
}

static int command(struct fleet_vm *vm, enum vm_command what)
{
	struct vm_input in = {.kind = VM_IN_COMMAND, .command = what, .op_id = 1};

	return fleet_step(f.fleet, vm, &in, f.now_ns);
}

/* Wait until the journal's thread is done, and process its result as the loop does. Serve no
 * session yet. */
static void await_record(void)
{
	struct pollfd p = {.fd = journal_thread_fd(thread), .events = POLLIN};

	assert_int_equal(poll(&p, 1, 20000), 1);
	fleet_journal_done(f.fleet, f.now_ns);
}

static void await_disk(void)
{
	await_record();
	pump();
}

static void beat(struct agent *a)
{
	const struct wire_header h = {.type = WIRE_BEAT};
	const uint8_t payload[8] = {0, 0, 0, 0, 0, 0, 0, 9};

	agent_send(a, &h, payload, sizeof(payload));
	pump();
	assert_true(agent_take(a, WIRE_BEAT_ACK, &frame));
}

/* ---- the gateway's number (incarnation) ---- */

/* An operator has ordered a takeover, which gives the gateway a new number (its incarnation). As
 * long as the new number is not on disk, hosts are told the old number, and their beats are
 * answered. */
static void test_takeover_waits_for_the_disk(void **state)
{
	char dir[] = "/tmp/holdfast-pending-XXXXXX", path[64];
	struct fleet_config config = {.release_ms = 150};
	struct incarnating incarnating;
	uint64_t before;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/incarnation", dir);
	assert_int_equal(incarnating_begin(&incarnating, dir, &config, f.now_ns), 0);
	incarnating.thread = thread;
	before = config.incarnation;
	f.fleet->config.incarnation = before;
	f.fleet->config.take_over = config.take_over;
	f.fleet->config.recorded = config.recorded;
	f.fleet->config.take_over_arg = &incarnating;
	say_hello(&alpha, f.alpha);
	f.fleet->younger = before + (5 << 16);

	web1->config.release_ns = 150 * CLOCK_NS_PER_MS;
	set_disk(true, 0);
	assert_int_equal(fleet_take_over(f.fleet, 7), 0); /* returns at once */
	assert_int_equal(fleet_take_over(f.fleet, 8), -EBUSY);
	beat(&alpha); /* the beat is answered */
	assert_int_equal(n_replies, 0);
	assert_true(f.fleet->config.incarnation == before);
	set_disk(false, 0);
	await_disk();
	assert_int_equal(n_replies, 1);
	assert_string_equal(reply_code, "done");
	assert_true(f.fleet->config.incarnation > before + (5 << 16));
	/* alpha must connect again, and is then told the new number */
	assert_null(web1->host[0]->control);
	/* No standby is promoted before the leases of the younger gateway have ended. */
	assert_true(web1->fsm.mute_ns >= f.now_ns + web1->config.release_ns);
	web1->config.release_ns = 0;

	/* On a disk error the old number stays. */
	before = f.fleet->config.incarnation;
	f.fleet->younger = before + 1;
	set_disk(false, EIO);
	assert_int_equal(fleet_take_over(f.fleet, 9), 0);
	await_disk();
	assert_string_equal(reply_code, "journal");
	assert_true(f.fleet->config.incarnation == before);
	(void)unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

/* When the previous start's release_ms has expired, the gateway records this in its incarnation
 * file. A slow disk must not block the gateway's loop meanwhile. */
static void test_settling_waits_for_the_disk(void **state)
{
	char dir[] = "/tmp/holdfast-pending-XXXXXX", path[64];
	struct error error;
	struct fleet_config config = {.release_ms = 50};
	struct incarnating incarnating;
	struct incarnation last;
	uint64_t number;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/incarnation", dir);
	assert_int_equal(incarnation_begin(dir, 150, &last, &number, &error), 0);
	assert_int_equal(incarnating_begin(&incarnating, dir, &config, f.now_ns), 0);
	incarnating.thread = thread;
	f.fleet->config.recorded = config.recorded;
	f.fleet->config.take_over_arg = &incarnating;
	set_disk(true, 0);
	/* must return at once, without waiting for the disk */
	incarnating_tick(&incarnating, &config, f.now_ns + 10 * CLOCK_NS_PER_S);
	set_disk(false, 0);
	await_disk();
	assert_int_equal(incarnation_begin(dir, 50, &last, &number, &error), 0);
	assert_int_equal(last.release_ms, 50);
	assert_true(last.number == config.incarnation);
	(void)unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

static void report(struct agent *a, const char *vm, uint8_t role, uint8_t agent_state,
		   uint64_t term)
{
	struct wire_report msg = {.role = role, .state = agent_state};
	const struct wire_header h = {.type = WIRE_REPORT, .term = term};
	uint8_t payload[512];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};

	(void)snprintf(msg.vm, sizeof(msg.vm), "%s", vm);
	assert_int_equal(wire_report_encode(&msg, &w), 0);
	agent_send(a, &h, payload, (size_t)(w.at - payload));
	pump();
}

/* Connect both hosts, which are idle. */
static void begin_idle(void)
{
	say_hello(&alpha, f.alpha);
	say_hello(&beta, f.beta);
	report(&alpha, "web1", WIRE_VM_ROLE_PRIMARY, WIRE_STATE_IDLE, 0);
	report(&beta, "web1", WIRE_VM_ROLE_PRIMARY, WIRE_STATE_IDLE, 0);
}

/* Start with a record on disk: @state, term 5, owner alpha. */
static void begin_in(enum vm_state state)
{
	web1->fsm.record = (struct vm_record){.term = 5, .owner = 0, .state = state};
	detector_init(&web1->fsm.detector, true, f.now_ns);
	say_hello(&alpha, f.alpha);
	say_hello(&beta, f.beta);
	report(&alpha, "web1", WIRE_VM_ROLE_PRIMARY, WIRE_STATE_PROTECTED, 5);
	report(&beta, "web1", WIRE_VM_ROLE_STANDBY, WIRE_STATE_STANDBY_READY, 5);
}

/* ---- tests ---- */

static void test_nothing_follows_before_it_is_durable(void **state)
{
	(void)state;
	begin_idle();
	set_disk(true, 0);
	assert_int_equal(command(web1, VM_COMMAND_PROTECT), 0); /* does not block */
	pump();
	assert_true(web1->pending.waiting);
	assert_false(fleet_is_durable(web1));
	for (int i = 0; i < 30; i++) { /* the loop continues */
		f.now_ns += 50 * MS;
		fixture_tick(&f);
		beat(&alpha);
		beat(&beta);
	}
	assert_false(agent_take(&beta, WIRE_ORDER, &frame));
	assert_int_equal(n_slow_events, 1);
	set_disk(false, 0);
	await_disk();
	assert_false(web1->pending.waiting);
	assert_true(agent_take(&beta, WIRE_ORDER, &frame));
	assert_int_equal(frame.h.term, web1->fsm.record.term);
	assert_int_equal(f.fleet->counters.journal_writes, 1);
}

static void test_another_vm_goes_on(void **state)
{
	struct vm_input in = {.kind = VM_IN_COMMAND, .command = VM_COMMAND_UNPROTECT, .op_id = 2};

	(void)state;
	begin_idle();
	set_disk(true, 0);
	assert_int_equal(command(web1, VM_COMMAND_PROTECT), 0);
	assert_true(web1->pending.waiting);
	n_replies = 0;
	assert_int_equal(fleet_step(f.fleet, db1, &in, f.now_ns), 0);
	assert_int_equal(n_replies, 1); /* replied at once: db1 is not protected */
	assert_false(db1->pending.waiting);
}

static bool has_lease(struct agent *a)
{
	const struct wire_header h = {.type = WIRE_BEAT};
	const uint8_t payload[8] = {0, 0, 0, 0, 0, 0, 0, 9};

	agent_send(a, &h, payload, sizeof(payload));
	pump();
	return agent_take(a, WIRE_LEASE, &frame);
}

/* A lease lasts 2 s. If web1's journal write stalls for longer, the leases of other VMs must be
 * renewed all the same. */
static void test_leases_go_on(void **state)
{
	(void)state;
	begin_in(VM_PROTECTED);
	(void)agent_take(&alpha, WIRE_LEASE, &frame);
	db1->fsm.record = (struct vm_record){.term = 3, .owner = 0, .state = VM_PROTECTED};
	alpha.session->link.features |= WIRE_FEATURE_LEASE;
	assert_true(has_lease(&alpha));
	set_disk(true, 0);
	/* web1's protection ends. The new record is still being written and has another term than
	 * the record on disk. So web1 gets no more leases. */
	assert_int_equal(command(web1, VM_COMMAND_UNPROTECT), 0);
	assert_true(web1->pending.waiting);
	for (int i = 0; i < 50; i++) {
		f.now_ns += 50 * MS;
		assert_true(has_lease(&alpha));
		assert_int_equal(frame.h.term, 3); /* db1's lease */
	}
	set_disk(false, 0);
	await_disk();
	assert_int_equal(web1->fsm.record.state, VM_UNPROTECTED);
}

/* A step that closes the streams only marks their sessions, so no session calls back into the step.
 * The loop ends the sessions later, and the state machine gets no input from that. */
static void test_a_step_ends_no_session(void **state)
{
	uint64_t n_closing;

	(void)state;
	begin_in(VM_PROTECTED);
	agent_open(&primary, &f, f.alpha);
	agent_hello(&primary, WIRE_KIND_STREAM, WIRE_VM_ROLE_PRIMARY, 5, 0);
	agent_open(&standby, &f, f.beta);
	agent_hello(&standby, WIRE_KIND_STREAM, WIRE_VM_ROLE_STANDBY, 5, 0);
	pump();
	while (web1->pending.waiting) /* the standby has no epoch: SYNCING again */
		await_disk();
	n_closing = f.fleet->counters.closing_now;
	assert_int_equal(command(web1, VM_COMMAND_UNPROTECT), 0);
	while (web1->pending.waiting)
		await_record();
	assert_int_equal(web1->fsm.record.state, VM_UNPROTECTED);
	assert_null(web1->stream[VM_STREAM_PRIMARY]);
	assert_null(web1->stream[VM_STREAM_STANDBY]);
	assert_int_equal(primary.session->phase, SESSION_OPEN);
	assert_int_equal(standby.session->phase, SESSION_OPEN);
	assert_int_equal(f.fleet->counters.closing_now, n_closing);
	pump();
	assert_null(primary.session);
	assert_null(standby.session);
}

/* All VMs wait for the disk, so no state machine has a deadline. The slow disk is still
 * reported. */
static void test_a_slow_disk_is_reported_when_all_wait(void **state)
{
	(void)state;
	begin_idle();
	set_disk(true, 0);
	assert_int_equal(command(web1, VM_COMMAND_PROTECT), 0);
	assert_true(web1->pending.waiting);
	f.fleet->n_vms = 1;
	for (int i = 0; i < 30; i++) {
		f.now_ns += 50 * MS;
		fixture_tick(&f);
	}
	assert_int_equal(n_slow_events, 1);
	f.fleet->n_vms = 2;
	set_disk(false, 0);
	await_disk();
}

static uint64_t recorded_as_7(void *arg, int result)
{
	(void)arg;
	return result == 0 ? 7 : 0;
}

/* The younger gateway can have granted leases until the takeover. This gateway must remember this,
 * even if a journal write that is under way at the takeover fails later. The VM's old state
 * (pending.before) is then restored, so it must contain this fact too. */
static void test_a_takeover_mutes_what_may_be_restored(void **state)
{
	const uint64_t release_ns = 150 * MS;

	(void)state;
	begin_in(VM_PROTECTED);
	web1->config.release_ns = release_ns;
	web1->pending.waiting = true;
	web1->pending.before = web1->fsm;
	f.fleet->config.recorded = recorded_as_7;
	f.fleet->takeover_op = 1;
	f.now_ns += 60000 * MS;
	fleet_recorded(f.fleet, 0, f.now_ns);
	assert_true(web1->fsm.mute_ns >= f.now_ns + release_ns);
	assert_true(web1->pending.before.mute_ns >= f.now_ns + release_ns);
	web1->pending.waiting = false;
	web1->config.release_ns = 0;
}

/* A journal write is waiting, but it changes neither the term nor the owner. So the owner still
 * gets its lease. */
static void test_lease_of_the_same_term(void **state)
{
	(void)state;
	begin_in(VM_PROTECTED);
	alpha.session->link.features |= WIRE_FEATURE_LEASE;
	web1->pending.waiting = true;
	web1->pending.before = web1->fsm;
	web1->pending.before.record.state = VM_SYNCING;
	assert_true(has_lease(&alpha));
	web1->pending.before.record.term--;
	assert_false(has_lease(&alpha));
	web1->pending.waiting = false;
}

static void test_a_failed_write_leaves_no_trace(void **state)
{
	uint64_t term;

	(void)state;
	begin_idle();
	term = web1->fsm.record.term;
	set_disk(true, 0);
	assert_int_equal(command(web1, VM_COMMAND_PROTECT), 0);
	agent_close(&beta); /* beta disconnects while the step waits */
	assert_true(web1->fsm.host[1].up);
	set_disk(false, EIO);
	await_disk();
	assert_int_equal(web1->fsm.record.term, term);
	assert_int_equal(web1->fsm.record.state, VM_UNPROTECTED);
	assert_string_equal(reply_code, "journal");
	assert_false(web1->fsm.host[1].up);
	assert_false(agent_take(&alpha, WIRE_ORDER, &frame));
	assert_int_equal(f.fleet->counters.journal_errors, 1);
	set_disk(false, 0); /* the disk works again */
	say_hello(&beta, f.beta);
	report(&beta, "web1", WIRE_VM_ROLE_PRIMARY, WIRE_STATE_IDLE, 0);
	assert_int_equal(command(web1, VM_COMMAND_PROTECT), 0);
	if (web1->pending.waiting)
		await_disk();
	assert_int_equal(web1->fsm.record.state, VM_PREPARING);
}

/* The policy was `auto` and is `ask` now. The journal must no longer say that the VM is to be
 * protected, so that a later `auto` does not protect the VM for that reason. */
static void test_ask_drops_an_old_wish(void **state)
{
	static const char *const names[] = {"ask1", "auto1"};
	struct vm_config vm = web1->config;
	struct error error;

	(void)state;
	for (int i = 0; i < 2; i++) { /* the thread is idle, so this thread may use the journal */
		(void)snprintf(vm.name, sizeof(vm.name), "%s", names[i]);
		vm.reprotect_auto = i == 1;
		assert_int_equal(vm_journal_append(f.journal, vm.name, "beta", 7, VM_UNPROTECTED,
						   true, ""), 0);
		assert_int_equal(fleet_add_vm(f.fleet, &vm, vm_journal_get_table(f.journal),
					      f.now_ns, &error), 0);
	}
	assert_false(fixture_journaled(&f, "ask1")->is_wanted);
	assert_int_equal(fixture_journaled(&f, "ask1")->term, 7);
	assert_true(fixture_journaled(&f, "auto1")->is_wanted);
}

/* What a report says about a suspended protection reaches the state machine. */
static void test_reports_of_a_suspended_protection(void **state)
{
	struct vm_again *again = &web1->fsm.again;

	(void)state;
	begin_idle();
	again->when = VM_AGAIN_COVERED;
	for (int i = 1; i >= 0; i--) {
		struct wire_report msg = {.vm = "web1", .role = WIRE_VM_ROLE_PRIMARY,
					  .state = WIRE_STATE_RUNNING};

		assert_int_equal(wire_stats_add(msg.stats, "suspended", "%d", i), 0);
		fleet_take_report(f.fleet, web1, web1->fsm.record.owner, web1->fsm.record.term, 0,
				  &msg, f.now_ns);
		assert_int_equal(again->is_watched, i);
		assert_int_equal(again->when, i ? VM_AGAIN_COVERED : VM_AGAIN_NEVER);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_follows_before_it_is_durable), TEST(test_another_vm_goes_on),
		TEST(test_leases_go_on), TEST(test_a_step_ends_no_session),
		TEST(test_a_takeover_mutes_what_may_be_restored),
		TEST(test_a_slow_disk_is_reported_when_all_wait),
		TEST(test_lease_of_the_same_term),
		TEST(test_a_failed_write_leaves_no_trace),
		TEST(test_takeover_waits_for_the_disk), TEST(test_settling_waits_for_the_disk),
		TEST(test_ask_drops_an_old_wish), TEST(test_reports_of_a_suspended_protection),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
