/* xrle.h - XOR run-length coding of a page against its reference, in overwrite form.
 *
 * Problem: an epoch's dirty pages differ in only a few bytes from what the standby has - counters,
 * list links, stack frames, the lines of one database row. Sent whole, each costs 4 KiB. General
 * compressors (LZ4, zstd) do not know the old content, so they still send most of a page, at a
 * tenth of the speed of reading it.
 *
 * Assumptions: both sides hold the same reference. Changes come in runs, mostly at least 3 equal
 * bytes apart. A zero in XOR(old, new) means "equal". The code is that of XBZRLE as published: in
 * turn, a length of equal bytes, a length of changed bytes, and the changed bytes. A delta holds
 * the NEW bytes, never XOR values: applying it twice gives the same page. So if a crash interrupts
 * an apply, applying the epoch again from its start repairs the pages.
 *
 * Code table. A delta is one or more of
 *
 *	equal	  ULEB128   number of bytes to leave as they are; 0 only in the first
 *	changed   ULEB128   n_changed >= 1
 *	bytes	  n_changed the page's new bytes
 *
 *	length 0..127      0vvvvvvv
 *	length 128..4096   1vvvvvvv 000vvvvv   low 7 bits first; shorter lengths must use one byte
 *
 * All bytes after the last run are equal; their length is not sent. The sum of all lengths is <=
 * 4096. Each pair of pages has exactly one delta, so all SIMD forms give the same bytes. For this,
 * gaps of 1 or 2 equal bytes between changed ones are always sent as changed. A gap costs 2 bytes
 * of lengths, so this never makes a delta longer, and there are fewer runs to code and to apply.
 *
 * Example: reference all 0, new byte 5 is 7, 8 is 9, 20 is 1
 *	05 01 07 | 02 .. -> the gap 6..7 is two bytes: merged
 *	05 04 07 00 00 09 | 0b 01 01                                           9 bytes
 *
 * Worst case: one byte in four changes: (1 + 1 + 1) / 4 = 0.75 of a page for 1024 runs. A page that
 * changes throughout would take 4096 + 3 bytes. Above XRLE_SIZE_MAX xrle_encode() gives up and the
 * page goes RAW, so a vain try costs at most one comparison of two pages. Least: 3 bytes.
 *
 * Curve: see docs/epoch-engine.md and `tests/bench/run codec`.
 *
 * Threads: any (no state but the form picked at start, see simd.h). Never allocates.
 */
#ifndef CODEC_XRLE_H
#define CODEC_XRLE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

/* A longer delta is not worth its decoding. The distance to PAGE_BYTES lets the coder store whole
 * vectors without asking for more room than a RAW page needs. */
#define XRLE_SIZE_MAX (PAGE_BYTES - 64)

/* Delta of @new over @old (PAGE_BYTES each, any alignment, not overlapping @out).
 * @out: PAGE_BYTES of room, all of which may be written.
 * Returns its size (>= 3); 0: the pages are equal; -E2BIG: the delta would not be below @max, or
 * would be above XRLE_SIZE_MAX. @max is at most PAGE_BYTES. If @new changes meanwhile, the delta is
 * still well formed and holds the bytes that were read. */
int xrle_encode(const uint8_t *old, const uint8_t *new, uint8_t *out, size_t max);

/* Would xrle_apply() take these bytes? Reads only. 0; -EPROTO: no. */
int xrle_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Write the changed bytes of a delta over @page (PAGE_BYTES). The whole input is checked before
 * anything is written, and at most PAGE_BYTES are written whatever the input is.
 * 0; -EPROTO: not a delta as above (empty, cut, over-long length, length 0, past the page's end,
 * size above PAGE_BYTES); @page is then untouched. */
int xrle_apply(const uint8_t *data, size_t size, uint8_t *page) __attribute__((warn_unused_result));

#endif
