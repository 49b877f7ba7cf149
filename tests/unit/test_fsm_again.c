/* test_fsm_again.c - tests the policy `reprotect = auto`: when the gateway protects a guest again
 * by itself, when it does not, and how long it waits between two attempts. fsm_lab.h checks the
 * rules. */
#include "fsm_lab.h"

static struct lab lab;
static bool is_serving; /* the promoted guest shows life at once */

static int start(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab.config.reprotect_auto = true;
	is_serving = true;
	lab_protect(&lab);
	return 0;
}

static void is_now(enum vm_state state, uint8_t owner)
{
	assert_int_equal(lab.journal.state, state);
	assert_int_equal(lab.journal.owner, owner);
}

/* Let the promoted host @h report that its guest runs, but does nothing. */
static void report_a_dead_guest(uint8_t h)
{
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_REPORT, .host = h, .agent_state = lab.peer[h].state,
		.role = WIRE_VM_ROLE_PRIMARY, .term = lab.peer[h].term,
		.guest = {.is_valid = true, .was_running = true, .knows_frames = true,
			  .term = lab.peer[h].term}});
}

/* Let the owner's host die and the other host promote the guest. */
static void fail_over(void)
{
	uint8_t old = lab.journal.owner, to = (uint8_t)(1 - old);

	lab_down(&lab, old);
	lab_run(&lab, 600, 1u << to);
	assert_true(lab_obey(&lab, to));
	is_now(VM_UNPROTECTED, to);
	if (!is_serving) {
		report_a_dead_guest(to);
		return;
	}
	lab_tick(&lab, 10); /* the guest is not probed, so its host's report is evidence enough */
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SERVES);
	lab_report(&lab, to);
}

/* Let host @h come back with its stopped guest, like a host that was cut off. */
static void come_back(uint8_t h)
{
	lab_up(&lab, h);
	lab_report(&lab, h);
	lab_settle(&lab);
}

static void test_after_a_failover(void **state)
{
	(void)state;
	fail_over();
	lab_run(&lab, 5000, 2);
	lab_report(&lab, 1);
	is_now(VM_UNPROTECTED, 1); /* no other host can stand by */
	come_back(0);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
	assert_non_null(strstr(lab.last_state, "beta runs the guest unprotected: protecting it"));
	lab_settle(&lab);
	lab_ack(&lab, 1);
	is_now(VM_PROTECTED, 1);
	fail_over(); /* now in the other direction */
	come_back(1);
	lab_report(&lab, 0);
	is_now(VM_PREPARING, 0);
}

/* When both hosts are ready, the next tick begins the new protection. The gateway does not wait for
 * another report of the owner. */
static void test_at_the_next_tick(void **state)
{
	(void)state;
	fail_over();
	come_back(0);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
	is_now(VM_UNPROTECTED, 1);
	lab_tick(&lab, 10);
	is_now(VM_PREPARING, 1);
}

/* An owner that has connected again may have lost its guest, so the gateway waits for the owner's
 * report. */
static void test_a_tick_needs_a_report(void **state)
{
	(void)state;
	fail_over();
	lab_down(&lab, 1);
	come_back(0);
	lab.peer[0].state = WIRE_STATE_IDLE; /* this host has nothing that must be kept */
	lab_report(&lab, 0);
	lab_up(&lab, 1);
	lab_run(&lab, 1000, 3);
	is_now(VM_UNPROTECTED, 1);
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
}

/* The owner may be dead, though its connection has not ended yet. Then the other host's stopped
 * guest is all that is left. So the gateway waits until the owner is heard. */
static void test_a_tick_needs_a_live_owner(void **state)
{
	(void)state;
	fail_over();
	lab_run(&lab, 1000, 0);
	come_back(0);
	lab_run(&lab, 1000, 1);
	is_now(VM_UNPROTECTED, 1);
	lab_beat(&lab, 1);
	lab_tick(&lab, 10);
	is_now(VM_PREPARING, 1);
}

