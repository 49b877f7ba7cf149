/* test_fsm.c - tests each flow of vm/fsm by itself. fsm_lab.h checks the rules. */
#include "fsm_lab.h"

static struct lab lab;

static int start_protected(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	return 0;
}

static void test_protect(void **state)
{
	(void)state;
	start_protected(NULL);
	assert_int_equal(lab.journal.term, 1);
	assert_int_equal(lab.n_resumes, 1);
	assert_int_equal(lab.resume_epoch, 0);
	lab_ack(&lab, 2);
	lab_ack(&lab, 2); /* a second acknowledgement of the same epoch */
	assert_int_equal(lab.n_commits, 2);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_string_equal(lab.last_reply.code, "already");
}

static void test_protect_needs_both(void **state)
{
	(void)state;
	lab_init(&lab);
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_false(lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "beta is not connected"));
	assert_int_equal(lab.journal.term, 0);
}

static void test_standby_refuses(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_done(&lab, 1, WIRE_ORDER_FAILED, "no room for the RAM file");
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.term, 2);
	assert_non_null(strstr(lab.last_reply.text, "no room for the RAM file"));
	/* The primary must not have got any order. */
	assert_int_equal(lab.last_order[0].verb, 0);
}

static void test_primary_refuses(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_true(lab_obey(&lab, 1));
	lab_done(&lab, 0, WIRE_ORDER_FAILED, "offloads are on");
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_false(lab.last_reply.ok);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_UNPROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_IDLE);
}

/* The standby refuses the stream because its QEMU machine differs from the primary's. The gateway
 * does not retry for ever, and tells the operator the reason. Such a refusal does not end a
 * protection that is in force. */
static void test_standby_does_not_fit(void **state)
{
	struct vm_input refused = {.kind = VM_IN_STREAM_REFUSED, .host = 1,
				   .role = WIRE_VM_ROLE_STANDBY,
				   .text = "machine types differ"};

	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_true(lab_obey(&lab, 1));
	assert_true(lab_obey(&lab, 0));
	assert_int_equal(lab.journal.state, VM_SYNCING);
	(void)lab_feed(&lab, refused);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "machine types differ"));
	lab_settle(&lab);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_IDLE);
}

static void test_refusal_while_protected(void **state)
{
	struct vm_input refused = {.kind = VM_IN_STREAM_REFUSED, .host = 1,
				   .role = WIRE_VM_ROLE_STANDBY,
				   .text = "machine types differ"};

	(void)state;
	lab_ack(&lab, 2);
	(void)lab_feed(&lab, refused);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

static void test_standby_silent_in_prepare(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_run(&lab, 31000, 3);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_true(lab.replied && !lab.last_reply.ok);
}

static void test_primary_lost(void **state)
{
	(void)state;
	lab_ack(&lab, 2);
	lab_run(&lab, 480, 2);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_run(&lab, 40, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.journal.term, 2);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);
	assert_int_equal(lab.last_order[1].epoch, 2);
	/* The old term has ended: its acknowledgements no longer count, and its streams are
	 * refused. */
	lab_ack(&lab, 3);
	assert_int_equal(lab.n_commits, 2);
	lab.peer[1].complete = 2;
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), WIRE_REFUSED_STALE_TERM);
	lab.peer[0].state = WIRE_STATE_LOST;
	lab_obey(&lab, 1);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	/* The gateway orders the old primary to fence itself, and repeats the order each time that
	 * host returns. */
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_FENCE);
	lab_down(&lab, 0);
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	assert_true(lab.peer[0].order.due);
	lab_settle(&lab);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
}

static void test_verdicts(void **state)
{
	(void)state;
	lab_report_verdict(&lab, 0, WIRE_VERDICT_PAUSED);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_report_verdict(&lab, 0, WIRE_VERDICT_EXITED);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	start_protected(NULL);
	lab_report_verdict(&lab, 0, WIRE_VERDICT_SHUTDOWN);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.owner, 0);
	/* A report of an old term changes nothing. */
	start_protected(NULL);
	lab.peer[0].term = 0;
	lab_report_verdict(&lab, 0, WIRE_VERDICT_EXITED);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

