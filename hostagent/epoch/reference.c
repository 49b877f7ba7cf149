#include "epoch/reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "codec/page.h"
#include "codec/zero.h"

#define SLOT_ZERO  UINT32_MAX
#define SLOT_NONE  (UINT32_MAX - 1)
#define HUGE_PAGES 512u /* pages in a huge page */

struct slot {
	uint32_t page; /* the page whose version is in the slot; valid for the first counts.n_used
			* slots */
	bool is_pinned;
	bool is_unknown; /* the standby may have a different version than the slot */
	bool is_used; /* the slot was used since the hand of the CLOCK algorithm last passed it */
};

struct reference {
	uint8_t *pages; /* (size_t)n_slots * PAGE_BYTES */
	struct slot *slots;
	uint32_t *slot_of; /* for each page: its slot, or SLOT_ZERO or SLOT_NONE */
	uint32_t n_pages, n_slots;
	uint32_t n_usable; /* number of slots that may be used: fewer than n_slots after
			    * reference_shed() */
	uint32_t hand;
	struct reference_counts counts;
};

int reference_new(uint32_t n_pages, uint32_t n_slots, struct reference **ret)
{
	struct reference *reference = calloc(1, sizeof(*reference));

	if (!reference)
		return -ENOMEM;
	if (n_slots > n_pages)
		n_slots = n_pages;
	if (n_slots < REFERENCE_SLOTS_MIN)
		n_slots = REFERENCE_SLOTS_MIN;
	reference->n_pages = n_pages;
	reference->n_slots = reference->n_usable = n_slots;
	reference->counts.n_slots = n_slots;
	reference->slots = calloc(n_slots, sizeof(*reference->slots));
	reference->slot_of = malloc((size_t)n_pages * sizeof(*reference->slot_of));
	reference->pages = mmap(NULL, (size_t)n_slots * PAGE_BYTES, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reference->pages == MAP_FAILED)
		reference->pages = NULL;
	if (!reference->slots || !reference->slot_of || !reference->pages) {
		reference_free(reference);
		return -ENOMEM;
	}
	/* A FULL epoch fills the slots. With small pages, each slot costs a fault when it is first
	 * used. Huge pages need fewer faults, and waste nothing, because slots are used from the
	 * first one on. The kernel may ignore this hint. */
	(void)madvise(reference->pages, (size_t)n_slots * PAGE_BYTES, MADV_HUGEPAGE);
	reference_reset(reference);
	*ret = reference;
	return 0;
}

struct reference *reference_free(struct reference *reference)
{
	if (!reference)
		return NULL;
	if (reference->pages)
		(void)munmap(reference->pages,
			     /* cannot fail: we made this mapping */
			     (size_t)reference->n_slots * PAGE_BYTES);
	free(reference->slots);
	free(reference->slot_of);
	free(reference);
	return NULL;
}

void reference_reset(struct reference *reference)
{
	/* With every byte 0xff, each entry is SLOT_ZERO. */
	memset(reference->slot_of, 0xff, (size_t)reference->n_pages * sizeof(*reference->slot_of));
	memset(reference->slots, 0, (size_t)reference->n_slots * sizeof(*reference->slots));
	reference->counts.n_used = 0;
	reference->hand = 0;
}

bool reference_is_zero(const struct reference *reference, uint32_t index)
{
	return reference->slot_of[index] == SLOT_ZERO;
}

/* Find a slot for a page. If there is a slot that was never used, take it. If not, take the first
 * slot after the hand that is neither recently used nor pinned. */
static uint32_t find_slot(struct reference *reference)
{
	if (reference->counts.n_used < reference->n_usable)
		return reference->counts.n_used++;
	for (;;) {
		uint32_t i = reference->hand;
		struct slot *slot = &reference->slots[i];

		reference->hand = i + 1 == reference->n_usable ? 0 : i + 1;
		if (slot->is_pinned)
			continue;
		if (slot->is_used) {
			slot->is_used = false;
			continue;
		}
		/* If the slot has a zero page, slot_of can record this without a slot. */
		reference->slot_of[slot->page] =
			!slot->is_unknown &&
					zero_is_page(reference->pages + (size_t)i * PAGE_BYTES)
				? SLOT_ZERO
				: SLOT_NONE;
		reference->counts.n_replaced++;
		return i;
	}
}

