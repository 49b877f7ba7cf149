/* Tests reference.h, which stores the standby's versions of pages: which versions the store
 * replaces, and which it must keep. */
#include "epoch/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "codec/page.h"

#define N_PAGES (4 * REFERENCE_SLOTS_MIN)

static struct reference *make(void)
{
	struct reference *reference;

	assert_int_equal(reference_new(N_PAGES, 0, &reference), 0);
	return reference;
}

/* Take page @index's slot and write a version of the page to it. */
static uint8_t *take(struct reference *reference, uint32_t index)
{
	bool is_known;
	uint8_t *page = reference_take(reference, index, &is_known);

	memset(page, (int)(index % 255) + 1, PAGE_BYTES);
	return page;
}

static bool is_known(struct reference *reference, uint32_t index)
{
	bool known;
	uint8_t *page = reference_take(reference, index, &known);

	if (known)
		assert_int_equal(page[0], index % 255 + 1);
	else
		memset(page, (int)(index % 255) + 1, PAGE_BYTES);
	reference_put(reference, page);
	return known;
}

static void a_pinned_page_is_not_replaced(void **state)
{
	struct reference *reference = make();
	const uint8_t *pinned[REFERENCE_SLOTS_MIN / 2];

	(void)state;
	for (uint32_t i = 0; i < REFERENCE_SLOTS_MIN / 2; i++)
		pinned[i] = take(reference, i);
	/* Put in enough pages to replace every slot that is not pinned. */
	for (uint32_t i = REFERENCE_SLOTS_MIN / 2; i < N_PAGES; i++)
		reference_put(reference, take(reference, i));
	for (uint32_t i = 0; i < REFERENCE_SLOTS_MIN / 2; i++) {
		assert_true(reference_is_pinned(reference, i));
		assert_int_equal(pinned[i][PAGE_BYTES - 1], i % 255 + 1);
		reference_put(reference, pinned[i]);
		assert_false(reference_is_pinned(reference, i));
	}
	/* These pages are not pinned now, so they are replaced: other pages need every slot. */
	for (uint32_t n = 0; n < 3; n++) {
		for (uint32_t i = REFERENCE_SLOTS_MIN; i < N_PAGES; i++)
			reference_put(reference, take(reference, i));
	}
	for (uint32_t i = 0; i < REFERENCE_SLOTS_MIN / 2; i++)
		assert_false(is_known(reference, i));
	reference_free(reference);
}

static void a_full_epoch_forgets_pages_and_pins(void **state)
{
	struct reference *reference = make();
	bool known;

	(void)state;
	(void)take(reference, 7);
	assert_true(reference_is_pinned(reference, 7));
	assert_false(reference_is_pinned(reference, 8));
	assert_false(reference_is_zero(reference, 7));
	reference_reset(reference);
	assert_false(reference_is_pinned(reference, 7));
	assert_true(reference_is_zero(reference, 7));
	assert_int_equal(reference_take(reference, 7, &known)[0], 0);
	assert_true(known);
	reference_free(reference);
}

/* Once a page is forgotten, its old version is never used again, not even when its slot is
 * replaced. */
static void a_forgotten_page_is_unknown(void **state)
{
	struct reference *reference = make();
	bool known;
	uint8_t *page;

	(void)state;
	reference_put(reference, take(reference, 7));
	assert_true(is_known(reference, 7));
	assert_non_null(reference_peek(reference, 7));
	reference_forget(reference, 7);
	assert_null(reference_peek(reference, 7));
	assert_false(is_known(reference, 7));
	assert_true(is_known(reference, 7)); /* the call above stored a version of page 7 */
	/* a page that is known to be zero */
	assert_true(reference_is_zero(reference, 8));
	reference_forget(reference, 8);
	assert_false(reference_is_zero(reference, 8));
	assert_false(is_known(reference, 8));
	/* A forgotten page does not count as zero even if its slot has zeros, because the standby
	 * may have other content. */
	page = reference_take(reference, 9, &known);
	memset(page, 0, PAGE_BYTES);
	reference_put(reference, page);
	reference_forget(reference, 9);
	for (uint32_t i = 10; i < N_PAGES; i++)
		reference_put(reference, take(reference, i));
	assert_false(reference_is_zero(reference, 9));
	assert_false(is_known(reference, 9));
	reference_free(reference);
}

