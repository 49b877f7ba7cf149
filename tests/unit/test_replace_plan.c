/* Tests the steps in which an agent gives way to its next program (replace/plan.h), on a virtual
 * clock. The agent gives up nothing before it has found the next program good. No guest stands
 * still for longer than PLAN_YIELD_NS. A try that fails changes nothing. */
#include "replace/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static struct plan plan;
static uint64_t now_ns;

static int begin(void **state)
{
	(void)state;
	now_ns = 1000 * CLOCK_NS_PER_S;
	plan_init(&plan);
	return 0;
}

static enum plan_action step(struct plan_view view)
{
	return plan_step(&plan, &view, now_ns);
}

/* Bring the plan to its phase YIELDING. */
static void yield(void)
{
	assert_int_equal(plan_ask(&plan, now_ns), PLAN_DO_CHECK);
	assert_int_equal(step((struct plan_view){.check = PLAN_CHECK_GOOD}), PLAN_DO_REST);
	assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_YIELD);
}

static void test_in_order(void **state)
{
	const struct plan_view all = {PLAN_CHECK_GOOD, true, true, false};

	(void)state;
	assert_false(plan_is_under_way(&plan));
	assert_int_equal(step(all), PLAN_DO_NOTHING); /* nobody has asked for a replacement */
	assert_int_equal(plan_ask(&plan, now_ns), PLAN_DO_CHECK);
	assert_int_equal(plan_ask(&plan, now_ns), PLAN_DO_NOTHING); /* asking twice is harmless */
	assert_true(plan_is_under_way(&plan));
	assert_int_equal(step((struct plan_view){.all_rest = true, .all_yielded = true}),
			 PLAN_DO_NOTHING); /* the check still runs */
	assert_int_equal(step(all), PLAN_DO_REST);
	assert_int_equal(step((struct plan_view){.all_yielded = true}), PLAN_DO_NOTHING);
	assert_int_equal(step(all), PLAN_DO_YIELD);
	assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_NOTHING);
	assert_int_equal(step(all), PLAN_DO_EXEC);
	assert_int_equal(step(all), PLAN_DO_NOTHING); /* the plan starts the program only once */
}

static void test_a_bad_program_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(plan_ask(&plan, now_ns), PLAN_DO_CHECK);
	assert_int_equal(step((struct plan_view){.check = PLAN_CHECK_BAD}), PLAN_DO_REFUSE);
	assert_false(plan_is_under_way(&plan));
	/* a program that does not end its check is refused, too */
	assert_int_equal(plan_ask(&plan, now_ns), PLAN_DO_CHECK);
	now_ns += PLAN_CHECK_NS - 1;
	assert_int_equal(step((struct plan_view){.check = PLAN_CHECK_RUNS}), PLAN_DO_NOTHING);
	now_ns++;
	assert_int_equal(step((struct plan_view){.check = PLAN_CHECK_RUNS}), PLAN_DO_REFUSE);
	assert_false(plan_is_under_way(&plan));
}

static void test_no_guest_waits_long_for_another(void **state)
{
	(void)state;
	yield();
	now_ns += PLAN_YIELD_NS - 1;
	assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_NOTHING);
	now_ns++;
	/* the plan gives up, even if the last guest is ready now */
	assert_int_equal(step((struct plan_view){.all_rest = true, .all_yielded = true}),
			 PLAN_DO_GO_ON);
	/* After a wait, the plan tries again, beginning with REST. */
	now_ns += PLAN_WAIT_NS - 1;
	assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_NOTHING);
	now_ns++;
	assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_REST);
	assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_YIELD);
	assert_int_equal(step((struct plan_view){.all_rest = true, .all_yielded = true}),
			 PLAN_DO_EXEC);
}

static void test_one_cannot(void **state)
{
	(void)state;
	yield();
	assert_int_equal(step((struct plan_view){.all_yielded = true, .one_cannot = true}),
			 PLAN_DO_GO_ON);
}

/* If it is known early that one guest cannot yield, no guest is asked to yield. */
static void test_one_cannot_before_any_yields(void **state)
{
	(void)state;
	assert_int_equal(plan_ask(&plan, now_ns), PLAN_DO_CHECK);
	assert_int_equal(step((struct plan_view){.check = PLAN_CHECK_GOOD}), PLAN_DO_REST);
	assert_int_equal(step((struct plan_view){.all_rest = true, .one_cannot = true}),
			 PLAN_DO_GO_ON);
}

