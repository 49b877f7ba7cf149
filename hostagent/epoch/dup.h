/* dup.h - a page about to be sent: does the standby have the same bytes in another page?
 *
 * Why: copied files, a program that runs twice, freed memory: pages repeat. One that the standby has is
 * named by its index, 12 bytes instead of up to 4104.
 *
 *	XXH3-64 of the page   [ tag | slot ]
 *	                               │
 *	table  [ tag page ][ tag page ][ tag page ] ...   8 bytes each, two for each page of the reference
 *	                          └─► page 4711: may it be copied now?
 *	                              is its reference, that is the standby's page, the same 4096 bytes?
 *
 * An entry is a hint, perhaps stale, perhaps a collision: only the comparison decides. So nothing is ever
 * taken out, and a table of nonsense would cost speed alone.
 *
 * What may be copied is docs/wire-format.md 5.9's: in an ordinary epoch a page that has no record behind
 * the DUP; in a FULL one a page that had one before. Besides, its reference must be what the standby has
 * by then: a page that is pinned there waits for its record. So each page is, in each epoch:
 *
 *	FREE ── expect ──► EXPECTED ── offer ──► OFFERED         FREE in an ordinary epoch, and OFFERED and
 *	  │                   │ expect once more                 not pinned: may be copied
 *	  │                   └──► REPEATED: never copied, nor a copy
 *	  └─ offer (FULL) ─► OFFERED
 *
 * A page of which little changed is not looked at: its delta is short. Where next to nothing repeats, few are.
 *
 * Where: the encoder, in the order of its records. Threads: the engine's. Allocates in dup_new only.
 */
#ifndef EPOCH_DUP_H
#define EPOCH_DUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch/reference.h"
#include "vmm/page_range.h"

struct dup;

/* For a guest of @n_pages and pages that are in @reference, which is borrowed until dup_free().
 * 0; -ENOMEM. */
int dup_new(uint32_t n_pages, const struct reference *reference, struct dup **ret)
	__attribute__((warn_unused_result));
struct dup *dup_free(struct dup *dup); /* accepts NULL, returns NULL */

/* An epoch begins. @is_allowed: DUP records may be used; if not, dup_offer() gives 0 and dup_expect() does
 * nothing. So it is in an ordinary epoch, too, until dup_expect() was called. */
void dup_begin(struct dup *dup, bool is_full, bool is_allowed);

/* The ordinary epoch just begun has the pages of the @n_ranges at @ranges without those whose bit in @skip is
 * set (NULL: none); together with other calls, all before the first page, that is every page it will
 * have. In a FULL epoch, whose pages nobody knows beforehand, nothing. */
void dup_expect(struct dup *dup, const struct page_range *ranges, uint32_t n_ranges,
		const uint64_t *skip);

/* Page @index will have the next record, or a later one and be pinned until then. To be called before it is
 * taken from the reference. 1: the next record may be a DUP; 0: it may not; -EINVAL: dup_expect() left the
 * page out. */
int dup_offer(struct dup *dup, uint32_t index) __attribute__((warn_unused_result));

/* Page @index, offered with 1, is @page now; @reference: what reference_take() gave, and @is_known. If another
 * page is the same over there: write the DUP record at @out (DUP_RECORD_BYTES), bring @reference up to
 * date and return the record's size. 0: no such page is known, or it is not worth it. */
#define DUP_RECORD_BYTES 12u
size_t dup_encode(struct dup *dup, uint32_t index, const uint8_t *page, uint8_t *reference,
		  bool is_known, uint8_t *out);

/* Page @index will be offered soon, as @page: have the CPU fetch what dup_encode() looks at first. */
void dup_prefetch(const struct dup *dup, uint32_t index, const uint8_t *page);

uint64_t dup_count(const struct dup *dup); /* DUP records since dup_new() */

#endif
