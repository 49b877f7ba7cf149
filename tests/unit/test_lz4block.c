/* Tests the second stage (LZ4): packed data unpacks to the same bytes, and unpacking a broken block
 * never reads or writes out of bounds. */
#include "codec/lz4block.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SIZE 131072u

static struct lz4block_state state;
static uint8_t plain[SIZE], block[2 * SIZE];

static void fill(unsigned n_repeats)
{
	for (size_t i = 0; i < SIZE; i++)
		plain[i] = i < n_repeats ? (uint8_t)rand() : plain[i - n_repeats];
}

static void packs_and_unpacks(void **unused)
{
	static const size_t sizes[] = {1, 4, 13, 256, 4104, 65535, 65536, SIZE};
	uint8_t *back;

	(void)unused;
	memset(&state, 0xa5, sizeof(state)); /* pack() must not depend on its old content */
	fill(700);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = lz4block_pack(&state, plain, sizes[i], block, sizeof(block));

		assert_true(n > 0);
		/* Allocate no byte more than needed, so that the sanitizers notice a write past the
		 * end. */
		back = malloc(sizes[i]);
		assert_int_equal(lz4block_unpack(block, n, back, sizes[i]), 0);
		assert_memory_equal(back, plain, sizes[i]);
		assert_int_equal(lz4block_unpack(block, n, back, sizes[i] - 1), -EPROTO);
		free(back);
		back = malloc(sizes[i] + 1);
		assert_int_equal(lz4block_unpack(block, n, back, sizes[i] + 1), -EPROTO);
		free(back);
	}
	assert_true(lz4block_pack(&state, plain, SIZE, block, SIZE / 20) > 0);
}

static void gives_up_without_gain(void **unused)
{
	(void)unused;
	fill(SIZE);
	assert_int_equal(lz4block_pack(&state, plain, SIZE, block, SIZE - SIZE / 16), 0);
	assert_int_equal(lz4block_pack(&state, plain, 0, block, SIZE), 0);
	assert_int_equal(lz4block_unpack(block, 0, plain, 1), -EPROTO);
}

static void broken_blocks(void **unused)
{
	uint8_t *copy, *back = malloc(20000);
	size_t n;

	(void)unused;
	fill(300);
	n = lz4block_pack(&state, plain, 20000, block, sizeof(block));
	for (size_t cut = 0; cut < n; cut++) {
		copy = malloc(cut ? cut : 1);
		memcpy(copy, block, cut);
		assert_int_equal(lz4block_unpack(copy, cut, back, 20000), -EPROTO);
		free(copy);
	}
	for (int i = 0; i < 20000; i++) {
		copy = malloc(n);
		memcpy(copy, block, n);
		for (int j = rand() % 4; j >= 0; j--)
			copy[(size_t)rand() % n] = (uint8_t)rand();
		/* Success and failure are both right; the sanitizers check the bounds. */
		(void)!lz4block_unpack(copy, n, back, 20000);
		free(copy);
	}
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packs_and_unpacks),
		cmocka_unit_test(gives_up_without_gain),
		cmocka_unit_test(broken_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
