/* test_fsm_promote.c - tests when vm/fsm promotes, when it does not, and what must happen before a
 * promotion. test_detector.c tests the detector itself; fsm_lab.h checks the rules. */
#include "fsm_lab.h"

static struct lab lab;

static int start_protected(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	return 0;
}

static void test_no_promotion_when_cut_off(void **state)
{
	(void)state;
	/* If both hosts fall silent, the gateway's own link counts as the cause. When both hosts
	 * are back, nothing has changed. */
	lab_run(&lab, 4000, 0);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_run(&lab, 100, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.journal.term, 1);
}

/* After a cut of the gateway's own link the two hosts do not come back at the same moment: each of
 * them sends again when its own timer says so. */
static void test_hosts_come_back_one_by_one(void **state)
{
	(void)state;
	lab_run(&lab, 2000, 0);
	lab_run(&lab, 1900, 2); /* the standby is first */
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_run(&lab, 100, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.journal.term, 1);
	/* After that, a silence of the owner alone counts again. */
	lab_run(&lab, 520, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

/* An owner that does not come back within the time in which the standby came back counts as
 * dead. */
static void test_owner_does_not_come_back(void **state)
{
	(void)state;
	lab_run(&lab, 2000, 0);
	lab_run(&lab, 2100, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

/* A standby whose beats are late again and again must not prevent the promotion when the owner is
 * dead. */
static void test_late_standby(void **state)
{
	(void)state;
	for (int i = 0; i < 5 && lab.journal.state == VM_PROTECTED; i++) {
		lab_run(&lab, 300, 0);
		lab_run(&lab, 10, 2);
	}
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

static void test_own_stall_is_forgiven(void **state)
{
	(void)state;
	lab.now_ns += 20000 * MS; /* as if SIGSTOP had stopped the gateway for 20 s */
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_TICK});
	lab_beat(&lab, 1);
	lab_run(&lab, 400, 2);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_run(&lab, 100, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	/* Silence that begins after the gateway's own stall counts. */
	lab_run(&lab, 520, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

/* The standby comes back with its copy of an earlier term. This copy is complete, and the numbers
 * of its epochs may even be higher. It is never promoted. */
static void test_copy_of_an_older_term(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	lab_protect(&lab);
	lab_run(&lab, 100, 3);
	lab_down(&lab, 1);
	lab.peer[1].term = 1;
	lab.peer[1].complete += 100;
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_run(&lab, 1000, 2);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_non_null(strstr(lab.last_event, "no promotion: the standby's copy is of an older "
					       "term"));
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_false(lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "of an older term"));
}

/* The standby's host has booted. Its standby gets ready again, has no epoch, and has no stream yet.
 * What it acknowledged before the boot does not count. */
static void test_standby_has_booted(void **state)
{
	static const uint8_t states[] = {WIRE_STATE_STANDBY_STARTING, WIRE_STATE_STANDBY_WARM};

	(void)state;
	for (size_t i = 0; i < sizeof(states); i++) {
		start_protected(NULL);
		lab_down(&lab, 1);
		lab.peer[1].complete = 0;
		lab.peer[1].state = states[i];
		lab_up(&lab, 1);
		lab_report(&lab, 1);
		lab_run(&lab, 1000, 2);
		assert_int_equal(lab.journal.state, VM_PROTECTED);
		assert_non_null(strstr(lab.last_event, "no promotion: the standby has got no whole "
						       "epoch"));
		/* the owner was only slow, and sends its guest anew */
		lab_run(&lab, 10, 3);
		assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
		assert_int_equal(lab.journal.state, VM_SYNCING);
	}
}

/* If a host fell silent, PROMOTE waits for the fence command. If an operator asked for the
 * failover, PROMOTE does not wait. */
static void test_fence_command(void **state)
{
	(void)state;
	lab.config.has_fence_command = lab.config.fence_required = true;
	lab_run(&lab, 600, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_true(lab.fence_runs);
	assert_false(lab.peer[1].order.due);
	lab_run(&lab, 5000, 2);
	assert_false(lab.peer[1].order.due);
	assert_true(lab_fenced(&lab, WIRE_ORDER_OK));
	assert_true(lab.peer[1].order.due);
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);

	start_protected(NULL);
	lab.config.has_fence_command = lab.config.fence_required = true;
	lab_run(&lab, 600, 2);
	assert_true(lab_fenced(&lab, WIRE_ORDER_FAILED));
	assert_int_equal(lab.journal.state, VM_FAILED);
	assert_false(lab.peer[1].order.due);
	lab_command(&lab, VM_COMMAND_FAILOVER); /* the operator knows that the host is off */
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);

	start_protected(NULL);
	lab.config.has_fence_command = true;
	lab.config.fence_required = false;
	lab_run(&lab, 600, 2);
	assert_true(lab_fenced(&lab, WIRE_ORDER_FAILED));
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);

	start_protected(NULL);
	lab.config.has_fence_command = true;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_false(lab.fence_runs);
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);

	/* The gateway dies while the fence command runs: the restarted gateway runs the command
	 * again. */
	start_protected(NULL);
	lab.config.has_fence_command = lab.config.fence_required = true;
	lab_run(&lab, 600, 2);
	lab_restart(&lab);
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_tick(&lab, 100);
	assert_true(lab.fence_runs);
	assert_false(lab.peer[1].order.due);
	assert_true(lab_fenced(&lab, WIRE_ORDER_OK));
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);

	/* The gateway dies during an operator's failover from a healthy host. The restarted gateway
	 * soon hears from that host. So PROMOTE does not wait for the fence command. */
	start_protected(NULL);
	lab.config.has_fence_command = lab.config.fence_required = true;
	lab.config.release_ns = 3000 * MS;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_restart(&lab);
	lab_run(&lab, 1000, 2);
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	lab_run(&lab, 5000, 3);
	assert_false(lab.fence_runs);
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);
	lab.config.release_ns = 0;
}

