/* dup.h - a page about to be sent: does the standby have the same bytes in another page?
 *
 * Why: copied files, a program that runs twice, freed memory: pages repeat. If the standby has the
 * same bytes in another page, the record only names that page's index: 12 bytes instead of up to
 * 4104.
 *
 *	XXH3-64 of the page   [ tag | slot ]
 *	                               │
 *	table  [ tag page ][ tag page ][ tag page ] ...   8 bytes each, two for each page of the reference
 *	                          └─► page 4711: may it be copied now?
 *	                              is its reference (the standby's version) the same 4096 bytes?
 *
 * An entry is a hint. It may be stale or a collision; only the comparison decides. So entries are
 * never removed, and a table full of wrong entries would only cost speed.
 *
 * docs/wire-format.md 5.9 says which pages a DUP may copy: in an ordinary epoch, a page that has no
 * record after the DUP; in a FULL epoch, a page that had a record before it. Besides, the page's
 * reference must be what the standby has by then: a page that is pinned in the reference still
 * waits for its record. So each page has one of these states in each epoch:
 *
 *	FREE ── expect ──► EXPECTED ── offer ──► OFFERED     A DUP may copy a FREE page (in an
 *	  │                   │ expect once more             ordinary epoch), and an OFFERED page
 *	  │                   └──► REPEATED: never copied,   that is not pinned
 *	  │                        never sent as a copy
 *	  └─ offer (FULL) ─► OFFERED
 *
 * A page that changed little is not looked up: its delta is short. Where almost no pages repeat,
 * only a few are looked up.
 *
 * Where: the encoder, in the order of its records. Threads: the engine's. Allocates in dup_new
 * only.
 */
#ifndef EPOCH_DUP_H
#define EPOCH_DUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch/reference.h"
#include "vmm/page_range.h"

struct dup;

/* For a guest of @n_pages. Finds pages that are in @reference, which is borrowed until dup_free().
 * 0; -ENOMEM. */
int dup_new(uint32_t n_pages, const struct reference *reference, struct dup **ret)
	__attribute__((warn_unused_result));
struct dup *dup_free(struct dup *dup); /* accepts NULL, returns NULL */

/* An epoch begins. @is_allowed: DUP records may be used; if not, dup_offer() returns 0 and
 * dup_expect() does nothing. In an ordinary epoch dup_offer() also returns 0 until dup_expect() was
 * called. */
void dup_begin(struct dup *dup, bool is_full, bool is_allowed);

/* Announce pages of the ordinary epoch just begun: those of the @n_ranges at @ranges, except those
 * whose bit in @skip is set (NULL: none). All calls come before the first page, and together they
 * announce every page of the epoch. Does nothing in a FULL epoch, whose pages are not known
 * beforehand. */
void dup_expect(struct dup *dup, const struct page_range *ranges, uint32_t n_ranges,
		const uint64_t *skip);

/* Page @index will have the next record, or a later one and stay pinned until then. Call this
 * before reference_take() of the page. 1: the next record may be a DUP; 0: it may not; -EINVAL:
 * dup_expect() did not announce the page. */
int dup_offer(struct dup *dup, uint32_t index) __attribute__((warn_unused_result));

/* Page @index, for which dup_offer() returned 1, now has the content @page. @reference and
 * @is_known: what reference_take() gave. If the standby has the same bytes in another page: write
 * the DUP record at @out (DUP_RECORD_BYTES), bring @reference up to date and return the record's
 * size. 0: no such page is known, or a DUP is not worth it. */
#define DUP_RECORD_BYTES 12u
size_t dup_encode(struct dup *dup, uint32_t index, const uint8_t *page, uint8_t *reference,
		  bool is_known, uint8_t *out);

/* Page @index will be offered soon, as @page: prefetch the bytes that dup_encode() reads first. */
void dup_prefetch(const struct dup *dup, uint32_t index, const uint8_t *page);

uint64_t dup_count(const struct dup *dup); /* DUP records since dup_new() */

#endif
