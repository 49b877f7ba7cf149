/* Tests clock.h: timeouts for poll(), and that the clocks run. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_poll_ms(void **state)
{
	(void)state;
	assert_int_equal(clock_poll_ms(5, UINT64_MAX), -1);
	assert_int_equal(clock_poll_ms(5, 5), 0);
	assert_int_equal(clock_poll_ms(6, 5), 0);
	assert_int_equal(clock_poll_ms(0, 1), 1); /* rounded up: never wakes early */
	assert_int_equal(clock_poll_ms(0, CLOCK_NS_PER_MS), 1);
	assert_int_equal(clock_poll_ms(0, CLOCK_NS_PER_MS + 1), 2);
	assert_int_equal(clock_poll_ms(0, UINT64_MAX - 1), INT_MAX);
}

static void test_clocks_run(void **state)
{
	uint64_t a = clock_mono_ns(), b = clock_mono_ns();

	(void)state;
	assert_true(a > 0 && b >= a);
	assert_true(clock_wall_ns() > UINT64_C(1600000000) * CLOCK_NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_poll_ms),
		cmocka_unit_test(test_clocks_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
