/* What the encoder makes, taken apart and applied as a standby would, is what went in. */
#include "encoder_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "codec/encode.h"
#include "wire/msg.h"

#define EPOCHS 30u

/* Offer one page, alone, as the tracker may report it. */
static int offer(struct fixture *f, uint32_t index)
{
	struct page_range range = {index, 1};
	struct encoder_cursor cursor = {.ranges = &range, .n_ranges = 1,
					.pages = f->pages + (size_t)index * 4096};

	return encoder_pages(f->encoder, &cursor);
}

/* Offer all pages, in one run. */
static void offer_all(struct fixture *f)
{
	struct page_range ranges[3] = {{0, 5}, {5, 1}, {6, N_PAGES - 6}};
	struct encoder_cursor cursor = {.ranges = ranges, .n_ranges = 3, .pages = f->pages};
	int r;

	while ((r = encoder_pages(f->encoder, &cursor)) == 1)
		;
	assert_int_equal(r, 0);
}

static void encode(struct fixture *f, uint64_t epoch, bool is_full, unsigned n_changes)
{
	assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, is_full), 0);
	for (unsigned i = 0; i < n_changes; i++) {
		uint32_t index = (uint32_t)rand() % N_PAGES;

		fixture_change_page(f->pages + (size_t)index * 4096);
		/* Also pages that did not change are offered, as the tracker may report them. */
		assert_int_equal(offer(f, index), 0);
		assert_int_equal(offer(f, (uint32_t)rand() % N_PAGES), 0);
	}
	fixture_change_blob(f);
	assert_int_equal(encoder_device(f->encoder, f->blob, f->blob_size), 0);
	assert_int_equal(encoder_end(f->encoder), 0);
}

static void epochs_rebuild_the_guest(void **state)
{
	struct fixture *f = *state;

	for (uint64_t epoch = 1; epoch <= EPOCHS; epoch++) {
		encode(f, epoch, epoch == 1, 1500);
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
	}
}

/* What was encoded for one standby is not sent to another one that cannot read it. */
static void retained_epochs_remember_their_features(void **state)
{
	const uint64_t both = WIRE_FEATURE_XRLE | WIRE_FEATURE_BITMAP;
	struct fixture *f = *state;

	assert_true(encoder_can_resend(f->encoder, 0)); /* nothing is retained */
	encode(f, 1, true, 100);
	encode(f, 2, false, 100);
	assert_true(encoder_can_resend(f->encoder, both));
	assert_false(encoder_can_resend(f->encoder, WIRE_FEATURE_XRLE));
	/* Epochs of fewer features behind it do not change that; its commit does. */
	encoder_set_features(f->encoder, PAGE_FEATURE_XRLE);
	encode(f, 3, false, 100);
	assert_false(encoder_can_resend(f->encoder, WIRE_FEATURE_XRLE));
	fixture_deliver(f);
	retain_drop(f->retain, 3);
	assert_true(encoder_can_resend(f->encoder, 0));
	encode(f, 4, false, 100);
	assert_true(encoder_can_resend(f->encoder, WIRE_FEATURE_XRLE));
	encoder_set_second_stage(f->encoder, true);
	encode(f, 5, false, 300);
	assert_false(encoder_can_resend(f->encoder, both));
	assert_true(encoder_can_resend(f->encoder, both | WIRE_FEATURE_LZ4));
	fixture_deliver(f);
}

/* Packed or not, changed at any moment: the same guest arrives, in fewer bytes. */
static void the_second_stage_changes_nothing_but_bytes(void **state)
{
	struct fixture *f = *state;
	struct encoder_counts before, after;

	for (uint64_t epoch = 1; epoch <= EPOCHS; epoch++) {
		encoder_get_counts(f->encoder, &before);
		encoder_set_second_stage(f->encoder, epoch % 3 != 0);
		if (epoch % 3 == 2) { /* in the middle of the epoch */
			assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, false), 0);
			memset(f->pages, (int)epoch, (size_t)200 * 4096);
			offer_all(f);
			encoder_set_second_stage(f->encoder, false);
			memset(f->pages + (size_t)300 * 4096, (int)epoch, (size_t)200 * 4096);
			offer_all(f);
			assert_int_equal(encoder_device(f->encoder, f->blob, f->blob_size), 0);
			assert_int_equal(encoder_end(f->encoder), 0);
		} else {
			encode(f, epoch, epoch == 1, 700);
		}
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
		encoder_get_counts(f->encoder, &after);
		assert_true(after.packing.plain_bytes > before.packing.plain_bytes);
		if (epoch % 3 == 0) {
			assert_int_equal(after.packing.in_bytes, before.packing.in_bytes);
			continue;
		}
		assert_true(after.packing.in_bytes > before.packing.in_bytes);
		assert_true(after.packing.out_bytes - before.packing.out_bytes <=
			    after.packing.in_bytes - before.packing.in_bytes);
		assert_true(after.packing.in_bytes - before.packing.in_bytes <=
			    after.packing.plain_bytes - before.packing.plain_bytes);
	}
	assert_true(after.packing.out_bytes < after.packing.in_bytes);
}

