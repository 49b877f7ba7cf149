/* test_fsm_move_back.c - tests a move whose new owner cannot run the guest. The gateway gives the
 * guest back to the old owner by itself, but only if it is certain that the guest has not run on
 * the new owner. */
#include "fsm_move_lab.h"

/* The new owner cannot run the guest. When it has reported that it runs nothing, the gateway gives
 * the guest back by itself. */
static void test_given_back(void **state)
{
	uint64_t term = lab.journal.term;

	(void)state;
	lab_move(&lab, BETA);
	assert_true(lab_obey(&lab, ALPHA));
	is_ordered(BETA, WIRE_VERB_PROMOTE);
	lab.peer[BETA].order.due = false;
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = BETA, .order_id = lab.peer[BETA].order.id,
		.term = lab.journal.term, .status = WIRE_ORDER_FAILED, .text = "a broken image"});
	is_refused("move-failed", "a broken image; the guest is being given back to alpha");
	is_now(VM_FAILED, BETA);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
	assert_true(lab.peer[ALPHA].is_let_go);
	assert_true(lab_obey(&lab, BETA));
	is_now(VM_UNPROTECTED, ALPHA);
	assert_int_equal(lab.journal.term, term + 2);
	is_ordered(ALPHA, WIRE_VERB_UNPROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_RUNNING);
	assert_false(lab.peer[ALPHA].is_let_go);
	/* the guest was protected, and is protected again */
	lab_run(&lab, 11000, 3);
	lab_report(&lab, ALPHA);
	is_now(VM_PREPARING, ALPHA);
}

/* Let the owner let go of the guest. The new owner, beta, is then ordered to run it. */
static void promote(void)
{
	lab_move(&lab, BETA);
	assert_true(lab_obey(&lab, ALPHA));
	is_ordered(BETA, WIRE_VERB_PROMOTE);
}

/* Let beta answer its order with the error @text. */
static void fails(const char *text)
{
	lab.peer[BETA].order.due = false;
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = BETA, .order_id = lab.peer[BETA].order.id,
		.term = lab.journal.term, .status = WIRE_ORDER_FAILED, .text = text});
}

/* Check that an event told the operator what to do. */
static void is_advised(void)
{
	if (!strstr(lab.last_event, "`holdfastctl unprotect web1` gives the guest back"))
		fail_msg("no advice: %s", lab.last_event);
}

/* Check that the operator must decide, and that nothing is ordered meanwhile. */
static void waits_for_operator(void)
{
	is_now(VM_FAILED, BETA);
	assert_false(lab.fsm.give_back_due);
	for (uint8_t h = 0; h < 2; h++)
		lab_report(&lab, h);
	lab_run(&lab, 31000, 3);
	assert_false(lab.peer[ALPHA].order.due || lab.peer[BETA].order.due);
	is_now(VM_FAILED, BETA);
}

/* The guest is not given back if the new owner may have run it, because clients may have been
 * served there. */
static void test_not_given_back_if_it_may_have_run(void **state)
{
	(void)state;
	promote();
	lab_down(&lab, BETA); /* perhaps beta's host has booted */
	lab_up(&lab, BETA);
	lab_report(&lab, BETA);
	fails("no such epoch");
	is_advised();
	waits_for_operator();
	(void)start(NULL);
	promote();
	lab_up(&lab, BETA); /* a new connection, although the old one was not seen to end */
	lab_report(&lab, BETA);
	fails("no such epoch");
	is_advised();
	waits_for_operator();
	(void)start(NULL);
	promote();
	lab_report_verdict(&lab, BETA, WIRE_VERDICT_EXITED);
	fails("its QEMU has ended");
	is_now(VM_FAILED, BETA);
	assert_false(lab.peer[BETA].order.due);
	is_advised();
}

/* While the guest is being given back, it turns out that the new owner may have run it. Then the
 * guest is not given back, and the copy is kept. */
static void test_not_given_back_any_more(void **state)
{
	(void)state;
	promote();
	fails("a broken image");
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
	lab_down(&lab, BETA);
	is_advised();
	lab_up(&lab, BETA);
	waits_for_operator();
	(void)start(NULL);
	promote();
	fails("a broken image");
	lab.peer[BETA].order.due = false;
	lab_report_verdict(&lab, BETA, WIRE_VERDICT_EXITED);
	lab_done(&lab, BETA, WIRE_ORDER_OK, "");
	is_advised();
	waits_for_operator();
}

/* The guest is not given back if the old owner is away or has lost its guest: what the new owner
 * holds may be all that is left. */
static void test_not_given_back_to_nobody(void **state)
{
	(void)state;
	promote();
	lab_down(&lab, ALPHA);
	fails("a broken image");
	is_advised();
	waits_for_operator();
	(void)start(NULL);
	promote();
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_EXITED);
	fails("a broken image");
	is_now(VM_FAILED, BETA);
	assert_false(lab.peer[BETA].order.due);
}

/* A promotion in a later term is an ordinary one: when it fails, the guest is not given back
 * without an operator. */
