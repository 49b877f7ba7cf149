/* test_fsm_verify.c - tests how an operator's request to compare the standby's copy ends: with the
 * owner's answer, or when owner or protection is lost. It must not be in the way of other requests.
 * fsm_lab.h checks the rules. */
#include "fsm_lab.h"

static struct lab lab;

static int protected(void **state)
{
	(void)state;
	memset(&lab, 0, sizeof(lab));
	lab_start_protected(&lab);
	return 0;
}

static uint64_t asked(void)
{
	lab_command(&lab, VM_COMMAND_VERIFY);
	assert_false(lab.replied);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_VERIFY);
	assert_int_equal(lab.last_order[0].term, lab.journal.term);
	return lab.last_order[0].order_id;
}

static void answer(uint8_t host, uint64_t order_id, uint8_t status, const char *text)
{
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_ORDER_DONE, .host = host,
					       .order_id = order_id, .status = status,
					       .term = lab.journal.term, .text = text});
}

static void test_equal(void **state)
{
	uint64_t id = asked();

	(void)state;
	answer(0, id + 1, WIRE_ORDER_OK, "another order");
	answer(1, id, WIRE_ORDER_OK, "another host");
	assert_false(lab.replied);
	answer(0, id, WIRE_ORDER_OK, "epochs 1 to 9: 65600 pages of RAM are equal");
	assert_true(lab.replied && lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "done");
	assert_non_null(strstr(lab.last_reply.text, "is verified: epochs 1 to 9"));
	lab.replied = false;
	answer(0, id, WIRE_ORDER_OK, "once more");
	assert_false(lab.replied);
	(void)asked(); /* the next request is taken */
}

static void test_differs(void **state)
{
	uint64_t id = asked();

	(void)state;
	answer(0, id, WIRE_ORDER_FAILED, "1 differed and were sent again");
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "differs");
	assert_non_null(strstr(lab.last_reply.text, "is not verified: 1 differed"));
}

/* Nothing differed, but not all could be compared. */
static void test_not_possible(void **state)
{
	uint64_t id = asked();

	(void)state;
	answer(0, id, WIRE_ORDER_REFUSED, "RAM is not compared");
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "not-possible");
	assert_non_null(strstr(lab.last_reply.text, "is not verified: RAM is not compared"));
}

static void test_no_wait(void **state)
{
	(void)state;
	lab.replied = false;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .op_id = 5000,
					       .command = VM_COMMAND_VERIFY, .no_wait = true});
	assert_true(lab.replied && lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "accepted");
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_VERIFY);
	lab.replied = false;
	answer(0, lab.last_order[0].order_id, WIRE_ORDER_OK, "equal");
	assert_false(lab.replied);
}

static void test_refused(void **state)
{
	(void)state;
	(void)asked();
	lab_command(&lab, VM_COMMAND_VERIFY);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "busy");
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	lab_command(&lab, VM_COMMAND_VERIFY);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "not-protected");
}

/* An operator can fail over while a verification runs. The verification is then answered. */
static void test_failover_meanwhile(void **state)
{
	uint64_t id = asked(), op_id = lab.fsm.verify.op_id;

	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.fsm.verify.order_id, 0);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_int_equal(lab.last_reply.op_id, op_id);
	assert_string_equal(lab.last_reply.code, "aborted");
	lab.replied = false;
	answer(0, id, WIRE_ORDER_OK, "too late");
	assert_false(lab.replied);
}

static void test_owner_disconnects(void **state)
{
	(void)state;
	(void)asked();
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_CONTROL_DOWN, .host = 1});
	assert_false(lab.replied);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_CONTROL_DOWN, .host = 0});
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "not-connected");
	lab_command(&lab, VM_COMMAND_VERIFY);
	assert_string_equal(lab.last_reply.code, "not-connected");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_equal, protected),
		cmocka_unit_test_setup(test_differs, protected),
		cmocka_unit_test_setup(test_not_possible, protected),
		cmocka_unit_test_setup(test_no_wait, protected),
		cmocka_unit_test_setup(test_refused, protected),
		cmocka_unit_test_setup(test_failover_meanwhile, protected),
		cmocka_unit_test_setup(test_owner_disconnects, protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
