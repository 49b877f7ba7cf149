/* Tests encode.h: pages are encoded, checked and applied, in every form of SIMD code. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "codec/encode.h"
#include "codec/xrle.h"
#include "guarded.h"
#include "page_patterns.h"

static uint8_t *page, *reference, *standby, *record;

static int make_buffers(void **state)
{
	(void)state;
	page = guarded_new(PAGE_BYTES);
	reference = guarded_new(PAGE_BYTES);
	standby = guarded_new(PAGE_BYTES);
	record = guarded_new(PAGE_RECORD_ROOM);
	return 0;
}

static int free_buffers(void **state)
{
	(void)state;
	guarded_free(page, PAGE_BYTES);
	guarded_free(reference, PAGE_BYTES);
	guarded_free(standby, PAGE_BYTES);
	guarded_free(record, PAGE_RECORD_ROOM);
	return 0;
}

/* Check the record's header and its data, and apply the record to the standby's page. */
static void take_record(size_t size, uint32_t index, enum page_class class)
{
	assert_true(size >= PAGE_RECORD_HEADER_BYTES);
	assert_int_equal(record[0], class);
	assert_int_equal(record[1], 0);
	assert_int_equal(bytes_get_be16(record + 2), size - PAGE_RECORD_HEADER_BYTES);
	assert_int_equal(bytes_get_be32(record + 4), index);
	assert_int_equal(page_check(record[0], record + 8, size - 8), 0);
	assert_int_equal(page_apply(record[0], record + 8, size - 8, standby), 0);
	assert_memory_equal(standby, page, PAGE_BYTES);
	assert_memory_equal(reference, page, PAGE_BYTES);
}

static void test_classes(void **state)
{
	struct page_encoder encoder = {.features = PAGE_FEATURE_XRLE};
	uint64_t random = 1;
	size_t size;

	(void)state;
	memset(page, 0, PAGE_BYTES);
	memset(reference, 0, PAGE_BYTES);
	memset(standby, 0, PAGE_BYTES);
	assert_int_equal(page_encode(&encoder, 1, page, reference, record), 0);

	pattern_fill(&random, page);
	size = page_encode(&encoder, 0x01020304, page, reference, record);
	assert_int_equal(size, PAGE_RECORD_ROOM);
	take_record(size, 0x01020304, PAGE_RAW);

	page[100] ^= 1;
	size = page_encode(&encoder, 3, page, reference, record);
	assert_int_equal(size, 8 + 3);
	take_record(size, 3, PAGE_XRLE);
	assert_int_equal(page_encode(&encoder, 3, page, reference, record), 0);

	memset(page, 0, PAGE_BYTES);
	size = page_encode(&encoder, UINT32_MAX, page, reference, record);
	assert_int_equal(size, 8);
	take_record(size, UINT32_MAX, PAGE_ZERO);

	encoder.features = 0; /* no delta class was negotiated */
	page[7] = 1;
	size = page_encode(&encoder, 4, page, reference, record);
	take_record(size, 4, PAGE_RAW);

	assert_int_equal(encoder.n_pages, 6);
	assert_int_equal(encoder.n_unchanged, 2);
	assert_int_equal(encoder.n_records[PAGE_RAW], 2);
	assert_int_equal(encoder.n_records[PAGE_XRLE], 1);
	assert_int_equal(encoder.n_records[PAGE_ZERO], 1);
	assert_int_equal(encoder.bytes[PAGE_RAW], 2 * PAGE_RECORD_ROOM);
	assert_int_equal(encoder.bytes[PAGE_XRLE], 11);
}

/* If both delta classes were negotiated, the shorter delta is used; if only one was, only that
 * class is used. */
static void test_both_deltas(void **state)
{
	struct page_encoder encoder = {.features = PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP};
	uint64_t random = 5;
	size_t size;

	(void)state;
	pattern_fill(&random, page);
	memcpy(reference, page, PAGE_BYTES);
	memcpy(standby, page, PAGE_BYTES);
	assert_int_equal(page_encode(&encoder, 1, page, reference, record), 0);
	page[9] ^= 1;
	size = page_encode(&encoder, 1, page, reference, record);
	assert_int_equal(size, 8 + 3);
	take_record(size, 1, PAGE_XRLE);
	for (int i = 0; i < PAGE_BYTES; i += 24)
		page[i] ^= 1;
	size = page_encode(&encoder, 1, page, reference, record);
	take_record(size, 1, PAGE_BITMAP);
	encoder.features = PAGE_FEATURE_BITMAP;
	page[9] ^= 1;
	size = page_encode(&encoder, 1, page, reference, record);
	assert_int_equal(size, 8 + 12);
	take_record(size, 1, PAGE_BITMAP);
	pattern_fill(&random, page);
	take_record(page_encode(&encoder, 1, page, reference, record), 1, PAGE_RAW);
	memset(page, 0, PAGE_BYTES);
	take_record(page_encode(&encoder, 1, page, reference, record), 1, PAGE_ZERO);
	assert_int_equal(encoder.n_unchanged, 1);
	assert_int_equal(encoder.n_records[PAGE_BITMAP], 2);
}

