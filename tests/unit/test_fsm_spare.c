/* test_fsm_spare.c - tests a VM with a third host, the spare. A seat is the place of the owner or
 * of the standby. Tests when the spare takes a seat, when it does not, and that the gateway ignores
 * answers and streams of a host without a seat. fsm_lab.h checks the rules of vm/fsm.h. */
#include "fsm_spare_lab.h"

static void test_takes_the_seat(void **state)
{
	uint64_t term;

	(void)state;
	/* gamma is fenced: it must not run a QEMU of the VM */
	assert_int_equal(lab.peer[GAMMA].state, WIRE_STATE_FENCED);
	lose_other();
	term = lab.journal.term;
	later(50000);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	says("beta is not connected; gamma takes its seat in 00:0");
	later(6000);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	assert_int_equal(lab.journal.term, term + 3);
	assert_non_null(strstr(lab.last_state, "gamma takes the seat of beta, which is the spare "
					       "now: beta could not keep a copy for 6"));
	is_protected();
	assert_int_equal(lab.peer[GAMMA].term, term + 3);
	assert_int_equal(lab.n_seated, 1);
}

/* The old standby returns after gamma has taken its seat. The gateway ends the old standby's copy
 * and fences that host. Then the host gets no more orders. */
static void test_old_standby_returns(void **state)
{
	unsigned int n;

	(void)state;
	gamma_for_beta();
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_STANDBY_READY);
	come_back(BETA);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_FENCED);
	is_now(VM_PROTECTED, ALPHA, GAMMA);
	n = lab.n_spare_orders;
	lab_run(&lab, 60000, 7);
	lab_report(&lab, BETA);
	assert_int_equal(lab.n_spare_orders, n);
	lab_down(&lab, BETA);
	lab.peer[BETA].term = 0; /* beta has lost its files */
	come_back(BETA);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_FENCED);
}

/* Each of the three hosts can become owner, standby and spare in turn. */
static void test_in_turn(void **state)
{
	(void)state;
	gamma_for_beta();
	come_back(BETA);
	fail_over(); /* alpha dies, and keeps its stopped guest */
	is_now(VM_UNPROTECTED, GAMMA, ALPHA);
	assert_true(lab.fsm.fence_due);
	later(61000);
	is_now(VM_PREPARING, GAMMA, BETA);
	/* alpha has lost its seat to beta, so the gateway no longer waits for alpha's fence */
	assert_false(lab.fsm.fence_due);
	is_protected();
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_PROTECTED);
	come_back(ALPHA);
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_FENCED);
	is_now(VM_PROTECTED, GAMMA, BETA);
	lose_other();
	later(61000);
	is_now(VM_PREPARING, GAMMA, ALPHA);
	is_protected();
	fail_over();
	is_now(VM_UNPROTECTED, ALPHA, GAMMA);
	later(61000);
	come_back(BETA);
	lab_report(&lab, ALPHA);
	is_now(VM_PREPARING, ALPHA, BETA);
	is_protected();
	assert_int_equal(lab.n_seated, 4);
}

/* The operator is told each reason why the spare does not take the seat. */
static void test_not_now(void **state)
{
	(void)state;
	lose_other();
	lab_down(&lab, GAMMA);
	later(120000);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	says("the spare gamma is not connected");
	lab_up(&lab, GAMMA);
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	says("the spare gamma has not reported this VM");
	lab.peer[GAMMA].state = WIRE_STATE_RUNNING; /* somebody has started a guest on gamma */
	lab.peer[GAMMA].term = 0;
	lab_report(&lab, GAMMA);
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	says("the spare gamma has not yet confirmed the end");
	lab_settle(&lab);
	assert_int_equal(lab.peer[GAMMA].state, WIRE_STATE_FENCED);
	/* gamma reports an old copy, so it does not take the seat */
	lab.peer[GAMMA].state = WIRE_STATE_STANDBY_READY;
	lab_report(&lab, GAMMA);
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	lab.peer[GAMMA].state = WIRE_STATE_FENCED;
	lab_report(&lab, GAMMA);
	vm_fsm_bar(&lab.fsm, GAMMA, true);
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	says("the spare gamma is drained");
	vm_fsm_bar(&lab.fsm, GAMMA, false);
	lab_down(&lab, ALPHA);
	/* until alpha has ended the protection, gamma does not take the seat */
	lab.peer[ALPHA].state = WIRE_STATE_PROTECTED;
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PREPARING, ALPHA, GAMMA);
}

