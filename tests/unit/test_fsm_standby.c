/* test_fsm_standby.c - tests a standby that accepts no more epochs. The policy standby_lost must
 * apply exactly when standby_timeout has expired, even if streams reconnect in the meantime.
 * fsm_lab.h checks the rules of vm/fsm.h. */
#include "fsm_lab.h"

static struct lab lab;

static int start_protected(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_ack(&lab, 2);
	lab_run(&lab, 100, 3);
	return 0;
}

/* Let the standby end its stream because of @why. Both streams return at once, because the agents
 * reconnect. */
static void break_and_return(const char *why)
{
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_STREAM_FAILED, .host = 1,
					       .role = WIRE_VM_ROLE_STANDBY, .text = why});
	lab_stream_down(&lab, 0);
	lab_stream_down(&lab, 1);
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), 0);
}

/* The standby's tmpfs is full. Both agents are alive, but each attempt to send the epoch fails
 * after the same number of bytes. */
static void test_each_attempt_is_refused(void **state)
{
	uint64_t begun_ns = lab.now_ns;

	(void)state;
	lab.n_stream_events = 0;
	while (lab.journal.state == VM_PROTECTED && lab.now_ns - begun_ns < 60000 * MS) {
		break_and_return("cannot store epoch 3: No space left on device");
		lab_run(&lab, 200, 3);
	}
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_in_range((lab.now_ns - begun_ns) / MS, 4900, 6100);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_UNPROTECT);
	assert_non_null(strstr(lab.last_state, "No space left on device"));
	assert_non_null(strstr(lab.last_state, "standby_lost = unprotected"));
	assert_in_range(lab.n_stream_events, 1, 12); /* few events for 130 failures */
}

/* Each attempt at the first copy is refused, so no epoch is ever committed. After standby_timeout
 * the protection ends. The operator, who waits for the reply to `protect`, gets the standby's
 * reason. */
static void test_each_first_copy_is_refused(void **state)
{
	uint64_t begun_ns;

	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	begun_ns = lab.now_ns;
	while (lab.journal.state == VM_SYNCING && lab.now_ns - begun_ns < 60000 * MS) {
		break_and_return("log_bytes_max");
		lab_run(&lab, 200, 3);
	}
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_in_range((lab.now_ns - begun_ns) / MS, 4900, 6100);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "standby-lost");
	assert_non_null(strstr(lab.last_reply.text, "log_bytes_max"));
}

/* The standby's stream is down, but its agent is alive. The gateway waits for standby_timeout, not
 * for an order's timeout. */
