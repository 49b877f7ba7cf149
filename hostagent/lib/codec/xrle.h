/* xrle.h - XOR run-length coding of a page against its reference, in overwrite form.
 *
 * Problem: an epoch's dirty pages differ from what the standby has in few bytes - counters, list
 * links, stack frames, the lines of one database row. Sending them whole costs 4 KiB each; general
 * compressors (LZ4, zstd) do not know the old content, so they still send most of a page, at a
 * tenth of the speed of reading it.
 *
 * Assumptions: both sides hold the same reference. Changes come in runs, and between two runs lie
 * mostly at least 3 equal bytes. A zero in XOR(old, new) is "equal", so the code is that of XBZRLE
 * as published: lengths of equal and of changed bytes in turn, then the changed bytes. They are sent
 * as the NEW bytes, never as XOR values: applying a delta twice gives the same page, so an apply that
 * was torn by a crash is repaired by applying the epoch again from its start.
 *
 * Code table. A delta is one or more of
 *
 *	equal	  ULEB128   bytes to leave as they are; 0 only in the first
 *	changed   ULEB128   n_changed >= 1
 *	bytes	  n_changed the page's new bytes
 *
 *	length 0..127      0vvvvvvv
 *	length 128..4096   1vvvvvvv 000vvvvv   low 7 bits first; shorter lengths must use one byte
 *
 * What follows the last run is equal; its length is not sent. The sum of all lengths is <= 4096.
 * Exactly one delta belongs to a pair of pages (so every form below gives the same bytes): gaps of 1
 * or 2 equal bytes between changed ones are sent as changed. A gap costs 2 bytes of lengths, so this
 * never makes a delta longer, and there are fewer runs to code and to apply.
 *
 * Example: reference all 0, new byte 5 is 7, 8 is 9, 20 is 1
 *	05 01 07 | 02 .. -> the gap 6..7 is two bytes: merged
 *	05 04 07 00 00 09 | 0b 01 01                                           9 bytes
 *
 * Worst case: one byte in four changes: (1 + 1 + 1) / 4 = 0.75 of a page for 1024 runs. A page that
 * changes throughout would be 4096 + 3; above XRLE_SIZE_MAX xrle_encode() gives up and the page goes
 * RAW, so the cost of trying is bounded by one comparison of two pages. Least: 3 bytes.
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
 * Returns its size (>= 3); 0: the pages are equal; -E2BIG: it would not be below @max, or be above
 * XRLE_SIZE_MAX. @max is at most PAGE_BYTES. Should @new change meanwhile, the delta is still well
 * formed and holds the bytes that were read. */
int xrle_encode(const uint8_t *old, const uint8_t *new, uint8_t *out, size_t max);

/* Would xrle_apply() take these bytes? Reads only. 0; -EPROTO: no. */
int xrle_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Write the changed bytes of a delta over @page (PAGE_BYTES). The whole input is checked before
 * anything is written, and at most PAGE_BYTES are written whatever the input is.
 * 0; -EPROTO: not a delta as above (empty, cut, over-long length, length 0, past the page's end,
 * size above PAGE_BYTES); @page is then untouched. */
int xrle_apply(const uint8_t *data, size_t size, uint8_t *page) __attribute__((warn_unused_result));

#endif
