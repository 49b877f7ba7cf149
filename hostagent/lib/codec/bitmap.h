/* bitmap.h - encodes a changed page as a delta: the changed bytes, and bitmaps that say where they
 * are. This is the faster alternative to xrle.h.
 *
 * Problem: run-length coding (xrle.h) has a branch for each run of changed bytes, and the CPU
 * cannot predict these branches. So a page with many short changes takes several times as long to
 * encode as to read. For runs of one to three bytes, the two lengths of each run are also a large
 * overhead.
 *
 * Assumptions: both sides have the same reference. Changed bytes are often close together, in the
 * same cache line and in the same 8-byte word. So the encoder works on whole lines. It does the
 * same work for each changed line, whichever of its bytes have changed.
 *
 * Layout. A page is 64 lines of 8 words of 8 bytes. A line is changed if any of its bytes is
 * changed. If at least BITMAP_WHOLE_MIN of its bytes are changed, the line is sent whole; if fewer,
 * it is sent in part. In each bitmap, bit j (1 << j) of byte i stands for byte, word or line number
 * 8 * i + j. A delta consists of
 *
 *      bytes   for each changed line, in order: all 64 bytes if it is sent whole, or only its
 *              changed bytes
 *      masks   1 byte for each changed word of a line sent in part: the word's changed bytes
 *      words   1 byte for each line sent in part: the line's changed words
 *      whole   1 bit per changed line, in ceil(n_lines / 8) bytes: 1 if the line is sent whole;
 *              unused bits are 0
 *      lines   8 bytes: the changed lines
 *
 * The bitmaps (masks, words, whole, lines) come last, because the encoder knows them only when it
 * has read the whole page. So one pass over the page is enough. Every mask, every byte of `words`
 * and the map `lines` has at least one bit set. `bytes` has new bytes, never XOR values, so
 * applying a delta twice gives the same page. Each pair of pages has exactly one delta.
 *
 * Example: reference all 0, new byte 5 is 7, bytes 64..127 are 1
 *	bytes      | masks | words | whole | lines
 *	07 01 x 64 | 20    | 01    | 02    | 03 00 00 00 00 00 00 00                 76 bytes
 *
 * Worst case: a line sent in part takes at most 64 bytes: 55 changed bytes, 8 masks and 1 byte of
 * `words`. A line sent whole takes 64 bytes too. If a page's delta would exceed BITMAP_SIZE_MAX,
 * the page is sent RAW. The shortest bitmap delta has 12 bytes, the shortest XRLE delta 3. So
 * page_encode() uses XRLE for pages with few runs. Measurements: docs/epoch-engine.md, section
 * "Codes".
 *
 * Threads: any. Never allocates.
 */
#ifndef CODEC_BITMAP_H
#define CODEC_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

/* the longest delta that is sent; xrle.h gives the reasons at XRLE_SIZE_MAX */
#define BITMAP_SIZE_MAX	 (PAGE_BYTES - 64)
#define BITMAP_WHOLE_MIN 56 /* a line with at least this many changed bytes is sent whole */

/* Write to @out the delta that turns @old into @new. @old and @new: PAGE_BYTES each, any alignment,
 * not overlapping @out.
 * @out: PAGE_BYTES of room, all of which can be overwritten.
 * Returns the delta's size (>= 12); 0: the pages are equal; -E2BIG: the delta would exceed
 * BITMAP_SIZE_MAX. */
int bitmap_encode(const uint8_t *old, const uint8_t *new, uint8_t *out);

/* Check whether bitmap_apply() would accept these bytes. Writes nothing. Returns 0: yes; -EPROTO:
 * no. */
int bitmap_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Apply a delta: write its bytes to @page (PAGE_BYTES). The whole delta is checked before anything
 * is written, and no input can make it write outside of @page.
 * Returns 0. If the bytes are not a delta as defined above, returns -EPROTO and does not touch
 * @page. Reasons: the sizes that the maps imply do not add up to @size, a map is empty, or unused
 * bits are set. A line that is sent whole can have fewer than BITMAP_WHOLE_MIN changed bytes; this
 * is not checked. */
int bitmap_apply(const uint8_t *data, size_t size, uint8_t *page)
	__attribute__((warn_unused_result));

#endif