static void report_throttle(uint8_t percent, const char *why)
{
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_REPORT, .host = 0, .agent_state = WIRE_STATE_PROTECTED,
		.role = WIRE_VM_ROLE_PRIMARY, .term = lab.journal.term,
		.epoch = lab.peer[0].committed, .throttle_percent = percent, .throttle_why = why});
}

/* The beginning and the end of throttling are reported as events; changes between them are not. An
 * agent that has restarted no longer throttles. */
static void test_throttle_is_told(void **state)
{
	(void)state;
	report_throttle(30, "the link takes 95 MB/s");
	assert_string_equal(lab.last_event,
			    "alpha throttles the guest by 30 %: the link takes 95 MB/s");
	lab.last_event[0] = '\0';
	report_throttle(60, "the link takes 90 MB/s");
	report_throttle(20, NULL);
	assert_string_equal(lab.last_event, "");
	lab.now_ns += 2345 * MS;
	report_throttle(0, NULL);
	assert_non_null(strstr(lab.last_event, "alpha lets the guest run freely again"));
	assert_non_null(strstr(lab.last_event, "by 60 % at most"));
	report_throttle(10, NULL);
	assert_string_equal(lab.last_event, "alpha throttles the guest by 10 %: no reason given");
	lab_report(&lab, 0);
	assert_non_null(strstr(lab.last_event, "by 10 % at most"));
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

static void test_a_slow_clock_is_told(void **state)
{
	struct vm_input in = {.kind = VM_IN_REPORT,
			      .agent_state = WIRE_STATE_PROTECTED,
			      .role = WIRE_VM_ROLE_PRIMARY,
			      .clock_why = "KVM",
			      .clock_alarm_percent = 16};

	(void)state;
	in.term = lab.journal.term;
	(void)lab_feed(&lab, in);
	assert_string_equal(lab.last_event,
			    "the guest's clock on alpha lost 16 % of the last minute: KVM");
	in.clock_alarm_percent = 0;
	(void)lab_feed(&lab, in);
	assert_non_null(strstr(lab.last_event, "goes right again"));
}

static void test_unprotect(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.term, 2);
	assert_false(lab.replied);
	assert_int_equal(lab.n_closes, 2); /* when the protection began, and when it ended */
	lab_settle(&lab);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_RUNNING);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_IDLE);
	/* The owner must never be told that its term is stale: it would fence itself. */
	lab.peer[0].term = 1;
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), WIRE_REFUSED_NOT_ASKED);
	lab_run(&lab, 5000, 0);
	assert_int_equal(lab.n_promotions, 0);
}

static void test_unprotect_with_primary_away(void **state)
{
	(void)state;
	lab_down(&lab, 0);
	/* The copy may be all that is left of the guest: only an operator who accepts the loss can
	 * give it up. */
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_string_equal(lab.last_reply.code, "would-lose");
	assert_non_null(strstr(lab.last_reply.text, "beta may be all that is left"));
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_settle(&lab);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_STANDBY_READY);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .may_lose = true,
					       .command = VM_COMMAND_UNPROTECT, .op_id = 4711});
	assert_string_equal(lab.last_reply.code, "pending");
	lab.peer[0].state = WIRE_STATE_LOST;
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	lab_settle(&lab);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_RUNNING);
}

static void test_failover_and_back(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_settle(&lab);
	lab_tick(&lab, 10);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
	/* alpha and beta have swapped roles: the owner in the journal is the primary */
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	lab_ack(&lab, 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_settle(&lab);
	assert_int_equal(lab.journal.owner, 0);
	assert_int_equal(lab.journal.term, 4);
	assert_int_equal(lab.n_promotions, 2);
}

static void test_failover_needs_protection(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_string_equal(lab.last_reply.code, "not-protected");
	assert_int_equal(lab.journal.term, 0);
}

static void test_promotion_refused(void **state)
{
	(void)state;
	lab.peer[1].complete = 0; /* beta has lost its RAM file, but has not reported that yet */
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_FAILED);
	assert_false(lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "no such epoch"));
	/* the event informs operators who did not give the command */
	assert_string_equal(lab.last_event, lab.last_reply.text);
	lab_run(&lab, 2000, 3);
	assert_int_equal(lab.journal.state, VM_FAILED); /* only the operator can decide */
	lab_report(&lab, 1);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.owner, 0);
	assert_true(lab.last_reply.ok);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_RUNNING);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_IDLE);
}

