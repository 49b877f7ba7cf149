/* Tests the encoder. A standby decodes and applies the encoder's output. It must get exactly the
 * pages that the encoder was given. */
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

#define EPOCHS	  10u
#define ALL_CLASSES (PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP | PAGE_FEATURE_DUP)
#define ABANDONED 1500u /* pages of an epoch that is abandoned */

/* Encode an epoch with two runs of pages: first the pages copied ahead, then the pages copied in
 * the pause. */
static void encode(struct fixture *f, uint64_t epoch, bool is_full, unsigned n_changes)
{
	assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, is_full ? WIRE_FLAG_FULL : 0),
			 0);
	for (int run = 0; run < 2; run++) {
		f->copy.n = 0;
		while (f->copy.n < n_changes) {
			uint32_t index = (uint32_t)rand() % N_PAGES;

			fixture_change_page(f->pages + (size_t)index * 4096);
			/* Also offer unchanged pages, as the tracker can report them, and sometimes
			 * the same page twice with different content. */
			fixture_copy_page(f, &f->copy, index);
			if (rand() % 100 == 0) {
				fixture_change_page(f->pages + (size_t)index * 4096);
				fixture_copy_page(f, &f->copy, index);
			}
			fixture_copy_page(f, &f->copy, (uint32_t)rand() % N_PAGES);
		}
		assert_int_equal(fixture_offer(f, copy_cursor(&f->copy)), 0);
	}
	fixture_end(f);
}

static void epochs_rebuild_the_guest(void **state)
{
	struct fixture *f = *state;

	for (uint64_t epoch = 1; epoch <= EPOCHS; epoch++) {
		encode(f, epoch, epoch == 1, 900);
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
	}
}

/* A retained epoch is not resent to a standby that cannot decode its features. */
static void retained_epochs_remember_their_features(void **state)
{
	const uint64_t both = WIRE_FEATURE_XRLE | WIRE_FEATURE_BITMAP;
	struct fixture *f = *state;

	assert_true(encoder_can_resend(f->encoder, 0)); /* nothing is retained */
	encode(f, 1, true, 100);
	encode(f, 2, false, 100);
	assert_true(encoder_can_resend(f->encoder, both));
	assert_false(encoder_can_resend(f->encoder, WIRE_FEATURE_XRLE));
	/* Later epochs use fewer features. The old epochs need all their features until they are
	 * committed. */
	encoder_set_features(f->encoder, PAGE_FEATURE_XRLE);
	encode(f, 3, false, 100);
	assert_false(encoder_can_resend(f->encoder, WIRE_FEATURE_XRLE));
	fixture_deliver(f);
	retain_drop(f->retain, 3);
	assert_true(encoder_can_resend(f->encoder, 0));
	encode(f, 4, false, 100);
	assert_true(encoder_can_resend(f->encoder, WIRE_FEATURE_XRLE));
	encoder_set_second_stage(f->encoder, true);
	encode(f, 5, false, 600);
	assert_false(encoder_can_resend(f->encoder, both));
	assert_true(encoder_can_resend(f->encoder, both | WIRE_FEATURE_LZ4));
	fixture_deliver(f);
}

/* The standby gets the same guest whether frames are packed or not, and whenever packing is turned
 * on or off. Packed frames take fewer bytes. */
static void the_second_stage_changes_nothing_but_bytes(void **state)
{
	struct fixture *f = *state;
	struct encoder_counts before, after;

	for (uint64_t epoch = 1; epoch <= EPOCHS; epoch++) {
		encoder_get_counts(f->encoder, &before);
		encoder_set_second_stage(f->encoder, epoch % 3 != 0);
		if (epoch % 3 == 2) { /* in the middle of the epoch */
			assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, 0), 0);
			memset(f->pages, (int)epoch, (size_t)200 * 4096);
			fixture_offer_all(f);
			encoder_set_second_stage(f->encoder, false);
			memset(f->pages + (size_t)300 * 4096, (int)epoch, (size_t)200 * 4096);
			fixture_offer_all(f);
			assert_int_equal(encoder_device(f->encoder, f->blob, f->blob_size), 0);
			assert_int_equal(encoder_end(f->encoder), 0);
		} else {
			encode(f, epoch, epoch == 1, 500);
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

/* Only allowed delta classes are used, and the allowed set may change between any two epochs. */
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
		encode(f, epoch, epoch == 1, 500);
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
		encoder_get_counts(f->encoder, &after);
		if (epoch == 1)
			continue; /* few pages have a reference yet */
		assert_int_equal(after.n_xrle > before.n_xrle, (allowed & PAGE_FEATURE_XRLE) != 0);
		assert_int_equal(after.n_bitmap > before.n_bitmap,
				 (allowed & PAGE_FEATURE_BITMAP) != 0);
	}
}