static void test_restart_and_primary_never_seen(void **state)
{
	(void)state;
	lab_restart(&lab);
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_run(&lab, 2900, 2);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab_run(&lab, 200, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

/* Evidence other than beats also reaches the detector. A host that answers probes gets more time
 * than a host that does not. */
static void test_evidence_sets_the_patience(void **state)
{
	struct detector_evidence e = {.has_client_path = true};

	(void)state;
	for (int answers = 1; answers >= 0; answers--) {
		uint64_t ms = 0;

		start_protected(NULL);
		lab_run(&lab, 200, 3);
		while (lab.journal.state == VM_PROTECTED && ms < 10000) {
			lab_beat(&lab, 1);
			lab.now_ns += 10 * MS;
			ms += 10;
			e.reference.sent++;
			e.reference.answered++;
			e.host_client.sent++;
			e.host_client.answered += (uint64_t)answers;
			(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_TICK, .evidence = &e,
							       .relayed_bytes = lab.relayed_bytes});
		}
		if (answers)
			assert_in_range(ms, 3000, 3300);
		else
			assert_in_range(ms, 150, 260);
	}
}

/* Whatever caused a promotion, PROMOTE is sent only after every lease that lets the old owner
 * release output has expired (docs/model, BUG_FAILOVER_AT_ONCE, BUG_RESTART_WITHOUT_PATIENCE). */
static void test_promote_waits_for_the_lease(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		start_protected(NULL);
		lab.config.release_ns = 150 * MS;
		lab_run(&lab, 500, 3);
		if (how == 0)
			lab_command(&lab, VM_COMMAND_FAILOVER);
		else
			lab_report_verdict(&lab, 0, WIRE_VERDICT_EXITED);
		assert_int_equal(lab.journal.state, VM_PROMOTING);
		assert_false(lab.peer[1].order.due);
		if (how == 2) { /* the restarted gateway does not know which leases were granted */
			lab_restart(&lab);
			lab_up(&lab, 1);
			lab_report(&lab, 1);
			assert_false(lab.peer[1].order.due);
		}
		lab_run(&lab, 140, 3);
		assert_false(lab.peer[1].order.due);
		lab_run(&lab, 60, 3);
		assert_true(lab.peer[1].order.due);
		assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);
	}
}

/* Shadow mode reports what a detector with beats alone would have done, but does not do it. */
static void test_shadow(void **state)
{
	(void)state;
	lab.config.shadow_timeout_ns = 200 * MS;
	lab_run(&lab, 1000, 3);
	assert_null(strstr(lab.last_event, "beats alone"));
	lab_run(&lab, 210, 2);
	assert_non_null(strstr(lab.last_event, "beats alone would promote: none from alpha"));
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	lab.last_event[0] = '\0';
	lab_run(&lab, 50, 2);
	assert_null(strstr(lab.last_event, "beats alone")); /* reported only once */
	lab_run(&lab, 10, 3);
	lab_tick(&lab, 10);
	/* the report says how long the silence was */
	assert_non_null(strstr(lab.last_event, "beats from alpha again after 2"));
	lab.last_event[0] = '\0';
	lab_run(&lab, 300, 3);
	assert_null(strstr(lab.last_event, "again")); /* this event, too, is reported only once */
	lab.last_event[0] = '\0';
	lab_run(&lab, 210, 2);
	/* a new silence is reported again */
	assert_non_null(strstr(lab.last_event, "beats alone"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_no_promotion_when_cut_off, start_protected),
		cmocka_unit_test_setup(test_hosts_come_back_one_by_one, start_protected),
		cmocka_unit_test_setup(test_owner_does_not_come_back, start_protected),
		cmocka_unit_test_setup(test_late_standby, start_protected),
		cmocka_unit_test_setup(test_own_stall_is_forgiven, start_protected),
		cmocka_unit_test_setup(test_copy_of_an_older_term, start_protected),
		cmocka_unit_test(test_standby_has_booted),
		cmocka_unit_test_setup(test_fence_command, start_protected),
		cmocka_unit_test_setup(test_restart_and_primary_never_seen, start_protected),
		cmocka_unit_test(test_evidence_sets_the_patience),
		cmocka_unit_test(test_promote_waits_for_the_lease),
		cmocka_unit_test_setup(test_shadow, start_protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
