/* Tests dup.h: which pages a DUP record may copy, and when. A DUP is used only for pages with equal
 * bytes. */
#include "epoch/dup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "codec/page.h"

#define N_PAGES 2000u

struct fixture {
	struct reference *reference;
	struct dup *dup;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(reference_new(N_PAGES, N_PAGES, &f->reference), 0);
	assert_int_equal(dup_new(N_PAGES, f->reference, &f->dup), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dup_free(f->dup);
	reference_free(f->reference);
	free(f);
	return 0;
}

static const uint8_t *page_of(unsigned content)
{
	static uint8_t page[PAGE_BYTES];

	for (unsigned i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)(content + i * (content / 256 + 1)) | 1;
	page[7] = (uint8_t)content;
	page[9] = (uint8_t)(content / 256);
	page[11] = (uint8_t)(content / 65536);
	return page;
}

/* Change page @index to page_of(@content), and keep it pinned. Returns the index of the page that
 * its DUP record copies; -1 if no page to copy was found; -2 if the page must not be a DUP. */
static int begin_page(struct fixture *f, uint32_t index, unsigned content)
{
	int r = dup_offer(f->dup, index), result = r > 0 ? -1 : -2;
	const uint8_t *page = page_of(content);
	uint8_t out[DUP_RECORD_BYTES], *reference;
	bool is_known;

	assert_in_range(r, 0, 1);
	reference = reference_take(f->reference, index, &is_known);
	if (r > 0 && dup_encode(f->dup, index, page, reference, is_known, out) > 0) {
		assert_int_equal(out[0], PAGE_DUP);
		assert_int_equal(bytes_get_be16(out + 2), PAGE_DUP_BYTES);
		assert_int_equal(bytes_get_be32(out + 4), index);
		result = (int)bytes_get_be32(out + 8);
		assert_memory_equal(reference, page, PAGE_BYTES);
	}
	memcpy(reference, page, PAGE_BYTES);
	return result;
}

/* Unpin page @index, as after its record is written. */
static void end_page(struct fixture *f, uint32_t index)
{
	reference_put(f->reference, reference_peek(f->reference, index));
}

static int send_page(struct fixture *f, uint32_t index, unsigned content)
{
	int result = begin_page(f, index, content);

	end_page(f, index);
	return result;
}

static void expect(struct fixture *f, uint32_t first, uint32_t n)
{
	struct page_range range = {first, n};

	dup_expect(f->dup, &range, 1, NULL);
}

static void a_full_epoch_copies_what_it_sent(void **state)
{
	struct fixture *f = *state;

	dup_begin(f->dup, true, true);
	expect(f, 0, 1); /* the call does nothing in a FULL epoch */
	assert_int_equal(send_page(f, 1, 7), -1);
	assert_int_equal(send_page(f, 2, 7), 1);
	/* the source is the newest page with these bytes, which stays in the reference longest */
	assert_int_equal(send_page(f, 3, 7), 2);
	assert_int_equal(send_page(f, 3, 8), -1); /* page 3 again, in the next round of the epoch */
	assert_int_equal(send_page(f, 4, 8), 3);
	/* the table names page 3 for these bytes, but page 3 has changed since */
	assert_int_equal(send_page(f, 5, 7), -1);
	assert_int_equal(send_page(f, 6, 7), 5);
	/* Another FULL epoch starts with no sources, whatever the reference holds. */
	dup_begin(f->dup, true, true);
	assert_int_equal(send_page(f, 7, 7), -1);
	assert_int_equal(send_page(f, 8, 7), 7);
}

/* As long as a page's record is not written, the page can neither be the source of a DUP nor become
 * a DUP itself. */
static void what_is_under_way_is_not_copied(void **state)
{
	struct fixture *f = *state;

	dup_begin(f->dup, true, true);
	assert_int_equal(begin_page(f, 1, 7), -1);
	assert_int_equal(begin_page(f, 2, 7), -1);
	end_page(f, 2);
	end_page(f, 1);
	assert_int_equal(send_page(f, 3, 7), 2);
	assert_int_equal(begin_page(f, 4, 9), -1);
	assert_int_equal(begin_page(f, 4, 7), -2);
	end_page(f, 4);
	assert_int_equal(send_page(f, 4, 7 + 3), -1);
	assert_int_equal(send_page(f, 4, 7), 3);
}

static void little_that_changed_is_not_looked_at(void **state)
{
	struct fixture *f = *state;
	uint8_t out[DUP_RECORD_BYTES], page[PAGE_BYTES], *reference;
	bool is_known;

	dup_begin(f->dup, true, true);
	assert_int_equal(send_page(f, 1, 7), -1);
	assert_int_equal(send_page(f, 2, 8), -1);
	memcpy(page, page_of(7), sizeof(page));
	memcpy(page + 100, page_of(8) + 100, 1000);
	reference = reference_take(f->reference, 3, &is_known);
	memcpy(reference, page, sizeof(page));
	reference_put(f->reference, reference);
	assert_int_equal(send_page(f, 3, 7), -1);
	/* A zero page has a shorter record of its own. */
	memset(page, 0, sizeof(page));
	for (uint32_t i = 1; i < 3; i++) {
		assert_int_equal(dup_offer(f->dup, i), 1);
		reference = reference_take(f->reference, i, &is_known);
		assert_int_equal(dup_encode(f->dup, i, page, reference, is_known, out), 0);
		memset(reference, 0, PAGE_BYTES);
		reference_put(f->reference, reference);
	}
}

/* While no content repeats, dup looks for a source for only a few pages. When contents repeat, dup
 * does so for all pages. */
static void it_is_looked_for_where_it_is_found(void **state)
{
	struct fixture *f = *state;
	unsigned n_found = 0;

	dup_begin(f->dup, false, true);
	expect(f, 0, N_PAGES);
	for (uint32_t i = 0; i < 400; i++)
		assert_int_equal(send_page(f, i, 1000 + i), -1);
	for (uint32_t i = 400; i < 800; i++)
		n_found += send_page(f, i, 1000 + i - 400) >= 0;
	assert_in_range(n_found, 1, 100);
	for (unsigned content = 2000; content < 2040; content++) {
		dup_begin(f->dup, false, true);
		expect(f, 0, N_PAGES);
		for (uint32_t i = 0; i < 2000; i++)
			(void)send_page(f, i, i % 2 ? 10000 + 53 * i + content
						    : 2000 + (i / 2 + content) % 10);
	}
	n_found = 0;
	dup_begin(f->dup, false, true);
	expect(f, 0, N_PAGES);
	for (uint32_t i = 0; i < 100; i++)
		n_found += send_page(f, i, 2000 + i % 10) >= 0;
	assert_in_range(n_found, 70, 100); /* some pages had the same content before this epoch */
}

static void an_ordinary_epoch_copies_what_stays(void **state)
{
	static const uint64_t skip[] = {UINT64_C(1) << 12, 0};
	struct page_range again = {12, 2};
	struct fixture *f = *state;

	dup_begin(f->dup, true, true);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(send_page(f, i, (uint8_t)(i + 1)), -1);
	dup_begin(f->dup, false, true);
	assert_int_equal(send_page(f, 12, 13), -2); /* -2: dup_expect() was not called */
	dup_begin(f->dup, false, true);
	expect(f, 10, 3);
	dup_expect(f->dup, &again, 1, skip); /* page 12 is skipped, page 13 comes again */
	expect(f, 14, 2);
	expect(f, 15, 1);
	assert_int_equal(send_page(f, 10, 1), 0);   /* source: an older page */
	assert_int_equal(send_page(f, 11, 1), 10);  /* source: a page of this epoch */
	/* page 15 has these bytes too, but will change */
	assert_int_equal(send_page(f, 12, 16), -1);
	assert_int_equal(send_page(f, 13, 16), 12);
	assert_int_equal(send_page(f, 15, 17), -2); /* the first of page 15's two records */
	assert_int_equal(send_page(f, 14, 17), 16);
	assert_int_equal(dup_offer(f->dup, 16), -EINVAL);
	/* In the next epoch, any page that is not written again may be a source. This includes page
	 * 15, which the last epoch wrote twice. */
	dup_begin(f->dup, false, true);
	expect(f, 1, 3);
	assert_int_equal(send_page(f, 1, 16), 12 + 1);
	assert_int_equal(send_page(f, 2, 17), 14);
	/* With DUP off, no page is looked up, and no page is refused. */
	dup_begin(f->dup, false, false);
	expect(f, 1, 3);
	assert_int_equal(send_page(f, 3, 17), -2);
	assert_int_equal(send_page(f, 90, 17), -2);
}

/* Contents move through the pages, so most entries of dup's table are stale at any time. dup must
 * still find only pages with equal bytes. */
static void only_equal_bytes_are_found(void **state)
{
	struct fixture *f = *state;
	unsigned n_found = 0;

	srand(5);
	for (unsigned epoch = 0; epoch < 60; epoch++) {
		dup_begin(f->dup, epoch == 0, true);
		expect(f, epoch % 20, 40);
		for (uint32_t i = epoch % 20; i < epoch % 20 + 40; i++) {
			uint8_t content = (uint8_t)(1 + rand() % 30);
			int source = send_page(f, i, content);

			if (source < 0)
				continue;
			n_found++;
			assert_memory_equal(reference_peek(f->reference, (uint32_t)source),
					    page_of(content), PAGE_BYTES);
		}
	}
	assert_in_range(n_found, 300, 60 * 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_full_epoch_copies_what_it_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_under_way_is_not_copied, setup, teardown),
		cmocka_unit_test_setup_teardown(little_that_changed_is_not_looked_at, setup,
						teardown),
		cmocka_unit_test_setup_teardown(it_is_looked_for_where_it_is_found, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_ordinary_epoch_copies_what_stays, setup,
						teardown),
		cmocka_unit_test_setup_teardown(only_equal_bytes_are_found, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
