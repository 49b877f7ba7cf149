/* dup.h - finds out whether the standby already has the bytes of a page in another page.
 *
 * Why: many pages have the same content as another page: a file was copied, a program runs twice or
 * memory was freed. If the standby has a page's bytes in another page, we send a DUP record with
 * the index of that other page. A DUP record takes 12 bytes instead of up to 4104.
 *
 *	XXH3-64 of the page   [ tag | slot ]
 *	                               │
 *	table  [ tag page ][ tag page ][ tag page ] ...   8 bytes per entry; it has twice as many
 *	                          │                       entries as the reference has slots
 *	                          └─► page 4711: may it be copied now?
 *                                    is its reference (the standby's version) the same 4096 bytes?
 *
 * An entry is only a hint: it can be stale, or have a colliding hash. So the bytes are always
 * compared. A wrong entry costs time, but causes no error. Entries are never removed.
 *
 * A DUP record may name a page as its source only under three rules (docs/wire-format.md 5.9):
 * - Ordinary epoch: the source page has no record in the epoch after the DUP record.
 * - FULL epoch: the source page has a record in the epoch before the DUP record.
 * - When the standby handles the DUP record, the standby's source page has the bytes that our
 *   reference for that page has now. So the source page must not be pinned: a pinned page's record
 *   is not written yet.
 *
 * To follow these rules, each page has one of four states in each epoch:
 *
 *      FREE ── expect ──► EXPECTED ── offer ──► OFFERED     A DUP can copy a FREE page (in an
 *        │                   │ expect once more             ordinary epoch), and an OFFERED page
 *        │                   └──► REPEATED: never copied,   that is not pinned
 *        │                        never sent as a copy
 *        └─ offer (FULL) ─► OFFERED
 *
 * A page in which only a few bytes have changed is not looked up, because its delta is short
 * anyway.
 *
 * Where: used by the encoder, in the order of its records. Threads: the engine's. Allocates in
 * dup_new only.
 */
#ifndef EPOCH_DUP_H
#define EPOCH_DUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch/reference.h"
#include "vmm/page_range.h"

struct dup;

/* Make a table for a guest of @n_pages pages. Only pages whose version is in @reference can be
 * found as a source. @reference is borrowed until dup_free(). Returns 0 or -ENOMEM. */
int dup_new(uint32_t n_pages, const struct reference *reference, struct dup **ret)
	__attribute__((warn_unused_result));
struct dup *dup_free(struct dup *dup); /* accepts NULL, returns NULL */

/* Begin an epoch. If @is_allowed is false, the epoch has no DUP records: dup_offer() returns 0 and
 * dup_expect() does nothing. In an ordinary epoch, dup_offer() also returns 0 until dup_expect()
 * has been called. */
void dup_begin(struct dup *dup, bool is_full, bool is_allowed);

/* Announce the pages of @ranges for the ordinary epoch just begun, except pages whose bit in @skip
 * is set (NULL: no exceptions). Announce every page of the epoch before the first dup_offer(), in
 * one or more calls. In a FULL epoch, does nothing, because its pages are not known beforehand. */
void dup_expect(struct dup *dup, const struct page_range *ranges, uint32_t n_ranges,
		const uint64_t *skip);

/* Announce that page @index gets a record. Call this before reference_take() for this page. If
 * other records are written before this page's record, the page must stay pinned in the reference
 * until its record is written. Returns
 *      1        the page's record can be a DUP
 *      0        the page's record cannot be a DUP
 *      -EINVAL  dup_expect() did not announce the page */
int dup_offer(struct dup *dup, uint32_t index) __attribute__((warn_unused_result));

/* Look for another page with the content @page, which is the new content of page @index. Call this
 * only if dup_offer() returned 1. @reference and @is_known are what reference_take() gave. If such
 * a page is found, writes the DUP record to @out (DUP_RECORD_BYTES bytes), copies that page's bytes
 * to @reference, and returns the record's size. Otherwise, or if a DUP record is not worth it,
 * returns 0. */
#define DUP_RECORD_BYTES 12u
size_t dup_encode(struct dup *dup, uint32_t index, const uint8_t *page, uint8_t *reference,
		  bool is_known, uint8_t *out);

/* Prefetch the bytes that dup_encode() will read first for page @index with the content @page. Call
 * this shortly before dup_offer(). */
void dup_prefetch(const struct dup *dup, uint32_t index, const uint8_t *page);

uint64_t dup_count(const struct dup *dup); /* number of DUP records since dup_new() */

#endif