/* Let the standby's host @h die. The protection ends, and the host comes back. */
static void lose_standby(uint8_t h)
{
	lab_down(&lab, h);
	lab.standby_owes = true;
	lab_run(&lab, 6000, 2 - h);
	is_now(VM_UNPROTECTED, (uint8_t)(1 - h));
	lab_settle(&lab);
	lab.standby_owes = false;
	lab.peer[h].state = WIRE_STATE_IDLE;
	come_back(h);
	lab_report(&lab, (uint8_t)(1 - h));
	/* A standby that comes and goes must not cause copy after copy, so the first attempt
	 * waits. */
	is_now(VM_UNPROTECTED, (uint8_t)(1 - h));
}

static void test_ask(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	fail_over();
	come_back(0);
	lab_run(&lab, 60000, 3);
	lab_report(&lab, 1);
	is_now(VM_UNPROTECTED, 1);
}

static void test_after_a_lost_standby(void **state)
{
	(void)state;
	lose_standby(1);
	lab_run(&lab, 10000, 3);
	lab_report(&lab, 0);
	is_now(VM_PREPARING, 0);
}

/* STANDBY_START may end the stopped guest of the fenced host. So the gateway waits until the owner
 * has reported that it has the guest. */
static void test_fenced_host_waits_for_the_owner(void **state)
{
	(void)state;
	fail_over();
	lab.peer[1].state = WIRE_STATE_FAILED; /* the promoted guest has ended */
	lab_report(&lab, 1);
	come_back(0);
	lab_run(&lab, 60000, 3);
	lab_report(&lab, 1);
	is_now(VM_UNPROTECTED, 1);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_string_equal(lab.last_reply.code, "no-guest");
	is_now(VM_UNPROTECTED, 1);
	lab.peer[1].state = WIRE_STATE_RUNNING;
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
}

/* Until the promoted guest has shown that it serves, the guest that the other host keeps can be the
 * better one. So the gateway does not protect the promoted guest yet. */
static void test_waits_for_the_promoted_guest(void **state)
{
	(void)state;
	is_serving = false;
	fail_over();
	come_back(0);
	report_a_dead_guest(1);
	is_now(VM_UNPROTECTED, 1);
	lab_run(&lab, 60000, 3); /* until the alarm */
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SILENT);
	report_a_dead_guest(1);
	is_now(VM_UNPROTECTED, 1);
	lab_command(&lab, VM_COMMAND_UNPROTECT); /* the promoted guest is still watched */
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SILENT);
	assert_false(lab.journal.is_wanted);
	lab_command(&lab, VM_COMMAND_PROTECT); /* an operator decides */
	is_now(VM_PREPARING, 1);
}

/* In PREPARING, the owner's guest ends, and the fenced host connects again. The guest of the fenced
 * host is kept. */
static void test_guest_ends_in_preparing(void **state)
{
	(void)state;
	fail_over();
	come_back(0);
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
	lab_down(&lab, 0);
	lab.peer[1].state = WIRE_STATE_FAILED;
	lab_report_verdict(&lab, 1, WIRE_VERDICT_EXITED);
	lab_up(&lab, 0);
	assert_false(lab.peer[0].order.due);
	lab_report(&lab, 0);
	assert_false(lab.peer[0].order.due);
	lab_restart(&lab); /* a restarted gateway gives no order before the owner reports */
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	assert_false(lab.peer[0].order.due);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
}

static void test_guest_ends_unprotected(void **state)
{
	(void)state;
	fail_over();
	lab.peer[1].state = WIRE_STATE_FAILED;
	lab_report_verdict(&lab, 1, WIRE_VERDICT_EXITED);
	assert_false(lab.journal.is_wanted);
	come_back(0);
	lab.peer[1].state = WIRE_STATE_RUNNING; /* a different guest */
	lab_run(&lab, 60000, 3);
	lab_report(&lab, 1);
	is_now(VM_UNPROTECTED, 1);
}

/* The owner's host has booted, and its agent reports no guest. When somebody has started the guest
 * there again, the gateway protects the guest. */
static void test_owner_finds_its_guest(void **state)
{
	(void)state;
	fail_over();
	come_back(0);
	lab_down(&lab, 1);
	lab.peer[1].state = WIRE_STATE_IDLE;
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_run(&lab, 60000, 3);
	lab_report(&lab, 1);
	is_now(VM_UNPROTECTED, 1);
	lab.peer[1].state = WIRE_STATE_RUNNING;
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
}

