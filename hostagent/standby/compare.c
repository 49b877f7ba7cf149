#include "standby/compare.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"

void compare_begin(struct ramfile *rf)
{
	rf->checked = (struct wire_ram_checked){0};
}

/* Log which page differs: the block's name, and the offset in the block. */
static void log_page(const struct ramfile *rf, uint32_t page)
{
	uint64_t left = page;

	for (uint32_t i = 0; i < rf->geometry.n_blocks; i++) {
		const struct wire_block *block = &rf->geometry.blocks[i];
		uint64_t n_pages = block->size_bytes / WIRE_PAGE_SIZE;

		if (left < n_pages) {
			log_limited(LOG_LEVEL_ERROR,
				    "%s: page %" PRIu32 " of the copy, block %s at byte %" PRIu64
				    ", is not the primary's: it sends it again",
				    rf->dir, page, block->name, left * WIRE_PAGE_SIZE);
			return;
		}
		left -= n_pages;
	}
}

static void compare_page(struct ramfile *rf, uint32_t page, uint64_t seed, const uint8_t *expected)
{
	struct wire_ram_checked *checked = &rf->checked;
	const uint8_t *ours = ramfile_page(rf, page);
	uint8_t hash[WIRE_HASH_SIZE];

	checked->n_checked++;
	rf->n_checked++;
	wire_hash(seed, ours, WIRE_PAGE_SIZE, hash);
	if (memcmp(hash, expected, sizeof(hash)) == 0)
		return;
	if (checked->n_differ < WIRE_RAM_DIFFER_MAX)
		checked->page[checked->n_differ] = page;
	checked->n_differ++;
	rf->n_differ++;
	log_page(rf, page);
}

int compare_frame(struct ramfile *rf, const struct wire_frame *frame)
{
	struct wire_ram_hash hash;

	if (wire_ram_hash_decode(frame, &hash, NULL) < 0 || hash.first_page >= rf->n_pages ||
	    hash.n_pages > rf->n_pages - hash.first_page)
		return -EBADMSG;
	for (uint32_t i = 0; i < hash.n_pages; i++)
		compare_page(rf, hash.first_page + i, hash.seed,
			     hash.hashes + (size_t)i * WIRE_HASH_SIZE);
	return 0;
}
