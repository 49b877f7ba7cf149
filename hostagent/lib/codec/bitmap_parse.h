/* bitmap_parse.h - the only parser of bitmap deltas, used by bitmap_check() and by each form's
 * apply.
 * Internal to lib/codec. Threads: any.
 */
#ifndef CODEC_BITMAP_PARSE_H
#define CODEC_BITMAP_PARSE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "codec/page.h"

#define BITMAP_LINES_BYTES 8
#define BITMAP_EACH_BYTE   UINT64_C(0x0101010101010101)

/* Where each part of a delta begins, and its two fixed-size maps; see bitmap.h. */
struct bitmap_parts {
	const uint8_t *bytes;
	const uint8_t *masks;
	const uint8_t *words;
	uint64_t whole; /* bit n: the n-th changed line is sent whole */
	uint64_t lines;
};

/* Load 8 bytes of a bitmap as an integer whose bit i stands for item i, on any machine. */
static inline uint64_t bitmap_load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(v) : v;
}

static inline void bitmap_store64(uint8_t *p, uint64_t v)
{
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof(v));
}

/* Returns a mask with the low @n bytes (0..8) set. */
static inline uint64_t bitmap_low_bytes(size_t n)
{
	return n < 8 ? (UINT64_C(1) << 8 * n) - 1 : UINT64_MAX;
}

/* Returns nonzero if one of the 8 bytes of @v is 0. */
static inline uint64_t bitmap_has_zero_byte(uint64_t v)
{
	return (v - BITMAP_EACH_BYTE) & ~v & (BITMAP_EACH_BYTE << 7);
}

/* Returns an 8-bit map: bit j is set if byte j of @v is not 0. */
static inline uint64_t bitmap_nonzero_bytes(uint64_t v)
{
	const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t high = (((v & low7) + low7) | v) & ~low7; /* bit 7 of each byte that is not 0 */

	return (high >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

/* Prefetch the lines of @page whose bits are set in @lines. */
static inline void bitmap_prefetch(uint64_t lines, const uint8_t *page)
{
	for (; lines; lines &= lines - 1)
		__builtin_prefetch(page + 64 * (unsigned int)__builtin_ctzll(lines));
}

/* Prefetch the first line whose bit is set in @lines. Return @lines without that bit. Callers
 * spread these calls over other work: many prefetches at once would fill the CPU's miss buffers and
 * stall the CPU. */
static inline uint64_t bitmap_prefetch_one(uint64_t lines, const uint8_t *page)
{
	bitmap_prefetch(lines & -lines, page);
	return lines & (lines - 1);
}

/* Returns how many bits are set in the @size bytes at @map, or -EPROTO if a byte is 0. The function
 * can read up to 7 bytes beyond the map's end. */
typedef int bitmap_sum(const uint8_t *map, size_t size);

/* Implements bitmap_sum for forms without a faster way: counts the bits of eight bytes at a
 * time. */
static inline int bitmap_sum_words(const uint8_t *map, size_t size)
{
	uint64_t bad = 0;
	int n = 0;

	for (size_t i = 0; i < size; i += 8) {
		uint64_t valid = bitmap_low_bytes(size - i), word = bitmap_load64(map + i);

		bad |= bitmap_has_zero_byte(word | ~valid);
		n += __builtin_popcountll(word & valid);
	}
	return bad ? -EPROTO : n;
}

/* Check a whole delta. Returns 0 and sets *ret_parts, or returns -EPROTO. In a valid delta, the
 * number of bits set in `words` is the number of masks. The number of bits set in `masks` is the
 * number of changed bytes. No byte of `words` or `masks` is 0.
 *
 * At least 9 more bytes follow each mask and each byte of `words`. So a read of 8 bytes that starts
 * there stays inside the delta. */
static inline __attribute__((always_inline)) int
bitmap_parse(const uint8_t *data, size_t size, struct bitmap_parts *ret_parts, bitmap_sum *sum)
{
	size_t n_lines, n_whole, n_words, whole_size, fixed;
	const uint8_t *words, *masks;
	uint64_t lines, whole;
	int n_masks, n_bytes;

	if (size < BITMAP_LINES_BYTES || size > PAGE_BYTES)
		return -EPROTO;
	lines = bitmap_load64(data + size - BITMAP_LINES_BYTES);
	n_lines = (size_t)__builtin_popcountll(lines);
	whole_size = (n_lines + 7) / 8;
	if (n_lines == 0 || size < whole_size + BITMAP_LINES_BYTES)
		return -EPROTO;
	whole = bitmap_load64(data + size - whole_size - BITMAP_LINES_BYTES);
	whole &= bitmap_low_bytes(whole_size);
	if (n_lines < 64 && whole >> n_lines)
		return -EPROTO;
	n_whole = (size_t)__builtin_popcountll(whole);
	n_words = n_lines - n_whole;
	fixed = n_words + whole_size + BITMAP_LINES_BYTES;
	if (size < fixed)
		return -EPROTO;
	words = data + size - fixed;
	n_masks = sum(words, n_words);
	if (n_masks < 0 || size - fixed < (size_t)n_masks)
		return -EPROTO;
	masks = words - n_masks;
	n_bytes = sum(masks, (size_t)n_masks);
	if (n_bytes < 0 || 64 * n_whole + (size_t)n_bytes + (size_t)n_masks + fixed != size)
		return -EPROTO;
	*ret_parts = (struct bitmap_parts){data, masks, words, whole, lines};
	return 0;
}

#endif