static void test_owner_must_have_the_guest(void **state)
{
	(void)state;
	lose_other();
	lab_run(&lab, 61000, 7);
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_PAUSED);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	start(NULL);
	lose_other();
	lab_run(&lab, 61000, 7);
	lab.peer[ALPHA].state = WIRE_STATE_FAILED;
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	lab.peer[ALPHA].state = WIRE_STATE_IDLE;
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
}

/* gamma cannot stand by, for example because its file is wrong. The gateway tries beta and gamma in
 * turn. */
static void test_by_turns(void **state)
{
	(void)state;
	lose_other();
	later(61000);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	lab.peer[GAMMA].order.due = false;
	lab_done(&lab, GAMMA, WIRE_ORDER_FAILED, "no [standby] section");
	is_now(VM_UNPROTECTED, ALPHA, GAMMA);
	later(130000); /* beta is still away, so gamma is tried again */
	is_now(VM_PREPARING, ALPHA, GAMMA);
	lab.peer[GAMMA].order.due = false;
	lab_done(&lab, GAMMA, WIRE_ORDER_FAILED, "no [standby] section");
	come_back(BETA);
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, GAMMA); /* beta is not tried at once, but after a wait */
	later(130000);
	is_now(VM_PREPARING, ALPHA, BETA);
	assert_non_null(strstr(lab.last_state, "gamma could not stand by"));
	is_protected();
	lose_other();
	assert_int_equal(lab.fsm.again.unfit, 0);
	start(NULL); /* start again: now beta refuses the first copy, so gamma takes the seat */
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .no_wait = true,
					       .command = VM_COMMAND_UNPROTECT});
	lab_settle(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_STREAM_REFUSED, .host = BETA,
					       .role = WIRE_VM_ROLE_STANDBY, .text = "RAM"});
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	lab_settle(&lab);
	later(61000);
	is_now(VM_PREPARING, ALPHA, GAMMA);
}

/* Under the policy `ask`, the spare takes the seat by itself only if a drain has ended the copy. */
static void test_ask(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_add_spare(&lab);
	lab_protect(&lab);
	lose_other();
	later(120000);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	assert_int_equal(lab.n_seated, 0);
}

static void test_drained(void **state)
{
	(void)state;
	lab.config.reprotect_auto = false;
	lab_run(&lab, 100, 7);
	vm_fsm_bar(&lab.fsm, BETA, true);
	command(VM_COMMAND_END_COPY, BETA);
	replies(true, "done", "");
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	lab_report(&lab, ALPHA); /* alpha still holds output: nothing begins yet */
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PREPARING, ALPHA, GAMMA); /* at once */
	assert_non_null(strstr(lab.last_state, "beta is drained"));
	is_protected();
	lab_report(&lab, BETA);
	lab_settle(&lab);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_FENCED);
	command(VM_COMMAND_END_COPY, BETA);
	replies(true, "already", "beta has no copy");
}

/* It is not certain that the promoted guest serves its clients. If it does not, the stopped guest
 * on the other host can be the better one. So the spare does not take that host's seat by
 * itself. */
static void test_doubtful_guest(void **state)
{
	(void)state;
	gamma_shows_no_life();
	later(120000);
	is_now(VM_UNPROTECTED, GAMMA, ALPHA);
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SILENT);
}

static void test_journal_fails(void **state)
{
	struct vm_fsm before;

	(void)state;
	lose_other();
	lab_run(&lab, 61000, 7);
	lab.journal_fails = true;
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	assert_false(lab.peer[GAMMA].order.due);
	before = lab.fsm;
	assert_int_equal(before.record.seatless, 0);
	lab.journal_fails = false;
	lab_report(&lab, ALPHA);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	lab_restart(&lab); /* the restarted gateway knows from the journal who has a seat */
	is_now(VM_PREPARING, ALPHA, GAMMA);
	come_back(BETA);
	come_back(GAMMA);
	come_back(ALPHA);
	is_protected();
	is_now(VM_PROTECTED, ALPHA, GAMMA);
}

/* The gateway waits for an answer of the host that has a seat. An answer of the spare does not
 * count. */
static void test_answers_of_the_spare(void **state)
{
	(void)state;
	gamma_for_beta();
	fail_over();
	assert_true(lab.fsm.fence_due); /* alpha's guest may still run */
	lab.peer[BETA].state = WIRE_STATE_RUNNING; /* on the spare beta, an older guest runs */
	lab.peer[BETA].term = 1;
	lab_up(&lab, BETA);
	lab_report(&lab, BETA);
	assert_int_equal(lab.peer[BETA].order.verb, WIRE_VERB_FENCE);
	assert_true(lab_obey(&lab, BETA));
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_FENCED);
	assert_true(lab.fsm.fence_due);
	assert_non_null(strstr(lab.last_event, "beta, which has no seat, has carried out"));
}