static void test_promotion_retried(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_run(&lab, 31000, 3); /* beta never answers */
	assert_int_equal(lab.journal.state, VM_FAILED);
	lab_report(&lab, 1);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.journal.term, 3);
}

/* The VM is FAILED, but the standby did promote. The standby then becomes the owner without an
 * operator's help, and the other host does not get the guest back. */
static void test_no_second_owner_after_failure(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_run(&lab, 31000, 3);
	lab.peer[1].state = WIRE_STATE_RUNNING;
	lab.peer[1].term = 2;
	assert_int_equal(lab.journal.state, VM_FAILED);
	lab_report(&lab, 1);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.journal.term, 2);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_FENCE);
	/* A guest that runs in another term than the ordered one does not prove a promotion. */
	start_protected(NULL);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_run(&lab, 31000, 3);
	lab.peer[1].state = WIRE_STATE_RUNNING;
	lab_report(&lab, 1);
	assert_int_equal(lab.journal.state, VM_FAILED);
	lab_down(&lab, 1);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_string_equal(lab.last_reply.code, "not-connected");
}

/* The standby can still carry out a PROMOTE that timed out. So the guest goes back to the other
 * host only after the standby has answered STANDBY_STOP. A report does not count as this answer
 * (found by docs/model, BUG_GIVE_BACK_UNASKED). */
static void test_give_back_asks_first(void **state)
{
	(void)state;
	for (int is_late = 0; is_late < 2; is_late++) {
		start_protected(NULL);
		lab_command(&lab, VM_COMMAND_FAILOVER);
		lab_run(&lab, 31000, 3);
		assert_int_equal(lab.journal.state, VM_FAILED);
		lab_report(&lab, 1);
		lab_command(&lab, VM_COMMAND_UNPROTECT);
		assert_int_equal(lab.journal.state, VM_FAILED);
		assert_int_equal(lab.last_order[1].verb, WIRE_VERB_STANDBY_STOP);
		assert_false(lab.peer[0].order.due);
		assert_false(lab.replied);
		if (is_late) { /* PROMOTE was queued before STANDBY_STOP */
			lab.peer[1].state = WIRE_STATE_RUNNING;
			lab.peer[1].term = 2;
			lab_report(&lab, 1);
			lab_done(&lab, 1, WIRE_ORDER_OK, "");
			assert_string_equal(lab.last_reply.code, "running");
			assert_int_equal(lab.journal.state, VM_UNPROTECTED);
			assert_int_equal(lab.journal.owner, 1);
		} else {
			(void)lab_obey(&lab, 1);
			assert_int_equal(lab.journal.state, VM_UNPROTECTED);
			assert_int_equal(lab.journal.owner, 0);
			assert_int_equal(lab.last_order[0].verb, WIRE_VERB_UNPROTECT);
		}
	}
	/* Without the standby's answer, the guest is not given back. */
	start_protected(NULL);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_run(&lab, 31000, 3);
	lab_report(&lab, 1);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_down(&lab, 1);
	lab_run(&lab, 31000, 1);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_int_equal(lab.journal.state, VM_FAILED);
}

static void test_promoted_while_away(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_obey(&lab, 1);
	/* In a second failover, beta promotes while it is disconnected, so its answer is lost. */
	start_protected(NULL);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_down(&lab, 1);
	lab.peer[1].state = WIRE_STATE_RUNNING;
	lab.peer[1].term = 2;
	lab_up(&lab, 1);
	assert_true(lab.peer[1].order.due); /* the gateway repeats its order at once */
	lab_report(&lab, 1);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.owner, 1);
}

