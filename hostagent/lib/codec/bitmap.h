/* bitmap.h - a delta as a three-level bitmap of changed bytes, and the bytes: the fast rival of xrle.h.
 *
 * Problem: run coding is bound by its branches, one per run, where the run's length cannot be
 * predicted; a page with many short changes (pointers, counters, floats) costs several times what
 * reading it costs. And two lengths per run are many bytes where runs are one to three long.
 *
 * Assumptions: both sides hold the same reference. Changes cluster in cache lines and in 8-byte words.
 * Code and time per changed line are nearly constant, whatever changed in it.
 *
 * Layout. A page is 64 lines of 8 words of 8 bytes; a line is changed when one of its bytes is.
 * Bitmaps are strings of bytes: bit j (1 << j) of byte i stands for thing 8 * i + j.
 *
 *	bytes	for each changed line, in order: kind 0: its changed words whole (8 bytes each)
 *					         kind 1: its changed bytes
 *	masks	for each changed line of kind 1, for each changed word: 1 byte, its changed bytes
 *	words	for each changed line: 1 byte, its changed words
 *	kinds	1 bit per changed line, in ceil(n_lines / 8) bytes; unused bits 0
 *	lines	8 bytes: which lines are changed
 *
 * The maps come last so that one pass over the pages writes everything: a coder cannot know them
 * before it has seen the page. All masks, words and lines have a bit set. The new bytes are sent
 * (overwrite form, see xrle.h), for kind 0 unchanged bytes of a changed word too.
 * Exactly one delta belongs to a pair of pages: kind is 1 when n_changed_bytes < 7 * n_changed_words
 * in the line, that is when sending the masks is shorter.
 *
 * Example: reference all 0, new byte 5 is 7, bytes 64..71 are 1
 *	07 | 01 01 01 01 01 01 01 01 | 20 | 01 01 | 01 | 03 00 00 00 00 00 00 00      21 bytes
 *
 * Worst case: 65 bytes for a line changed throughout, 73 when its bytes change here and there; a page
 * above BITMAP_SIZE_MAX goes RAW. Least: 12 bytes, where XRLE needs 3: page_encode() takes the
 * shorter one for pages of few changed lines.
 *
 * Curve (Zen 5 guest, AVX-512, one thread, pages cold and in random order over 512 MiB, GB/s of page
 * data; pairs sampled from processes; other builds ran meanwhile, best of 7 runs per chunk):
 *
 *			     cc1				sqlite
 *	both pages read	     17.4				17.8
 *	this		     12.1 encode, 11.3 apply, 0.338	9.8, 12.5, 0.289
 *	XRLE		      3.7	   5.7	      0.386	5.2, 12.2, 0.285
 *	plain XBZRLE	      1.4	   3.6	      0.396	1.5,  7.7, 0.291
 *
 * What was tried: flat 8-byte masks per line (bd1t) encode 5-20 % faster and 7-20 % longer; a second
 * pass over changed lines only is slower by a fifth to a third; no branch on unchanged lines is slower
 * by a tenth to a fifth.
 *
 * Threads: any. Never allocates.
 */
#ifndef CODEC_BITMAP_H
#define CODEC_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

#define BITMAP_SIZE_MAX (PAGE_BYTES - 64) /* as XRLE_SIZE_MAX */

/* Delta of @new over @old (PAGE_BYTES each, any alignment, not overlapping @out).
 * @out: PAGE_BYTES of room, all of which may be written.
 * Returns its size (>= 12); 0: the pages are equal; -E2BIG: above BITMAP_SIZE_MAX. */
int bitmap_encode(const uint8_t *old, const uint8_t *new, uint8_t *out);

/* Would bitmap_apply() take these bytes? Reads only. 0; -EPROTO: no. */
int bitmap_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Write the bytes of a delta over @page (PAGE_BYTES). The whole input is checked before anything is
 * written, and nothing outside of @page is, whatever the input.
 * 0; -EPROTO: not a delta as above (the maps do not add up to the size, an empty map, unused bits);
 * @page is then untouched. */
int bitmap_apply(const uint8_t *data, size_t size, uint8_t *page) __attribute__((warn_unused_result));

#endif