static void test_no_stream(void **state)
{
	(void)state;
	lab_stream_down(&lab, 1);
	lab_run(&lab, 4900, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_run(&lab, 200, 3);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

static void run_owing(uint64_t ms, uint64_t bytes)
{
	for (uint64_t at = 0; at < ms; at += 10) {
		lab_beat(&lab, 0);
		lab_beat(&lab, 1);
		lab.now_ns += 10 * MS;
		lab.relayed_bytes += bytes;
		(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_TICK, .standby_owes = true,
						       .relayed_bytes = lab.relayed_bytes});
	}
}

static void test_it_owes(void **state)
{
	(void)state;
	run_owing(4900, 0);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_in_range(vm_standby_waits_ns(&lab.fsm, lab.now_ns) / MS, 4800, 4999);
	run_owing(200, 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	/* In the next protection, the time without a commit starts at zero. */
	lab_settle(&lab);
	lab_protect(&lab);
	run_owing(4900, 0);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_ack(&lab, 2);
	assert_int_equal(vm_standby_waits_ns(&lab.fsm, lab.now_ns), 0);
	run_owing(4900, 0);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

/* The first epoch is acknowledged only after its rehearsal. So more time is allowed for it than for
 * a later epoch. */
static void test_the_first_epoch_is_rehearsed(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	run_owing(14500, 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	run_owing(1000, 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_string_equal(lab.last_reply.code, "standby-lost");
}

/* The primary's agent has restarted and copies all memory again. The time for this copy does not
 * count as time without a commit. */
static void test_a_copy_on_its_way(void **state)
{
	(void)state;
	lab_stream_down(&lab, 0);
	lab_stream_down(&lab, 1);
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	lab_run(&lab, 1000, 3); /* the agent sets up its tracking in QEMU */
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), 0);
	lab_run(&lab, 60000, 3); /* the copy arrives */
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	/* The copy is acknowledged and then applied: 600 MB take three seconds. */
	lab.relayed_bytes += 600u << 20;
	lab_run(&lab, 10, 3);
	lab_ack(&lab, 3);
	run_owing(7500, 0);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	run_owing(1000, 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* Time in which no epoch could be committed, because the guest was paused or the gateway stood
 * still, does not count. */
static void test_the_clock_stands_still(void **state)
{
	(void)state;
	lab_stream_down(&lab, 1);
	lab_run(&lab, 3000, 3);
	lab_report_verdict(&lab, 0, WIRE_VERDICT_PAUSED);
	lab_run(&lab, 60000, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_report_verdict(&lab, 0, WIRE_VERDICT_NONE);
	lab_run(&lab, 1900, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab.now_ns += 20000 * MS; /* the gateway's process stood still */
	lab_run(&lab, 10, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_run(&lab, 200, 3);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

static void test_hold_is_told_once(void **state)
{
	unsigned int n = 0;

	(void)state;
	lab.config.standby_lost_hold = true;
	for (int i = 0; i < 100; i++) {
		lab.last_event[0] = '\0';
		break_and_return("full");
		for (int at = 0; at < 20; at++) {
			lab_run(&lab, 10, 3);
			n += strstr(lab.last_event, "standby_lost = hold") != NULL;
			lab.last_event[0] = '\0';
		}
	}
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(n, 1);
	/* An epoch is committed again: the time without a commit starts at zero. */
	lab_ack(&lab, 3);
	assert_non_null(strstr(lab.last_event, "committed again"));
	assert_int_equal(vm_standby_waits_ns(&lab.fsm, lab.now_ns), 0);
}

/* Tests the age of the last commit, as `vm show` prints it. */
static void test_the_age_of_a_commit(void **state)
{
	uint64_t committed_ns = lab.fsm.protection.committed_ns;

	(void)state;
	lab_run(&lab, 1000, 3);
	break_and_return("full");
	assert_int_equal(lab.fsm.protection.committed, 2);
	assert_int_equal(lab.fsm.protection.committed_ns, committed_ns);
	lab_ack(&lab, 3);
	assert_int_equal(lab.fsm.protection.committed_ns, lab.now_ns);
}

/* The guest was once promoted on the primary's host. A restarted agent there can report the epoch
 * of that promotion until it protects the guest again. That epoch was not committed in this term,
 * so it does not count. */
static void test_an_earlier_promotion(void **state)
{
	(void)state;
	lab.peer[0].state = WIRE_STATE_RUNNING;
	lab.peer[0].committed = 937;
	lab_report(&lab, 0);
	assert_int_equal(lab.fsm.protection.committed, 2);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab.peer[0].state = WIRE_STATE_PROTECTED; /* now the number is of this term, so it counts */
	lab.peer[0].committed = 3;
	lab_report(&lab, 0);
	assert_int_equal(lab.fsm.protection.committed, 3);
}

/* Streams that the gateway itself closed count as down, so the next protection waits for new
 * streams. */
static void test_closed_streams_are_down(void **state)
{
	unsigned int n_resumes;

	(void)state;
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_false(lab.fsm.stream[0].up || lab.fsm.stream[1].up);
	lab_settle(&lab);
	n_resumes = lab.n_resumes;
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_true(lab_obey(&lab, 1));
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_int_equal(lab.n_resumes, n_resumes); /* the primary has no stream yet */
	assert_true(lab_obey(&lab, 0));
	assert_int_equal(lab.n_resumes, n_resumes + 1);
}

/* The protection has ended, and the owner has not answered UNPROTECT. The gateway waits for the
 * owner, not for the standby. */
static void test_the_owner_is_waited_for(void **state)
{
	char text[VM_TEXT_MAX];

	(void)state;
	lab_stream_down(&lab, 1);
	while (lab.journal.state == VM_PROTECTED)
		lab_run(&lab, 100, 3);
	assert_true(lab.fsm.release_due);
	assert_non_null(strstr(vm_again_describe(&lab.fsm, lab.now_ns, text, sizeof(text)),
			       "but alpha has not yet confirmed that it released the guest"));
}

/* The standby is away, and then the owner's guest ends. The copy is all that is left of the guest.
 * So the copy is kept without a time limit, and the standby is promoted when it is back. If the
 * owner's agent restarts meanwhile, the new agent reports only LOST. That alone changes nothing
 * before order_timeout has passed. */
static void test_the_last_copy_is_kept(void **state)
{
	(void)state;
	lab_down(&lab, 1);
	lab_run(&lab, 1000, 1);
	for (int i = 0; i < 60; i++) {
		if (i == 35) { /* order_timeout is 30 s */
			lab_down(&lab, 0);
			lab_up(&lab, 0);
			lab.peer[0].state = WIRE_STATE_LOST;
		}
		lab_report_verdict(&lab, 0, i < 35 ? WIRE_VERDICT_EXITED : WIRE_VERDICT_NONE);
		assert_int_equal(lab.journal.state, VM_PROTECTED);
		lab_run(&lab, 1000, 1);
	}
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_report_verdict(&lab, 0, WIRE_VERDICT_EXITED);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.journal.owner, 1);
}

static void restart_owner_without_standby(void)
{
	lab_down(&lab, 1);
	lab_down(&lab, 0);
	lab_up(&lab, 0);
	lab.peer[0].state = WIRE_STATE_LOST;
}

/* The owner's agent is an older version that does not say whether it has found the guest, and the
 * standby does not come back. As the guest may still run, the copy is not kept for ever: after
 * order_timeout the policy standby_lost applies. */
static void test_a_guest_that_is_not_found(void **state)
{
	(void)state;
	restart_owner_without_standby();
	for (int i = 0; i < 30; i++) {
		lab_report(&lab, 0);
		assert_int_equal(lab.journal.state, VM_PROTECTED);
		lab_run(&lab, 1000, 1);
	}
	lab_run(&lab, 6000, 1);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* The owner's agent has found the guest, but cannot protect it. So the copy is not the last one,
 * and the policy standby_lost applies after standby_timeout, as for any lost standby. */
static void test_a_guest_that_is_found(void **state)
{
	(void)state;
	restart_owner_without_standby();
	lab.peer[0].is_guest_found = true;
	lab_report(&lab, 0);
	assert_false(vm_copy_is_last(&lab.fsm));
	for (int i = 0; i < 6; i++) {
		lab_report(&lab, 0);
		lab_run(&lab, 1000, 1);
	}
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* The guest has ended while no agent watched it, and the next agent reports this. So the copy is
 * kept without a time limit. */
static void test_a_guest_that_has_ended(void **state)
{
	(void)state;
	restart_owner_without_standby();
	for (int i = 0; i < 60; i++) { /* order_timeout is 30 s */
		lab_report_verdict(&lab, 0, WIRE_VERDICT_EXITED);
		assert_true(vm_copy_is_last(&lab.fsm));
		lab_run(&lab, 1000, 1);
	}
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_report_verdict(&lab, 0, WIRE_VERDICT_EXITED);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.journal.owner, 1);
}

/* The owner's host has died, but its connection has not ended yet. `unprotect` is refused, because
 * the owner is silent and the copy may be all that is left. */
static void test_unprotect_asks_for_a_sign_of_life(void **state)
{
	(void)state;
	lab_down(&lab, 1);
	lab_run(&lab, 600, 0);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_string_equal(lab.last_reply.code, "would-lose");
	assert_non_null(strstr(lab.last_reply.text, "alpha is silent, so the copy on beta may be"));
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_each_attempt_is_refused, start_protected),
		cmocka_unit_test(test_each_first_copy_is_refused),
		cmocka_unit_test_setup(test_no_stream, start_protected),
		cmocka_unit_test_setup(test_it_owes, start_protected),
		cmocka_unit_test(test_the_first_epoch_is_rehearsed),
		cmocka_unit_test_setup(test_a_copy_on_its_way, start_protected),
		cmocka_unit_test_setup(test_the_clock_stands_still, start_protected),
		cmocka_unit_test_setup(test_the_owner_is_waited_for, start_protected),
		cmocka_unit_test_setup(test_the_last_copy_is_kept, start_protected),
		cmocka_unit_test_setup(test_a_guest_that_is_not_found, start_protected),
		cmocka_unit_test_setup(test_a_guest_that_is_found, start_protected),
		cmocka_unit_test_setup(test_a_guest_that_has_ended, start_protected),
		cmocka_unit_test_setup(test_unprotect_asks_for_a_sign_of_life, start_protected),
		cmocka_unit_test_setup(test_hold_is_told_once, start_protected),
		cmocka_unit_test_setup(test_the_age_of_a_commit, start_protected),
		cmocka_unit_test_setup(test_an_earlier_promotion, start_protected),
		cmocka_unit_test_setup(test_closed_streams_are_down, start_protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