/* The owner's host has booted, and its agent has not found the guest. Only an operator can begin a
 * protection. */
static void test_owner_has_booted(void **state)
{
	(void)state;
	fail_over();
	come_back(0);
	lab.peer[1].state = WIRE_STATE_IDLE;
	lab_report(&lab, 1);
	is_now(VM_UNPROTECTED, 1);
	lab_command(&lab, VM_COMMAND_PROTECT);
	is_now(VM_PREPARING, 1);
	lab_settle(&lab);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_STANDBY_WARM);
}

/* In a conflict, an operator can name the wrong owner. So the gateway must not protect the named
 * owner's guest by itself, which would end what the other host has. */
static void test_named_owner(void **state)
{
	(void)state;
	fail_over();
	lab.journal.in_doubt = true; /* a line of the journal was damaged */
	lab_restart(&lab);
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_name_owner(&lab, 1);
	is_now(VM_UNPROTECTED, 1);
	assert_false(lab.journal.in_doubt);
	assert_false(lab.journal.is_wanted);
}

static void test_unprotect_is_kept(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	for (int i = 0; i < 2; i++) {
		lab_run(&lab, 60000, 3);
		lab_report(&lab, 0);
		is_now(VM_UNPROTECTED, 0);
		lab_restart(&lab);
		come_back(0);
		come_back(1);
	}
}

/* `unprotect` between two attempts ends the attempts. */
static void test_unprotect_while_it_waits(void **state)
{
	(void)state;
	fail_over();
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_true(lab.replied && lab.last_reply.ok);
	lab_restart(&lab);
	come_back(1);
	come_back(0);
	lab_run(&lab, 60000, 3);
	lab_report(&lab, 1);
	is_now(VM_UNPROTECTED, 1);
}

/* The promotion fails, and `unprotect` gives the guest back to its old owner. Until the guest is
 * back, the record says that the VM is to be protected (is_wanted); after that it does not. */
static void test_unprotect_of_a_failed_one(void **state)
{
	(void)state;
	for (int succeeds = 0; succeeds < 2; succeeds++) {
		(void)start(NULL);
		lab_command(&lab, VM_COMMAND_FAILOVER);
		lab.peer[1].complete = 0; /* beta has lost its copy */
		lab_settle(&lab);
		is_now(VM_FAILED, 1);
		lab_command(&lab, VM_COMMAND_UNPROTECT);
		assert_true(lab.journal.is_wanted && lab.fsm.record.is_wanted);
		if (succeeds)
			assert_true(lab_obey(&lab, 1));
		else
			lab_done(&lab, 1, WIRE_ORDER_FAILED, "its QEMU does not end");
		assert_int_equal(lab.fsm.record.is_wanted, !succeeds);
		assert_int_equal(lab.journal.is_wanted, !succeeds);
		is_now(succeeds ? VM_UNPROTECTED : VM_FAILED, succeeds ? 0 : 1);
		lab_settle(&lab);
		lab_run(&lab, 60000, 3);
		lab_report(&lab, 0);
		is_now(succeeds ? VM_UNPROTECTED : VM_FAILED, succeeds ? 0 : 1);
	}
}

/* A promotion failed because the hosts had agreed that the old owner keeps the guest. The gateway
 * learns of that before or after the operator's `unprotect`. In both cases the record then no
 * longer says that the VM is to be protected. */
static void test_unprotect_of_a_settled_one(void **state)
{
	(void)state;
	for (int is_before = 0; is_before < 2; is_before++) {
		(void)start(NULL);
		lab_command(&lab, VM_COMMAND_FAILOVER);
		lab.peer[1].order.due = false;
		lab.peer[1].term = lab.voted_term = 2;
		lab_done(&lab, 1, WIRE_ORDER_REFUSED, "voted for the primary in that term");
		lab_report(&lab, 1);
		is_now(VM_FAILED, 1);
		lab.peer[0].term = 2;
		if (is_before)
			/* The gateway knows the new term already; alpha reports later. */
			lab.fsm.host[0].term = 2;
		lab_command(&lab, VM_COMMAND_UNPROTECT);
		lab_report(&lab, 0);
		lab_settle(&lab);
		is_now(VM_UNPROTECTED, 0);
		assert_false(lab.fsm.record.is_wanted);
		assert_false(lab.journal.is_wanted);
	}
}

