/* test_ram_batch.c - tests which hash each page of a batch gets: the hash of the content that was
 * read, or the hash of the seal's last copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "epoch/ram_batch.h"
#include "wire/msg.h"

#define SEED  UINT64_C(42)
#define FIRST 100u

static struct ram_batch batch;
static uint8_t copies[64 * VMM_PAGE_BYTES];

static uint8_t *fill(uint8_t *page, uint8_t value)
{
	memset(page, value, VMM_PAGE_BYTES);
	return page;
}

/* The batch has the pages 100 to 109, and page 100 + i is filled with i. */
static int setup(void **state)
{
	(void)state;
	assert_int_equal(ram_batch_init(&batch), 0);
	batch.first = FIRST;
	batch.n = 10;
	for (uint32_t i = 0; i < batch.n; i++)
		fill(batch.pages + (size_t)i * VMM_PAGE_BYTES, (uint8_t)i);
	ram_batch_read(&batch, SEED);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ram_batch_done(&batch);
	return 0;
}

/* Returns true if the hash of page 100 + @i is that of a page filled with @value. */
static bool is(uint32_t i, uint8_t value)
{
	uint8_t page[VMM_PAGE_BYTES], hash[WIRE_HASH_SIZE];

	wire_hash(SEED, fill(page, value), WIRE_PAGE_SIZE, hash);
	return memcmp(hash, batch.hash + (size_t)i * WIRE_HASH_SIZE, sizeof(hash)) == 0;
}

/* Let the seal copy the pages of @ranges. In order, they are filled with @value, @value + 1, ... */
static void seal(const struct page_range *ranges, uint32_t n_ranges, uint8_t value)
{
	struct seal_pages pages = {.ranges = ranges, .n_ranges = n_ranges, .pages = copies};

	for (uint32_t i = 0; i < n_ranges; i++)
		pages.n_pages += ranges[i].n_pages;
	for (uint32_t i = 0; i < pages.n_pages; i++)
		fill(copies + (size_t)i * VMM_PAGE_BYTES, (uint8_t)(value + i));
	ram_batch_sealed(&batch, &pages);
}

static void test_as_read(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < batch.n; i++) {
		assert_true(is(i, (uint8_t)i));
		assert_false(ram_batch_is_copied(&batch, i));
	}
}

/* A page that the seal has copied gets the hash of the copy. The ranges end in the batch, begin in
 * it, lie in it, or only touch it. */
static void test_written_meanwhile(void **state)
{
	static const struct page_range ranges[] = {
		{90, 10},  /* ends before the batch: values 100 to 109 */
		{98, 3},   /* page 100 has value 112 */
		{104, 2},  /* 104 and 105: 113 and 114 */
		{109, 4},  /* 109: 115 */
		{110, 5},  /* begins behind the batch */
	};

	(void)state;
	seal(ranges, 5, 100);
	assert_true(is(0, 112) && ram_batch_is_copied(&batch, 0));
	assert_true(is(1, 1) && !ram_batch_is_copied(&batch, 1));
	assert_true(is(3, 3));
	assert_true(is(4, 113) && is(5, 114) && ram_batch_is_copied(&batch, 5));
	assert_true(is(6, 6) && is(8, 8) && !ram_batch_is_copied(&batch, 8));
	assert_true(is(9, 115) && ram_batch_is_copied(&batch, 9));
	assert_false(ram_batch_is_copied(&batch, 10)); /* behind the batch */
}

/* A range may contain the whole batch, and more pages. */
static void test_all_written(void **state)
{
	(void)state;
	seal(&(struct page_range){95, 40}, 1, 50);
	for (uint32_t i = 0; i < batch.n; i++)
		assert_true(is(i, (uint8_t)(55 + i)) && ram_batch_is_copied(&batch, i));
}

/* If a page was copied before the pause and in the pause, or twice in the pause, the last copy
 * counts. */
static void test_last_copy_counts(void **state)
{
	static const struct page_range twice[] = {{103, 1}, {102, 2}};

	(void)state;
	seal(&(struct page_range){102, 3}, 1, 200);
	seal(twice, 2, 220);
	assert_true(is(2, 221));
	assert_true(is(3, 222));
	assert_true(is(4, 202)); /* copied only before the pause */
	/* The next batch begins with no page copied. */
	ram_batch_read(&batch, SEED);
	assert_false(ram_batch_is_copied(&batch, 2));
	assert_true(is(2, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_as_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_written_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_copy_counts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
