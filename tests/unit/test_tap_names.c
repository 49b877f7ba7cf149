/* Tests tap_names.h, the names of one guest's taps. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/tap_names.h"

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *printed;
	} rows[] = {
		{"tap0", 0, "tap0"},
		{"tap0 tap1", 0, "tap0, tap1"},
		{" \ttap0\t  tap1 ", 0, "tap0, tap1"},
		{"fifteen-letters", 0, "fifteen-letters"},
		{"1 2 3 4 5 6 7 8", 0, "1, 2, 3, 4, 5, 6, 7, 8"},
		{"", -EINVAL, NULL},
		{" \t", -EINVAL, NULL},
		{"tap0 sixteen--letters", -EINVAL, NULL},
		{"tap0 tap1 tap0", -EEXIST, NULL},
		{"1 2 3 4 5 6 7 8 9", -E2BIG, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tap_names names = {.n = 1, .name = {"before"}};
		char text[TAP_NAMES_TEXT_MAX];

		assert_int_equal(tap_names_parse(rows[i].text, &names), rows[i].r);
		assert_string_equal(tap_names_print(&names, ", ", text, sizeof(text)),
				    rows[i].printed ? rows[i].printed : "before");
	}
}

static void test_add_and_has(void **state)
{
	struct tap_names names = {0};
	char text[8];

	(void)state;
	assert_int_equal(tap_names_add(&names, "tap0"), 0);
	assert_int_equal(tap_names_add(&names, "tap0"), -EEXIST);
	assert_int_equal(tap_names_add(&names, ""), -EINVAL);
	assert_int_equal(tap_names_add(&names, "tap01"), 0);
	assert_true(tap_names_has(&names, "tap0"));
	assert_true(tap_names_has(&names, "tap01"));
	assert_false(tap_names_has(&names, "tap"));
	assert_string_equal(tap_names_print(&names, " ", text, sizeof(text)), "tap0 ta");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_add_and_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
