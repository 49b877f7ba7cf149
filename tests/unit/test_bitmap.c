/* Tests bitmap.h, the bitmap form of a changed page. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bitmap.h"
#include "codec/simd.h"
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

/* Encode byte by byte. This is a second encoder, written only from bitmap.h's description. Returns
 * the delta's size, or -E2BIG if it exceeds BITMAP_SIZE_MAX. */
static int model_encode(const uint8_t *a, const uint8_t *b, uint8_t *to)
{
	static uint8_t masks[512], words[64];
	uint8_t whole[8] = {0}, lines[8] = {0};
	size_t size = 0, n_masks = 0, n_words = 0, n_lines = 0;

	for (size_t line = 0; line < 64; line++) {
		uint8_t mask[8] = {0}, word = 0;
		int n_bytes = 0;

		for (size_t i = 0; i < 64; i++) {
			if (a[64 * line + i] != b[64 * line + i]) {
				mask[i / 8] = (uint8_t)(mask[i / 8] | 1 << i % 8);
				word = (uint8_t)(word | 1 << i / 8);
				n_bytes++;
			}
		}
		if (!word)
			continue;
		for (size_t i = 0; i < 64; i++) {
			if (n_bytes >= 56 || mask[i / 8] >> i % 8 & 1)
				to[size++] = b[64 * line + i];
		}
		for (size_t j = 0; j < 8; j++) {
			if (n_bytes < 56 && mask[j])
				masks[n_masks++] = mask[j];
		}
		if (n_bytes < 56)
			words[n_words++] = word;
		else
			whole[n_lines / 8] = (uint8_t)(whole[n_lines / 8] | 1 << n_lines % 8);
		lines[line / 8] = (uint8_t)(lines[line / 8] | 1 << line % 8);
		n_lines++;
	}
	if (n_lines == 0)
		return 0;
	memcpy(to + size, masks, n_masks);
	memcpy(to + size + n_masks, words, n_words);
	size += n_masks + n_words;
	memcpy(to + size, whole, (n_lines + 7) / 8);
	size += (n_lines + 7) / 8;
	memcpy(to + size, lines, 8);
	return size + 8 > BITMAP_SIZE_MAX ? -E2BIG : (int)size + 8;
}

static void check_update(int expected)
{
	const struct simd_ahead ahead = {page, new_page, page, new_page};
	unsigned int n_bytes = 0, n_runs = 0;
	struct simd_scan scan;

	memcpy(page, old_page, PAGE_BYTES);
	assert_int_equal(simd_ops->bitmap_encode(page, new_page, &ahead, out, page, &scan),
			 expected);
	assert_memory_equal(page, new_page, PAGE_BYTES);
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t changed = 0;

		for (unsigned int j = 0; j < 64; j++)
			changed |= (uint64_t)(old_page[64 * i + j] != new_page[64 * i + j]) << j;
		assert_true(scan.changed[i] == changed);
		assert_int_equal(scan.lines >> i & 1, changed != 0);
	}
	for (unsigned int i = 0; i < PAGE_BYTES; i++) {
		bool differs = old_page[i] != new_page[i];

		n_bytes += differs;
		n_runs += differs && (i == 0 || old_page[i - 1] == new_page[i - 1]);
	}
	if (expected != 0) {
		assert_int_equal(scan.n_bytes, n_bytes);
		assert_int_equal(scan.n_runs, n_runs);
	}
}

