/* ram_batch.h - hashes some consecutive pages of the guest's memory, as they are at the end of an
 * epoch.
 *
 * Why: the standby can only compare hashes of what a page contains at a seal. While the guest is
 * stopped, there is no time to read pages for this. So the pages are read before the seal:
 *
 *	          read, hash                 seal of epoch n
 *	guest ───────┬───────────────────────────┬──────────────►
 *	page A       not written                              the hash is right
 *	page B              written: the seal has a copy      its hash is made anew, from the copy
 *
 * The tracker reports every page that was written between two seals (vmm/track.h). So a page that
 * the seal did not copy had the same content when it was read. If the tracker missed a write, or
 * the standby lost one, the hashes differ. To find this is the purpose of the comparison. No page
 * of the batch is left out, however often the guest writes it.
 *
 * Where: engine_verify_ram.c. Pure, except that ram_batch_init() allocates. Threads: one at a time.
 */
#ifndef EPOCH_RAM_BATCH_H
#define EPOCH_RAM_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "epoch/seal.h"
#include "wire/limits.h"

#define RAM_BATCH_PAGES 256u /* 1 MiB: reading and hashing them takes some 0.5 ms */
_Static_assert(RAM_BATCH_PAGES <= WIRE_RAM_HASHES_MAX, "a batch fits a RAM_HASH");

struct ram_batch {
	uint8_t *pages; /* RAM_BATCH_PAGES pages, as they were read */
	uint64_t seed;
	uint32_t first, n; /* the batch has the pages first .. first + n - 1 */
	uint64_t copied[RAM_BATCH_PAGES / 64]; /* bit i: the seal has copied the i-th page of the
						* batch */
	uint8_t hash[RAM_BATCH_PAGES * WIRE_HASH_SIZE];
};

/* Allocate the pages of @batch. Returns 0 or -ENOMEM. The caller must free the pages with
 * ram_batch_done(). */
int ram_batch_init(struct ram_batch *batch) __attribute__((warn_unused_result));
void ram_batch_done(struct ram_batch *batch); /* accepts a zeroed struct */

/* Call this when the pages first .. first + n - 1 have been read into batch->pages. Hashes them
 * with @seed. */
void ram_batch_read(struct ram_batch *batch, uint64_t seed);

/* Report pages that the seal has copied. If pages of the batch are among @pages, their copies are
 * hashed. If a page occurs twice, in one call or in two, the later copy counts. So first pass the
 * pages that were copied before the pause, then those that were copied in the pause. */
void ram_batch_sealed(struct ram_batch *batch, const struct seal_pages *pages);

/* Has the seal copied the @i-th page of the batch? */
bool ram_batch_is_copied(const struct ram_batch *batch, uint32_t i);

#endif