static void test_pressing(void **state)
{
	(void)state;
	assert_false(plan_is_pressing(&plan));
	assert_int_equal(plan_ask(&plan, now_ns), PLAN_DO_CHECK);
	assert_false(plan_is_pressing(&plan));
	assert_int_equal(step((struct plan_view){.check = PLAN_CHECK_GOOD}), PLAN_DO_REST);
	assert_true(plan_is_pressing(&plan));
	assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_YIELD);
	assert_true(plan_is_pressing(&plan));
	assert_int_equal(step((struct plan_view){.one_cannot = true}), PLAN_DO_GO_ON);
	assert_false(plan_is_pressing(&plan));
}

static void test_gives_up_after_some_tries(void **state)
{
	(void)state;
	yield();
	for (uint32_t i = 1; i < PLAN_TRIES; i++) {
		assert_int_equal(step((struct plan_view){.one_cannot = true}), PLAN_DO_GO_ON);
		now_ns += PLAN_WAIT_NS;
		assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_REST);
		assert_int_equal(step((struct plan_view){.all_rest = true}), PLAN_DO_YIELD);
	}
	assert_int_equal(step((struct plan_view){.one_cannot = true}), PLAN_DO_GIVE_UP);
	assert_false(plan_is_under_way(&plan));
	/* The replacement can be requested again, and then has all its tries. */
	yield();
	assert_int_equal(step((struct plan_view){.one_cannot = true}), PLAN_DO_GO_ON);
}

static void test_an_order_takes_long(void **state)
{
	(void)state;
	assert_int_equal(plan_ask(&plan, now_ns), PLAN_DO_CHECK);
	assert_int_equal(step((struct plan_view){.check = PLAN_CHECK_GOOD}), PLAN_DO_REST);
	now_ns += PLAN_REST_NS;
	assert_int_equal(step((struct plan_view){.all_rest = false}), PLAN_DO_GO_ON);
}

/* Whatever happens, EXEC comes only after the program was found good, and less than PLAN_YIELD_NS
 * after a YIELD that was not called off. */
static void test_random(void **state)
{
	bool is_good = false, is_yielded = false;
	uint64_t yield_ns = 0;

	(void)state;
	srand(1);
	for (int i = 0; i < 200000; i++) {
		struct plan_view view = {.check = (unsigned)rand() % 3, .all_rest = rand() % 2,
					 .all_yielded = rand() % 4 == 0,
					 .one_cannot = rand() % 8 == 0};
		enum plan_action action;

		now_ns += (uint64_t)(rand() % 40) * CLOCK_NS_PER_MS;
		if (rand() % 3 == 0 && plan_ask(&plan, now_ns) == PLAN_DO_CHECK)
			is_good = is_yielded = false;
		action = step(view);
		is_good |= action == PLAN_DO_REST;
		if (action == PLAN_DO_YIELD) {
			is_yielded = true;
			yield_ns = now_ns;
		}
		if (action == PLAN_DO_GO_ON || action == PLAN_DO_GIVE_UP)
			is_yielded = false;
		if (action != PLAN_DO_EXEC)
			continue;
		assert_true(is_good && is_yielded && view.all_yielded && !view.one_cannot);
		assert_true(now_ns - yield_ns < PLAN_YIELD_NS);
		plan_init(&plan);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_in_order, begin),
		cmocka_unit_test_setup(test_a_bad_program_changes_nothing, begin),
		cmocka_unit_test_setup(test_no_guest_waits_long_for_another, begin),
		cmocka_unit_test_setup(test_one_cannot, begin),
		cmocka_unit_test_setup(test_one_cannot_before_any_yields, begin),
		cmocka_unit_test_setup(test_pressing, begin),
		cmocka_unit_test_setup(test_gives_up_after_some_tries, begin),
		cmocka_unit_test_setup(test_an_order_takes_long, begin),
		cmocka_unit_test_setup(test_random, begin),
	};

	return cmocka_run_group_tests_name("replace_plan", tests, NULL, NULL);
}