/* Change a page for the tests below: give it one of a few contents, or change it a little. */
static void repeat_page(uint8_t *page)
{
	static uint8_t contents[20][4096];

	if (contents[0][0] == 0) {
		for (unsigned i = 0; i < sizeof(contents); i++)
			contents[i / 4096][i % 4096] = (uint8_t)rand() | 1;
	}
	if (rand() % 4 == 0)
		page[rand() % 4096] ^= 1;
	else
		memcpy(page, contents[rand() % 20], 4096);
}

/* Copy half of the guest's pages in order. Then copy some of them again with newer content, as if a
 * second scan had found them. */
static void copy_repeated_pages(struct fixture *f)
{
	f->copy.n = 0;
	for (uint32_t i = 0; i < N_PAGES; i++) {
		if (rand() % 2)
			continue;
		repeat_page(f->pages + (size_t)i * 4096);
		fixture_copy_page(f, &f->copy, i);
	}
	for (uint32_t n = (uint32_t)rand() % 4; n > 0; n--) {
		uint32_t i = f->copy.ranges[(uint32_t)rand() % f->copy.n].first_page;

		repeat_page(f->pages + (size_t)i * 4096);
		fixture_copy_page(f, &f->copy, i);
	}
}

/* Encode an epoch as the engine does; a FULL epoch takes two rounds. */
static void encode_repeated(struct fixture *f, uint64_t epoch, bool is_full)
{
	struct encoder_cursor cursor;

	assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, is_full ? WIRE_FLAG_FULL : 0),
			 0);
	for (int round = 0; round < 1 + is_full; round++) {
		copy_repeated_pages(f);
		cursor = copy_cursor(&f->copy);
		encoder_expect(f->encoder, &cursor);
		assert_int_equal(fixture_offer(f, cursor), 0);
	}
	fixture_end(f);
}

/* Deliver the last ordinary epoch again on top of its own result, as happens after the standby was
 * killed. */
static void deliver_again(struct fixture *f)
{
	uint64_t epoch = f->standby.epoch;

	assert_int_equal(retain_rewind(f->retain, epoch - 1), 0);
	f->standby.epoch = epoch - 1;
	fixture_deliver(f);
}

static void equal_pages_are_sent_once(void **state)
{
	struct fixture *f = *state;
	struct encoder_counts before, after;

	encoder_set_features(f->encoder, ALL_CLASSES);
	for (uint64_t epoch = 1; epoch <= 2 * EPOCHS; epoch++) {
		bool is_full = epoch % 7 == 1;

		if (is_full) { /* a FULL epoch starts from zero pages */
			memset(f->pages, 0, (size_t)N_PAGES * 4096);
			retain_drop_all(f->retain);
		}
		encoder_set_second_stage(f->encoder, epoch % 2);
		encoder_get_counts(f->encoder, &before);
		encode_repeated(f, epoch, is_full);
		fixture_deliver(f);
		if (!is_full)
			deliver_again(f);
		retain_drop(f->retain, epoch);
		encoder_get_counts(f->encoder, &after);
		/* There must be at least a few DUPs. More cannot be expected: a page cannot be a
		 * source while its encoding unit is unfinished, and all units of an epoch can be
		 * unfinished at once. */
		assert_true(after.n_dup > before.n_dup + 20);
	}
	assert_true(after.n_dup > after.n_raw);
}

static void no_duplicates_without_their_feature(void **state)
{
	struct fixture *f = *state;
	struct encoder_counts counts;

	for (uint64_t epoch = 1; epoch <= 4; epoch++) {
		encode_repeated(f, epoch, epoch == 1);
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
	}
	encoder_get_counts(f->encoder, &counts);
	assert_int_equal(counts.n_dup, 0);
	/* With the feature DUP on, a retained epoch can be resent only to a standby that has this
	 * feature. */
	encoder_set_features(f->encoder, ALL_CLASSES);
	encode_repeated(f, 5, false);
	fixture_deliver(f);
	encoder_get_counts(f->encoder, &counts);
	assert_true(counts.n_dup > 0);
	assert_false(encoder_can_resend(f->encoder, ALL_CLASSES & ~WIRE_FEATURE_DUP));
	assert_true(encoder_can_resend(f->encoder, ALL_CLASSES));
}

