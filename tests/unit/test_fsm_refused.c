/* test_fsm_refused.c - tests orders that a host refuses repeatedly. For each reason, the operator
 * gets one event. fsm_lab.h checks the rules of vm/fsm.h. */
#include "fsm_lab.h"

static struct lab lab;

/* Host @h refuses its order @verb because of @text. Then let time pass until the host gets the
 * order again. */
static void refuse(uint8_t h, uint8_t verb, const char *text)
{
	uint64_t id;

	lab.last_event[0] = '\0';
	assert_true(lab.peer[h].order.due);
	assert_int_equal(lab.peer[h].order.verb, verb);
	id = lab.peer[h].order.id;
	lab_done(&lab, h, WIRE_ORDER_REFUSED, text);
	lab_run(&lab, 31000, 7);
	assert_true(lab.peer[h].order.id > id);
}

static void is_told(const char *words)
{
	assert_non_null(strstr(lab.last_event, words));
}

static void is_not_told(void)
{
	assert_string_equal(lab.last_event, "");
}

/* Let alpha die and beta take over the guest. Then alpha connects again. */
static void fail_over(void)
{
	lab_down(&lab, 0);
	lab_run(&lab, 600, 2);
	assert_true(lab_obey(&lab, 1));
	lab_report(&lab, 1);
	lab_run(&lab, 10000, 2); /* let the events about the promoted guest pass */
	lab_up(&lab, 0);
	lab_report(&lab, 0);
}

static void test_fence(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	fail_over();
	refuse(0, WIRE_VERB_FENCE, "its file is wrong (line 7)");
	is_told("alpha is not fenced: its file is wrong (line 7); it is told again");
	for (int i = 0; i < 3; i++) {
		/* a reason that differs only in a number causes no event */
		refuse(0, WIRE_VERB_FENCE, "its file is wrong (line 71)");
		is_not_told();
	}
	refuse(0, WIRE_VERB_FENCE, "its monitor is taken");
	is_told("alpha is not fenced: its monitor is taken");
	lab_down(&lab, 0);
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	refuse(0, WIRE_VERB_FENCE, "its monitor is taken");
	is_told("alpha is not fenced: its monitor is taken");
	assert_true(lab_obey(&lab, 0));
	is_told("alpha is fenced");
}

static void test_spare(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_add_spare(&lab);
	lab_down(&lab, 2);
	lab_up(&lab, 2);
	lab.peer[2].state = WIRE_STATE_RUNNING; /* gamma was the owner in an older term */
	lab.peer[2].term = 0;
	lab_report(&lab, 2);
	refuse(2, WIRE_VERB_FENCE, "its file is wrong");
	is_told("gamma, which has no seat, has not carried out fence: its file is wrong");
	refuse(2, WIRE_VERB_FENCE, "its file is wrong");
	is_not_told();
	assert_true(lab_obey(&lab, 2));
	is_told("gamma, which has no seat, has carried out fence");
}

static void test_unprotect(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	refuse(0, WIRE_VERB_UNPROTECT, "its file is wrong");
	is_told("alpha has not released the guest: its file is wrong; it is told again");
	assert_string_equal(lab.last_reply.code, "release-failed");
	refuse(0, WIRE_VERB_UNPROTECT, "its file is wrong");
	is_not_told();
	assert_false(lab_obey(&lab, 1)); /* until UNPROTECT succeeds, beta keeps its copy */
}

/* The standby has lost its copy and refuses to stand by again. The operator is told why. */
static void test_standby(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab.config.standby_lost_hold = true;
	lab_down(&lab, 1);
	lab.peer[1].state = WIRE_STATE_IDLE;
	lab.peer[1].complete = 0;
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_run(&lab, 10000, 3); /* let the event about the policy pass */
	refuse(1, WIRE_VERB_STANDBY_START, "no room");
	is_told("beta cannot stand by: no room");
	refuse(1, WIRE_VERB_STANDBY_START, "no room");
	is_not_told();
	assert_true(lab_obey(&lab, 1));
	lab_down(&lab, 1);
	lab.peer[1].state = WIRE_STATE_IDLE;
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	refuse(1, WIRE_VERB_STANDBY_START, "no room");
	is_told("beta cannot stand by: no room");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fence),
		cmocka_unit_test(test_spare),
		cmocka_unit_test(test_unprotect),
		cmocka_unit_test(test_standby),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
