/* test_fsm_move.c - tests moves: the guest goes on at the VM's other host from the epoch at which
 * it stopped, or it goes on where it was. Whatever fails, the guest never runs on both hosts and is
 * never left stopped. fsm_lab.h checks the rules. */
#include "fsm_move_lab.h"

/* Check that the owner is told to go on, and that the move is over. */
static void goes_on(uint64_t term)
{
	is_now(VM_PROTECTED, ALPHA);
	assert_int_equal(lab.journal.term, term);
	is_ordered(ALPHA, WIRE_VERB_PROTECT);
	assert_int_equal(lab.peer[ALPHA].order.term, term);
	assert_true(lab_obey(&lab, ALPHA));
	assert_false(lab.peer[ALPHA].is_let_go);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	assert_false(lab.peer[ALPHA].order.due || lab.peer[BETA].order.due);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_FAILED);
}

/* Let the guest run on @to, and be protected again. */
static void is_moved(uint8_t to)
{
	assert_true(lab_obey(&lab, to));
	is_now(VM_UNPROTECTED, to);
	/* The guest is not probed, so its host's report is evidence enough. */
	lab_tick(&lab, 10);
	assert_true(lab.replied && lab.last_reply.ok);
	is_ordered(1 - to, WIRE_VERB_FENCE);
	lab_settle(&lab);
	lab_report(&lab, to);
	lab_settle(&lab);
	is_now(VM_SYNCING, to);
	lab_ack(&lab, 1);
	is_now(VM_PROTECTED, to);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_DONE);
}

static void test_there_and_back(void **state)
{
	uint64_t term = lab.journal.term, epoch;

	(void)state;
	lab_move(&lab, BETA);
	assert_false(lab.replied);
	is_now(VM_PROTECTED, ALPHA);
	is_ordered(ALPHA, WIRE_VERB_MOVE);
	assert_true(lab_obey(&lab, ALPHA));
	/* the promotion does not wait for a lease, and names the last epoch */
	epoch = lab.peer[ALPHA].committed;
	is_now(VM_PROMOTING, BETA);
	assert_int_equal(lab.journal.term, term + 1);
	is_ordered(BETA, WIRE_VERB_PROMOTE);
	assert_int_equal(lab.peer[BETA].order.epoch, epoch);
	assert_int_equal(lab.peer[BETA].complete, epoch);
	lab_tick(&lab, 10);
	is_moved(BETA);
	assert_non_null(strstr(lab.last_reply.text, "from alpha to beta at epoch"));
	assert_int_equal(vm_move_pause_ns(&lab.fsm), 7 * MS + 10 * MS);
	/* then move the guest back to alpha in the same way */
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	lab_run(&lab, 100, 3);
	lab_move(&lab, ALPHA);
	assert_true(lab_obey(&lab, BETA));
	is_now(VM_PROMOTING, ALPHA);
	is_moved(ALPHA);
}

/* After a move, the guest is protected again whatever the policy `reprotect` is, even if the first
 * attempt fails. */
static void test_protected_again(void **state)
{
	(void)state;
	lab_move(&lab, BETA);
	assert_true(lab_obey(&lab, ALPHA) && lab_obey(&lab, BETA));
	lab_tick(&lab, 10);
	assert_true(lab_obey(&lab, ALPHA)); /* FENCE */
	lab_report(&lab, BETA);
	is_ordered(ALPHA, WIRE_VERB_STANDBY_START);
	lab.peer[ALPHA].order.due = false;
	lab.peer[ALPHA].term = lab.journal.term;
	lab_done(&lab, ALPHA, WIRE_ORDER_FAILED, "its tmpfs is full");
	is_now(VM_UNPROTECTED, BETA);
	lab_settle(&lab);
	lab_run(&lab, 11000, 3);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	is_now(VM_PREPARING, BETA);
	/* an operator who wants no protection has the last word */
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	lab_run(&lab, 20000, 3);
	lab_report(&lab, BETA);
	is_now(VM_UNPROTECTED, BETA);
	assert_string_equal(vm_move_state_name(lab.fsm.move.state), "unprotected");
}

