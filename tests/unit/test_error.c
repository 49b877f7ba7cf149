/* Tests error.h: texts are formatted, cut at the limit, and the error number is returned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void test_text_and_result(void **state)
{
	struct error error = {""};

	(void)state;
	assert_int_equal(error_set(&error, -13, "cannot open %s: %d", "a", 7), -13);
	assert_string_equal(error.text, "cannot open a: 7");
	assert_int_equal(error_set(&error, 0, "%s", ""), 0);
	assert_string_equal(error.text, "");
}

static void test_too_long_is_cut(void **state)
{
	char more[ERROR_TEXT_BYTES + 100];
	struct error error;

	(void)state;
	memset(more, 'x', sizeof(more));
	more[sizeof(more) - 1] = '\0';
	assert_int_equal(error_set(&error, -1, "%s", more), -1);
	assert_int_equal(strlen(error.text), ERROR_TEXT_BYTES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_and_result),
		cmocka_unit_test(test_too_long_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
