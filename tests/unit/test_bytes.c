/* Tests bytes.h, the cursors that read and write bounded buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static void test_big_endian(void **state)
{
	static const uint8_t expected[15] = {0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
	uint8_t buffer[15];
	struct bytes_writer w = {buffer, buffer + sizeof(buffer), false};
	struct bytes_reader r = {buffer, buffer + sizeof(buffer), false};

	(void)state;
	bytes_write_u8(&w, 0xab);
	bytes_write_be16(&w, 0x0102);
	bytes_write_be32(&w, 0x03040506);
	bytes_write_be64(&w, UINT64_C(0x0708090a0b0c0d0e));
	assert_false(w.bad);
	assert_memory_equal(buffer, expected, sizeof(expected));
	assert_int_equal(bytes_read_u8(&r), 0xab);
	assert_int_equal(bytes_read_be16(&r), 0x0102);
	assert_int_equal(bytes_read_be32(&r), 0x03040506);
	assert_true(bytes_read_be64(&r) == UINT64_C(0x0708090a0b0c0d0e));
	assert_false(r.bad);
	assert_int_equal(bytes_left(&r), 0);
}

static void test_a_short_read_stays_bad(void **state)
{
	static const uint8_t buffer[3] = {1, 2, 3};
	struct bytes_reader r = {buffer, buffer + sizeof(buffer), false};

	(void)state;
	assert_int_equal(bytes_read_be32(&r), 0);
	assert_true(r.bad);
	assert_int_equal(bytes_read_u8(&r), 0);
	assert_null(bytes_take(&r, 0));
}

static void test_a_short_write_stays_bad(void **state)
{
	uint8_t buffer[4] = {9, 9, 9, 9};
	struct bytes_writer w = {buffer, buffer + 3, false};

	(void)state;
	bytes_write_be32(&w, 0);
	assert_true(w.bad);
	bytes_write_u8(&w, 0);
	bytes_write(&w, "x", 1);
	assert_int_equal(buffer[0], 9);
	assert_int_equal(buffer[3], 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_big_endian),
		cmocka_unit_test(test_a_short_read_stays_bad),
		cmocka_unit_test(test_a_short_write_stays_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
