/* xrle.h - encodes a changed page as a delta: runs of changed bytes, found by an XOR with the
 * reference.
 *
 * Problem: an epoch's dirty pages differ in only a few bytes from what the standby has: counters,
 * list links, stack frames, the lines of one database row. A page sent whole costs 4 KiB. General
 * compressors (LZ4, zstd) do not know the old content, so their output is still most of a page.
 * They also run at a tenth of the speed at which memory can be read.
 *
 * Assumptions: both sides have the same reference. Changed bytes come in runs, and in most cases at
 * least 3 equal bytes lie between two runs. A byte is "equal" if XOR(old, new) is zero there. The
 * format is that of XBZRLE, as published: three fields that repeat, namely the number of equal
 * bytes, the number of changed bytes, and the changed bytes. A delta holds the NEW bytes, never XOR
 * values ("overwrite form"), so applying it twice gives the same page. If a crash interrupts an
 * apply, applying the epoch again from its start therefore repairs the pages.
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
 * 4096. Each pair of pages has exactly one delta, so all SIMD forms give the same bytes. To make
 * the delta unique, a gap of 1 or 2 equal bytes between changed bytes is always sent as changed
 * bytes. A gap that is sent as equal bytes costs at least 2 bytes of lengths. So this rule never
 * makes a delta longer, and it leaves fewer runs.
 *
 * Example: reference all 0, new byte 5 is 7, 8 is 9, 20 is 1
 *	05 04 07 00 00 09 | 0b 01 01                                           9 bytes
 * The gap of bytes 6 and 7 is short, so they are sent as changed bytes in one run with 5 and 8.
 *
 * Worst case: one byte in four changes. Each run of 1 byte also needs two lengths of 1 byte, so the
 * 1024 runs take 3/4 of a page. A page that changes throughout would take 4096 + 3 bytes.
 * xrle_encode() gives up as soon as a delta would exceed XRLE_SIZE_MAX, and the page is then sent
 * RAW. The shortest delta has 3 bytes.
 *
 * Measured size and speed: docs/epoch-engine.md, section "Codes". `tests/bench/run codec` measures
 * them again.
 *
 * Threads: any (the only state is the SIMD form, which is chosen before main(), see simd.h). Never
 * allocates.
 */
#ifndef CODEC_XRLE_H
#define CODEC_XRLE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

/* The longest delta that is sent: a longer one saves too little to be worth decoding. With this
 * limit the encoder can store whole vectors and needs no more room than a RAW page. */
#define XRLE_SIZE_MAX (PAGE_BYTES - 64)

/* Write the delta that turns @old into @new to @out. @old and @new: PAGE_BYTES each, any alignment,
 * not overlapping @out.
 * @out: PAGE_BYTES of room, all of which can be overwritten.
 * Returns the delta's size (>= 3); 0 if the pages are equal; or -E2BIG if the delta would have @max
 * bytes or more, or more than XRLE_SIZE_MAX. @max is at most PAGE_BYTES. If the guest changes @new
 * during the call, the delta is still well formed and holds the bytes that were read. */
int xrle_encode(const uint8_t *old, const uint8_t *new, uint8_t *out, size_t max);

/* Check whether xrle_apply() would accept these bytes. Writes nothing. Returns 0 if it would, else
 * -EPROTO. */
int xrle_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Apply a delta: write its changed bytes to @page (PAGE_BYTES). The whole delta is checked before
 * anything is written, and no input can make it write outside of @page.
 * Returns 0; -EPROTO if the bytes are not a delta as defined above (empty, truncated, a length with
 * more bytes than it needs, a length of 0, a run past the page's end, @size above PAGE_BYTES);
 * @page is then untouched. */
int xrle_apply(const uint8_t *data, size_t size, uint8_t *page) __attribute__((warn_unused_result));

#endif
