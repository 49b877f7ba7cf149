/* reference.h - the standby's version of each page: deltas are taken against it.
 *
 * Why bounded: a whole shadow of guest RAM would double the memory that a protected guest costs its
 * host, while epochs write to a small part of it. So the store holds n_slots pages and replaces by
 * CLOCK (second chance). A page that is not in the store is sent whole, so a delta is never wrong.
 * The standby takes deltas against its whole RAM, so it need not keep such a store in step.
 *
 *	slot_of[page]:  ZERO  the standby has a zero page (no slot needed)
 *	                NONE  it has something, we no longer know what          → send whole
 *	                17    it has slots[17]                                  → send a delta
 *
 *	                 hand ▼
 *	slots  [ A·1 ][ B·0 ][ C·1 ][ free ]   ·1: used since the hand last passed; B goes next
 *
 * Where: the encoder. Threads: the engine's; whoever took a slot may let another thread use its
 * content while it is pinned. Allocates in reference_new only; slots are backed by the kernel as
 * they are first used.
 */
#ifndef EPOCH_REFERENCE_H
#define EPOCH_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFERENCE_SLOTS_MIN 1024u

struct reference;

struct reference_counts {
	uint64_t n_hits;      /* the page was in a slot */
	uint64_t n_zero_hits; /* the standby's page is known to be zero */
	uint64_t n_misses;    /* the page had been replaced: sent whole */
	uint64_t n_replaced;
	uint32_t n_used;      /* slots that hold a page now */
	uint32_t n_slots;
};

/* For @n_pages pages, all known to be zero. @n_slots is raised to REFERENCE_SLOTS_MIN and cut to
 * @n_pages. 0; -ENOMEM. The caller owns *ret, see reference_free. */
int reference_new(uint32_t n_pages, uint32_t n_slots, struct reference **ret)
	__attribute__((warn_unused_result));

/* Accepts NULL; returns NULL. */
struct reference *reference_free(struct reference *reference);

/* Is the standby's version of page @index known to be zero? */
bool reference_is_zero(const struct reference *reference, uint32_t index);

/* Returns the slot of page @index (< n_pages); the caller brings it up to date with what it sends.
 * *ret_is_known: the slot holds the standby's version now; else its content means nothing. The slot
 * is pinned (not replaced) until reference_put(); at most half of the slots may be pinned. Never
 * NULL. */
uint8_t *reference_take(struct reference *reference, uint32_t index, bool *ret_is_known);
void reference_put(struct reference *reference,
		   const uint8_t *page); /* what reference_take() gave */

/* Returns the slot of page @index (< n_pages), to be read only if it is not pinned; borrowed until
 * the next call of reference_take(). NULL: the page has no slot (also if it is known to be
 * zero). */
const uint8_t *reference_peek(const struct reference *reference, uint32_t index);

/* Is page @index in a slot that was taken and not put back? Another thread may be writing that
 * slot. */
bool reference_is_pinned(const struct reference *reference, uint32_t index);

/* A FULL epoch begins: every page counts as zero, none is pinned. */
void reference_reset(struct reference *reference);

void reference_get_counts(const struct reference *reference, struct reference_counts *ret_counts);

#endif
