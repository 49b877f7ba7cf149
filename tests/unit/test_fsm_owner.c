/* vm/fsm: what one term's figures may not say about the next one; rules checked by fsm_lab.h. */
#include "fsm_lab.h"

static struct lab lab;

/* A standby that owed something when its protection ended owes nothing to the next one. */
static void test_debts_end_with_their_term(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab.standby_owes = true;
	lab_run(&lab, 1000, 3);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	lab_run(&lab, 20000, 3);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	lab_run(&lab, 1000, 3);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_false(lab.replied);
}

/* Nor are its streams up: they were closed with the term. */
static void test_streams_end_with_their_term(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	assert_true(lab.fsm.stream[0].up && lab.fsm.stream[1].up);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_false(lab.fsm.stream[0].up || lab.fsm.stream[1].up);
	lab_settle(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	/* Ready, but not yet connected: there is nobody to copy to. */
	lab.peer[1].order.due = false;
	lab.peer[1].term = lab.journal.term;
	lab.peer[1].state = WIRE_STATE_STANDBY_WARM;
	lab_done(&lab, 1, WIRE_ORDER_OK, "");
	assert_int_equal(lab.journal.state, VM_PREPARING);
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_debts_end_with_their_term),
		cmocka_unit_test(test_streams_end_with_their_term),
	};

	return cmocka_run_group_tests_name("fsm_owner", tests, NULL, NULL);
}