/* gamma's promotion has failed, and the guest is being given back to alpha. Only gamma's answer
 * completes this; an answer of the spare does not count. */
static void test_give_back(void **state)
{
	char why[VM_TEXT_MAX];

	(void)state;
	gamma_for_beta();
	lab_up(&lab, BETA);
	command(VM_COMMAND_FAILOVER, GAMMA);
	lab.peer[GAMMA].order.due = false;
	lab_done(&lab, GAMMA, WIRE_ORDER_FAILED, "made to fail");
	is_now(VM_FAILED, GAMMA, ALPHA);
	lab_report(&lab, ALPHA);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_true(lab.peer[GAMMA].order.due);
	assert_int_equal(lab.peer[GAMMA].order.verb, WIRE_VERB_STANDBY_STOP);
	lab_report(&lab, BETA);
	assert_int_equal(lab.peer[BETA].order.verb, WIRE_VERB_STANDBY_STOP);
	assert_int_equal(vm_drain_look(&lab.fsm, BETA, false, why, sizeof(why)), VM_DRAIN_ENDING);
	assert_true(lab_obey(&lab, BETA));
	assert_int_equal(vm_drain_look(&lab.fsm, BETA, false, why, sizeof(why)), VM_DRAIN_AWAY);
	is_now(VM_FAILED, GAMMA, ALPHA);
	assert_true(lab_obey(&lab, GAMMA));
	is_now(VM_UNPROTECTED, ALPHA, GAMMA);
}

/* A host that has lost its seat is not allowed to open a stream, and late messages about its
 * streams have no effect. */
static void test_late_stream(void **state)
{
	struct error why;
	uint64_t term;

	(void)state;
	gamma_for_beta();
	term = lab.journal.term;
	assert_int_equal(vm_fsm_check_stream(&lab.fsm, BETA, WIRE_VM_ROLE_STANDBY, term, &why),
			 WIRE_REFUSED_NOT_ASKED);
	assert_string_equal(why.text, "beta is the spare of web1");
	assert_int_equal(vm_fsm_check_stream(&lab.fsm, BETA, WIRE_VM_ROLE_PRIMARY, term, &why),
			 WIRE_REFUSED_NOT_ASKED);
	for (uint8_t role = WIRE_VM_ROLE_PRIMARY; role <= WIRE_VM_ROLE_STANDBY; role++) {
		(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_STREAM_UP, .host = BETA,
						       .role = role, .term = term, .epoch = 99});
		(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_STREAM_REFUSED, .host = BETA,
						       .role = role, .text = "late"});
		(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_STREAM_DOWN, .host = BETA,
						       .role = role});
	}
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_EPOCH_ACK, .host = BETA, .term = term,
					       .epoch = 99});
	assert_int_equal(lab.fsm.protection.complete, 1);
	assert_true(lab.fsm.stream[VM_STREAM_PRIMARY].up && lab.fsm.stream[VM_STREAM_STANDBY].up);
	is_now(VM_PROTECTED, ALPHA, GAMMA);
	/* begin a first copy, in which a refusal by the standby would end the protection */
	lose_other();
	come_back(BETA);
	later(61000);
	is_now(VM_PREPARING, ALPHA, BETA);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_STREAM_REFUSED, .host = GAMMA,
					       .role = WIRE_VM_ROLE_STANDBY, .text = "late"});
	assert_int_equal(lab.journal.state, VM_SYNCING);
}

/* A move is given up if the owner or the standby is gone, but not if the spare is gone. */
static void test_move_goes_on(void **state)
{
	(void)state;
	lab_run(&lab, 100, 7);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	lab_move(&lab, BETA);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_ORDERED);
	lab_down(&lab, GAMMA);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_ORDERED);
	lab_up(&lab, GAMMA);
	lab_report(&lab, GAMMA);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PROMOTING, BETA, ALPHA);
}

/* A host without a seat reports a newer term. So the journal may be out of date, and the gateway
 * declares a conflict. */