/* If a page comes that encoder_expect() did not announce, the encoder gives up the epoch, because
 * an earlier DUP may have copied that page. */
static void a_page_not_announced_ends_the_epoch(void **state)
{
	struct fixture *f = *state;
	struct page_range announced = {10, 1}, other = {11, 1};
	struct encoder_cursor cursor = {.ranges = &announced, .n_ranges = 1, .pages = f->pages};

	encoder_set_features(f->encoder, ALL_CLASSES);
	encode_repeated(f, 1, true);
	fixture_deliver(f);
	assert_int_equal(encoder_begin(f->encoder, 2, 1, 0), 0);
	encoder_expect(f->encoder, &cursor);
	memset(f->pages + 11 * 4096, 0x77, 4096);
	cursor = (struct encoder_cursor){
		.ranges = &other, .n_ranges = 1, .pages = f->pages + 11 * 4096};
	assert_int_equal(fixture_offer(f, cursor), -ENOMEM);
	encoder_abandon(f->encoder);
	retain_drop_all(f->retain);
	assert_int_equal(encoder_begin(f->encoder, 3, 0, WIRE_FLAG_FULL), 0);
	fixture_offer_all(f);
	fixture_end(f);
	fixture_deliver(f);
}

static void a_full_epoch_stands_alone(void **state)
{
	struct fixture *f = *state;

	encode(f, 1, true, 300);
	fixture_deliver(f);
	/* The standby has lost its copy; all pages are offered again. */
	memset(f->standby.pages, 0xee, (size_t)N_PAGES * 4096);
	memset(f->standby.blob, 0xee, BLOB_MAX);
	retain_drop_all(f->retain);
	assert_int_equal(encoder_begin(f->encoder, 7, 0, WIRE_FLAG_FULL), 0);
	fixture_offer_all(f);
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
	assert_int_equal(encoder_begin(f->encoder, 2, 1, 0), 0);
	fixture_offer_all(f);
	assert_int_equal(encoder_device(f->encoder, f->blob, f->blob_size), 0);
	assert_int_equal(encoder_end(f->encoder), 0);
	encoder_get_counts(f->encoder, &counts);
	assert_int_equal(counts.n_epoch_pages, 0);
	assert_true(counts.epoch_bytes < 256);
	fixture_deliver(f);
}

/* Deliver frames only until there is some room in the backlog. */
static void make_room(struct fixture *f)
{
	do
		assert_true(fixture_deliver_frame(f));
	while (!retain_has_room(f->retain, 1));
}

/* The backlog holds less than one epoch. It is full before every frame that needs room, and the
 * encoder must always continue where it stopped. */
static void a_full_backlog_at_every_point_loses_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned n_full = 0;

	fixture_make_encoder(f, RETAIN_BYTES_MIN);
	for (uint64_t epoch = 1; epoch <= 4; epoch++) {
		struct encoder_cursor cursor;
		int r;

		f->copy.n = 0;
		encoder_set_second_stage(f->encoder, epoch % 2);
		assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, WIRE_FLAG_FULL), 0);
		memset(f->standby.pages, 0, (size_t)N_PAGES * 4096);
		memset(f->pages, 0, (size_t)N_PAGES * 4096);
		while (f->copy.n < COPY_MAX) {
			uint32_t index = (uint32_t)rand() % N_PAGES;

			if (rand() % 2)
				fixture_change_page(f->pages + (size_t)index * 4096);
			else /* long records: several frames come out of one unit */
				memset(f->pages + (size_t)index * 4096, rand() % 256, 4096);
			fixture_copy_page(f, &f->copy, index);
		}
		cursor = copy_cursor(&f->copy);
		while ((r = encoder_pages(f->encoder, &cursor)) != 0) {
			if (r == -EAGAIN)
				fixture_wait(f);
			n_full += r == -ENOBUFS;
			if (r == -ENOBUFS)
				make_room(f);
		}
		fixture_change_blob(f);
		while ((r = encoder_device(f->encoder, f->blob, f->blob_size)) == -ENOBUFS)
			make_room(f);
		assert_int_equal(r, 0);
		while ((r = encoder_end(f->encoder)) == -ENOBUFS)
			make_room(f);
		assert_int_equal(r, 0);
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
	}
	assert_true(n_full > 20);
}