static void test_refusals(void **state)
{
	(void)state;
	lab_move(&lab, ALPHA);
	is_refused("not-possible", "its other host is beta");
	lab_move(&lab, BETA);
	lab_move(&lab, BETA);
	is_refused("busy", "is running");
	lab_connect_both(&lab);
	lab_move(&lab, BETA);
	is_refused("not-protected", "`holdfastctl protect web1` first");
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab.fsm.op.id = 0;
	lab_move(&lab, BETA);
	is_refused("busy", "is PREPARING; wait until it is PROTECTED");
	(void)start(NULL);
	lab_down(&lab, BETA);
	lab_move(&lab, BETA);
	is_refused("not-connected", "beta");
	(void)start(NULL);
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_PAUSED);
	lab_move(&lab, BETA);
	is_refused("not-possible", "does not run");
	(void)start(NULL);
	lab.fsm.host[ALPHA].takes_moves = false;
	lab_move(&lab, BETA);
	is_refused("not-possible", "update it");
	(void)start(NULL);
	lab_run(&lab, 300, 1u << ALPHA);
	lab_move(&lab, BETA);
	is_refused("not-possible", "the standby is silent too");
	assert_false(lab.peer[ALPHA].order.due);
}

/* VERIFY is refused during a move, because the move would end the comparison. */
static void test_no_verify_meanwhile(void **state)
{
	(void)state;
	lab_move(&lab, BETA);
	lab_command(&lab, VM_COMMAND_VERIFY);
	is_refused("busy", "is being moved");
	is_ordered(ALPHA, WIRE_VERB_MOVE);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PROMOTING, BETA);
}

/* During a move, a conflict begins: it is not clear which host owns the guest. So the owner is not
 * told to go on, and the operator is told to name the owner. */
static void test_conflict_meanwhile(void **state)
{
	(void)state;
	lab_move(&lab, BETA);
	lab.peer[BETA].term += 3;
	lab_report(&lab, BETA);
	lab_run(&lab, 2050, 3);
	is_now(VM_PROTECTED, ALPHA);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_FAILED);
	if (strstr(lab.last_move, "goes on on alpha") ||
	    !strstr(lab.last_move, "`holdfastctl owner web1 HOST`"))
		fail_msg("%s", lab.last_move);
	/* the conflict is over: now the owner is told to go on */
	lab.peer[ALPHA].is_let_go = true;
	lab.peer[BETA].term -= 3;
	lab_report(&lab, BETA);
	lab_report(&lab, ALPHA);
	is_ordered(ALPHA, WIRE_VERB_PROTECT);
}

/* The owner answers that it was not able to let go of the guest. */
static void test_owner_cannot(void **state)
{
	uint64_t term = lab.journal.term;

	(void)state;
	lab_move(&lab, BETA);
	lab.peer[ALPHA].order.due = false;
	lab_done(&lab, ALPHA, WIRE_ORDER_FAILED, "QEMU does not stop the guest");
	is_refused("move-failed", "it goes on on alpha: QEMU does not stop");
	goes_on(term);
	lab_move(&lab, BETA); /* the move can be tried again */
	is_ordered(ALPHA, WIRE_VERB_MOVE);
}

/* The owner's answer does not come in time. The owner is told to go on, and its late answer has no
 * effect. */
static void test_timeout(void **state)
{
	uint64_t term = lab.journal.term, id;

	(void)state;
	lab_move(&lab, BETA);
	id = lab.peer[ALPHA].order.id;
	lab_run(&lab, 1950, 3);
	is_ordered(ALPHA, WIRE_VERB_MOVE);
	lab_run(&lab, 100, 3);
	is_refused("move-failed", "move_timeout_ms");
	is_ordered(ALPHA, WIRE_VERB_PROTECT);
	/* alpha had let go just before: its report of that has no effect */
	lab.peer[ALPHA].is_let_go = true;
	lab.peer[ALPHA].let_go_epoch = lab.peer[ALPHA].committed;
	lab_report(&lab, ALPHA);
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = ALPHA, .order_id = id, .term = term,
		.status = WIRE_ORDER_OK, .epoch = lab.peer[ALPHA].committed, .text = ""});
	goes_on(term);
}

/* The guest stands still, so no epochs come. That is no sign that the host has failed. */
static void test_no_progress_meanwhile(void **state)
{
	(void)state;
	lab_move(&lab, BETA);
	for (int i = 0; i < 150; i++) {
		lab_tick(&lab, 10);
		lab_beat(&lab, ALPHA);
		lab_beat(&lab, BETA);
	}
	is_now(VM_PROTECTED, ALPHA);
	assert_int_equal(lab.fsm.detector.state, DETECTOR_PROTECTED);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PROMOTING, BETA);
}

