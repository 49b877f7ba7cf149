/* The form for any machine: eight bytes at a time in general registers. */
#include "codec/simd.h"

#include "codec/bitmap_form.h"
#include "codec/xrle_form.h"

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Bit i: byte i (in memory order) of @word is not 0. */
static inline uint64_t nonzero_bytes(uint64_t word)
{
	const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t high;

	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		word = __builtin_bswap64(word);
	high = (((word & low7) + low7) | word) & ~low7; /* bit 7 of each byte that is not 0 */
	return (high >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static void scan(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
		 const uint8_t *next_new, struct simd_scan *ret_scan)
{
	uint64_t any_changed = 0, any_nonzero = 0;

	for (unsigned int i = 0; i < 64; i++) {
		uint64_t changed = 0;

		__builtin_prefetch(next_old + 64 * i);
		__builtin_prefetch(next_new + 64 * i);
		for (unsigned int j = 0; j < 8; j++) {
			uint64_t word = load64(new + 64 * i + 8 * j);

			any_nonzero |= word;
			word ^= load64(old + 64 * i + 8 * j);
			if (word)
				changed |= nonzero_bytes(word) << (8 * j);
		}
		any_changed |= changed;
		ret_scan->changed[i] = changed;
	}
	ret_scan->any_changed = any_changed;
	ret_scan->any_nonzero = any_nonzero;
}

static int emit(const struct simd_scan *scan_of, const uint8_t *new, uint8_t *out)
{
	uint16_t edges[FORM_EDGES_MAX];
	size_t n_edges = form_edges_by_bit(scan_of->changed, edges);

	return form_xrle_emit(edges, n_edges, new, out, NULL, form_copy_overlapping);
}

static int emit_update(const struct simd_scan *scan_of, const uint8_t *new, uint8_t *out,
		       uint8_t *reference)
{
	uint16_t edges[FORM_EDGES_MAX];
	size_t n_edges = form_edges_by_bit(scan_of->changed, edges);

	return form_xrle_emit(edges, n_edges, new, out, reference, form_copy_overlapping);
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
		uint64_t word = load64(copy + 8 * j) ^ load64(old + 8 * j);

		if (word)
			changed |= nonzero_bytes(word) << (8 * j);
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

static int encode_bitmap(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
			 const uint8_t *next_new, uint8_t *out, struct simd_scan *ret_scan)
{
	return bitmap_form_encode(old, new, next_old, next_new, out, NULL, ret_scan, compare_line,
				  pack_word);
}

static int encode_bitmap_update(uint8_t *reference, const uint8_t *new, const uint8_t *next_old,
				const uint8_t *next_new, uint8_t *out, struct simd_scan *ret_scan)
{
	return bitmap_form_encode(reference, new, next_old, next_new, out, reference, ret_scan,
				  compare_line, pack_word);
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
			any |= load64(page + i + j);
		if (any)
			return false;
	}
	return true;
}

const struct simd_ops simd_ops_scalar = {
	.name = "scalar",
	.scan = scan,
	.xrle_emit = emit,
	.xrle_emit_update = emit_update,
	.xrle_apply = apply,
	.bitmap_encode = encode_bitmap,
	.bitmap_encode_update = encode_bitmap_update,
	.bitmap_apply = apply_bitmap,
	.is_zero = is_zero,
};
