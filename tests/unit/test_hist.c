/* Tests hist.h, the histograms of figures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hist.h"

static struct hist hist, other;

static int reset(void **state)
{
	(void)state;
	hist_reset(&hist);
	hist_reset(&other);
	return 0;
}

static void test_empty(void **state)
{
	(void)state;
	assert_int_equal(hist_quantile(&hist, 0.5), 0);
	assert_int_equal(hist_max(&hist), 0);
	assert_int_equal(hist_mean(&hist), 0);
}

static void test_single_values_within_one_percent(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 64; bits++) {
		for (uint64_t part = 0; part < 7; part++) {
			uint64_t low = UINT64_C(1) << bits;
			uint64_t value = low + (low / 7) * part, got;

			/* Record far smaller and far larger values too. Otherwise the result would
			 * be clamped to min or max, which could hide an error. */
			hist_reset(&hist);
			hist_record(&hist, 0);
			hist_record(&hist, value);
			hist_record(&hist, UINT64_MAX);
			got = hist_quantile(&hist, 0.5);
			if (value < 128)
				assert_true(got == value);
			else
				assert_true((got > value ? got - value : value - got) <=
					    value / 100);
		}
	}
}

static void test_quantiles_of_a_ramp(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 100000; i++)
		hist_record(&hist, i);
	assert_int_equal(hist_count(&hist), 100000);
	assert_in_range(hist_quantile(&hist, 0.5), 49500, 50500);
	assert_in_range(hist_quantile(&hist, 0.99), 98010, 99990);
	assert_int_equal(hist_quantile(&hist, 0), 1);
	assert_int_equal(hist_quantile(&hist, 1), 100000);
	assert_int_equal(hist_quantile(&hist, -1), 1);
	assert_int_equal(hist_quantile(&hist, 2), 100000);
	assert_int_equal(hist_mean(&hist), 50000);
	assert_int_equal(hist_min(&hist), 1);
	assert_int_equal(hist_max(&hist), 100000);
}

static void test_ranks_are_not_off_by_one(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 100; i++)
		hist_record(&hist, i);
	assert_int_equal(hist_quantile(&hist, 0.5), 50);
	assert_int_equal(hist_quantile(&hist, 0.99), 99);
	assert_int_equal(hist_quantile(&hist, 0.991), 100);
	assert_int_equal(hist_quantile(&hist, 0.001), 1);
}

static void test_merge(void **state)
{
	(void)state;
	hist_record(&hist, 10);
	hist_record(&other, 5);
	hist_record(&other, 90);
	hist_merge(&hist, &other);
	assert_int_equal(hist_count(&hist), 3);
	assert_int_equal(hist_min(&hist), 5);
	assert_int_equal(hist_max(&hist), 90);
	assert_int_equal(hist_quantile(&hist, 0.5), 10);
	hist_reset(&other);
	hist_merge(&other, &hist);
	assert_int_equal(hist_min(&other), 5);
	hist_reset(&hist);
	hist_merge(&other, &hist);
	assert_int_equal(hist_count(&other), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, reset),
		cmocka_unit_test_setup(test_single_values_within_one_percent, reset),
		cmocka_unit_test_setup(test_quantiles_of_a_ramp, reset),
		cmocka_unit_test_setup(test_ranks_are_not_off_by_one, reset),
		cmocka_unit_test_setup(test_merge, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
