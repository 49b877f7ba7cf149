/* reference.h - stores the versions of pages that the standby has. A delta is the difference to
 * such a version.
 *
 * A copy of all guest RAM would double the memory that a protected guest needs. But epochs change
 * only a small part of RAM. So the reference has only n_slots slots for pages, and reuses them by
 * the CLOCK (second chance) algorithm. A page that has no slot is sent whole. The standby has a
 * copy of all RAM, so the standby needs no such store.
 *
 *	slot_of[page]:  ZERO  the standby has a zero page (no slot needed)
 *	                NONE  the standby has a version that we no longer know  → send whole
 *	                17    the standby has the version in slots[17]          → send a delta
 *
 *	                 hand ▼
 *      slots  [ A·1 ][ B·0 ][ C·1 ]   ·1: used since the hand last passed. B's slot is reused next
 *
 * Where: used by the encoder. Threads: the engine's. While a slot is pinned, one other thread can
 * use the slot's content. Allocates in reference_new only; the kernel provides the memory of a slot
 * when it is first used.
 */
#ifndef EPOCH_REFERENCE_H
#define EPOCH_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFERENCE_SLOTS_MIN 1024u

struct reference;

struct reference_counts {
	uint64_t n_hits;      /* how often the page was in a slot */
	uint64_t n_zero_hits; /* how often the standby's page was known to be zero */
	uint64_t n_misses;    /* how often the standby's version was not known, so that the page was
			       * sent whole */
	uint64_t n_replaced;
	uint32_t n_used;      /* number of slots that have a page now */
	uint32_t n_slots;
};

/* Make a reference for @n_pages pages, all known to be zero. It has @n_slots slots, but at most
 * @n_pages, and in any case at least REFERENCE_SLOTS_MIN. Returns 0 or -ENOMEM. The caller must
 * free *ret with reference_free(). */
int reference_new(uint32_t n_pages, uint32_t n_slots, struct reference **ret)
	__attribute__((warn_unused_result));

/* Free @reference. Accepts NULL; returns NULL. */
struct reference *reference_free(struct reference *reference);

/* Is the standby's version of page @index known to be zero? */
bool reference_is_zero(const struct reference *reference, uint32_t index);

/* Return the slot of page @index (< n_pages); never NULL. *ret_is_known is true if the slot has the
 * standby's version. If false, the slot's content is undefined. The caller must store in the slot
 * the version that it sends. Until reference_put() the slot is pinned: it is not reused for another
 * page. At most half of the slots may be pinned at a time. */
uint8_t *reference_take(struct reference *reference, uint32_t index, bool *ret_is_known);
/* Unpin a slot. @page: what reference_take() returned. */
void reference_put(struct reference *reference,
		   const uint8_t *page);

/* Return the slot of page @index (< n_pages), or NULL if there is no slot with the standby's
 * version, for example because the page is known to be zero. The slot is valid until the next
 * reference_take(). If the slot is pinned, do not read its content. */
const uint8_t *reference_peek(const struct reference *reference, uint32_t index);

/* Is the slot of page @index pinned (taken and not put back)? Then another thread may be writing to
 * the slot. */
bool reference_is_pinned(const struct reference *reference, uint32_t index);

/* Record that the standby's version of page @index (< n_pages, not pinned) is no longer known. */
void reference_forget(struct reference *reference, uint32_t index);
/* Record that the standby's version of every page is no longer known. No slot may be pinned. */
void reference_forget_all(struct reference *reference);

/* Forget pages, those in the highest slots first, until only @n_left slots are used (at least
 * REFERENCE_SLOTS_MIN). One call forgets at most @n_most pages. It gives their memory back to the
 * kernel, which takes about 0.2 s for each GiB. From now on the reference does not grow, until
 * reference_grow(). No slot may be pinned. Returns how many more pages must be forgotten. */
uint32_t reference_shed(struct reference *reference, uint32_t n_left, uint32_t n_most);
void reference_grow(struct reference *reference);

/* Begin a FULL epoch: every page counts as zero, and no slot is pinned. */
void reference_reset(struct reference *reference);

void reference_get_counts(const struct reference *reference, struct reference_counts *ret_counts);

#endif
