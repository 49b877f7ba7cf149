/* test_health_left.c - tests the health word if the owner is away or has no guest any more. The
 * standby's copy may then be all that is left of the guest (gateway/vm/fsm_left.c), or there is no
 * copy. */
#include "health_lab.h"

/* Put the SAFE VM into @state, and disconnect its owner. */
static void lose_owner(enum vm_state state)
{
	lab_down(&lab, 0);
	lab.fsm.record.state = state;
}

static void test_a_copy(void **state)
{
	(void)state;
	lose_owner(VM_UNPROTECTED);
	assert_int_equal(judge(), HEALTH_UNPROTECTED);
	assert_true(says("alpha does not say that it has the guest, and beta has an older copy"));
	assert_true(says("`holdfastctl failover web1 --lose` goes on from that copy"));
}

static void test_a_copy_while_syncing(void **state)
{
	(void)state;
	lose_owner(VM_SYNCING);
	assert_int_equal(judge(), HEALTH_SYNCING);
	assert_true(says("`holdfastctl failover web1 --lose` goes on from that copy"));
}

static void test_no_copy(void **state)
{
	(void)state;
	lose_owner(VM_UNPROTECTED);
	lab.fsm.host[1].epoch = 0;
	assert_int_equal(judge(), HEALTH_UNPROTECTED);
	assert_true(says("is holdfast-agent running on alpha?"));
}

static void test_no_copy_while_syncing(void **state)
{
	(void)state;
	lose_owner(VM_SYNCING);
	lab.fsm.host[1].epoch = 0;
	assert_int_equal(judge(), HEALTH_SYNCING);
	assert_true(says("the copy gets no further"));
}

static void test_no_copy_of_an_ended_guest(void **state)
{
	(void)state;
	lab.fsm.record.state = VM_UNPROTECTED;
	lab.fsm.host[0].verdict = WIRE_VERDICT_EXITED;
	lab.fsm.host[1].agent_state = WIRE_STATE_IDLE;
	view.text[0] = "no QEMU runs it";
	assert_int_equal(judge(), HEALTH_NOT_SERVED);
	assert_true(says("gone: no QEMU runs it"));
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup(test, start_protected)
	const struct CMUnitTest tests[] = {
		TEST(test_a_copy),
		TEST(test_a_copy_while_syncing),
		TEST(test_no_copy),
		TEST(test_no_copy_while_syncing),
		TEST(test_no_copy_of_an_ended_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
