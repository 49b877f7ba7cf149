/* Tests counters.h: sums, and the text that lists the counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/counters.h"

struct sample {
	uint64_t epochs;
	uint64_t pages;
};

static const struct counters_row rows[] = {
	COUNTERS_ROW(struct sample, epochs),
	COUNTERS_ROW(struct sample, pages),
};

static void test_sum_and_print(void **state)
{
	struct sample a = {0}, b = {0};
	const void *all[] = {&a, &b};
	char text[64] = "";
	struct bytes_writer w = {(uint8_t *)text, (uint8_t *)text + sizeof(text) - 1, false};

	(void)state;
	counters_add(&a.epochs, 2);
	counters_add(&b.epochs, 40);
	counters_set(&b.pages, 7);
	counters_print(rows, ARRAY_SIZE(rows), all, ARRAY_SIZE(all), &w);
	assert_false(w.bad);
	assert_string_equal(text, "epochs=42\npages=7\n");
}

static void test_rows_that_do_not_fit_are_left_out_whole(void **state)
{
	struct sample a = {1, 2};
	const void *all[] = {&a};
	char text[14] = "";
	struct bytes_writer w = {(uint8_t *)text, (uint8_t *)text + sizeof(text) - 1, false};

	(void)state;
	counters_print(rows, ARRAY_SIZE(rows), all, 1, &w);
	assert_true(w.bad);
	assert_string_equal(text, "epochs=1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sum_and_print),
		cmocka_unit_test(test_rows_that_do_not_fit_are_left_out_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