static void test_newer_spare(void **state)
{
	uint64_t term;

	(void)state;
	lab_report(&lab, GAMMA);
	lab_settle(&lab);
	term = lab.journal.term;
	/* After beta reconnects, it has not reported yet. So the two hosts with a seat do not both
	 * confirm the journal. */
	lab_down(&lab, BETA);
	lab_up(&lab, BETA);
	lab.peer[GAMMA].term = term + 3;
	lab.peer[GAMMA].state = WIRE_STATE_PROTECTED;
	lab_report(&lab, GAMMA);
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	assert_non_null(strstr(lab.last_event, "the journal, which gives it no seat, does not"));
	command(VM_COMMAND_OWNER, GAMMA);
	replies(false, "not-possible", "gamma has no seat by the journal");
	lab_down(&lab, BETA);
	lab_run(&lab, 120000, 1);
	lab_report(&lab, ALPHA);
	is_now(VM_PROTECTED, ALPHA, BETA); /* nothing has changed */
	come_back(BETA);
	command(VM_COMMAND_OWNER, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	assert_int_equal(lab.journal.term, term + 4);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	lab_report(&lab, GAMMA);
	lab_settle(&lab);
	assert_int_equal(lab.peer[GAMMA].state, WIRE_STATE_FENCED);
}

/* The spare reports that it runs the guest in the journal's own term. The journal gave that term to
 * the other two hosts, so there is a conflict. */
static void test_claim_in_the_same_term(void **state)
{
	(void)state;
	lab.peer[GAMMA].term = lab.journal.term;
	lab.peer[GAMMA].state = WIRE_STATE_RUNNING;
	lab_report(&lab, GAMMA);
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	assert_non_null(strstr(lab.last_event, "the journal's own, in which it has no seat"));
	lab_report(&lab, GAMMA);
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	command(VM_COMMAND_OWNER, ALPHA);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	lab_report(&lab, GAMMA);
	lab_settle(&lab);
	assert_int_equal(lab.peer[GAMMA].state, WIRE_STATE_FENCED);
}

/* If the VM's file names the hosts wrongly, the only guest may run on the host that the file calls
 * the spare. So that host is not fenced. */
static void test_wrong_file(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_add_spare(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_true(lab_obey(&lab, BETA));
	lab_report(&lab, GAMMA);
	assert_false(lab.peer[GAMMA].order.due);
	lab.peer[ALPHA].order.due = false; /* alpha has no guest */
	lab_done(&lab, ALPHA, WIRE_ORDER_FAILED, "no QEMU");
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	lab_report(&lab, GAMMA);
	assert_false(lab.peer[GAMMA].order.due);
}

static void test_obeys_another(void **state)
{
	(void)state;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_OBEYS_ANOTHER, .host = GAMMA});
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	come_back(GAMMA);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
}

/* The journal is damaged, and the lost line may have given the spare a seat. So the reports of the
 * two hosts with a seat are not enough to trust the journal again. */
static void test_journal_in_doubt(void **state)
{
	(void)state;
	lab_down(&lab, GAMMA);
	lab.journal.in_doubt = true;
	lab_restart(&lab);
	lab_up(&lab, ALPHA);
	lab_up(&lab, BETA);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	lab_up(&lab, GAMMA);
	lab_report(&lab, GAMMA);
	lab_report(&lab, ALPHA);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
}

/* In a VM without a spare, an input for the third host has no effect. */
static void test_no_spare(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab.config.reprotect_auto = true;
	lab_protect(&lab);
	lose_other();
	later(120000);
	is_now(VM_UNPROTECTED, ALPHA, BETA);
	says("beta is not connected");
	command(VM_COMMAND_PROTECT, GAMMA);
	replies(false, "not-connected", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_takes_the_seat, start),
		cmocka_unit_test_setup(test_old_standby_returns, start),
		cmocka_unit_test_setup(test_in_turn, start),
		cmocka_unit_test_setup(test_not_now, start),
		cmocka_unit_test_setup(test_owner_must_have_the_guest, start),
		cmocka_unit_test_setup(test_by_turns, start),
		cmocka_unit_test(test_ask),
		cmocka_unit_test_setup(test_drained, start),
		cmocka_unit_test_setup(test_doubtful_guest, start),
		cmocka_unit_test_setup(test_journal_fails, start),
		cmocka_unit_test_setup(test_answers_of_the_spare, start),
		cmocka_unit_test_setup(test_give_back, start),
		cmocka_unit_test_setup(test_late_stream, start),
		cmocka_unit_test_setup(test_move_goes_on, start),
		cmocka_unit_test_setup(test_newer_spare, start),
		cmocka_unit_test_setup(test_claim_in_the_same_term, start),
		cmocka_unit_test(test_wrong_file),
		cmocka_unit_test_setup(test_obeys_another, start),
		cmocka_unit_test_setup(test_journal_in_doubt, start),
		cmocka_unit_test(test_no_spare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
