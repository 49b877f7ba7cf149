/* Tests the idler, which tells a polling loop when to spin, to check and to sleep. The clock is
 * simulated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "port/idler.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

static const struct idler_limits limits = {
	.spin_max_ns = 40 * US,
	.spin_floor_ns = 5 * US,
	.check_ns = 100 * US,
};

/* Sleep once, from @now for @slept ns. @by_frame says whether a frame ended the sleep. Returns the
 * time at which the sleep ends. */
static uint64_t sleep_once(struct idler *idler, uint64_t now, uint64_t slept, bool by_frame)
{
	assert_int_equal(idler_turn(idler, now, false), IDLER_SLEEP);
	idler_woke(idler, now + slept, by_frame);
	return now + slept;
}

static void test_idle_sleeps_at_once(void **state)
{
	struct idler idler;
	uint64_t now = 1000 * MS;
	int i;

	(void)state;
	idler_init(&idler, &limits, now);
	for (i = 0; i < 10; i++)
		now = sleep_once(&idler, now, 10 * MS, false);
	assert_int_equal(idler.spin_ns, 0);
}

static void test_short_gaps_make_it_spin(void **state)
{
	struct idler idler;
	uint64_t now = 1000 * MS;
	static const uint64_t expected_us[] = { 5, 10, 20, 40, 40 };
	size_t i;

	(void)state;
	idler_init(&idler, &limits, now);
	for (i = 0; i < sizeof(expected_us) / sizeof(expected_us[0]); i++) {
		/* spin until the idler sleeps; after 30 us of sleep, a frame arrives */
		while (idler_turn(&idler, now, false) != IDLER_SLEEP)
			now += US;
		now += 30 * US;
		idler_woke(&idler, now, true);
		assert_int_equal(idler.spin_ns, expected_us[i] * US);
	}
	/* The idler has learned from this: after work, it now stays awake for 40 microseconds. */
	assert_int_equal(idler_turn(&idler, now, true), IDLER_AGAIN);
	assert_int_equal(idler_turn(&idler, now + 39 * US, false), IDLER_AGAIN);
	assert_int_equal(idler_turn(&idler, now + 40 * US, false), IDLER_SLEEP);
}

static void test_long_gaps_end_the_spin(void **state)
{
	struct idler idler;
	uint64_t now = 1000 * MS;
	int i, spins = 0;

	(void)state;
	idler_init(&idler, &limits, now);
	idler.spin_ns = limits.spin_max_ns;
	for (i = 0; i < 20; i++) { /* 20 beats per second */
		enum idler_verdict verdict = idler_turn(&idler, now, true);

		assert_int_not_equal(verdict, IDLER_SLEEP);
		while (idler_turn(&idler, now, false) != IDLER_SLEEP) {
			now += US;
			spins++;
		}
		now += 50 * MS;
		idler_woke(&idler, now, true);
	}
	assert_int_equal(idler.spin_ns, 0);
	assert_in_range(spins, 40, 80); /* spins for 40, 20, 10 and 5 microseconds, then no more */
}

static void test_busy_loop_still_checks(void **state)
{
	struct idler idler;
	uint64_t now = 1000 * MS;
	int checks = 0, i;

	(void)state;
	idler_init(&idler, &limits, now);
	for (i = 0; i < 1000; i++) {
		enum idler_verdict verdict = idler_turn(&idler, now, true);

		assert_int_not_equal(verdict, IDLER_SLEEP);
		checks += verdict == IDLER_CHECK;
		now += US;
	}
	/* one check per 100 microseconds, during 999 microseconds of work */
	assert_int_equal(checks, 9);
}

static void test_timer_wake_gives_no_new_spin(void **state)
{
	struct idler idler;
	uint64_t now = 1000 * MS;

	(void)state;
	idler_init(&idler, &limits, now);
	idler.spin_ns = 20 * US;
	now += 20 * US;
	now = sleep_once(&idler, now, MS, false);
	assert_int_equal(idler_turn(&idler, now, false), IDLER_SLEEP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_sleeps_at_once),
		cmocka_unit_test(test_short_gaps_make_it_spin),
		cmocka_unit_test(test_long_gaps_end_the_spin),
		cmocka_unit_test(test_busy_loop_still_checks),
		cmocka_unit_test(test_timer_wake_gives_no_new_spin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
