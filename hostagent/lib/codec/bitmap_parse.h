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
static inline uint64_t bitmap_low_bytes(unsigned int n)
{
	return n < 8 ? (UINT64_C(1) << 8 * n) - 1 : UINT64_MAX;
}

/* Is one of the bytes 0? */
static inline uint64_t bitmap_has_zero_byte(uint64_t v)
{
	return (v - BITMAP_EACH_BYTE) & ~v & (BITMAP_EACH_BYTE << 7);
}

/* Check a delta whole. 0 with *ret_parts set, or -EPROTO. Behind every mask lie at least 10 more
 * bytes of the delta (words, kinds, lines), so reading 8 from a mask on stays inside. */
static inline int bitmap_parse(const uint8_t *data, size_t size, struct bitmap_parts *ret_parts)
{
	uint64_t lines, kinds = 0, bad = 0;
	size_t n_lines, kinds_size, masks_size = 0, bytes_size = 0, fixed, at = 0;
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
	memcpy(&kinds, words + n_lines, kinds_size);
	kinds = bitmap_load64((const uint8_t *)&kinds);
	if (n_lines < 64 && kinds >> n_lines)
		return -EPROTO;
	for (size_t i = 0; i < n_lines; i++) {
		unsigned int n_words = (unsigned int)__builtin_popcount(words[i]);
		uint64_t has_masks = kinds >> i & 1;

		bad |= n_words == 0;
		masks_size += has_masks ? n_words : 0;
		bytes_size += has_masks ? 0 : 8 * n_words;
	}
	if (bad || size - fixed < masks_size)
		return -EPROTO;
	masks = words - masks_size;
	for (size_t i = 0; i < n_lines; i++) {
		unsigned int n_words = (unsigned int)__builtin_popcount(words[i]);
		uint64_t valid, mask;

		if (!(kinds >> i & 1))
			continue;
		valid = bitmap_low_bytes(n_words);
		mask = bitmap_load64(masks + at);
		bad |= bitmap_has_zero_byte(mask | ~valid);
		bytes_size += (size_t)__builtin_popcountll(mask & valid);
		at += n_words;
	}
	if (bad || bytes_size + masks_size + fixed != size)
		return -EPROTO;
	*ret_parts = (struct bitmap_parts){data, masks, words, kinds, lines};
	return 0;
}

#endif
