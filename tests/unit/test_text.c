/* Tests text.c: what a string on the wire may contain. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/text.h"

static void names(void **state)
{
	static const struct {
		const char *name;
		bool valid;
	} rows[] = {
		{"a", true},       {"0", true},       {"web1", true},      {"a-", true},
		{"a--b-9", true},  {"", false},	      {"-a", false},	   {"A", false},
		{"a_b", false},    {"a.b", false},    {"a/b", false},      {"..", false},
		{"a b", false},	   {"a\n", false},    {"\xc3\xa4", false},
	};
	char longest[WIRE_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(wire_name_is_valid(rows[i].name), rows[i].valid);
	memset(longest, 'x', sizeof(longest));
	longest[WIRE_NAME_MAX] = '\0';
	assert_true(wire_name_is_valid(longest));
	longest[WIRE_NAME_MAX]	   = 'x';
	longest[WIRE_NAME_MAX + 1] = '\0';
	assert_false(wire_name_is_valid(longest));
	assert_false(wire_name_bytes_are_valid("a\0b", 3));
}

static void texts(void **state)
{
	static const char *const good[] = {"", "plain", "\xc3\xa4", "\xe2\x82\xac",
					   "\xf0\x9f\x98\x80", "\xc2\xa0"};
	static const char *const bad[] = {"a\nb",
					  "\x1b[2J",
					  "\x7f",
					  "\x80",
					  "\xc3",
					  "\xc0\xaf",
					  "\xe0\x80\xaf",
					  "\xed\xa0\x80",
					  "\xf4\x90\x80\x80",
					  "\xf8\x88\x80\x80\x80",
					  "\xc2\x9b",
					  "\xe2\x82"};
	char longest[WIRE_TEXT_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(wire_text_is_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(wire_text_is_valid(bad[i]));
	assert_false(wire_text_bytes_are_valid("a\0b", 3));
	memset(longest, 'x', sizeof(longest));
	longest[WIRE_TEXT_MAX] = '\0';
	assert_true(wire_text_is_valid(longest));
	longest[WIRE_TEXT_MAX]	   = 'x';
	longest[WIRE_TEXT_MAX + 1] = '\0';
	assert_false(wire_text_is_valid(longest));
}

static void format_makes_valid_text(void **state)
{
	char text[WIRE_TEXT_MAX + 1], raw[WIRE_TEXT_MAX + 64];

	(void)state;
	wire_text_format(text, "vm %s: %d\n\x1b[2J\xff", "web1", 7);
	assert_string_equal(text, "vm web1: 7??[2J?");
	/* The text is cut between two characters, wherever a two-byte character lies. */
	for (size_t lead = WIRE_TEXT_MAX - 8; lead < WIRE_TEXT_MAX + 8; lead++) {
		memset(raw, 'x', lead);
		memcpy(raw + lead, "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", 9);
		wire_text_format(text, "%s", raw);
		assert_true(wire_text_is_valid(text));
		assert_true(strlen(text) >= WIRE_TEXT_MAX - 8);
		assert_null(strchr(text, '?'));
	}
}

static void stats_judged(void **state)
{
	static const char *const good[] = {"", "a=1\n", "a=\n", "a_9=x=y z\nb=2\n"};
	static const char *const bad[] = {"a", "a=", "a=1", "=1\n", "A=1\n", "a b=1\n", "a=\x01\n",
					  "a=1\n\n", "a=\xc3\xa4\n", "\n", "a=1\nb\n"};
	char line[256];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(wire_stats_is_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(wire_stats_is_valid(bad[i]));
	assert_false(wire_stats_bytes_are_valid("a=\0\n", 4));
	snprintf(line, sizeof(line), "%0*d=1\n", WIRE_STATS_KEY_MAX, 0);
	assert_true(wire_stats_is_valid(line));
	snprintf(line, sizeof(line), "%0*d=1\n", WIRE_STATS_KEY_MAX + 1, 0);
	assert_false(wire_stats_is_valid(line));
	snprintf(line, sizeof(line), "a=%0*d\n", WIRE_STATS_VALUE_MAX, 0);
	assert_true(wire_stats_is_valid(line));
	snprintf(line, sizeof(line), "a=%0*d\n", WIRE_STATS_VALUE_MAX + 1, 0);
	assert_false(wire_stats_is_valid(line));
}

static void stats_added_and_walked(void **state)
{
	char stats[WIRE_STATS_MAX + 1] = "", before[WIRE_STATS_MAX + 1];
	char key[WIRE_STATS_KEY_MAX + 1], value[WIRE_STATS_VALUE_MAX + 1];
	const char *at = stats;
	int n = 0, r = 0;

	(void)state;
	assert_int_equal(wire_stats_add(stats, "epochs", "%d", 812), 0);
	assert_int_equal(wire_stats_add(stats, "state", "%s", "a=b c"), 0);
	assert_int_equal(wire_stats_add(stats, "Bad", "1"), -EINVAL);
	assert_int_equal(wire_stats_add(stats, "", "1"), -EINVAL);
	assert_int_equal(wire_stats_add(stats, "x", "a\nb=1"), -EINVAL);
	assert_int_equal(wire_stats_add(stats, "x", "%0*d", WIRE_STATS_VALUE_MAX + 1, 0), -EINVAL);
	assert_int_equal(wire_stats_add(stats, "x", "%0*d", 4000, 0), -EINVAL);
	assert_string_equal(stats, "epochs=812\nstate=a=b c\n");
	assert_true(wire_stats_next(&at, key, value));
	assert_string_equal(key, "epochs");
	assert_string_equal(value, "812");
	assert_true(wire_stats_next(&at, key, value));
	assert_string_equal(key, "state");
	assert_string_equal(value, "a=b c");
	assert_false(wire_stats_next(&at, key, value));
	do {
		memcpy(before, stats, sizeof(stats));
		r = wire_stats_add(stats, "k", "%0*d", 100, n++);
	} while (r == 0);
	assert_int_equal(r, -ENOBUFS);
	assert_string_equal(stats, before);
	assert_true(wire_stats_is_valid(stats));
	assert_true(strlen(stats) > WIRE_STATS_MAX - 110);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),	cmocka_unit_test(texts),
		cmocka_unit_test(format_makes_valid_text), cmocka_unit_test(stats_judged),
		cmocka_unit_test(stats_added_and_walked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
