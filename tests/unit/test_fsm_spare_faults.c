/* test_fsm_spare_faults.c - tests a VM with a spare when its hosts, files and operators are at
 * fault. */
#include "fsm_spare_lab.h"

static bool fails_start(uint8_t h)
{
	if (!lab.peer[h].order.due || lab.peer[h].order.verb != WIRE_VERB_STANDBY_START)
		return false;
	lab.peer[h].order.due = false;
	lab_done(&lab, h, WIRE_ORDER_FAILED, "no [standby] section here");
	return true;
}

/* A spare has taken the seat but cannot stand by. It loses the seat to a host that can. */
static void test_broken_spare_keeps_the_seat(void **state)
{
	(void)state;
	lose_other();
	later(56000);
	lab_run(&lab, 6000, 7);
	lab_report(&lab, ALPHA);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	assert_true(fails_start(GAMMA));
	is_now(VM_UNPROTECTED, ALPHA, GAMMA);
	come_back(BETA); /* healthy again */
	for (int i = 0; i < 360 && lab_spare(&lab) == BETA; i++) { /* 6 hours */
		lab_run(&lab, 60000, 7);
		lab_report(&lab, BETA);
		lab_report(&lab, GAMMA);
		lab_report(&lab, ALPHA);
		(void)fails_start(GAMMA);
		lab_obey(&lab, ALPHA);
	}
	is_now(VM_PREPARING, ALPHA, BETA);
}

/* A host that lost its seat while it stood by is fenced in the end, so that no QEMU can be started
 * there. */
static void test_old_standby_is_fenced(void **state)
{
	(void)state;
	gamma_for_beta();
	come_back(BETA);
	lab_run(&lab, 60000, 7);
	lab_report(&lab, BETA);
	lab_settle(&lab);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_FENCED);
}

/* A spare that reports a newer term, from an old role file, does not prevent a failover of the
 * VM. */
static void test_spare_paralyses(void **state)
{
	(void)state;
	lab.peer[GAMMA].term = lab.journal.term + 3; /* from an old role file */
	lab.peer[GAMMA].state = WIRE_STATE_FENCED;
	lab_report(&lab, GAMMA);
	lab_run(&lab, 100, 7);
	lab_down(&lab, ALPHA);
	for (int i = 0; i < 60; i++) {
		lab_run(&lab, 1000, 6);
		lab_report(&lab, BETA);
		lab_report(&lab, GAMMA);
	}
	assert_int_equal(lab.journal.owner, BETA);
}

/* A spare with a damaged role file does not prevent a failover either, and the command `owner` ends
 * the conflict. */
static void test_spare_paralyses_for_ever(void **state)
{
	(void)state;
	lab.peer[GAMMA].term = lab.journal.term + WIRE_TERM_JUMP_MAX + 5;
	lab.peer[GAMMA].state = WIRE_STATE_FENCED;
	lab_report(&lab, GAMMA);
	command(VM_COMMAND_OWNER, ALPHA);
	lab_settle(&lab);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	lab_report(&lab, GAMMA);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
}

/* The host that loses its seat may have voted for the next term. So when a seat changes hands, the
 * gateway skips that term. */
static void test_term_above_any_vote(void **state)
{
	uint64_t term;

	(void)state;
	lose_other();
	term = lab.journal.term;
	later(61000);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	assert_true(lab.journal.term >= term + 2);
}

/* alpha is connected and drained, but has not confirmed its FENCE. The spare does not take alpha's
 * seat, and alpha gets the FENCE again. */
static void test_fence_is_dropped(void **state)
{
	char why[VM_TEXT_MAX];

	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_run(&lab, 100, 7);
	assert_true(lab_obey(&lab, BETA));
	lab_tick(&lab, 10);
	assert_int_equal(lab.journal.owner, BETA);
	assert_int_equal(lab.peer[ALPHA].order.verb, WIRE_VERB_FENCE);
	vm_fsm_bar(&lab.fsm, ALPHA, true);
	/* alpha's file says FENCED, but its QEMU does not answer */
	lab.peer[ALPHA].order.due = false;
	lab.peer[ALPHA].state = WIRE_STATE_FENCED;
	lab.peer[ALPHA].term = lab.peer[ALPHA].order.term;
	lab_report(&lab, ALPHA);
	lab_done(&lab, ALPHA, WIRE_ORDER_FAILED, "QEMU does not answer");
	assert_true(lab.fsm.fence_due);
	assert_int_equal(vm_drain_look(&lab.fsm, ALPHA, false, why, sizeof(why)), VM_DRAIN_ENDING);
	lab_run(&lab, 100, 7);
	lab_report(&lab, BETA);
	is_now(VM_UNPROTECTED, BETA, ALPHA);
	for (int i = 0; i < 120; i++) {
		lab_run(&lab, 1000, 7);
		lab_report(&lab, ALPHA);
	}
	assert_true(lab.peer[ALPHA].order.due);
}

/* When another host is drained, the gateway does not count on a spare (fsm.h, rule 7) that cannot
 * take over the standby's seat. */
static void test_third_that_cannot(void **state)
{
	(void)state;
	lab.peer[GAMMA].state = WIRE_STATE_PROMOTING;
	lab.peer[GAMMA].term = 0;
	lab_report(&lab, GAMMA);
	assert_false(vm_drain_has_third(&lab.fsm, BETA));
}

/* The agent of a spare died during an old promotion. The gateway fences this spare. */
static void test_promoting_spare(void **state)
{
	(void)state;
	lab_down(&lab, GAMMA);
	lab.peer[GAMMA].state = WIRE_STATE_PROMOTING;
	lab.peer[GAMMA].term = 0;
	come_back(GAMMA);
	assert_int_equal(lab.peer[GAMMA].state, WIRE_STATE_FENCED);
}

