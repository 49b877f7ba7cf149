/* Tests xrle.h, the run-length form of a changed page. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/simd.h"
#include "codec/xrle.h"
#include "codec/zero.h"
#include "guarded.h"
#include "page_patterns.h"

static uint8_t *old_page, *new_page, *out, *page;

static int make_buffers(void **state)
{
	(void)state;
	old_page = guarded_new(PAGE_BYTES);
	new_page = guarded_new(PAGE_BYTES);
	out = guarded_new(PAGE_BYTES);
	page = guarded_new(PAGE_BYTES);
	return 0;
}

static int free_buffers(void **state)
{
	(void)state;
	guarded_free(old_page, PAGE_BYTES);
	guarded_free(new_page, PAGE_BYTES);
	guarded_free(out, PAGE_BYTES);
	guarded_free(page, PAGE_BYTES);
	return 0;
}

/* Run @check with each SIMD form that this machine supports. The scalar form always works. */
static void for_each_form(void (*check)(void))
{
	enum simd_form form = simd_get_form();

	for (int i = 0; i < SIMD_N_FORMS; i++) {
		if (simd_set_form((enum simd_form)i) == 0)
			check();
	}
	assert_int_equal(simd_set_form(form), 0);
}

static size_t put_length(uint8_t *to, size_t length)
{
	if (length < 128) {
		to[0] = (uint8_t)length;
		return 1;
	}
	to[0] = (uint8_t)(length | 128);
	to[1] = (uint8_t)(length >> 7);
	return 2;
}

/* Encode byte by byte. This is a second encoder, written only from xrle.h's description. Returns
 * the delta's size, or -E2BIG if it exceeds XRLE_SIZE_MAX. */
static int model_encode(const uint8_t *a, const uint8_t *b, uint8_t *to)
{
	size_t size = 0, at = 0, i = 0;

	while (i < PAGE_BYTES) {
		size_t start, end;

		while (i < PAGE_BYTES && a[i] == b[i])
			i++;
		if (i == PAGE_BYTES)
			break;
		start = i;
		end = i + 1;
		for (; i < PAGE_BYTES && i < end + 3; i++) {
			if (a[i] != b[i])
				end = i + 1;
		}
		i = end;
		size += put_length(to + size, start - at);
		size += put_length(to + size, end - start);
		memcpy(to + size, b + start, end - start);
		size += end - start;
		at = end;
	}
	return size > XRLE_SIZE_MAX ? -E2BIG : (int)size;
}

static void check_all_patterns(void)
{
	static uint8_t expected[4 * PAGE_BYTES];
	uint64_t random = 42;

	for (unsigned int kind = 0; kind < PATTERN_N_KINDS; kind++) {
		for (int round = 0; round < 40; round++) {
			int size, model;

			pattern_pair(kind, &random, old_page, new_page);
			size = xrle_encode(old_page, new_page, out, PAGE_BYTES);
			model = model_encode(old_page, new_page, expected);
			if (size != model)
				fail_msg("%s: %s: size %d, expected %d", simd_ops->name,
					 pattern_names[kind], size, model);
			if (size <= 0)
				continue;
			assert_memory_equal(out, expected, (size_t)size);
			assert_int_equal(xrle_encode(old_page, new_page, page, (size_t)size),
					 -E2BIG);
			assert_int_equal(xrle_encode(old_page, new_page, page, (size_t)size + 1),
					 size);

			/* Place the delta so that it ends where readable memory ends. */
			memmove(out + PAGE_BYTES - size, out, (size_t)size);
			memcpy(page, old_page, PAGE_BYTES);
			assert_int_equal(xrle_check(out + PAGE_BYTES - size, (size_t)size), 0);
			for (int twice = 0; twice < 2; twice++) {
				assert_int_equal(
					xrle_apply(out + PAGE_BYTES - size, (size_t)size, page), 0);
				assert_memory_equal(page, new_page, PAGE_BYTES);
			}
		}
	}
}

static void test_every_form_is_the_model_and_round_trips(void **state)
{
	(void)state;
	for_each_form(check_all_patterns);
}

static void check_golden(void)
{
	static const uint8_t small[] = {5, 4, 7, 0, 0, 9, 11, 1, 1};
	uint8_t expected[3 + 130] = {0x80, 0x01, 130};

	memset(old_page, 0, PAGE_BYTES);
	memset(new_page, 0, PAGE_BYTES);
	new_page[5] = 7;
	new_page[8] = 9;
	new_page[20] = 1;
	assert_int_equal(xrle_encode(old_page, new_page, out, PAGE_BYTES), (int)sizeof(small));
	assert_memory_equal(out, small, sizeof(small));

	memset(new_page, 0, PAGE_BYTES);
	memset(new_page + 128, 0xaa, 127);
	assert_int_equal(xrle_encode(old_page, new_page, out, PAGE_BYTES), 3 + 127);
	expected[2] = 127;
	memset(expected + 3, 0xaa, 127);
	assert_memory_equal(out, expected, 3 + 127);

	memset(new_page, 0, PAGE_BYTES);
	new_page[4095] = 1;
	assert_int_equal(xrle_encode(old_page, new_page, out, PAGE_BYTES), 4);
	assert_memory_equal(out, "\xff\x1f\x01\x01", 4);
}

static void test_golden_bytes(void **state)
{
	(void)state;
	for_each_form(check_golden);
}

