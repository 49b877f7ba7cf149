/* Tests marks.h: setting the mark of one item changes no other mark, and a reset clears all marks.
 * The items include those at the borders of words and blocks. */
#include "base/marks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define N_THINGS 40001u /* two whole blocks and a part of the next block */

static void set_get_reset(void **state)
{
	static unsigned char expected[N_THINGS];
	struct marks marks;

	(void)state;
	assert_int_equal(marks_init(N_THINGS, &marks), 0);
	srand(3);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < N_THINGS; i++) {
			assert_int_equal(marks_get(&marks, i), 0);
			expected[i] = 0;
		}
		/* The first round marks only the first and last things; later rounds also mark
		 * random ones. */
		for (unsigned n = 0; n < round * 9000; n++) {
			unsigned i = (unsigned)rand() % N_THINGS, mark = (unsigned)rand() % 4;

			marks_set(&marks, i, mark);
			expected[i] = (unsigned char)mark;
		}
		marks_set(&marks, 0, 3);
		marks_set(&marks, N_THINGS - 1, 2);
		expected[0] = 3;
		expected[N_THINGS - 1] = 2;
		for (unsigned i = 0; i < N_THINGS; i++)
			assert_int_equal(marks_get(&marks, i), expected[i]);
		marks_reset(&marks);
	}
	marks_done(&marks);
	marks_done(&marks);
}

static void sizes(void **state)
{
	static const uint64_t n[] = {1, 31, 32, 33, 16383, 16384, 16385};
	struct marks marks;

	(void)state;
	for (unsigned i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
		assert_int_equal(marks_init(n[i], &marks), 0);
		marks_set(&marks, n[i] - 1, 1);
		assert_int_equal(marks_get(&marks, n[i] - 1), 1);
		marks_reset(&marks);
		assert_int_equal(marks_get(&marks, n[i] - 1), 0);
		marks_done(&marks);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_get_reset),
		cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
