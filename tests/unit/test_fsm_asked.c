/* test_fsm_asked.c - tests an operator's request to compare the standby's copy, or to try the copy
 * in a drill. The request ends with the host's answer, or when the host or the protection is lost.
 * It must not block other requests. fsm_lab.h checks the rules. */
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
	(void)asked(); /* the next request is accepted */
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

/* If only a part could be compared, the copy is not verified, even if nothing differed. */
static void test_not_possible(void **state)
{
	uint64_t id = asked();

	(void)state;
	answer(0, id, WIRE_ORDER_REFUSED, "RAM is not compared");
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "not-possible");
	assert_non_null(strstr(lab.last_reply.text, "is not verified: RAM is not compared"));
}

/* Feed a VERIFY request with the number @op_id. */
static void ask_as(uint64_t op_id, bool no_wait)
{
	lab.replied = false;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .op_id = op_id,
					       .command = VM_COMMAND_VERIFY, .no_wait = no_wait});
}

static void test_no_wait(void **state)
{
	(void)state;
	ask_as(5000, true);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "accepted");
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_VERIFY);
	lab.replied = false;
	answer(0, lab.last_order[0].order_id, WIRE_ORDER_OK, "equal");
	assert_false(lab.replied);
	assert_non_null(strstr(lab.last_verify, "is verified: equal"));
}

/* While an order VERIFY is not answered, more requests, with or without --no-wait, cause no second
 * order: the agent would begin its work again. All requests that wait get the result. */
static void test_joined(void **state)
{
	uint64_t id;

	(void)state;
	ask_as(5000, true);
	id = lab.last_order[0].order_id;
	ask_as(5001, false);
	ask_as(5002, false);
	assert_false(lab.replied);
	ask_as(5003, true);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "accepted");
	assert_int_equal(lab.last_order[0].order_id, id);
	lab.n_replies = 0;
	answer(0, id, WIRE_ORDER_OK, "equal");
	assert_int_equal(lab.n_replies, 2);
	assert_int_equal(lab.last_reply.op_id, 5002);
	assert_true(lab.last_reply.ok);
}

/* The state machine does not learn that a waiting connection was closed. So when all places are
 * taken, the newest request gets the place of the oldest, which is answered "busy". */
static void test_always_a_place(void **state)
{
	uint64_t id = asked();

	(void)state;
	lab.n_replies = 0;
	for (uint64_t i = 0; i < VM_ASKED_WAITERS_MAX; i++) {
		assert_int_equal(lab.n_replies, 0);
		ask_as(6000 + i, false);
	}
	assert_int_equal(lab.n_replies, 1);
	assert_string_equal(lab.last_reply.code, "busy");
	assert_true(lab.last_reply.op_id < 6000);
	answer(0, id, WIRE_ORDER_OK, "equal");
	assert_int_equal(lab.n_replies, 1 + VM_ASKED_WAITERS_MAX);
	assert_int_equal(lab.last_reply.op_id, 6000 + VM_ASKED_WAITERS_MAX - 1);
}

static void test_refused(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	lab_command(&lab, VM_COMMAND_VERIFY);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "not-protected");
}

/* Each end of a verification is an event, even if no request waits. */
static void test_events(void **state)
{
	(void)state;
	ask_as(5000, true);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_CONTROL_DOWN, .host = 0});
	assert_non_null(strstr(lab.last_verify, "lost its connection"));
	assert_int_equal(lab.fsm.asked[VM_ASKED_VERIFY].order_id, 0);
	protected(NULL);
	ask_as(5001, true);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_non_null(strstr(lab.last_verify, "the protection ended"));
}

/* An operator can fail over while a verification runs. The request for the verification is then
 * answered at once. */
static void test_failover_meanwhile(void **state)
{
	uint64_t id = asked();
	uint64_t op_id = lab.fsm.asked[VM_ASKED_VERIFY].op_id[VM_ASKED_WAITERS_MAX - 1];

	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.fsm.asked[VM_ASKED_VERIFY].order_id, 0);
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

/* The standby carries out a drill. Meanwhile the copy can be compared. */
static void test_drill(void **state)
{
	uint64_t id;

	(void)state;
	lab_command(&lab, VM_COMMAND_DRILL);
	assert_false(lab.replied);
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_DRILL);
	assert_int_equal(lab.last_order[1].term, lab.journal.term);
	id = lab.last_order[1].order_id;
	(void)asked();
	answer(0, id, WIRE_ORDER_OK, "another host");
	assert_false(lab.replied);
	answer(1, id, WIRE_ORDER_OK, "epoch 9: its vCPUs run");
	assert_true(lab.replied && lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "passed its drill: epoch 9: its vCPUs run"));
	lab_command(&lab, VM_COMMAND_DRILL);
	answer(1, lab.last_order[1].order_id, WIRE_ORDER_FAILED, "its vCPUs do not run");
	assert_string_equal(lab.last_reply.code, "drill-failed");
	assert_non_null(strstr(lab.last_reply.text, "did not pass its drill: its vCPUs do not"));
}

static void test_drill_ends_with_its_host(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_DRILL);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_CONTROL_DOWN, .host = 0});
	assert_false(lab.replied);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_CONTROL_DOWN, .host = 1});
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "not-connected");
	lab_command(&lab, VM_COMMAND_DRILL);
	assert_string_equal(lab.last_reply.code, "not-connected");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_drill, protected),
		cmocka_unit_test_setup(test_drill_ends_with_its_host, protected),
		cmocka_unit_test_setup(test_equal, protected),
		cmocka_unit_test_setup(test_differs, protected),
		cmocka_unit_test_setup(test_not_possible, protected),
		cmocka_unit_test_setup(test_no_wait, protected),
		cmocka_unit_test_setup(test_joined, protected),
		cmocka_unit_test_setup(test_always_a_place, protected),
		cmocka_unit_test_setup(test_events, protected),
		cmocka_unit_test_setup(test_refused, protected),
		cmocka_unit_test_setup(test_failover_meanwhile, protected),
		cmocka_unit_test_setup(test_owner_disconnects, protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
