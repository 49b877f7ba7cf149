/* bitmap_form.h - the bitmap encoder and decoder for the SIMD forms (simd.h) that have no
 * instruction for packing bytes by a mask: scalar and AVX2.
 *
 * Each form supplies three functions, which are inlined here: one compares a line, one packs a
 * word's changed bytes, one unpacks them. Internal to lib/codec. Threads: any.
 */
#ifndef CODEC_BITMAP_FORM_H
#define CODEC_BITMAP_FORM_H

#include "codec/bitmap.h"
#include "codec/bitmap_parse.h"
#include "codec/simd.h"

/* Copy the 64 bytes at @new to @copy, reading each byte once. Returns a map with a bit set for each
 * byte that differs from @old. */
typedef uint64_t bitmap_compare(const uint8_t *old, const uint8_t *new, uint8_t *copy);

/* Write to @out, in order, the bytes of @word whose bits are set in @mask. The function can write 8
 * bytes, even if fewer bits are set. */
typedef void bitmap_pack(uint8_t *out, const uint8_t *word, unsigned int mask);

/* Write the bytes at @data, in order, to the bytes of @word whose bits are set in @mask (not 0).
 * The function can read 8 bytes, even if it needs fewer. */
typedef void bitmap_unpack(uint8_t *word, const uint8_t *data, unsigned int mask);

/* If more bytes than this precede a changed line, the delta exceeds BITMAP_SIZE_MAX: these bytes
 * are followed by at least one byte of that line, its maps and the 8 bytes of `lines`. */
#define BITMAP_FORM_ROOM (PAGE_BYTES - 64 - 8)

/* The maps, collected during the pass over the page, and appended to the delta after the pass. */
struct bitmap_maps {
	uint8_t masks[PAGE_BYTES / 8 + 8]; /* 8 more than needed: masks are stored 8 at a time */
	uint8_t words[64];
	size_t masks_size;
	unsigned int n_words, n_lines;
	uint64_t whole;
};

/* Append the maps after the @size bytes at @out. Returns the delta's size, or -E2BIG. */
static inline int bitmap_finish(const struct bitmap_maps *maps, uint64_t lines, uint8_t *out,
				size_t size)
{
	size_t whole_size = (maps->n_lines + 7) / 8;

	if (size + maps->masks_size + maps->n_words + whole_size + BITMAP_LINES_BYTES >
	    BITMAP_SIZE_MAX)
		return -E2BIG;
	memcpy(out + size, maps->masks, maps->masks_size);
	size += maps->masks_size;
	memcpy(out + size, maps->words, maps->n_words);
	size += maps->n_words;
	/* stores 8 bytes; the next store overwrites the bytes beyond whole_size */
	bitmap_store64(out + size, maps->whole);
	size += whole_size;
	bitmap_store64(out + size, lines);
	return (int)(size + BITMAP_LINES_BYTES);
}

/* Encode one changed line: write its bytes to @out and add its maps to @maps. Returns how many
 * bytes at @out are valid; up to 64 + 7 are written. */
static inline __attribute__((always_inline)) size_t
bitmap_form_line(struct bitmap_maps *maps, const uint8_t *copy, uint64_t changed, uint8_t *out,
		 bitmap_pack *pack)
{
	unsigned int words = (unsigned int)bitmap_nonzero_bytes(changed);
	uint8_t masks[8];
	size_t size = 0;

	if (__builtin_popcountll(changed) >= BITMAP_WHOLE_MIN) {
		memcpy(out, copy, 64);
		maps->whole |= UINT64_C(1) << maps->n_lines++;
		return 64;
	}
	/* Pack words without changed bytes too: that is cheaper than a branch that the CPU cannot
	 * predict. */
	for (unsigned int j = 0; j < 8; j++) {
		unsigned int mask = changed >> 8 * j & 0xff;

		pack(out + size, copy + 8 * j, mask);
		size += (size_t)__builtin_popcount(mask);
	}
	bitmap_store64(masks, changed);
	pack(maps->masks + maps->masks_size, masks, words);
	maps->masks_size += (size_t)__builtin_popcount(words);
	maps->words[maps->n_words++] = (uint8_t)words;
	maps->n_lines++;
	return size;
}