/* An epoch can be abandoned at any moment. Its pages are freed at once, so no thread may still read
 * them. */
static void an_epoch_can_be_abandoned_at_any_moment(void **state)
{
	struct fixture *f = *state;

	for (uint64_t epoch = 1; epoch <= 2 * EPOCHS; epoch += 2) {
		struct copy copy = copy_new(ABANDONED);
		struct encoder_cursor cursor;
		struct encoder_counts before, after;
		unsigned n_calls = (unsigned)epoch;
		int r = 1;

		assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, WIRE_FLAG_FULL), 0);
		encoder_set_second_stage(f->encoder, epoch % 4 == 1);
		while (copy.n < ABANDONED) {
			fixture_change_page(f->pages + (size_t)copy.n * 4096);
			fixture_copy_page(f, &copy, copy.n);
		}
		cursor = copy_cursor(&copy);
		while (n_calls-- > 0 && r != 0) {
			r = encoder_pages(f->encoder, &cursor);
			if (r == -EAGAIN)
				fixture_wait(f);
		}
		encoder_abandon(f->encoder);
		encoder_get_counts(f->encoder, &before);
		assert_int_equal(encoder_pages(f->encoder, &(struct encoder_cursor){0}), 0);
		encoder_get_counts(f->encoder, &after);
		/* no page of the abandoned epoch was encoded */
		assert_int_equal(before.n_epoch_pages, after.n_epoch_pages);
		memset(copy.pages, 0xee, (size_t)ABANDONED * 4096);
		copy_free(&copy);
		retain_drop_all(f->retain);
		if (epoch % 8 != 1)
			continue; /* the next epoch is abandoned too */
		assert_int_equal(encoder_begin(f->encoder, epoch + 1, 0, WIRE_FLAG_FULL), 0);
		fixture_offer_all(f);
		fixture_end(f);
		fixture_deliver(f);
		retain_drop_all(f->retain);
	}
}

/* Freeing the encoder while its threads work ends the threads first. */
static void the_encoder_can_end_at_any_moment(void **state)
{
	struct fixture *f = *state;

	for (unsigned n_calls = 0; n_calls < 40; n_calls += 5) {
		struct page_range range = {0, ABANDONED};
		struct encoder_cursor cursor = {.ranges = &range, .n_ranges = 1,
						.pages = f->pages};

		fixture_make_encoder(f, (size_t)64 << 20);
		encoder_set_second_stage(f->encoder, true);
		for (uint32_t i = 0; i < ABANDONED; i++)
			f->pages[(size_t)i * 4096 + n_calls] = (uint8_t)(i + 1);
		assert_int_equal(encoder_begin(f->encoder, 1, 0, WIRE_FLAG_FULL), 0);
		for (unsigned i = 0; i < n_calls; i++)
			assert_true(encoder_pages(f->encoder, &cursor) != 0);
		f->encoder = encoder_free(f->encoder);
		memset(f->pages, 0, (size_t)ABANDONED * 4096);
	}
}

/* The reference is too small for the working set. The encoder then sends more bytes (whole pages),
 * but no page is ever wrong. */
static void a_small_reference_costs_bytes_only(void **state)
{
	struct fixture *f = *state;
	struct encoder_counts counts;

	for (uint64_t epoch = 1; epoch <= 6; epoch++) {
		assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1,
					       epoch == 1 ? WIRE_FLAG_FULL : 0),
				 0);
		for (uint32_t i = 0; i < N_PAGES; i++)
			f->pages[(size_t)i * 4096 + epoch] = (uint8_t)(i + epoch);
		fixture_offer_all(f);
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

/* Hash the standby's pages, as the standby itself does. */
static void hash_standby(const struct fixture *f, uint64_t seed, uint8_t *hash)
{
	for (size_t i = 0; i < N_PAGES; i++)
		wire_hash(seed, f->standby.pages + i * 4096, 4096, hash + i * WIRE_HASH_SIZE);
}

/* Send a FULL epoch to a standby that has an older copy. Only the changed pages are sent as data.
 * The standby then equals the guest, whether pages change again within the epoch or not. */