static void test_restarts_remember(void **state)
{
	(void)state;
	fail_over();
	lab_restart(&lab);
	come_back(1);
	come_back(0);
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);

	/* If the VM was protected under `ask`, a gateway that is restarted under `auto` takes it as
	 * a VM that is to be protected. */
	lab_start_protected(&lab);
	lab.config.reprotect_auto = true;
	lab_restart(&lab);
	assert_true(lab.fsm.record.is_wanted);
	/* A gateway that is restarted under `ask` forgets that a VM is to be protected. */
	lab.journal.is_wanted = true;
	lab.config.reprotect_auto = false;
	lab_restart(&lab);
	assert_false(lab.fsm.record.is_wanted);
}

/* A guest that has shut itself down is not protected again. */
static void test_guest_shut_down(void **state)
{
	(void)state;
	lab_report_verdict(&lab, 0, WIRE_VERDICT_SHUTDOWN);
	is_now(VM_UNPROTECTED, 0);
	lab_settle(&lab);
	lab_run(&lab, 60000, 3);
	lab_report(&lab, 0);
	is_now(VM_UNPROTECTED, 0);
}

/* Let attempts fail, and check that each wait is twice as long as the last, up to 640 s. */
static void test_waits_grow(void **state)
{
	uint64_t wait_ms = 10000;

	(void)state;
	fail_over();
	come_back(0);
	for (int i = 0; i < 9; i++) {
		lab_report(&lab, 1);
		is_now(VM_PREPARING, 1);
		lab_done(&lab, 0, WIRE_ORDER_FAILED, "no room");
		is_now(VM_UNPROTECTED, 1);
		lab_settle(&lab);
		lab_run(&lab, wait_ms - 1000, 3);
		lab_report(&lab, 1);
		is_now(VM_UNPROTECTED, 1);
		lab_run(&lab, 1000, 3);
		wait_ms = wait_ms < 640000 ? 2 * wait_ms : wait_ms;
	}
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
	lab_settle(&lab);
	lab_ack(&lab, 1);
	is_now(VM_PROTECTED, 1);
	/* After a protection that lasted, and after a promotion, the first wait is short again. */
	lab.now_ns += 700000 * MS;
	lab_report(&lab, 1);
	lose_standby(0);
	lab_run(&lab, 10000, 3);
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
	lab_settle(&lab);
	lab_ack(&lab, 1);
	fail_over();
	come_back(1);
	lab_report(&lab, 0);
	is_now(VM_PREPARING, 0);
	lab_done(&lab, 1, WIRE_ORDER_FAILED, "no room");
	lab_settle(&lab);
	lab_run(&lab, 10000, 3);
	lab_report(&lab, 0);
	is_now(VM_PREPARING, 0);
}

/* An operator who says `protect` during the gateway's own attempt waits for the end of that
 * attempt. */
static void test_protect_joins(void **state)
{
	(void)state;
	fail_over();
	come_back(0);
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_false(lab.replied);
	lab_settle(&lab);
	lab_ack(&lab, 1);
	is_now(VM_PROTECTED, 1);
	assert_true(lab.replied && lab.last_reply.ok);
}

/* Read the configuration again, with another policy. */
static void set_policy(bool is_auto)
{
	lab.config.reprotect_auto = is_auto;
	assert_true(lab_feed(&lab, (struct vm_input){.kind = VM_IN_POLICY}));
}

static void test_policy_becomes_ask(void **state)
{
	(void)state;
	assert_true(lab.journal.is_wanted);
	set_policy(false);
	/* The journal no longer says that the VM is to be protected again. */
	assert_false(lab.journal.is_wanted);
	fail_over();
	come_back(0);
	lab_run(&lab, 60000, 3);
	is_now(VM_UNPROTECTED, 1);
}

