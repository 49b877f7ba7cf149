/* bitmap.h - encodes a changed page as a delta: the changed bytes, and bitmaps that say where they
 * are. This is the faster alternative to xrle.h.
 *
 * Problem: run-length coding has a branch for each run, and the CPU cannot predict it because run
 * lengths vary. So encoding a page with many short changes (pointers, counters, floats) takes
 * several times as long as reading it. For runs of one to three bytes, the two lengths of each run
 * are also a large overhead.
 *
 * Assumptions: both sides have the same reference. Changed bytes are often close together, in the
 * same cache line and in the same 8-byte word, and long runs cover whole lines. So the encoder
 * works on whole lines: it does the same work for each changed line, whichever of its bytes have
 * changed, without a branch for each run.
 *
 * Layout. A page is 64 lines of 8 words of 8 bytes. A line is changed if any of its bytes is; it is
 * sent whole if at least BITMAP_WHOLE_MIN of its bytes are changed.
 * A bitmap is a string of bytes: bit j (1 << j) of byte i stands for item 8 * i + j (a byte, word
 * or line).
 *
 *	bytes	for each changed line, in order: its 64 bytes if it is sent whole, else its changed bytes
 *	masks	for each changed line not sent whole, for each changed word: 1 byte, its changed bytes
 *	words	for each changed line not sent whole: 1 byte, its changed words
 *	whole	1 bit per changed line, in ceil(n_lines / 8) bytes: set if sent whole; unused bits 0
 *	lines	8 bytes: which lines are changed
 *
 * The maps (masks, words, whole, lines) come last, because the encoder knows them only when it has
 * read the whole page. So the encoder can write the delta in one pass over the page. In this pass
 * it makes 8 bytes for each line, one per word. Those that are not 0 are the masks. AVX-512 packs
 * them for eight lines at a time, without a branch. Every mask, every byte of `words` and the map
 * `lines` has at least one bit set. A delta holds the new bytes (overwrite form, see xrle.h); a
 * line sent whole includes its unchanged bytes. Each pair of pages has exactly one delta.
 *
 * Example: reference all 0, new byte 5 is 7, bytes 64..127 are 1
 *	bytes      | masks | words | whole | lines
 *	07 01 x 64 | 20    | 01    | 02    | 03 00 00 00 00 00 00 00                 76 bytes
 *
 * Worst case: a line with 55 changed bytes takes 64 bytes (55, its 8 masks and 1 byte of `words`);
 * a line sent whole takes 64 bytes and one bit of `whole`. A page whose delta would exceed
 * BITMAP_SIZE_MAX is sent RAW. The shortest delta has 12 bytes (with XRLE it has 3), so
 * page_encode() uses XRLE for pages with few runs.
 *
 * Measured size and speed, and which other layouts were tried: docs/epoch-engine.md, section
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

/* Write the delta that turns @old into @new to @out. @old and @new: PAGE_BYTES each, any alignment,
 * not overlapping @out.
 * @out: PAGE_BYTES of room, all of which can be overwritten.
 * Returns the delta's size (>= 12); 0 if the pages are equal; or -E2BIG if the delta would exceed
 * BITMAP_SIZE_MAX. */
int bitmap_encode(const uint8_t *old, const uint8_t *new, uint8_t *out);

/* Check whether bitmap_apply() would accept these bytes. Writes nothing. Returns 0 if it would,
 * else -EPROTO. */
int bitmap_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Apply a delta: write its bytes to @page (PAGE_BYTES). The whole delta is checked before anything
 * is written, and no input can make it write outside of @page.
 * Returns 0; -EPROTO if the bytes are not a delta as defined above (the sizes that the maps imply
 * do not add up to @size, a map is empty, or unused bits are set); @page is then untouched. Whether
 * a line that is sent whole has at least BITMAP_WHOLE_MIN changed bytes is not checked. */
int bitmap_apply(const uint8_t *data, size_t size, uint8_t *page)
	__attribute__((warn_unused_result));

#endif
