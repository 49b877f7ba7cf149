/* Tests sum_line.h: the appended checksum, and texts for which there is no room. */
#include "base/sum_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define TEXT "holdfast-test 1 number=7"
/* XXH3 of TEXT, from `xxhsum -H3` of xxhash 0.8 */
#define SUM  "651246b8641af009"

static void a_sum_is_appended(void **state)
{
	char text[128] = TEXT;
	const char *all = TEXT " sum=" SUM "\n";

	(void)state;
	assert_int_equal(sum_line_append(text, strlen(TEXT), sizeof(text)), strlen(all));
	assert_string_equal(text, all);
}

static void no_room_is_said(void **state)
{
	const size_t whole = strlen(TEXT " sum=" SUM "\n");
	char text[128];

	(void)state;
	for (size_t size = 0; size <= whole; size++) {
		memcpy(text, TEXT, sizeof(TEXT));
		assert_int_equal(sum_line_append(text, strlen(TEXT), size), 0);
		assert_memory_equal(text, TEXT, strlen(TEXT));
	}
	assert_int_equal(sum_line_append(text, strlen(TEXT), whole + 1), whole);
	assert_int_equal(sum_line_append(text, 0, sizeof(text)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sum_is_appended),
		cmocka_unit_test(no_room_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