/* Deltas are of the classes that are allowed, and these may change between any two epochs. */
static void features_change_between_epochs(void **state)
{
	static const uint64_t features[] = {PAGE_FEATURE_XRLE, PAGE_FEATURE_BITMAP, 0,
					    PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP};
	struct fixture *f = *state;
	struct encoder_counts before, after;

	for (uint64_t epoch = 1; epoch <= EPOCHS; epoch++) {
		uint64_t allowed = features[epoch % 4];

		encoder_get_counts(f->encoder, &before);
		encoder_set_features(f->encoder, allowed);
		encode(f, epoch, epoch == 1, 700);
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
		encoder_get_counts(f->encoder, &after);
		if (epoch == 1)
			continue; /* few pages have a reference yet */
		assert_int_equal(after.n_xrle > before.n_xrle, (allowed & PAGE_FEATURE_XRLE) != 0);
		assert_int_equal(after.n_bitmap > before.n_bitmap, (allowed & PAGE_FEATURE_BITMAP) != 0);
	}
}

static void a_full_epoch_stands_alone(void **state)
{
	struct fixture *f = *state;

	encode(f, 1, true, 300);
	fixture_deliver(f);
	/* The standby lost all; the guest's pages are offered once more, whole. */
	memset(f->standby.pages, 0xee, (size_t)N_PAGES * 4096);
	memset(f->standby.blob, 0xee, BLOB_MAX);
	retain_drop_all(f->retain);
	assert_int_equal(encoder_begin(f->encoder, 7, 0, true), 0);
	offer_all(f);
	assert_int_equal(encoder_device(f->encoder, f->blob, f->blob_size), 0);
	assert_int_equal(encoder_end(f->encoder), 0);
	fixture_deliver(f);
}

static void an_idle_epoch_is_small(void **state)
{
	struct fixture *f = *state;
	struct encoder_counts counts;

	encode(f, 1, true, 300);
	fixture_deliver(f);
	retain_drop(f->retain, 1);
	assert_int_equal(encoder_begin(f->encoder, 2, 1, false), 0);
	offer_all(f);
	assert_int_equal(encoder_device(f->encoder, f->blob, f->blob_size), 0);
	assert_int_equal(encoder_end(f->encoder), 0);
	encoder_get_counts(f->encoder, &counts);
	assert_int_equal(counts.n_epoch_pages, 0);
	assert_true(counts.epoch_bytes < 256);
	fixture_deliver(f);
}

/* With a backlog that holds less than an epoch, everything goes on where it stopped. */
static void a_small_backlog_only_delays(void **state)
{
	struct fixture *f = *state;
	struct encoder_cursor cursor;
	struct page_range range = {0, N_PAGES};
	struct retain_frame frame;
	size_t n_records_bytes = 0;
	int n_full = 0, r;

	encoder_free(f->encoder);
	retain_free(f->retain);
	assert_int_equal(retain_new(WIRE_PAYLOAD_MAX, RETAIN_BYTES_MIN, &f->retain), 0);
	assert_int_equal(encoder_new(N_PAGES, REFERENCE_PAGES, f->retain, &f->encoder), 0);
	assert_int_equal(encoder_begin(f->encoder, 1, 0, true), 0);
	for (size_t i = 0; i < (size_t)N_PAGES * 4096; i++)
		f->pages[i] = (uint8_t)rand();
	cursor = (struct encoder_cursor){.ranges = &range, .n_ranges = 1, .pages = f->pages};
	while ((r = encoder_pages(f->encoder, &cursor)) != 0) {
		if (r == 1)
			continue;
		assert_int_equal(r, -ENOBUFS);
		n_full++;
		while (retain_next(f->retain, &frame) == 0) {
			n_records_bytes += frame.type == WIRE_PAGES ? frame.size : 0;
			retain_sent(f->retain);
		}
	}
	assert_true(n_full > 5);
	/* All but the frame still being filled: no page was lost or sent twice. */
	assert_in_range(n_records_bytes, (N_PAGES - 4 * ENCODER_BATCH) * 4104, N_PAGES * 4104);
}

/* A store that cannot hold the working set costs whole pages and never a wrong one. */
static void a_small_reference_costs_bytes_only(void **state)
{
	struct fixture *f = *state;
	struct encoder_counts counts;

	for (uint64_t epoch = 1; epoch <= 6; epoch++) {
		assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, epoch == 1), 0);
		for (uint32_t i = 0; i < N_PAGES; i++)
			f->pages[(size_t)i * 4096 + epoch] = (uint8_t)(i + epoch);
		offer_all(f);
		fixture_change_blob(f);
		assert_int_equal(encoder_device(f->encoder, f->blob, f->blob_size), 0);
		assert_int_equal(encoder_end(f->encoder), 0);
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
	}
	encoder_get_counts(f->encoder, &counts);
	assert_int_equal(counts.reference.n_slots, REFERENCE_PAGES);
	assert_true(counts.reference.n_misses > N_PAGES);
	assert_true(counts.reference.n_replaced > N_PAGES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(epochs_rebuild_the_guest),
		TEST(retained_epochs_remember_their_features),
		TEST(the_second_stage_changes_nothing_but_bytes),
		TEST(features_change_between_epochs),
		TEST(a_full_epoch_stands_alone),
		TEST(an_idle_epoch_is_small),
		TEST(a_small_reference_costs_bytes_only),
		TEST(a_small_backlog_only_delays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