/* Check the largest delta that the encoder accepts, and a delta that is one byte larger. */
static void check_size_limit(void)
{
	memset(old_page, 0, PAGE_BYTES);
	memset(new_page, 0, PAGE_BYTES);
	memset(new_page, 1, XRLE_SIZE_MAX - 3);
	assert_int_equal(xrle_encode(old_page, new_page, out, PAGE_BYTES), XRLE_SIZE_MAX);
	new_page[XRLE_SIZE_MAX - 3] = 1;
	assert_int_equal(xrle_encode(old_page, new_page, out, PAGE_BYTES), -E2BIG);
}

static void test_size_limit(void **state)
{
	(void)state;
	for_each_form(check_size_limit);
}

static void check_malformed(void)
{
	static const struct {
		const char *data;
		size_t size;
	} rows[] = {
		{"", 0},
		{"\x00", 1},			  /* a length without data */
		{"\x80", 1},                      /* a two-byte length without its second byte */
		{"\x00\x80", 2},		  /* the second length lacks its second byte */
		{"\x00\x01", 2},		  /* a run of one byte, which is missing */
		{"\x00\x02\x01", 3},              /* a run of two bytes, of which one is missing */
		{"\x00\x00", 2},		  /* a run of length 0 */
		{"\x05\x00", 2},
		{"\x00\x01\x01\x00\x01\x01", 6},  /* equal length 0 after a run */
		/* a run of equal bytes at the end, which must be left out */
		{"\x00\x01\x01\x05", 4},
		/* length 0, encoded in two bytes instead of one */
		{"\x80\x00\x01\x01", 4},
		/* length 1, encoded in two bytes instead of one */
		{"\x81\x00\x01\x01", 4},
		{"\x00\x81\x00\x01", 4},
		{"\x80\x20\x01\x01", 4},	  /* 4096 equal bytes, then one more byte */
		{"\xff\x1f\x02\x01\x01", 5},	  /* one byte beyond the page */
		{"\xff\xff\x01\x01", 4},	  /* a length larger than a page */
		{"\x80\x80\x01\x01\x01", 5},	  /* a length of three bytes */
	};

	memset(page, 0x5a, PAGE_BYTES);
	memset(new_page, 0x5a, PAGE_BYTES);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t *data = out + PAGE_BYTES - rows[i].size;

		memcpy(data, rows[i].data, rows[i].size);
		if (xrle_check(data, rows[i].size) != -EPROTO ||
		    xrle_apply(data, rows[i].size, page) != -EPROTO)
			fail_msg("%s: row %zu was taken", simd_ops->name, i);
		assert_memory_equal(page, new_page, PAGE_BYTES);
	}
	/* The whole page as one run: 3 bytes more than a page, so it is never sent. */
	assert_int_equal(xrle_check(out, PAGE_BYTES + 3), -EPROTO);
}

static void test_malformed_is_refused_and_page_untouched(void **state)
{
	(void)state;
	for_each_form(check_malformed);
}

/* Flip bytes of good deltas, truncate good deltas, and feed noise. xrle_check() and the apply
 * function must agree; a refused delta must write nothing; and no delta may write outside the page
 * (guard pages catch that). */
static void check_mutations(void)
{
	uint64_t random = 7;

	for (int round = 0; round < 4000; round++) {
		unsigned int kind = 4 + (unsigned int)round % (PATTERN_N_KINDS - 4);
		int size;
		uint8_t *data;
		int r;

		pattern_pair(kind, &random, old_page, new_page);
		size = xrle_encode(old_page, new_page, out, PAGE_BYTES);
		if (size <= 0)
			continue;
		if (round % 7 == 0)
			pattern_fill(&random, out);
		if (round % 3 == 0)
			size = 1 + (int)(pattern_random(&random) % (uint64_t)size);
		data = out + PAGE_BYTES - size;
		memmove(data, out, (size_t)size);
		for (uint64_t n = pattern_random(&random) % 3; n > 0; n--)
			pattern_touch(&random, data, pattern_random(&random) % (uint64_t)size);
		memcpy(page, old_page, PAGE_BYTES);
		r = xrle_apply(data, (size_t)size, page);
		assert_int_equal(r, xrle_check(data, (size_t)size));
		if (r < 0)
			assert_memory_equal(page, old_page, PAGE_BYTES);
	}
}

static void test_mutated_deltas(void **state)
{
	(void)state;
	for_each_form(check_mutations);
}

static void check_zero(void)
{
	memset(page, 0, PAGE_BYTES);
	assert_true(zero_is_page(page));
	for (unsigned int i = 0; i < PAGE_BYTES; i++) {
		page[i] = (uint8_t)(1u << i % 8);
		assert_false(zero_is_page(page));
		page[i] = 0;
	}
}

static void test_zero(void **state)
{
	(void)state;
	for_each_form(check_zero);
}

static void test_forms(void **state)
{
	(void)state;
	assert_int_equal(simd_set_form((enum simd_form)SIMD_N_FORMS), -ENOTSUP);
	for (int i = 0; i < SIMD_N_FORMS; i++) {
		enum simd_form form = simd_get_form();

		if (simd_set_form((enum simd_form)i) == 0) {
			assert_int_equal(simd_get_form(), i);
			assert_string_equal(simd_ops->name, simd_form_name((enum simd_form)i));
		} else {
			print_message("form %s: not on this machine\n",
				      simd_form_name((enum simd_form)i));
			assert_int_equal(simd_get_form(), form);
		}
		assert_int_equal(simd_set_form(form), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_form_is_the_model_and_round_trips),
		cmocka_unit_test(test_golden_bytes),
		cmocka_unit_test(test_size_limit),
		cmocka_unit_test(test_malformed_is_refused_and_page_untouched),
		cmocka_unit_test(test_mutated_deltas),
		cmocka_unit_test(test_zero),
		cmocka_unit_test(test_forms),
	};

	return cmocka_run_group_tests(tests, make_buffers, free_buffers);
}
