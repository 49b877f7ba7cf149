/* test_fsm_restart.c - tests what vm/fsm does after a restart of the gateway, after its journal was
 * lost, and while the journal cannot be written. fsm_lab.h checks the rules. */
#include "fsm_lab.h"

static struct lab lab;

static int start_protected(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	return 0;
}

static void test_gateway_restart(void **state)
{
	(void)state;
	lab_ack(&lab, 2);
	lab_restart(&lab);
	lab_run(&lab, 2900, 0);
	/* still in the grace period after a start */
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	for (uint8_t h = 0; h < 2; h++) {
		lab_up(&lab, h);
		lab_report(&lab, h);
	}
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), 0);
	assert_int_equal(lab.resume_epoch, 2);
	lab_ack(&lab, 3);
	lab_run(&lab, 1000, 3);
	assert_int_equal(lab.journal.term, 1);
	/* The gateway restarts in the middle of a promotion. */
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_restart(&lab);
	lab_up(&lab, 1);
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_PROMOTE);
	lab_settle(&lab);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.journal.term, 2);
	lab_up(&lab, 0); /* the restarted gateway still fences alpha */
	lab_report(&lab, 0);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_FENCE);
}

/* The gateway's memory and the standby's data are both lost. The standby must not be promoted
 * before a new first copy is complete. */
static void test_restart_and_standby_lost_its_epochs(void **state)
{
	(void)state;
	lab_restart(&lab);
	lab.peer[1].complete = 0;
	for (uint8_t h = 0; h < 2; h++)
		lab_up(&lab, h);
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	lab_ack(&lab, 7);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

static void test_journal_lost(void **state)
{
	(void)state;
	/* The state directory is lost; beta runs the guest in term 7. */
	lab_init(&lab);
	lab.peer[0].state = WIRE_STATE_FENCED;
	lab.peer[0].term = 7;
	lab.peer[1].state = WIRE_STATE_RUNNING;
	lab.peer[1].term = 7;
	for (uint8_t h = 0; h < 2; h++) {
		lab_up(&lab, h);
		lab_report(&lab, h);
	}
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.journal.term, 7);
	lab_report(&lab, 0);
	assert_false(lab.peer[1].order.due);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_int_equal(lab.journal.term, 8);
}

static void test_journal_fails(void **state)
{
	(void)state;
	lab.journal_fails = true;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_run(&lab, 1000, 2);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.n_promotions, 0);
	assert_true(lab.n_failed_writes > 1); /* each tick tries again */
	lab.journal_fails = false;
	lab_run(&lab, 20, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.journal.term, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_gateway_restart, start_protected),
		cmocka_unit_test_setup(test_restart_and_standby_lost_its_epochs, start_protected),
		cmocka_unit_test(test_journal_lost),
		cmocka_unit_test_setup(test_journal_fails, start_protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
