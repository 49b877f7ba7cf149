#include "epoch/ring_epochs.h"

void ring_epochs_committed(struct disk_ring *ring, uint64_t epoch, uint64_t cut)
{
	if (epoch > disk_ring_note(ring, DISK_RING_NOTE_COMMITTED))
		disk_ring_set_note(ring, DISK_RING_NOTE_COMMITTED, epoch);
	disk_ring_release(ring, cut);
	/* The commit of an older epoch can arrive while the FULL epoch is being made. */
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

bool ring_epochs_full_begins(struct disk_ring *ring)
{
	if (disk_ring_note(ring, DISK_RING_NOTE_EARLY) == 0)
		return false;
	disk_ring_forget_hashes(ring);
	disk_ring_set_note(ring, DISK_RING_NOTE_EARLY, 0);
	return true;
}