static void test_not_given_back_in_a_later_term(void **state)
{
	(void)state;
	promote();
	lab_down(&lab, ALPHA);
	fails("a broken image");
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	is_now(VM_PROMOTING, BETA);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_FAILED);
	is_ordered(BETA, WIRE_VERB_PROMOTE);
	fails("a broken image");
	is_refused("promotion-failed", "a broken image");
	waits_for_operator();
	/* an operator names the new owner as the owner, so the move is over */
	(void)start(NULL);
	promote();
	lab.peer[BETA].order.due = false;
	lab.peer[BETA].state = WIRE_STATE_IDLE;
	lab_report(&lab, BETA);
	lab.peer[ALPHA].term = lab.journal.term + 5;
	lab_report(&lab, ALPHA);
	lab_name_owner(&lab, BETA); /* refused: only alpha has a guest */
	assert_string_equal(lab.last_reply.code, "would-lose");
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .command = VM_COMMAND_OWNER,
					       .host = BETA, .may_lose = true, .op_id = 1000001});
	is_now(VM_UNPROTECTED, BETA);
	assert_int_equal(lab.fsm.move.state, VM_MOVE_FAILED);
}

/* After a guest was given back without an operator, the VM is still to be protected (is_wanted). */
static void test_given_back_and_still_wanted(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab.config.reprotect_auto = true;
	lab_protect(&lab);
	lab_run(&lab, 100, 3);
	assert_true(lab.journal.is_wanted);
	promote();
	fails("a broken image");
	assert_true(lab_obey(&lab, BETA));
	is_now(VM_UNPROTECTED, ALPHA);
	assert_true(lab.journal.is_wanted);
	assert_non_null(strstr(lab.last_state, "the move failed, so alpha has the guest back"));
	lab_settle(&lab);
	lab_run(&lab, 9000, 3);
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA);
	lab_run(&lab, 2000, 3);
	lab_report(&lab, ALPHA);
	is_now(VM_PREPARING, ALPHA);
	/* it is also still wanted if both hosts have agreed meanwhile that the old owner keeps
	 * it */
	(void)start(NULL);
	lab.fsm.record.is_wanted = lab.journal.is_wanted = true;
	promote();
	fails("voted for the primary in that term");
	assert_true(lab.fsm.give_back_due);
	lab.peer[BETA].order.due = false;
	lab.peer[ALPHA].term = lab.peer[BETA].term = lab.journal.term;
	lab.peer[ALPHA].is_let_go = false;
	lab_report(&lab, BETA);
	lab_report(&lab, ALPHA);
	is_now(VM_UNPROTECTED, ALPHA);
	assert_non_null(strstr(lab.last_state, "and is protected again"));
	assert_true(lab.journal.is_wanted);
}

/* The new owner does not confirm that it runs nothing. One event reports this, and the gateway asks
 * again. */
static void test_giving_back_fails(void **state)
{
	uint64_t id;

	(void)state;
	promote();
	fails("a broken image");
	fails("its disk hangs");
	is_now(VM_FAILED, BETA);
	assert_non_null(strstr(lab.last_event, "not given back to alpha: beta: its disk hangs"));
	is_advised();
	id = lab.peer[BETA].order.id;
	strcpy(lab.last_event, "");
	lab_run(&lab, 31000, 3);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
	assert_true(lab.peer[BETA].order.id > id);
	fails("its disk hangs");
	assert_string_equal(lab.last_event, "");
	/* the gateway does not ask again while the old owner is away */
	lab_down(&lab, ALPHA);
	lab_run(&lab, 31000, 3);
	assert_false(lab.peer[BETA].order.due);
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	lab_tick(&lab, 10);
	assert_true(lab_obey(&lab, BETA));
	is_now(VM_UNPROTECTED, ALPHA);
}

/* An operator who says `unprotect` while the guest is being given back has the last word. */
static void test_unprotect_while_given_back(void **state)
{
	(void)state;
	promote();
	fails("a broken image");
	fails("its disk hangs");
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_false(lab.replied);
	assert_true(lab_obey(&lab, BETA));
	is_now(VM_UNPROTECTED, ALPHA);
	assert_non_null(strstr(lab.last_state, "operator gave the guest back to alpha"));
	lab_settle(&lab);
	assert_true(lab.replied && lab.last_reply.ok);
	lab_run(&lab, 40000, 3);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	is_now(VM_UNPROTECTED, ALPHA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_given_back, start),
		cmocka_unit_test_setup(test_not_given_back_if_it_may_have_run, start),
		cmocka_unit_test_setup(test_not_given_back_any_more, start),
		cmocka_unit_test_setup(test_not_given_back_to_nobody, start),
		cmocka_unit_test_setup(test_not_given_back_in_a_later_term, start),
		cmocka_unit_test_setup(test_given_back_and_still_wanted, start),
		cmocka_unit_test_setup(test_giving_back_fails, start),
		cmocka_unit_test_setup(test_unprotect_while_given_back, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
