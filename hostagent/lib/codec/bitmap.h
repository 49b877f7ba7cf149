/* bitmap.h - a delta as bitmaps of the changed bytes, plus these bytes: the fast rival of xrle.h.
 *
 * Problem: run coding has one branch per run, and the CPU cannot predict the run's length. So a
 * page with many short changes (pointers, counters, floats) costs several times as much as reading
 * it. And where runs are one to three bytes long, two lengths per run are a large overhead.
 *
 * Assumptions: both sides hold the same reference. Changes cluster in cache lines and in 8-byte
 * words, and long runs cover whole lines. Code and time per line are constant, whatever changed in
 * it.
 *
 * Layout. A page is 64 lines of 8 words of 8 bytes. A line is changed if any of its bytes is; it is
 * sent whole if at least BITMAP_WHOLE_MIN are.
 * Bitmaps are strings of bytes: bit j (1 << j) of byte i stands for thing 8 * i + j.
 *
 *	bytes	for each changed line, in order: its 64 bytes if it is sent whole, else its changed bytes
 *	masks	for each changed line not sent whole, for each changed word: 1 byte, its changed bytes
 *	words	for each changed line not sent whole: 1 byte, its changed words
 *	whole	1 bit per changed line, in ceil(n_lines / 8) bytes: set if sent whole; unused bits 0
 *	lines	8 bytes: which lines are changed
 *
 * The maps come last so that one pass over the pages writes everything: a coder cannot know them
 * before it has seen the page. That pass keeps 8 bytes of map for each line. Masks and words are
 * these bytes without the empty ones, so AVX-512 packs eight lines at a time, without a branch.
 * Every mask, every word and the map of lines has at least one bit set. A delta holds the new bytes
 * (overwrite form, see xrle.h); a line sent whole includes its unchanged bytes. Each pair of pages
 * has exactly one delta.
 *
 * Example: reference all 0, new byte 5 is 7, bytes 64..127 are 1
 *	07 01 x 64 | 20 | 01 | 02 | 03 00 00 00 00 00 00 00                          76 bytes
 *
 * Worst case: a line of 55 changed bytes takes 64 bytes with its maps; a fully changed line takes
 * 64 bytes and a bit. A page whose delta would exceed BITMAP_SIZE_MAX goes RAW. Least: 12 bytes,
 * where XRLE needs 3; page_encode() uses XRLE for pages with few runs.
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
#define BITMAP_WHOLE_MIN 56 /* a line with at least this many changed bytes is sent whole */

/* Delta of @new over @old (PAGE_BYTES each, any alignment, not overlapping @out).
 * @out: PAGE_BYTES of room, all of which may be written.
 * Returns its size (>= 12); 0: the pages are equal; -E2BIG: above BITMAP_SIZE_MAX. */
int bitmap_encode(const uint8_t *old, const uint8_t *new, uint8_t *out);

/* Would bitmap_apply() take these bytes? Reads only. 0; -EPROTO: no. */
int bitmap_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Write the bytes of a delta over @page (PAGE_BYTES). The whole input is checked before anything is
 * written. Whatever the input, nothing outside of @page is written.
 * 0; -EPROTO: not a delta as above (the maps do not add up to the size, an empty map, unused bits
 * set); @page is then untouched. A line sent whole with fewer changed bytes is accepted. */
int bitmap_apply(const uint8_t *data, size_t size, uint8_t *page)
	__attribute__((warn_unused_result));

#endif
