/* bitmap_form.h - the bitmap coder for forms that have no instruction to pack bytes by a mask.
 *
 * Each form brings three functions, which become straight code here: comparing a line, and packing
 * and unpacking a word's bytes. Internal to lib/codec. Threads: any.
 */
#ifndef CODEC_BITMAP_FORM_H
#define CODEC_BITMAP_FORM_H

#include "codec/bitmap.h"
#include "codec/bitmap_parse.h"
#include "codec/simd.h"

/* Copy the 64 bytes at @new to @copy, reading them once; the map of those that differ from @old. */
typedef uint64_t bitmap_compare(const uint8_t *old, const uint8_t *new, uint8_t *copy);

/* Write the bytes of @word that @mask names (not 0), in order, to @out; may write 8. */
typedef void bitmap_pack(uint8_t *out, const uint8_t *word, unsigned int mask);

/* Write the bytes at @data to those of @word that @mask names (not 0); may read 8. */
typedef void bitmap_unpack(uint8_t *word, const uint8_t *data, unsigned int mask);

/* With more bytes than this before a changed line, the delta is above BITMAP_SIZE_MAX: at least one
 * byte, its maps and the fixed part follow. */
#define BITMAP_FORM_ROOM (PAGE_BYTES - 64 - 8)

/* Maps collected while the page is gone through; appended at the end. */
struct bitmap_maps {
	uint8_t masks[PAGE_BYTES / 8 + 8]; /* room for storing 8 at a time */
	uint8_t words[64];
	size_t masks_size;
	uint64_t kinds;
	uint64_t lines;
	unsigned int n_lines;
};

/* Append the maps behind the @size bytes at @out. The delta's size, or -E2BIG. */
static inline int bitmap_finish(const struct bitmap_maps *maps, uint8_t *out, size_t size)
{
	size_t kinds_size = (maps->n_lines + 7) / 8;

	if (size + maps->masks_size + maps->n_lines + kinds_size + BITMAP_LINES_BYTES > BITMAP_SIZE_MAX)
		return -E2BIG;
	memcpy(out + size, maps->masks, maps->masks_size);
	size += maps->masks_size;
	memcpy(out + size, maps->words, maps->n_lines);
	size += maps->n_lines;
	bitmap_store64(out + size, maps->kinds); /* the surplus is overwritten by the next */
	size += kinds_size;
	bitmap_store64(out + size, maps->lines);
	return (int)(size + BITMAP_LINES_BYTES);
}

/* One changed line: its bytes to @out, its maps to @maps. How many bytes count; up to 64 + 7 are
 * written. */
static inline __attribute__((always_inline)) size_t
bitmap_form_line(struct bitmap_maps *maps, const uint8_t *copy, uint64_t changed, uint8_t *out,
		 bitmap_pack *pack)
{
	uint8_t *masks = maps->masks + maps->masks_size;
	unsigned int words = 0, n_words = 0;
	size_t size = 0;
	uint64_t kind;

	for (unsigned int j = 0; j < 8; j++) {
		uint8_t mask = (uint8_t)(changed >> 8 * j);

		masks[n_words] = mask;
		words |= (unsigned int)(mask != 0) << j;
		n_words += mask != 0;
	}
	kind = (unsigned int)__builtin_popcountll(changed) < 7 * n_words;
	for (unsigned int left = words; left; left &= left - 1) {
		unsigned int j = (unsigned int)__builtin_ctz(left);
		unsigned int mask = changed >> 8 * j & 0xff;

		if (kind) {
			pack(out + size, copy + 8 * j, mask);
			size += (size_t)__builtin_popcount(mask);
		} else {
			memcpy(out + size, copy + 8 * j, 8);
			size += 8;
		}
	}
	maps->masks_size += kind ? n_words : 0;
	maps->words[maps->n_lines] = (uint8_t)words;
	maps->kinds |= kind << maps->n_lines++;
	return size;
}

/* simd_ops->bitmap_encode and, with @reference not NULL, bitmap_encode_update. */
static inline __attribute__((always_inline)) int
bitmap_form_encode(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
		   const uint8_t *next_new, uint8_t *out, uint8_t *reference,
		   struct simd_scan *ret_scan, bitmap_compare *compare, bitmap_pack *pack)
{
	struct bitmap_maps maps;
	uint64_t any_nonzero = 0;
	size_t size = 0;

	maps.masks_size = 0;
	maps.kinds = maps.lines = 0;
	maps.n_lines = 0;
	for (unsigned int i = 0; i < 64; i++) {
		uint8_t copy[64];
		uint64_t changed = compare(old + 64 * i, new + 64 * i, copy);

		__builtin_prefetch(next_old + 64 * i);
		__builtin_prefetch(next_new + 64 * i);
		ret_scan->changed[i] = changed;
		for (unsigned int j = 0; j < 64 && !any_nonzero; j += 8)
			any_nonzero |= bitmap_load64(copy + j);
		if (!changed)
			continue;
		/* Without room for a line and 8 bytes stored at a time, the delta is too big anyway. */
		if (size <= BITMAP_FORM_ROOM)
			size += bitmap_form_line(&maps, copy, changed, out + size, pack);
		if (reference)
			memcpy(reference + 64 * i, copy, 64);
		maps.lines |= UINT64_C(1) << i;
	}
	ret_scan->any_changed = ret_scan->lines = maps.lines;
	ret_scan->any_nonzero = any_nonzero;
	if (!maps.lines)
		return 0;
	return size <= BITMAP_FORM_ROOM ? bitmap_finish(&maps, out, size) : -E2BIG;
}

static inline __attribute__((always_inline)) int
bitmap_form_apply(const uint8_t *data, size_t size, uint8_t *page, uint64_t next_lines,
		  const uint8_t *next_page, bitmap_unpack *unpack)
{
	struct bitmap_parts parts;
	unsigned int n = 0;

	if (bitmap_parse(data, size, &parts) < 0)
		return -EPROTO;
	for (uint64_t lines = parts.lines; lines; lines &= lines - 1, n++) {
		uint8_t *line = page + 64 * (unsigned int)__builtin_ctzll(lines);

		next_lines = bitmap_prefetch_one(next_lines, next_page);
		for (unsigned int left = parts.words[n]; left; left &= left - 1) {
			uint8_t *word = line + 8 * (unsigned int)__builtin_ctz(left);

			if (parts.kinds >> n & 1) {
				unsigned int mask = *parts.masks++;

				unpack(word, parts.bytes, mask);
				parts.bytes += __builtin_popcount(mask);
			} else {
				memcpy(word, parts.bytes, 8);
				parts.bytes += 8;
			}
		}
	}
	bitmap_prefetch(next_lines, next_page);
	return 0;
}

#endif
