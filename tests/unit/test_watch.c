/* Tests when the agent must check the taps and the lists of the guest's parts again. */
#include "epoch/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define START CLOCK_NS_PER_S

static struct watch w;

static int set_up(void **state)
{
	(void)state;
	watch_init(&w, START);
	return 0;
}

static void the_first_seal_asks_for_the_lists(void **state)
{
	(void)state;
	assert_false(watch_lists_due(&w, START + 1));
	watch_saw_seal(&w, 7, 1000);
	assert_true(watch_lists_due(&w, START + 1));
	watch_looked_at_lists(&w, START + 1);
	watch_saw_seal(&w, 7, 1000);
	assert_false(watch_lists_due(&w, START + 2));
}

static void each_sign_asks_once(void **state)
{
	(void)state;
	watch_saw_seal(&w, 7, 1000);
	watch_looked_at_lists(&w, START);
	watch_saw_seal(&w, 8, 1000); /* one more section in the device state */
	assert_true(watch_lists_due(&w, START));
	watch_looked_at_lists(&w, START);
	watch_saw_seal(&w, 8, 1001); /* memory changed */
	assert_true(watch_lists_due(&w, START));
	watch_saw_seal(&w, 8, 1001); /* the lists stay due until the agent looks at them */
	assert_true(watch_lists_due(&w, START));
	watch_looked_at_lists(&w, START);
	assert_false(watch_lists_due(&w, START));
	watch_saw_device(&w);
	assert_true(watch_lists_due(&w, START));
}

static void without_a_sign_time_asks(void **state)
{
	(void)state;
	assert_false(watch_lists_due(&w, START + WATCH_LISTS_NS - 1));
	assert_true(watch_lists_due(&w, START + WATCH_LISTS_NS));
	assert_false(watch_taps_due(&w, START + WATCH_TAPS_NS - 1));
	assert_true(watch_taps_due(&w, START + WATCH_TAPS_NS));
	assert_int_equal(watch_wake_ns(&w), START + WATCH_TAPS_NS);
}

static void a_link_asks_at_once_but_a_flood_of_them_not_always(void **state)
{
	(void)state;
	watch_saw_link(&w);
	assert_true(watch_taps_due(&w, START + WATCH_TAPS_MIN_NS));
	watch_looked_at_taps(&w, START + WATCH_TAPS_MIN_NS);
	watch_saw_link(&w);
	assert_false(watch_taps_due(&w, START + WATCH_TAPS_MIN_NS + 1));
	assert_int_equal(watch_wake_ns(&w), START + 2 * WATCH_TAPS_MIN_NS);
	assert_true(watch_taps_due(&w, START + 2 * WATCH_TAPS_MIN_NS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_first_seal_asks_for_the_lists, set_up),
		cmocka_unit_test_setup(each_sign_asks_once, set_up),
		cmocka_unit_test_setup(without_a_sign_time_asks, set_up),
		cmocka_unit_test_setup(a_link_asks_at_once_but_a_flood_of_them_not_always, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
