/* The scalar form, for any CPU: works on eight bytes at a time in general registers. */
#include "codec/simd.h"

#include "codec/bitmap_form.h"
#include "codec/xrle_form.h"

static void scan(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
		 struct simd_scan *ret_scan)
{
	uint64_t lines = 0, any_nonzero = 0;

	__builtin_prefetch(ahead->later_old);
	__builtin_prefetch(ahead->later_new);
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t changed = 0;

		__builtin_prefetch(ahead->old + 64 * i);
		__builtin_prefetch(ahead->new + 64 * i);
		for (unsigned int j = 0; j < 8; j++) {
			uint64_t word = bitmap_load64(new + 64 * i + 8 * j);

			any_nonzero |= word;
			word ^= bitmap_load64(old + 64 * i + 8 * j);
			if (word)
				changed |= bitmap_nonzero_bytes(word) << (8 * j);
		}
		lines |= (uint64_t)(changed != 0) << i;
		ret_scan->changed[i] = changed;
	}
	ret_scan->lines = lines;
	ret_scan->any_nonzero = any_nonzero;
}

static int emit(const struct simd_scan *scan_of, const uint8_t *new, uint8_t *out,
		uint8_t *reference)
{
	return form_xrle_emit(scan_of, new, out, reference, form_edges_by_bit,
			      form_copy_overlapping);
}

static int apply(const uint8_t *data, size_t size, uint8_t *page)
{
	return form_xrle_apply(data, size, page, form_copy_overlapping);
}

static uint64_t compare_line(const uint8_t *old, const uint8_t *new, uint8_t *copy)
{
	uint64_t changed = 0;

	memcpy(copy, new, 64);
	for (unsigned int j = 0; j < 8; j++) {
		uint64_t word = bitmap_load64(copy + 8 * j) ^ bitmap_load64(old + 8 * j);

		if (word)
			changed |= bitmap_nonzero_bytes(word) << (8 * j);
	}
	return changed;
}

static void pack_word(uint8_t *out, const uint8_t *word, unsigned int mask)
{
	for (; mask; mask &= mask - 1)
		*out++ = word[__builtin_ctz(mask)];
}

static void unpack_word(uint8_t *word, const uint8_t *data, unsigned int mask)
{
	for (; mask; mask &= mask - 1)
		word[__builtin_ctz(mask)] = *data++;
}

static int encode_bitmap(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
			 uint8_t *out, uint8_t *reference, struct simd_scan *ret_scan)
{
	return bitmap_form_encode(old, new, ahead, out, reference, ret_scan, compare_line,
				  pack_word);
}

static int apply_bitmap(const uint8_t *data, size_t size, uint8_t *page, uint64_t next_lines,
			const uint8_t *next_page)
{
	return bitmap_form_apply(data, size, page, next_lines, next_page, unpack_word);
}

static bool is_zero(const uint8_t *page)
{
	for (unsigned int i = 0; i < PAGE_BYTES; i += 64) {
		uint64_t any = 0;

		for (unsigned int j = 0; j < 64; j += 8)
			any |= bitmap_load64(page + i + j);
		if (any)
			return false;
	}
	return true;
}

const struct simd_ops simd_ops_scalar = {
	.name = "scalar",
	.scan = scan,
	.xrle_emit = emit,
	.xrle_apply = apply,
	.bitmap_encode = encode_bitmap,
	.bitmap_apply = apply_bitmap,
	.is_zero = is_zero,
};