/* A move is given up, and a second move begins. Then the answer to the first move's order arrives,
 * and has no effect. */
static void test_answer_of_an_earlier_move(void **state)
{
	uint64_t term = lab.journal.term, id;

	(void)state;
	lab_move(&lab, BETA);
	id = lab.peer[ALPHA].order.id;
	lab_run(&lab, 2050, 3);
	/* ALPHA has taken the first order MOVE. It has not answered when the second is given. */
	lab.peer[ALPHA].order.due = false;
	lab_move(&lab, BETA);
	lab.peer[ALPHA].is_let_go = true;
	lab.peer[ALPHA].let_go_epoch = lab.peer[ALPHA].committed;
	lab_report(&lab, ALPHA);
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = ALPHA, .order_id = id, .term = term,
		.status = WIRE_ORDER_OK, .epoch = lab.peer[ALPHA].committed, .text = ""});
	is_now(VM_PROTECTED, ALPHA);
	assert_int_equal(lab.journal.term, term);
}

/* The gateway dies after the owner has let go of the guest. The restarted gateway tells the owner
 * to resume the guest. */
static void test_gateway_restarts(void **state)
{
	uint64_t term = lab.journal.term;

	(void)state;
	lab_move(&lab, BETA);
	lab.journal_fails = true; /* the record with the new owner is not written */
	assert_true(lab_obey(&lab, ALPHA));
	assert_int_equal(lab.n_failed_writes, 1);
	assert_true(lab.peer[ALPHA].is_let_go);
	lab.journal_fails = false;
	lab_restart(&lab);
	for (uint8_t h = 0; h < 2; h++) {
		lab_up(&lab, h);
		lab_report(&lab, h);
	}
	is_now(VM_PROTECTED, ALPHA);
	is_ordered(ALPHA, WIRE_VERB_PROTECT);
	assert_true(lab_obey(&lab, ALPHA));
	assert_false(lab.peer[ALPHA].is_let_go);
	assert_int_equal(lab.journal.term, term);
}

/* The gateway dies after it has written the record with the new owner to the disk. The restarted
 * gateway promotes the new owner, and the old owner never goes on. */
static void test_gateway_restarts_late(void **state)
{
	(void)state;
	lab_move(&lab, BETA);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PROMOTING, BETA);
	lab_restart(&lab);
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	assert_false(lab.peer[ALPHA].order.due);
	lab_up(&lab, BETA);
	lab_report(&lab, BETA);
	lab_run(&lab, 200, 3);
	assert_true(lab_obey(&lab, BETA));
	is_now(VM_UNPROTECTED, BETA);
	is_ordered(ALPHA, WIRE_VERB_FENCE);
}

/* The gateway lives, but cannot write the new owner to the journal. The old owner goes on. */
static void test_journal_fails(void **state)
{
	uint64_t term = lab.journal.term;

	(void)state;
	lab_move(&lab, BETA);
	lab.journal_fails = true;
	assert_true(lab_obey(&lab, ALPHA));
	lab.journal_fails = false;
	lab_run(&lab, 2050, 3);
	is_refused("move-failed", "");
	goes_on(term);
}

static void test_owner_is_cut_off(void **state)
{
	uint64_t term = lab.journal.term;

	(void)state;
	lab_move(&lab, BETA);
	lab.peer[ALPHA].is_let_go = true; /* alpha has let go, but its answer is lost */
	lab.peer[ALPHA].let_go_epoch = lab.peer[ALPHA].committed;
	lab_down(&lab, ALPHA);
	is_refused("move-failed", "control connection");
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	goes_on(term);
}

/* The control connection breaks and comes back while the order MOVE is still under way. alpha lets
 * go late, and is told to go on. */
static void test_late_order(void **state)
{
	uint64_t term = lab.journal.term;

	(void)state;
	lab_move(&lab, BETA);
	lab_down(&lab, ALPHA);
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	assert_false(lab.peer[ALPHA].order.due);
	lab.peer[ALPHA].is_let_go = true;
	lab.peer[ALPHA].let_go_epoch = lab.peer[ALPHA].committed;
	lab_report(&lab, ALPHA);
	goes_on(term);
	/* alpha lets go once more, although its last order was PROTECT, and is told again to go
	 * on */
	lab.peer[ALPHA].is_let_go = true;
	lab_report(&lab, ALPHA);
	goes_on(term);
}