/* A spare reports a copy of the guest in the journal's term. The gateway does not end this copy:
 * the operator may have swapped two hosts in the VM's file, so this host may be the real
 * standby. */
static void test_copy_of_this_term(void **state)
{
	(void)state;
	lab.peer[GAMMA].state = WIRE_STATE_STANDBY_READY;
	lab.peer[GAMMA].term = lab.journal.term;
	lab.peer[GAMMA].complete = 7;
	lab_report(&lab, GAMMA);
	assert_false(lab.peer[GAMMA].order.due &&
		     lab.peer[GAMMA].order.verb == WIRE_VERB_STANDBY_STOP);
}

/* A standby that connects only now and then, for a short time, counts as away, so the spare takes
 * its seat. */
static void test_flapping(void **state)
{
	(void)state;
	lose_other();
	for (int i = 0; i < 120 && lab_spare(&lab) == GAMMA; i++) {
		lab_run(&lab, 50000, 7);
		lab_up(&lab, BETA);
		lab_run(&lab, 100, 7);
		lab_down(&lab, BETA);
		lab_report(&lab, ALPHA);
	}
	is_now(VM_PREPARING, ALPHA, GAMMA);
}

/* A standby that is connected but never reports the VM counts as away, so the spare takes its
 * seat. */
static void test_never_reports(void **state)
{
	(void)state;
	lose_other();
	lab_up(&lab, BETA);
	for (int i = 0; i < 120 && lab_spare(&lab) == GAMMA; i++) {
		lab_run(&lab, 60000, 7);
		lab_report(&lab, ALPHA);
	}
	is_now(VM_PREPARING, ALPHA, GAMMA);
}

/* In a failover, alpha was fenced but keeps its stopped guest. The promoted guest has never shown
 * that it serves clients. When a spare takes a seat, alpha's stopped guest is kept. */
static void test_doubt_forgotten(void **state)
{
	(void)state;
	gamma_shows_no_life();
	lab_run(&lab, 20000, 6);
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SILENT);
	come_back(ALPHA); /* alpha keeps its stopped guest */
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_FENCED);
	command(VM_COMMAND_PROTECT, BETA); /* so that alpha's guest can be examined */
	is_now(VM_PREPARING, GAMMA, BETA);
	lab_obey(&lab, BETA);
	lab_down(&lab, BETA);
	for (int i = 0; i < 30 && lab_spare(&lab) == ALPHA; i++) {
		lab_run(&lab, 10000, 7);
		lab_obey(&lab, GAMMA);
		lab_report(&lab, ALPHA);
		lab_report(&lab, GAMMA);
	}
	assert_int_equal(lab_spare(&lab), ALPHA);
}

/* The journal is lost, and the third host, which has the newest term, has not reported. The gateway
 * does not use that term again. */
static void test_lost_journal_absent_third(void **state)
{
	(void)state;
	lab_init(&lab);
	strcpy(lab.config.host[GAMMA], "gamma");
	lab.peer[ALPHA].state = WIRE_STATE_RUNNING;
	lab.peer[BETA].state = WIRE_STATE_IDLE;
	lab.peer[GAMMA].state = WIRE_STATE_STANDBY_WARM; /* gamma has stood by since term 31 */
	lab.peer[ALPHA].term = lab.peer[BETA].term = 30;
	lab.peer[GAMMA].term = 31;
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	lab_up(&lab, BETA);
	lab_report(&lab, BETA);
	lab_report(&lab, ALPHA);
	if (!vm_fsm_in_conflict(&lab.fsm)) {
		lab_command(&lab, VM_COMMAND_PROTECT);
		lab_settle(&lab);
		lab_ack(&lab, 1);
	}
	assert_true(lab.journal.term != lab.peer[GAMMA].term);
}

/* A spare whose agent died during an old promotion does not delay a cold start. */
static void test_promoting_spare_delays_no_start(void **state)
{
	struct vm_cold_word primary = {.role = VM_COLD_PRIMARY, .disk = VM_COLD_DISK_OWN};
	struct vm_cold_word standby = {.role = VM_COLD_STANDBY, .disk = VM_COLD_DISK_COPY};

	(void)state;
	primary.ran = standby.term = standby.ran = lab.journal.term;
	standby.epoch = 1;
	lab_down(&lab, GAMMA);
	lab.peer[GAMMA].state = WIRE_STATE_PROMOTING;
	lab.peer[GAMMA].term = 0;
	lab_up(&lab, GAMMA);
	lab_down(&lab, ALPHA);
	lab_down(&lab, BETA);
	lab.peer[ALPHA].cold = primary;
	lab.peer[BETA].cold = standby;
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab.peer[BETA].state = WIRE_STATE_IDLE;
	lab_up(&lab, ALPHA);
	lab_up(&lab, BETA);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	lab_report(&lab, GAMMA);
	lab_settle(&lab);
	lab_run(&lab, 120000, 7);
	lab.replied = false;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .command = VM_COMMAND_START,
					       .host = ALPHA, .is_host_named = true,
					       .may_lose = true, .op_id = 77});
	lab_settle(&lab);
	assert_int_equal(lab.n_starts, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup(f, start)
		T(test_broken_spare_keeps_the_seat), T(test_old_standby_is_fenced),
		T(test_spare_paralyses), T(test_spare_paralyses_for_ever),
		T(test_term_above_any_vote),
		T(test_fence_is_dropped), T(test_third_that_cannot), T(test_promoting_spare),
		T(test_copy_of_this_term), T(test_flapping), T(test_never_reports),
		T(test_doubt_forgotten), T(test_lost_journal_absent_third),
		T(test_promoting_spare_delays_no_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