/* page_delta() makes the same data as page_encode()'s record, and does not change the reference.
 * With both delta classes allowed, the data is never longer than the bitmap. An XRLE delta must be
 * shorter than the bitmap. */
static void test_delta_alone(void **state)
{
	static uint8_t delta[PAGE_BYTES], bitmap[PAGE_BYTES];
	const uint64_t both = PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP;
	unsigned int n_xrle = 0, n_bitmap = 0;
	uint64_t random = 11;

	(void)state;
	for (unsigned int i = 0; i < 40 * PATTERN_N_KINDS; i++) {
		struct page_encoder encoder = {.features = both};
		struct page_item item = {1, page, reference};
		enum page_class class, bitmap_class;
		size_t size, bitmap_size;

		pattern_pair(i % PATTERN_N_KINDS, &random, reference, page);
		memcpy(standby, reference, PAGE_BYTES);
		size = page_delta(both, &item, 1, delta, &class);
		bitmap_size = page_delta(PAGE_FEATURE_BITMAP, &item, 1, bitmap, &bitmap_class);
		assert_memory_equal(reference, standby, PAGE_BYTES);
		assert_true(size <= bitmap_size);
		assert_true(class == PAGE_XRLE ? size < bitmap_size : class == bitmap_class);
		n_xrle += class == PAGE_XRLE;
		n_bitmap += class == PAGE_BITMAP;
		if (page_encode(&encoder, 1, page, reference, record) == 0) {
			assert_int_equal(class, PAGE_UNCHANGED);
			continue;
		}
		assert_int_equal(record[0], class);
		assert_memory_equal(record + PAGE_RECORD_HEADER_BYTES, delta, size);
		take_record(PAGE_RECORD_HEADER_BYTES + size, 1, class);
	}
	assert_true(n_xrle > 50 && n_bitmap > 50);
}

static void check_in_step(uint64_t features)
{
	struct page_encoder encoder = {.features = features};
	uint64_t random = 3;

	memset(reference, 0, PAGE_BYTES);
	memset(standby, 0, PAGE_BYTES);
	for (int i = 0; i < 600; i++) {
		static uint8_t ignored[PAGE_BYTES];
		size_t size;

		/* In every 20th step take a new page; otherwise change the previous page. */
		if (i % 20 == 0)
			pattern_pair((unsigned int)(i / 20) % PATTERN_N_KINDS, &random, ignored,
				     page);
		else
			for (uint64_t n = pattern_random(&random) % 30; n > 0; n--)
				pattern_touch(&random, page, pattern_random(&random) % PAGE_BYTES);
		size = page_encode(&encoder, 9, page, reference, record);
		if (size > 0)
			take_record(size, 9, (enum page_class)record[0]);
		assert_memory_equal(standby, page, PAGE_BYTES);
	}
}

static void test_reference_stays_in_step_over_many_versions(void **state)
{
	(void)state;
	for (uint64_t features = 0; features < 4; features++)
		check_in_step(features);
}

