/* test_fsm_unheld.c - tests epochs whose output was not held. They are committed, but the VM
 * becomes PROTECTED only with the first epoch whose output was held. */
#include "fsm_lab.h"

static struct lab lab;

static int start_syncing(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	return 0;
}

static void ack_unheld(uint64_t epoch)
{
	lab.peer[1].complete = lab.unheld = epoch;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_EPOCH_ACK, .host = 1, .epoch = epoch,
					       .term = lab.peer[1].term, .is_unheld = true});
}

static void report_way(const char *way)
{
	const struct lab_peer *p = &lab.peer[0];

	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_REPORT, .role = WIRE_VM_ROLE_PRIMARY,
					       .term = p->term, .agent_state = p->state,
					       .epoch = p->committed, .way = way,
					       .text = "hfo5 is in the way"});
}

static void test_the_first_held_epoch_protects(void **state)
{
	(void)state;
	ack_unheld(1);
	ack_unheld(3);
	assert_int_equal(lab.committed, 3);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_false(lab.replied);
	lab_ack(&lab, 4);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_true(lab.replied && lab.last_reply.ok);
}

/* The gateway commits no epoch while held frames cannot leave. When they can leave again, it
 * commits the epochs that the standby has completely. As their output was not held, the VM does not
 * become PROTECTED. */
static void test_a_way_that_is_found(void **state)
{
	(void)state;
	report_way("release-broken");
	ack_unheld(2);
	assert_int_equal(lab.committed, 0);
	report_way(NULL);
	assert_int_equal(lab.committed, 2);
	assert_int_equal(lab.journal.state, VM_SYNCING);
}

static void test_nobody_is_promoted_with_it(void **state)
{
	(void)state;
	ack_unheld(2);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_true(lab.replied && !lab.last_reply.ok);
	lab_down(&lab, 0);
	lab_run(&lab, 60000, 2);
	assert_int_equal(lab.n_promotions, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_first_held_epoch_protects, start_syncing),
		cmocka_unit_test_setup(test_a_way_that_is_found, start_syncing),
		cmocka_unit_test_setup(test_nobody_is_promoted_with_it, start_syncing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