/* The agent dies after it has let go of the guest. The agent that is started next finds the guest
 * stopped, and gets PROTECT. */
static void test_agent_restarts(void **state)
{
	(void)state;
	lab_move(&lab, BETA);
	lab_down(&lab, ALPHA);
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	is_now(VM_PROTECTED, ALPHA);
	is_ordered(ALPHA, WIRE_VERB_PROTECT);
}

/* The owner's host dies before it has let go of the guest. This is an ordinary failover, which
 * waits for the lease. */
static void test_owner_dies(void **state)
{
	(void)state;
	lab_move(&lab, BETA);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 600, 1u << BETA);
	is_now(VM_PROMOTING, BETA);
	is_ordered(BETA, WIRE_VERB_PROMOTE);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_FAILED);
}

static void test_standby_is_lost(void **state)
{
	uint64_t term = lab.journal.term;

	(void)state;
	lab_move(&lab, BETA);
	lab_down(&lab, BETA);
	is_refused("move-failed", "control connection");
	goes_on(term);
	/* beta keeps its connection, but has sent no beats for a while when alpha lets go */
	(void)start(NULL);
	term = lab.journal.term;
	lab_move(&lab, BETA);
	lab_run(&lab, 1500, 1u << ALPHA);
	is_ordered(ALPHA, WIRE_VERB_MOVE);
	lab.peer[ALPHA].order.due = false;
	lab.peer[ALPHA].is_let_go = true;
	lab.peer[ALPHA].let_go_epoch = lab.peer[ALPHA].committed;
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = ALPHA, .order_id = lab.peer[ALPHA].order.id,
		.term = term, .status = WIRE_ORDER_OK, .epoch = lab.peer[ALPHA].committed,
		.text = ""});
	is_refused("move-failed", "the standby is silent too");
	goes_on(term);
}

static void test_operator_ends_protection(void **state)
{
	(void)state;
	lab_move(&lab, BETA);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	is_now(VM_UNPROTECTED, ALPHA);
	is_ordered(ALPHA, WIRE_VERB_UNPROTECT);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_FAILED);
}

/* The owner names an epoch that is not the last committed one: nothing is promoted. */
static void test_wrong_epoch(void **state)
{
	static const int64_t off[] = {-1, 1};

	(void)state;
	for (int i = 0; i < 2; i++) {
		uint64_t epoch;

		(void)start(NULL);
		lab_ack(&lab, 5);
		lab_move(&lab, BETA);
		epoch = lab.peer[ALPHA].committed + (uint64_t)off[i];
		lab.peer[ALPHA].order.due = false;
		(void)lab_feed(&lab, (struct vm_input){
			.kind = VM_IN_ORDER_DONE, .host = ALPHA, .epoch = epoch,
			.order_id = lab.peer[ALPHA].order.id, .term = lab.journal.term,
			.status = WIRE_ORDER_OK, .text = ""});
		is_refused("move-failed", "another last epoch");
		goes_on(lab.journal.term);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_there_and_back, start),
		cmocka_unit_test_setup(test_protected_again, start),
		cmocka_unit_test_setup(test_refusals, start),
		cmocka_unit_test_setup(test_no_verify_meanwhile, start),
		cmocka_unit_test_setup(test_conflict_meanwhile, start),
		cmocka_unit_test_setup(test_owner_cannot, start),
		cmocka_unit_test_setup(test_timeout, start),
		cmocka_unit_test_setup(test_no_progress_meanwhile, start),
		cmocka_unit_test_setup(test_answer_of_an_earlier_move, start),
		cmocka_unit_test_setup(test_gateway_restarts, start),
		cmocka_unit_test_setup(test_gateway_restarts_late, start),
		cmocka_unit_test_setup(test_journal_fails, start),
		cmocka_unit_test_setup(test_owner_is_cut_off, start),
		cmocka_unit_test_setup(test_late_order, start),
		cmocka_unit_test_setup(test_agent_restarts, start),
		cmocka_unit_test_setup(test_owner_dies, start),
		cmocka_unit_test_setup(test_standby_is_lost, start),
		cmocka_unit_test_setup(test_operator_ends_protection, start),
		cmocka_unit_test_setup(test_wrong_epoch, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
