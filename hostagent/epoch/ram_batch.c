#include "epoch/ram_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/msg.h"

_Static_assert(VMM_PAGE_BYTES == WIRE_PAGE_SIZE, "a page is a page");

int ram_batch_init(struct ram_batch *batch)
{
	memset(batch, 0, sizeof(*batch));
	batch->pages = malloc((size_t)RAM_BATCH_PAGES * VMM_PAGE_BYTES);
	return batch->pages ? 0 : -ENOMEM;
}

void ram_batch_done(struct ram_batch *batch)
{
	free(batch->pages);
	batch->pages = NULL;
}

static void hash_page(struct ram_batch *batch, uint32_t i, const uint8_t *page)
{
	wire_hash(batch->seed, page, WIRE_PAGE_SIZE, batch->hash + (size_t)i * WIRE_HASH_SIZE);
}

void ram_batch_read(struct ram_batch *batch, uint64_t seed)
{
	batch->seed = seed;
	memset(batch->copied, 0, sizeof(batch->copied));
	for (uint32_t i = 0; i < batch->n; i++)
		hash_page(batch, i, batch->pages + (size_t)i * VMM_PAGE_BYTES);
}

/* For the pages of @range that the batch has: hash their copies, and mark them as copied. @pages:
 * the copies of all pages of @range. */
static void take_range(struct ram_batch *batch, struct page_range range, const uint8_t *pages)
{
	for (uint32_t k = 0; k < range.n_pages; k++) {
		uint32_t i = range.first_page + k - batch->first; /* for a page below the batch, i
								   * wraps to a huge number */

		if (i >= batch->n)
			continue;
		hash_page(batch, i, pages + (size_t)k * VMM_PAGE_BYTES);
		batch->copied[i / 64] |= UINT64_C(1) << i % 64;
	}
}

void ram_batch_sealed(struct ram_batch *batch, const struct seal_pages *pages)
{
	const uint8_t *at = pages->pages;

	for (uint32_t r = 0; r < pages->n_ranges; r++) {
		struct page_range range = pages->ranges[r];

		if (range.first_page < batch->first + batch->n &&
		    batch->first < range.first_page + range.n_pages)
			take_range(batch, range, at);
		at += (size_t)range.n_pages * VMM_PAGE_BYTES;
	}
}

bool ram_batch_is_copied(const struct ram_batch *batch, uint32_t i)
{
	return batch->copied[i / 64] >> i % 64 & 1;
}
