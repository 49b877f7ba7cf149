#include "epoch/ring_epochs.h"

#include <stdlib.h>

void ring_epochs_committed(struct disk_ring *ring, uint64_t epoch, uint64_t cut)
{
	if (epoch > disk_ring_note(ring, DISK_RING_NOTE_COMMITTED))
		disk_ring_set_note(ring, DISK_RING_NOTE_COMMITTED, epoch);
	disk_ring_release(ring, cut);
	/* Do not clear EARLY (the FULL epoch for which records were released early) if @epoch is
	 * older: the commit of an older epoch can arrive while the FULL epoch is being made. */
	if (epoch >= disk_ring_note(ring, DISK_RING_NOTE_EARLY))
		disk_ring_set_note(ring, DISK_RING_NOTE_EARLY, 0);
}

void ring_epochs_release_early(struct disk_ring *ring, uint64_t epoch, uint64_t pos)
{
	disk_ring_set_note(ring, DISK_RING_NOTE_EARLY, epoch);
	disk_ring_release(ring, pos);
}

bool ring_epochs_resumed(struct disk_ring *ring, uint64_t epoch)
{
	if (epoch >= disk_ring_note(ring, DISK_RING_NOTE_COMMITTED)) {
		ring_epochs_committed(ring, epoch, 0);
		return false;
	}
	disk_ring_forget_hashes(ring);
	disk_ring_set_note(ring, DISK_RING_NOTE_COMMITTED, epoch);
	return true;
}

/* ---- a FULL epoch */

#define WORD_BITS 64u

bool ring_epochs_has_early(const struct disk_ring *ring)
{
	return disk_ring_note(ring, DISK_RING_NOTE_EARLY) != 0;
}

static void forget(struct disk_ring *ring, const struct ring_early *early, bool has_writer)
{
	if (!early->bits || has_writer) {
		disk_ring_forget_hashes(ring);
		return;
	}
	for (uint64_t i = 0; i < early->n_blocks; i++) {
		if (early->bits[i / WORD_BITS] >> i % WORD_BITS & 1)
			disk_ring_forget_block(ring, i);
	}
}

bool ring_epochs_full_begins(struct disk_ring *ring, struct ring_early *early, bool has_writer)
{
	bool is_lost = ring_epochs_has_early(ring);

	if (is_lost) {
		forget(ring, early, has_writer);
		disk_ring_set_note(ring, DISK_RING_NOTE_EARLY, 0);
	}
	ring_early_free(early);
	early->n_blocks = (disk_ring_disk_bytes(ring) + DISK_RING_BLOCK_BYTES - 1) /
			  DISK_RING_BLOCK_BYTES;
	early->bits = calloc(early->n_blocks / WORD_BITS + 1, sizeof(*early->bits));
	return is_lost;
}

void ring_early_add(struct ring_early *early, const struct disk_record *record)
{
	uint64_t last = (record->offset + record->bytes - 1) / DISK_RING_BLOCK_BYTES;

	for (uint64_t i = record->offset / DISK_RING_BLOCK_BYTES;
	     early->bits && i <= last && i < early->n_blocks; i++)
		early->bits[i / WORD_BITS] |= UINT64_C(1) << i % WORD_BITS;
}

void ring_early_free(struct ring_early *early)
{
	free(early->bits);
	early->bits = NULL;
}