/* Encode a page. If @reference is not NULL, copy the page's changed lines to it. Returns what
 * simd_ops->bitmap_encode returns. Inlined: if a caller passes a constant NULL, the loop has no
 * code for this copy. */
static inline __attribute__((always_inline)) int
bitmap_form_lines(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
		  uint8_t *out, uint8_t *reference, struct simd_scan *ret_scan,
		  bitmap_compare *compare, bitmap_pack *pack)
{
	struct bitmap_maps maps;
	uint64_t any_nonzero = 0, lines = 0, last = 0;
	unsigned int n_bytes = 0, n_runs = 0;
	size_t size = 0;

	maps.masks_size = 0;
	maps.n_words = maps.n_lines = 0;
	maps.whole = 0;
	__builtin_prefetch(ahead->later_old);
	__builtin_prefetch(ahead->later_new);
	for (unsigned int i = 0; i < 64; i++) {
		uint8_t copy[64];
		uint64_t changed = compare(old + 64 * i, new + 64 * i, copy);

		__builtin_prefetch(ahead->old + 64 * i);
		__builtin_prefetch(ahead->new + 64 * i);
		ret_scan->changed[i] = changed;
		for (unsigned int j = 0; j < 64 && !any_nonzero; j += 8)
			any_nonzero |= bitmap_load64(copy + j);
		n_runs += (unsigned int)__builtin_popcountll(changed & ~(changed << 1 | last));
		last = changed >> 63;
		if (!changed)
			continue;
		n_bytes += (unsigned int)__builtin_popcountll(changed);
		lines |= UINT64_C(1) << i;
		/* Above this limit, write no more lines. The delta is already too large to be sent,
		 * and @out can be too small for another line. */
		if (size <= BITMAP_FORM_ROOM)
			size += bitmap_form_line(&maps, copy, changed, out + size, pack);
		if (reference)
			memcpy(reference + 64 * i, copy, 64);
	}
	ret_scan->lines = lines;
	ret_scan->any_nonzero = any_nonzero;
	ret_scan->n_bytes = n_bytes;
	ret_scan->n_runs = n_runs;
	if (!lines)
		return 0;
	return size <= BITMAP_FORM_ROOM ? bitmap_finish(&maps, lines, out, size) : -E2BIG;
}

/* The body of simd_ops->bitmap_encode. */
static inline __attribute__((always_inline)) int
bitmap_form_encode(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
		   uint8_t *out, uint8_t *reference, struct simd_scan *ret_scan,
		   bitmap_compare *compare, bitmap_pack *pack)
{
	return reference
		       ? bitmap_form_lines(old, new, ahead, out, reference, ret_scan, compare, pack)
		       : bitmap_form_lines(old, new, ahead, out, NULL, ret_scan, compare, pack);
}

/* The body of simd_ops->bitmap_apply. */
static inline __attribute__((always_inline)) int
bitmap_form_apply(const uint8_t *data, size_t size, uint8_t *page, uint64_t next_lines,
		  const uint8_t *next_page, bitmap_unpack *unpack)
{
	struct bitmap_parts parts;

	if (bitmap_parse(data, size, &parts, bitmap_sum_words) < 0)
		return -EPROTO;
	for (uint64_t lines = parts.lines; lines; lines &= lines - 1, parts.whole >>= 1) {
		uint8_t *line = page + 64 * (unsigned int)__builtin_ctzll(lines);

		next_lines = bitmap_prefetch_one(next_lines, next_page);
		if (parts.whole & 1) {
			memcpy(line, parts.bytes, 64);
			parts.bytes += 64;
			continue;
		}
		for (unsigned int left = *parts.words++; left; left &= left - 1) {
			unsigned int mask = *parts.masks++;

			unpack(line + 8 * (unsigned int)__builtin_ctz(left), parts.bytes, mask);
			parts.bytes += __builtin_popcount(mask);
		}
	}
	bitmap_prefetch(next_lines, next_page);
	return 0;
}

#endif