static void check_all_patterns(void)
{
	static uint8_t expected[2 * PAGE_BYTES];
	uint64_t random = 42;

	for (unsigned int kind = 0; kind < PATTERN_N_KINDS; kind++) {
		for (int round = 0; round < 40; round++) {
			int size, model;

			pattern_pair(kind, &random, old_page, new_page);
			model = model_encode(old_page, new_page, expected);
			check_update(model);
			size = bitmap_encode(old_page, new_page, out);
			if (size != model)
				fail_msg("%s: %s: size %d, expected %d", simd_ops->name,
					 pattern_names[kind], size, model);
			if (size <= 0)
				continue;
			assert_memory_equal(out, expected, (size_t)size);

			/* Place the delta so that it ends where readable memory ends. */
			memmove(out + PAGE_BYTES - size, out, (size_t)size);
			memcpy(page, old_page, PAGE_BYTES);
			assert_int_equal(bitmap_check(out + PAGE_BYTES - size, (size_t)size), 0);
			for (int twice = 0; twice < 2; twice++) {
				assert_int_equal(
					bitmap_apply(out + PAGE_BYTES - size, (size_t)size, page),
					0);
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
	static const uint8_t tail[] = {0x20, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0};

	memset(old_page, 0, PAGE_BYTES);
	memset(new_page, 0, PAGE_BYTES);
	new_page[5] = 7;
	memset(new_page + 64, 1, 56);
	assert_int_equal(bitmap_encode(old_page, new_page, out), 1 + 64 + (int)sizeof(tail));
	assert_int_equal(out[0], 7);
	assert_memory_equal(out + 1, new_page + 64, 64);
	assert_memory_equal(out + 65, tail, sizeof(tail));
}

static void test_golden_bytes(void **state)
{
	(void)state;
	for_each_form(check_golden);
}

/* Check sizes around the limit. In the delta, a line that has changed completely takes 65 bytes; a
 * line with one changed byte takes 3. */
static void check_size_limit(void)
{
	static uint8_t model[2 * PAGE_BYTES];
	int last = 0;

	memset(old_page, 0, PAGE_BYTES);
	memset(new_page, 0, PAGE_BYTES);
	for (unsigned int i = 0; i < PAGE_BYTES; i++) {
		int size;

		new_page[i] = 1;
		if (i < 60 * 64)
			continue;
		size = bitmap_encode(old_page, new_page, out);
		assert_int_equal(size, model_encode(old_page, new_page, model));
		last = size > 0 ? size : last;
	}
	assert_in_range(last, BITMAP_SIZE_MAX - 10, BITMAP_SIZE_MAX);
	assert_int_equal(bitmap_encode(old_page, new_page, out), -E2BIG);
}

static void test_size_limit(void **state)
{
	(void)state;
	for_each_form(check_size_limit);
}

static void check_malformed(void)
{
#define LINE0 "\x01\0\0\0\0\0\0\0"
	/* Each row is a delta that must be refused. Its comment says what is wrong with it: for
	 * example, "no mask" means that the mask is missing. */
	static const struct {
		const char *data;
		size_t size;
	} rows[] = {
		{"", 0},
		{LINE0, 7},
		{"\0\0\0\0\0\0\0\0", 8},		  /* no line */
		{LINE0, 8},				  /* the bytes before `lines` are missing */
		{"\x01\x00" LINE0, 10},			  /* no mask */
		{"\x01\x01\x00" LINE0, 11},		  /* no byte */
		{"\x09\x09\x01\x01\x00" LINE0, 13},	  /* a byte too many */
		{"\x09\x01\x00\x00" LINE0, 12},	  /* no word in the line */
		{"\x09\x00\x01\x00" LINE0, 12},	  /* no byte in the word */
		/* a bit of `whole` for a line that does not exist */
		{"\x09\x01\x01\x02" LINE0, 12},
		{"\x09\x01\x01\x01" LINE0, 12},	  /* a whole line needs 64 bytes */
		/* the mask names two bytes, but only one follows */
		{"\x09\x03\x01\x00" LINE0, 12},
		/* `lines` names 64 changed lines, but the rest is for one */
		{"\x09\x01\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff", 12},
	};

	memset(page, 0x5a, PAGE_BYTES);
	memset(new_page, 0x5a, PAGE_BYTES);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t *data = out + PAGE_BYTES - rows[i].size;

		memcpy(data, rows[i].data, rows[i].size);
		if (bitmap_check(data, rows[i].size) != -EPROTO ||
		    bitmap_apply(data, rows[i].size, page) != -EPROTO)
			fail_msg("%s: row %zu was taken", simd_ops->name, i);
		assert_memory_equal(page, new_page, PAGE_BYTES);
	}
	assert_int_equal(bitmap_check(out, PAGE_BYTES + 1), -EPROTO);
	memcpy(out, "\x09\x01\x01\x00" LINE0, 12); /* the well-formed version */
	assert_int_equal(bitmap_apply(out, 12, page), 0);
	assert_int_equal(page[0], 9);
}

static void test_malformed_is_refused_and_page_untouched(void **state)
{
	(void)state;
	for_each_form(check_malformed);
}

/* Flip bytes of good deltas, truncate good deltas, and feed noise. bitmap_check() and
 * bitmap_apply() must agree; a refused delta must write nothing; and no delta may write outside the
 * page (guard pages catch that). */
static void check_mutations(void)
{
	uint64_t random = 7;

	for (int round = 0; round < 4000; round++) {
		unsigned int kind = 4 + (unsigned int)round % (PATTERN_N_KINDS - 4);
		int size;
		uint8_t *data;
		int r;

		pattern_pair(kind, &random, old_page, new_page);
		size = bitmap_encode(old_page, new_page, out);
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
		r = bitmap_apply(data, (size_t)size, page);
		assert_int_equal(r, bitmap_check(data, (size_t)size));
		if (r < 0)
			assert_memory_equal(page, old_page, PAGE_BYTES);
	}
}

static void test_mutated_deltas(void **state)
{
	(void)state;
	for_each_form(check_mutations);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_form_is_the_model_and_round_trips),
		cmocka_unit_test(test_golden_bytes),
		cmocka_unit_test(test_size_limit),
		cmocka_unit_test(test_malformed_is_refused_and_page_untouched),
		cmocka_unit_test(test_mutated_deltas),
	};

	return cmocka_run_group_tests(tests, make_buffers, free_buffers);
}
