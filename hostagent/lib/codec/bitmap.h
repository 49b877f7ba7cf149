/* bitmap.h - a delta as bitmaps of changed bytes, and the bytes: the fast rival of xrle.h.
 *
 * Problem: run coding is bound by its branches, one per run, where the run's length cannot be
 * predicted; a page with many short changes (pointers, counters, floats) costs several times what
 * reading it costs. And two lengths per run are many bytes where runs are one to three long.
 *
 * Assumptions: both sides hold the same reference. Changes cluster in cache lines and in 8-byte words,
 * and long runs take in whole lines. Code and time per line are constant, whatever changed in it.
 *
 * Layout. A page is 64 lines of 8 words of 8 bytes; a line is changed when one of its bytes is, and
 * sent whole when BITMAP_WHOLE_MIN of them are.
 * Bitmaps are strings of bytes: bit j (1 << j) of byte i stands for thing 8 * i + j.
 *
 *	bytes	for each changed line, in order: its 64 bytes if it is sent whole, else its changed bytes
 *	masks	for each changed line not sent whole, for each changed word: 1 byte, its changed bytes
 *	words	for each changed line not sent whole: 1 byte, its changed words
 *	whole	1 bit per changed line, in ceil(n_lines / 8) bytes: it is sent whole; unused bits 0
 *	lines	8 bytes: which lines are changed
 *
 * The maps come last so that one pass over the pages writes everything: a coder cannot know them
 * before it has seen the page. That pass keeps 8 bytes of map for each line; masks and words are these
 * bytes without the empty ones, so AVX-512 makes them of eight lines at a time, without a branch.
 * All masks, words and lines have a bit set. The new bytes are sent (overwrite form, see xrle.h), of a
 * whole line the unchanged ones too. Exactly one delta belongs to a pair of pages.
 *
 * Example: reference all 0, new byte 5 is 7, bytes 64..127 are 1
 *	07 01 x 64 | 20 | 01 | 02 | 03 00 00 00 00 00 00 00                          76 bytes
 *
 * Worst case: 64 bytes of data and maps for a line of 55 changed bytes, 64 and a bit for one changed throughout; a
 * page above BITMAP_SIZE_MAX goes RAW. Least: 12 bytes, where XRLE needs 3: page_encode() takes XRLE
 * for pages with few runs.
 *
 * Curve and what was tried: docs/epoch-engine.md, "Codes".
 *
 * Threads: any. Never allocates.
 */
#ifndef CODEC_BITMAP_H
#define CODEC_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

#define BITMAP_SIZE_MAX	 (PAGE_BYTES - 64) /* as XRLE_SIZE_MAX */
#define BITMAP_WHOLE_MIN 56 /* a line with so many changed bytes is sent whole */

/* Delta of @new over @old (PAGE_BYTES each, any alignment, not overlapping @out).
 * @out: PAGE_BYTES of room, all of which may be written.
 * Returns its size (>= 12); 0: the pages are equal; -E2BIG: above BITMAP_SIZE_MAX. */
int bitmap_encode(const uint8_t *old, const uint8_t *new, uint8_t *out);

/* Would bitmap_apply() take these bytes? Reads only. 0; -EPROTO: no. */
int bitmap_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Write the bytes of a delta over @page (PAGE_BYTES). The whole input is checked before anything is
 * written, and nothing outside of @page is, whatever the input.
 * 0; -EPROTO: not a delta as above (the maps do not add up to the size, an empty map, unused bits; but a
 * line may be whole with fewer changed bytes);
 * @page is then untouched. */
int bitmap_apply(const uint8_t *data, size_t size, uint8_t *page) __attribute__((warn_unused_result));

#endif