static void test_standby_gone(void **state)
{
	(void)state;
	lab_down(&lab, 1);
	lab_run(&lab, 4900, 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_run(&lab, 200, 1);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.owner, 0);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_UNPROTECT);
	start_protected(NULL);
	lab.config.standby_lost_hold = true;
	lab_down(&lab, 1);
	lab_run(&lab, 20000, 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

static void test_primary_agent_restart(void **state)
{
	(void)state;
	lab_ack(&lab, 2);
	lab_down(&lab, 0);
	lab_run(&lab, 200, 2);
	lab.peer[0].state = WIRE_STATE_LOST;
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_PROTECT);
	assert_int_equal(lab.last_order[0].term, 1);
	lab_settle(&lab);
	assert_int_equal(lab.n_resumes, 2);
	assert_int_equal(lab.resume_epoch, 2);
	lab_ack(&lab, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	/* QEMU no longer has a QMP socket, so the restarted agent cannot take over the guest. */
	lab_down(&lab, 0);
	lab.peer[0].state = WIRE_STATE_LOST;
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	lab_done(&lab, 0, WIRE_ORDER_FAILED, "QMP socket is gone");
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

static void test_standby_lost_its_epochs(void **state)
{
	(void)state;
	lab_ack(&lab, 5);
	lab_down(&lab, 1);
	lab.peer[1].complete = 0;
	lab.peer[1].state = WIRE_STATE_IDLE;
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_settle(&lab);
	/* in this state beta must not be promoted */
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_int_equal(lab.resume_epoch, 0);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_false(lab.last_reply.ok);
	lab_ack(&lab, 6);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

static void test_streams_refused(void **state)
{
	struct error why;

	(void)state;
	assert_int_equal(vm_fsm_check_stream(&lab.fsm, 0, WIRE_VM_ROLE_PRIMARY, 9, &why),
			 WIRE_REFUSED_NOT_ASKED);
	assert_int_equal(vm_fsm_check_stream(&lab.fsm, 1, WIRE_VM_ROLE_PRIMARY, 1, &why),
			 WIRE_REFUSED_NOT_ASKED);
	assert_int_equal(vm_fsm_check_stream(&lab.fsm, 0, WIRE_VM_ROLE_STANDBY, 1, &why),
			 WIRE_REFUSED_NOT_ASKED);
	assert_int_equal(vm_fsm_check_stream(&lab.fsm, 1, WIRE_VM_ROLE_STANDBY, 0, &why),
			 WIRE_REFUSED_STALE_TERM);
	assert_int_equal(vm_fsm_check_stream(&lab.fsm, 1, WIRE_VM_ROLE_STANDBY, 1, &why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_protect),
		cmocka_unit_test(test_protect_needs_both),
		cmocka_unit_test(test_standby_refuses),
		cmocka_unit_test(test_primary_refuses),
		cmocka_unit_test(test_standby_does_not_fit),
		cmocka_unit_test_setup(test_refusal_while_protected, start_protected),
		cmocka_unit_test(test_standby_silent_in_prepare),
		cmocka_unit_test_setup(test_primary_lost, start_protected),
		cmocka_unit_test_setup(test_verdicts, start_protected),
		cmocka_unit_test_setup(test_throttle_is_told, start_protected),
		cmocka_unit_test_setup(test_a_slow_clock_is_told, start_protected),
		cmocka_unit_test_setup(test_unprotect, start_protected),
		cmocka_unit_test_setup(test_unprotect_with_primary_away, start_protected),
		cmocka_unit_test_setup(test_failover_and_back, start_protected),
		cmocka_unit_test(test_failover_needs_protection),
		cmocka_unit_test_setup(test_promotion_refused, start_protected),
		cmocka_unit_test_setup(test_promotion_retried, start_protected),
		cmocka_unit_test_setup(test_no_second_owner_after_failure, start_protected),
		cmocka_unit_test(test_give_back_asks_first),
		cmocka_unit_test_setup(test_promoted_while_away, start_protected),
		cmocka_unit_test_setup(test_standby_gone, start_protected),
		cmocka_unit_test_setup(test_primary_agent_restart, start_protected),
		cmocka_unit_test_setup(test_standby_lost_its_epochs, start_protected),
		cmocka_unit_test_setup(test_streams_refused, start_protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