static void what_the_standby_has_is_kept(void **state)
{
	static uint8_t hash[N_PAGES * WIRE_HASH_SIZE];
	struct fixture *f = *state;
	struct encoder_counts before, after;

	for (size_t i = 0; i < N_PAGES; i++)
		fixture_change_page(f->pages + i * 4096);
	encoder_set_features(f->encoder, ALL_CLASSES);
	for (uint64_t epoch = 1; epoch <= EPOCHS; epoch++) {
		for (int i = 0; i < 60; i++)
			fixture_change_page(f->pages + (size_t)(rand() % N_PAGES) * 4096);
		/* 20 equal pages. With KEEP records in the epoch, no DUP record is allowed. */
		for (size_t i = 0; i < 20; i++)
			memcpy(f->pages + (N_PAGES - 1 - i) * 4096, f->pages + (size_t)700 * 4096,
			       4096);
		hash_standby(f, epoch, hash);
		if (epoch == 3) /* no hash is known for the first half of the pages */
			memset(hash, 0, sizeof(hash) / 2);
		encoder_get_counts(f->encoder, &before);
		encoder_set_base(f->encoder, epoch, hash);
		assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, WIRE_FLAG_FULL), 0);
		fixture_offer_all(f);
		if (epoch % 2) { /* a second round; page 0 becomes what the standby has */
			for (int i = 0; i < 100; i++)
				fixture_change_page(f->pages + (size_t)(rand() % N_PAGES) * 4096);
			memcpy(f->pages, f->standby.pages, 4096);
			fixture_offer_all(f);
		}
		encoder_set_base(f->encoder, 0, NULL);
		fixture_end(f);
		assert_false(encoder_can_resend(f->encoder, ~WIRE_FEATURE_BASE));
		fixture_deliver(f);
		retain_drop(f->retain, epoch);
		encoder_get_counts(f->encoder, &after);
		if (epoch > 3)
			assert_true(after.n_kept - before.n_kept > N_PAGES / 3);
	}
	/* Without hashes, the next epochs have no KEEP records. */
	encode(f, EPOCHS + 1, false, 200);
	fixture_deliver(f);
	encode(f, EPOCHS + 2, true, 200);
	encoder_get_counts(f->encoder, &before);
	assert_int_equal(before.n_kept, after.n_kept);
}

#define TEST(name, n_threads)                                                                      \
	cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown,            \
						 &(n_threads))

int main(void)
{
	static uint32_t one = 1, two = 2, four = 4;
	const struct CMUnitTest tests[] = {
		TEST(epochs_rebuild_the_guest, one),
		TEST(epochs_rebuild_the_guest, two),
		TEST(epochs_rebuild_the_guest, four),
		TEST(retained_epochs_remember_their_features, one),
		TEST(retained_epochs_remember_their_features, four),
		TEST(the_second_stage_changes_nothing_but_bytes, one),
		TEST(the_second_stage_changes_nothing_but_bytes, four),
		TEST(what_the_standby_has_is_kept, one),
		TEST(what_the_standby_has_is_kept, four),
		TEST(features_change_between_epochs, one),
		TEST(features_change_between_epochs, two),
		TEST(features_change_between_epochs, four),
		TEST(equal_pages_are_sent_once, one),
		TEST(equal_pages_are_sent_once, two),
		TEST(equal_pages_are_sent_once, four),
		TEST(no_duplicates_without_their_feature, one),
		TEST(no_duplicates_without_their_feature, four),
		TEST(a_page_not_announced_ends_the_epoch, one),
		TEST(a_page_not_announced_ends_the_epoch, four),
		TEST(a_full_epoch_stands_alone, one),
		TEST(a_full_epoch_stands_alone, four),
		TEST(an_idle_epoch_is_small, one),
		TEST(an_idle_epoch_is_small, four),
		TEST(a_small_reference_costs_bytes_only, one),
		TEST(a_small_reference_costs_bytes_only, four),
		TEST(a_full_backlog_at_every_point_loses_nothing, one),
		TEST(a_full_backlog_at_every_point_loses_nothing, two),
		TEST(a_full_backlog_at_every_point_loses_nothing, four),
		TEST(an_epoch_can_be_abandoned_at_any_moment, one),
		TEST(an_epoch_can_be_abandoned_at_any_moment, two),
		TEST(an_epoch_can_be_abandoned_at_any_moment, four),
		TEST(the_encoder_can_end_at_any_moment, two),
		TEST(the_encoder_can_end_at_any_moment, four),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
