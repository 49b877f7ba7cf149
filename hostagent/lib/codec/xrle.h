/* xrle.h - encodes a changed page as a delta: runs of changed bytes, found by an XOR with the
 * reference.
 *
 * Problem: most dirty pages differ in only a few bytes from what the standby has. A page sent whole
 * costs 4 KiB. General compressors (LZ4, zstd) do not know the old content, so their output is
 * still most of a page. They are also ten times slower than reading memory.
 *
 * Assumptions: both sides have the same reference. Changed bytes come in runs, in most cases with
 * at least 3 equal bytes between two runs. A byte is "equal" if it is the same in both pages. The
 * format is that of XBZRLE. A delta has the NEW bytes, never XOR values ("overwrite form"), so
 * applying a delta twice gives the same page. So a standby that crashed while it applied an epoch
 * can apply the whole epoch again.
 *
 * Code table. A delta consists of one or more groups of three fields:
 *
 *	equal	  ULEB128   number of bytes to leave as they are; 0 only in the first
 *	changed   ULEB128   n_changed >= 1
 *	bytes	  n_changed the page's new bytes
 *
 *	length 0..127      0vvvvvvv
 *	length 128..4095   1vvvvvvv 000vvvvv   low 7 bits first; shorter lengths must use one byte
 *
 * All bytes after the last run are equal; their length is not sent. The sum of all lengths is <=
 * 4096. A gap of 1 or 2 equal bytes between changed bytes is always sent as changed bytes: a new
 * group would need at least 2 bytes for its lengths. By this rule each pair of pages has exactly
 * one delta, so all SIMD forms give the same bytes.
 *
 * Example: reference all 0, new byte 5 is 7, 8 is 9, 20 is 1
 *	05 04 07 00 00 09 | 0b 01 01                                           9 bytes
 * The gap of bytes 6 and 7 is short, so they are sent as changed bytes in one run with 5 and 8.
 *
 * Sizes: the shortest delta has 3 bytes. If every fourth byte has changed, there are 1024 groups of
 * 3 bytes (two lengths, one changed byte), so the delta takes 3/4 of a page. If all bytes have
 * changed, the delta would take 4096 + 3 bytes. As soon as a delta would exceed XRLE_SIZE_MAX,
 * xrle_encode() gives up, and the page is sent RAW. Measurements: docs/epoch-engine.md, section
 * "Codes"; `tests/bench/run codec`.
 *
 * Threads: any (the only state is the SIMD form, which is chosen before main(), see simd.h). Never
 * allocates.
 */
#ifndef CODEC_XRLE_H
#define CODEC_XRLE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

/* The longest delta that is sent. A longer delta would save too little to be worth decoding. With
 * this limit the encoder can store whole vectors and needs no more room than a RAW page. */
#define XRLE_SIZE_MAX (PAGE_BYTES - 64)

/* Write to @out the delta that turns @old into @new. @old and @new: PAGE_BYTES each, any alignment,
 * not overlapping @out.
 * @out: PAGE_BYTES of room, all of which can be overwritten.
 * @max: at most PAGE_BYTES.
 * Returns the delta's size (>= 3); 0: the pages are equal; -E2BIG: the delta would have @max bytes
 * or more, or more than XRLE_SIZE_MAX. If the guest changes @new during the call, the delta is
 * still valid, and has the bytes that were read. */
int xrle_encode(const uint8_t *old, const uint8_t *new, uint8_t *out, size_t max);

/* Check whether xrle_apply() would accept these bytes. Writes nothing. Returns 0: yes; -EPROTO:
 * no. */
int xrle_check(const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Apply a delta: write its changed bytes to @page (PAGE_BYTES). The whole delta is checked before
 * anything is written, and no input can make it write outside of @page.
 * Returns 0. If the bytes are not a delta as defined above, returns -EPROTO and does not touch
 * @page. Reasons:
 * - the delta is empty or truncated, or @size is above PAGE_BYTES
 * - a length is 0, or has more bytes than it needs
 * - a run goes past the page's end */
int xrle_apply(const uint8_t *data, size_t size, uint8_t *page) __attribute__((warn_unused_result));

#endif
