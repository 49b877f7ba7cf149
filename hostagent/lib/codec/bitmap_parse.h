/* bitmap_parse.h - the one reader of bitmap deltas, for the check and for each form's apply.
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

/* Where the parts of a delta are. */
struct bitmap_parts {
	const uint8_t *bytes;
	const uint8_t *masks;
	const uint8_t *words;
	uint64_t kinds;
	uint64_t lines;
};

/* Bitmaps are strings of bytes; as integers, bit i is thing i. */
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

/* The low @n bytes (0..8). */
static inline uint64_t bitmap_low_bytes(size_t n)
{
	return n < 8 ? (UINT64_C(1) << 8 * n) - 1 : UINT64_MAX;
}

/* Is one of the bytes 0? */
static inline uint64_t bitmap_has_zero_byte(uint64_t v)
{
	return (v - BITMAP_EACH_BYTE) & ~v & (BITMAP_EACH_BYTE << 7);
}

/* Bit j of @bits -> all of byte j. */
static inline uint64_t bitmap_spread(uint64_t bits)
{
	uint64_t one_each = bits * BITMAP_EACH_BYTE & UINT64_C(0x8040201008040201);

	return ((one_each + BITMAP_EACH_BYTE * 0x7f) >> 7 & BITMAP_EACH_BYTE) * 0xff;
}

/* Prefetch the lines of @page that @lines names. */
static inline void bitmap_prefetch(uint64_t lines, const uint8_t *page)
{
	for (; lines; lines &= lines - 1)
		__builtin_prefetch(page + 64 * (unsigned int)__builtin_ctzll(lines));
}

/* Prefetch the first of these lines and take it out of the map: a few at a time between other work
 * are fetched sooner than many at once, which fill the CPU's miss buffers and stall it. */
static inline uint64_t bitmap_prefetch_one(uint64_t lines, const uint8_t *page)
{
	bitmap_prefetch(lines & -lines, page);
	return lines & (lines - 1);
}

/* Check a delta whole. 0 with *ret_parts set, or -EPROTO.
 * The maps are gone through eight bytes at a time: all words and all masks must have a bit, and the
 * bits of the words say how many masks there are, the bits of both how many bytes. Behind every mask
 * lie at least 10 more bytes of the delta (words, kinds, lines) and behind every word 9, so reading 8
 * from one of them on stays inside. */
static inline int bitmap_parse(const uint8_t *data, size_t size, struct bitmap_parts *ret_parts)
{
	uint64_t lines, kinds = 0, bad = 0, valid, word;
	size_t n_lines, kinds_size, fixed, masks_size = 0, bytes_size = 0;
	const uint8_t *words, *masks;

	if (size < BITMAP_LINES_BYTES || size > PAGE_BYTES)
		return -EPROTO;
	lines = bitmap_load64(data + size - BITMAP_LINES_BYTES);
	n_lines = (size_t)__builtin_popcountll(lines);
	kinds_size = (n_lines + 7) / 8;
	fixed = n_lines + kinds_size + BITMAP_LINES_BYTES;
	if (n_lines == 0 || size < fixed)
		return -EPROTO;
	words = data + size - fixed;
	kinds = bitmap_load64(words + n_lines) & bitmap_low_bytes(kinds_size);
	if (n_lines < 64 && kinds >> n_lines)
		return -EPROTO;
	for (size_t i = 0; i < n_lines; i += 8) {
		uint64_t has_masks = bitmap_spread(kinds >> i & 0xff);

		valid = bitmap_low_bytes(n_lines - i);
		word = bitmap_load64(words + i);
		bad |= bitmap_has_zero_byte(word | ~valid);
		masks_size += (size_t)__builtin_popcountll(word & valid & has_masks);
		bytes_size += 8 * (size_t)__builtin_popcountll(word & valid & ~has_masks);
	}
	if (bad || size - fixed < masks_size)
		return -EPROTO;
	masks = words - masks_size;
	for (size_t i = 0; i < masks_size; i += 8) {
		valid = bitmap_low_bytes(masks_size - i);
		word = bitmap_load64(masks + i);
		bad |= bitmap_has_zero_byte(word | ~valid);
		bytes_size += (size_t)__builtin_popcountll(word & valid);
	}
	if (bad || bytes_size + masks_size + fixed != size)
		return -EPROTO;
	*ret_parts = (struct bitmap_parts){data, masks, words, kinds, lines};
	return 0;
}

#endif