/* After reference_forget_all(), nothing is known of any page, not even that it is zero. */
static void all_pages_are_forgotten(void **state)
{
	struct reference *reference = make();

	(void)state;
	reference_put(reference, take(reference, 3));
	assert_non_null(reference_peek(reference, 3));
	assert_true(reference_is_zero(reference, 4));
	reference_forget_all(reference);
	assert_null(reference_peek(reference, 3));
	assert_false(reference_is_zero(reference, 4));
	assert_false(is_known(reference, 3));
	assert_false(is_known(reference, 4));
	assert_true(is_known(reference, 4));
	reference_free(reference);
}

/* reference_shed() gives memory back in steps and forgets the pages in it. The store does not grow
 * meanwhile. */
static void memory_is_given_back(void **state)
{
	struct reference *reference;
	struct reference_counts counts;
	const uint32_t n_pages = 4 * REFERENCE_SLOTS_MIN, n_left = REFERENCE_SLOTS_MIN;
	unsigned char resident[4 * REFERENCE_SLOTS_MIN];
	uint8_t *first;
	size_t n_resident = 0;

	(void)state;
	assert_int_equal(reference_new(n_pages, n_pages, &reference), 0);
	first = take(reference, 0);
	reference_put(reference, first);
	for (uint32_t i = 1; i < n_pages - 1; i++)
		reference_put(reference, take(reference, i));
	assert_int_equal(reference_shed(reference, n_left, n_left), 2 * n_left - 1);
	assert_int_equal(reference_shed(reference, n_left, n_left), n_left - 1);
	assert_int_equal(reference_shed(reference, n_left, n_left), 0);
	reference_get_counts(reference, &counts);
	assert_int_equal(counts.n_used, n_left);
	assert_int_equal(mincore(first, (size_t)n_pages * PAGE_BYTES, resident), 0);
	for (uint32_t i = 0; i < n_pages; i++)
		n_resident += resident[i] & 1;
	assert_int_equal(n_resident, n_left);
	/* Pages in the slots that are left are known. Pages in the slots that were given back are
	 * unknown, and do not count as zero. A page that was never taken still counts as zero. */
	assert_non_null(reference_peek(reference, n_left - 1));
	assert_null(reference_peek(reference, n_left));
	assert_false(reference_is_zero(reference, n_left));
	assert_true(reference_is_zero(reference, n_pages - 1));
	/* A new page gets one of the slots that are left. */
	assert_false(is_known(reference, n_pages - 2));
	reference_get_counts(reference, &counts);
	assert_int_equal(counts.n_used, n_left);
	assert_int_equal(reference_shed(reference, n_left, n_left), 0);
	reference_grow(reference);
	for (uint32_t i = 0; i < n_pages; i++)
		reference_put(reference, take(reference, i));
	reference_get_counts(reference, &counts);
	assert_int_equal(counts.n_used, n_pages);
	reference_free(reference);
}

/* A store with few pages keeps them when memory is given back. It can still use all slots that are
 * left. */
static void a_small_one_keeps_its_pages(void **state)
{
	const uint32_t n = REFERENCE_SLOTS_MIN;
	struct reference *reference;
	struct reference_counts counts;

	(void)state;
	assert_int_equal(reference_new(4 * n, 4 * n, &reference), 0);
	reference_put(reference, take(reference, 3));
	assert_int_equal(reference_shed(reference, n, n), 0);
	assert_non_null(reference_peek(reference, 3));
	for (uint32_t i = 0; i < 2 * n; i++)
		reference_put(reference, take(reference, i));
	reference_get_counts(reference, &counts);
	assert_int_equal(counts.n_used, n);
	reference_free(reference);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pinned_page_is_not_replaced),
		cmocka_unit_test(a_forgotten_page_is_unknown),
		cmocka_unit_test(a_full_epoch_forgets_pages_and_pins),
		cmocka_unit_test(all_pages_are_forgotten),
		cmocka_unit_test(memory_is_given_back),
		cmocka_unit_test(a_small_one_keeps_its_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