static void test_policy_becomes_ask_while_it_waits(void **state)
{
	(void)state;
	fail_over();
	set_policy(false);
	assert_false(lab.journal.is_wanted);
	come_back(0);
	lab_run(&lab, 60000, 3);
	is_now(VM_UNPROTECTED, 1);
}

static void test_policy_becomes_auto(void **state)
{
	(void)state;
	set_policy(false);
	set_policy(true);
	assert_true(lab.journal.is_wanted);
	fail_over();
	lab_run(&lab, 5000, 2);
	lab_report(&lab, 1);
	come_back(0);
	lab_report(&lab, 1);
	is_now(VM_PREPARING, 1);
}

/* A copy that a drain has ended is made again after `undrain`, whatever the policy is. */
static void test_policy_while_drained(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	vm_fsm_bar(&lab.fsm, 1, true);
	vm_fsm_want_again(&lab.fsm, lab.now_ns);
	set_policy(false);
	assert_true(vm_fsm_wants_again(&lab.fsm));
}

/* After `unprotect`, the gateway does not protect the guest by itself, however the policy
 * changes. */
static void test_policy_of_an_unprotected_guest(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	set_policy(false);
	set_policy(true);
	assert_false(lab.journal.is_wanted);
	lab_run(&lab, 60000, 3);
	is_now(VM_UNPROTECTED, 0);
}

static void test_words(void **state)
{
	char text[VM_TEXT_MAX];

	(void)state;
	fail_over();
	assert_non_null(strstr(vm_again_describe(&lab.fsm, lab.now_ns, text, sizeof(text)),
			       "but alpha is not connected"));
	come_back(0);
	assert_string_equal(vm_again_describe(&lab.fsm, lab.now_ns, text, sizeof(text)),
			    "it is protected again by itself now");
	lab_report(&lab, 1);
	lab_done(&lab, 0, WIRE_ORDER_FAILED, "no room");
	lab_settle(&lab);
	assert_non_null(strstr(vm_again_describe(&lab.fsm, lab.now_ns, text, sizeof(text)),
			       "by itself in 00:10; `holdfastctl protect web1` does not wait"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_after_a_failover, start),
		cmocka_unit_test_setup(test_at_the_next_tick, start),
		cmocka_unit_test_setup(test_a_tick_needs_a_report, start),
		cmocka_unit_test_setup(test_a_tick_needs_a_live_owner, start),
		cmocka_unit_test(test_ask),
		cmocka_unit_test_setup(test_after_a_lost_standby, start),
		cmocka_unit_test_setup(test_fenced_host_waits_for_the_owner, start),
		cmocka_unit_test_setup(test_waits_for_the_promoted_guest, start),
		cmocka_unit_test_setup(test_guest_ends_in_preparing, start),
		cmocka_unit_test_setup(test_guest_ends_unprotected, start),
		cmocka_unit_test_setup(test_owner_finds_its_guest, start),
		cmocka_unit_test_setup(test_owner_has_booted, start),
		cmocka_unit_test_setup(test_named_owner, start),
		cmocka_unit_test_setup(test_unprotect_is_kept, start),
		cmocka_unit_test_setup(test_unprotect_while_it_waits, start),
		cmocka_unit_test(test_unprotect_of_a_failed_one),
		cmocka_unit_test(test_unprotect_of_a_settled_one),
		cmocka_unit_test_setup(test_restarts_remember, start),
		cmocka_unit_test_setup(test_guest_shut_down, start),
		cmocka_unit_test_setup(test_waits_grow, start),
		cmocka_unit_test_setup(test_protect_joins, start),
		cmocka_unit_test_setup(test_policy_becomes_ask, start),
		cmocka_unit_test_setup(test_policy_becomes_ask_while_it_waits, start),
		cmocka_unit_test_setup(test_policy_becomes_auto, start),
		cmocka_unit_test_setup(test_policy_while_drained, start),
		cmocka_unit_test_setup(test_policy_of_an_unprotected_guest, start),
		cmocka_unit_test_setup(test_words, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