static void check_batch(uint64_t features)
{
	enum { N = 40 };
	static uint8_t pages[N][PAGE_BYTES], references[2][N][PAGE_BYTES];
	static uint8_t single[N * PAGE_RECORD_ROOM], batch[N * PAGE_RECORD_ROOM];
	struct page_encoder a = {.features = features}, b = a;
	struct page_item items[N];
	size_t single_size = 0, batch_size = 0, part, done = 0;
	uint64_t random = 11;

	for (unsigned int i = 0; i < N; i++) {
		pattern_pair(i % PATTERN_N_KINDS, &random, references[0][i], pages[i]);
		memcpy(references[1][i], references[0][i], PAGE_BYTES);
		items[i] = (struct page_item){i * 7, pages[i], references[1][i]};
	}
	for (unsigned int i = 0; i < N; i++)
		single_size +=
			page_encode(&a, i * 7, pages[i], references[0][i], single + single_size);
	while (done < N) {
		/* Give page_encode_batch() room for only a few records at a time, as a frame
		 * does. */
		size_t n = page_encode_batch(&b, items + done, N - done, batch + batch_size,
					     3 * PAGE_RECORD_ROOM, &part);

		assert_true(n > 0 && part <= 3 * PAGE_RECORD_ROOM);
		done += n;
		batch_size += part;
	}
	assert_int_equal(batch_size, single_size);
	assert_memory_equal(batch, single, single_size);
	assert_memory_equal(references[0], references[1], sizeof(references[0]));
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(page_encode_batch(&b, items, N, batch, PAGE_RECORD_ROOM - 1, &part), 0);
	assert_int_equal(part, 0);
}

static void test_batch_is_the_same_bytes_as_one_by_one(void **state)
{
	(void)state;
	for (uint64_t features = 0; features < 4; features++)
		check_batch(features);
}

/* Applying a batch must give the same pages as applying its records one by one. It must stop at a
 * bad record. */
static void test_apply_batch(void **state)
{
	enum { N = 60 };
	static uint8_t pages[N][PAGE_BYTES], copies[2][N][PAGE_BYTES], data[N * PAGE_RECORD_ROOM];
	struct page_encoder encoder = {.features = PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP};
	struct page_record records[N];
	uint64_t random = 17;
	size_t n = 0, used = 0;

	(void)state;
	for (unsigned int i = 0; i < N; i++) {
		uint8_t *out = data + used;
		size_t size;

		pattern_pair(i % PATTERN_N_KINDS, &random, copies[0][i], pages[i]);
		memcpy(copies[1][i], copies[0][i], PAGE_BYTES);
		size = page_encode(&encoder, i, pages[i], copies[0][i], out);
		used += size;
		if (size > 0)
			records[n++] = (struct page_record){out[0], bytes_get_be16(out + 2),
							    out + 8, copies[1][i]};
	}
	assert_true(n > 40);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(page_apply_batch(records, n), n);
		assert_memory_equal(copies[1], pages, sizeof(pages));
	}
	assert_int_equal(page_apply_batch(records, 0), 0);
	records[7].class = PAGE_N_CLASSES;
	assert_int_equal(page_apply_batch(records, n), 7);
	records[7].class = PAGE_BITMAP;
	records[7].size = 3;
	assert_int_equal(page_apply_batch(records, n), 7);
}

static void test_refused_records(void **state)
{
	static const uint8_t delta[] = {0, 1, 9}, bad_delta[] = {0, 1};

	(void)state;
	memset(page, 3, PAGE_BYTES);
	memset(standby, 3, PAGE_BYTES);
	assert_int_equal(page_apply(0, NULL, 0, standby), -EPROTO);
	assert_int_equal(page_apply(PAGE_N_CLASSES, delta, 3, standby), -EPROTO);
	assert_int_equal(page_apply(255, delta, 3, standby), -EPROTO);
	assert_int_equal(page_apply(PAGE_ZERO, delta, 1, standby), -EPROTO);
	assert_int_equal(page_apply(PAGE_RAW, record, PAGE_BYTES - 1, standby), -EPROTO);
	assert_int_equal(page_apply(PAGE_RAW, record, PAGE_BYTES + 1, standby), -EPROTO);
	assert_int_equal(page_apply(PAGE_XRLE, bad_delta, 2, standby), -EPROTO);
	assert_int_equal(page_apply(PAGE_XRLE, delta, 0, standby), -EPROTO);
	assert_int_equal(page_check(PAGE_XRLE, bad_delta, 2), -EPROTO);
	assert_int_equal(page_check(PAGE_ZERO, delta, 1), -EPROTO);
	assert_int_equal(page_check(0, delta, 3), -EPROTO);
	assert_memory_equal(standby, page, PAGE_BYTES);
	assert_int_equal(page_check(PAGE_XRLE, delta, 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_both_deltas),
		cmocka_unit_test(test_delta_alone),
		cmocka_unit_test(test_reference_stays_in_step_over_many_versions),
		cmocka_unit_test(test_batch_is_the_same_bytes_as_one_by_one),
		cmocka_unit_test(test_apply_batch),
		cmocka_unit_test(test_refused_records),
	};

	return cmocka_run_group_tests(tests, make_buffers, free_buffers);
}
