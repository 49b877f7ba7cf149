/* test_base_text.c - tests that a text that does not fit is cut after a whole character and ends
 * with "...". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/text.h"
#include "wire/text.h"

static void test_put(void **state)
{
	static const struct {
		size_t size;
		const char *from, *to;
	} rows[] = {
		{16, "", ""},
		{16, "fits", "fits"},
		{8, "exactly", "exactly"},
		{8, "not fits", "not..."},
		{7, "exactly", "exa..."},
		{4, "exactly", "..."},
		{3, "exactly", ""},
		{1, "exactly", ""},
		{1, "", ""},
		{16, "alpha is not away", "alpha is not..."}, /* no space before the dots */
		/* U+00E4 has two bytes, U+20AC has three, U+1F600 has four */
		{8, "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", "\xc3\xa4\xc3\xa4..."},
		{9, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", "\xe2\x82\xac..."},
		{10, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80..."},
		{8, "a\xf0\x9f\x98\x80\xf0\x9f\x98\x80", "a..."},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[32];

		memset(text, 'x', sizeof(text));
		(void)text_put(text, rows[i].size, "%s", rows[i].from);
		assert_string_equal(text, rows[i].to);
		assert_true(wire_text_is_valid(text));
		for (size_t at = rows[i].size; at < sizeof(text); at++)
			assert_int_equal(text[at], 'x');
	}
}

static void test_short(void **state)
{
	char text[64];

	(void)state;
	(void)text_put(text, sizeof(text), "%s; %s", TEXT_SHORT(8, "a long reason"),
		 TEXT_SHORT(8, "short"));
	assert_string_equal(text, "a lon...; short");
}

/* error_set() and wire_text_format() cut a text that is too long for their own buffers. */
static void test_limits(void **state)
{
	char text[WIRE_TEXT_MAX + 1], many[2 * WIRE_TEXT_MAX + 1] = "";
	struct error error;

	(void)state;
	for (size_t i = 0; i + 2 < sizeof(many); i += 2)
		memcpy(many + i, "\xc3\xa4", 3);
	assert_int_equal(error_set(&error, -1, "%s", many), -1);
	assert_string_equal(error.text + strlen(error.text) - 5, "\xc3\xa4...");
	assert_true(wire_text_is_valid(error.text));
	wire_text_format(text, "a%s", many);
	assert_string_equal(text + strlen(text) - 5, "\xc3\xa4...");
	assert_true(wire_text_is_valid(text));
	wire_text_format(text, "%.*s", WIRE_TEXT_MAX, many); /* the text just fits */
	assert_int_equal(strlen(text), WIRE_TEXT_MAX);
	assert_null(strchr(text, '.'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