uint8_t *reference_take(struct reference *reference, uint32_t index, bool *ret_is_known)
{
	uint32_t at = reference->slot_of[index];
	bool is_zero = at == SLOT_ZERO, has_slot = at < SLOT_NONE;
	bool is_known = has_slot && !reference->slots[at].is_unknown;
	uint8_t *page;

	if (!has_slot) {
		at = find_slot(reference);
		reference->slot_of[index] = at;
		reference->slots[at].page = index;
	}
	/* Set is_used only when a page is used for the second time, so that pages that were used
	 * once are replaced first. So if a guest writes to all of its memory once, the pages that
	 * it writes often keep their slots. */
	reference->slots[at].is_used = is_known;
	reference->slots[at].is_pinned = true;
	reference->slots[at].is_unknown = false;
	page = reference->pages + (size_t)at * PAGE_BYTES;
	if (is_zero)
		memset(page, 0, PAGE_BYTES);
	reference->counts.n_hits += is_known;
	reference->counts.n_zero_hits += is_zero;
	reference->counts.n_misses += !is_known && !is_zero;
	*ret_is_known = is_known || is_zero;
	return page;
}

void reference_put(struct reference *reference, const uint8_t *page)
{
	reference->slots[(size_t)(page - reference->pages) / PAGE_BYTES].is_pinned = false;
}

const uint8_t *reference_peek(const struct reference *reference, uint32_t index)
{
	uint32_t at = reference->slot_of[index];

	return at < SLOT_NONE && !reference->slots[at].is_unknown
		       ? reference->pages + (size_t)at * PAGE_BYTES
		       : NULL;
}

void reference_forget(struct reference *reference, uint32_t index)
{
	uint32_t at = reference->slot_of[index];

	if (at < SLOT_NONE)
		reference->slots[at].is_unknown = true;
	else
		reference->slot_of[index] = SLOT_NONE;
}

void reference_forget_all(struct reference *reference)
{
	reference_reset(reference);
	for (uint32_t i = 0; i < reference->n_pages; i++)
		reference->slot_of[i] = SLOT_NONE;
}

/* Give the memory of the slots @from .. @to - 1 back to the kernel. */
static void give_back(struct reference *reference, uint32_t from, uint32_t to)
{
	/* Cannot fail: this is our own mapping. When this memory is used again, it contains
	 * zeros. */
	(void)madvise(reference->pages + (size_t)from * PAGE_BYTES,
		      (size_t)(to - from) * PAGE_BYTES, MADV_DONTNEED);
}

uint32_t reference_shed(struct reference *reference, uint32_t n_left, uint32_t n_most)
{
	uint32_t used = reference->counts.n_used, left = used > n_left ? used - n_left : 0;
	uint32_t now = left < n_most ? left : n_most;

	for (uint32_t i = used - now; i < used; i++) {
		reference->slot_of[reference->slots[i].page] = SLOT_NONE;
		reference->slots[i] = (struct slot){0};
	}
	/* The kernel has provided memory for the whole huge page of the last used slot, so give
	 * back the rest of that huge page, too. */
	if (now > 0)
		give_back(reference, used - now,
			  reference->n_slots - used > HUGE_PAGES ? used + HUGE_PAGES
								 : reference->n_slots);
	reference->counts.n_used = used - now;
	/* The reference must not grow again while it is shed. */
	reference->n_usable = reference->counts.n_used;
	if (reference->n_usable < n_left)
		reference->n_usable = n_left < reference->n_slots ? n_left : reference->n_slots;
	if (reference->hand >= reference->n_usable)
		reference->hand = 0;
	return left - now;
}

void reference_grow(struct reference *reference)
{
	reference->n_usable = reference->n_slots;
}

bool reference_is_pinned(const struct reference *reference, uint32_t index)
{
	uint32_t at = reference->slot_of[index];

	return at < SLOT_NONE && reference->slots[at].is_pinned;
}

void reference_get_counts(const struct reference *reference, struct reference_counts *ret_counts)
{
	*ret_counts = reference->counts;
}
