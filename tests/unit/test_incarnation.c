/* Tests vm/incarnation.h: each start of the gateway gets a higher number than all earlier starts.
 * If two starts have different release_ms, the longer one applies until it has expired. */
#include "vm/incarnation.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "wire/limits.h"

static char dir[] = "/tmp/holdfast-incarnation-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/incarnation", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

static void numbers_grow(void **state)
{
	uint64_t n = incarnation_next(0, 1764000000, 7);

	(void)state;
	assert_true(n == (UINT64_C(1764000000) << 16 | 7));
	/* The number rises even if the clock jumps back. */
	assert_true(incarnation_next(n, 5, 0xffff) == (UINT64_C(1764000001) << 16 | 0xffff));
	assert_true(incarnation_next(n, 0, 0) > n);
	/* Two starts that read the same stored number get different numbers. */
	assert_true(incarnation_next(n, 0, 1) != incarnation_next(n, 0, 2));
	assert_true(incarnation_next(WIRE_INCARNATION_MAX, 0, 0) == 0);
	assert_true(incarnation_next(0, 0, 0) > 0);
}

static void starts_are_recorded(void **state)
{
	struct incarnation last;
	struct error error;
	uint64_t first, second, third;

	(void)state;
	assert_int_equal(incarnation_begin(dir, 150, &last, &first, &error), 0);
	assert_int_equal(last.number, 0);
	assert_int_equal(last.release_ms, 0);
	assert_true(first >> 16 <= clock_wall_ns() / CLOCK_NS_PER_S);
	/* The second start has a shorter release_ms. The first start's longer one still counts,
	 * even for a third start. */
	assert_int_equal(incarnation_begin(dir, 50, &last, &second, &error), 0);
	assert_true(last.number == first && second > first);
	assert_int_equal(last.release_ms, 150);
	assert_int_equal(incarnation_begin(dir, 50, &last, &third, &error), 0);
	assert_true(third > second);
	assert_int_equal(last.release_ms, 150);
	/* The first start's release_ms has expired. */
	assert_int_equal(incarnation_store(dir, &(struct incarnation){third, 50}), 0);
	assert_int_equal(incarnation_begin(dir, 60, &last, &second, &error), 0);
	assert_true(last.number == third && last.release_ms == 50);
}

static void damage_is_told(void **state)
{
	struct incarnation last;
	char text[256];
	struct error error;
	uint64_t number;
	size_t size;
	FILE *file;

	(void)state;
	assert_int_equal(incarnation_begin(dir, 150, &last, &number, &error), 0);
	file = fopen(path, "r");
	assert_non_null(file);
	size = fread(text, 1, sizeof(text), file);
	fclose(file);
	assert_int_equal(incarnation_parse(text, size, &last), 0);
	for (size_t i = 0; i < size; i++) {
		text[i] ^= 1;
		assert_int_equal(incarnation_parse(text, size, &last), -EINVAL);
		text[i] ^= 1;
		assert_int_equal(incarnation_parse(text, i, &last), -EINVAL);
	}
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("holdfast-incarnation 1\nnumber=7", file);
	fclose(file);
	assert_int_equal(incarnation_begin(dir, 150, &last, &number, &error), -EINVAL);
	assert_non_null(strstr(error.text, "holdfastctl takeover"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_grow),
		cmocka_unit_test(starts_are_recorded),
		cmocka_unit_test(damage_is_told),
	};

	return cmocka_run_group_tests_name("incarnation", tests, make_dir, remove_dir);
}
