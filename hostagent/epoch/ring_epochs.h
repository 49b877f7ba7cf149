/* ring_epochs.h - decides whether the hashes in a disk's ring (one for each block of the disk) are
 * still valid.
 *
 * To release a record is to remove it from the ring. This is normally done after its epoch was
 * committed. The hashes are valid only if the standby has all released records (disk/ring.h). To
 * find out whether this is so, the next agent must know what was released, even if this agent is
 * killed. So the ring stores the numbers of two epochs:
 *
 *      COMMITTED  the newest epoch whose records were released after its commit
 *      EARLY      the FULL epoch for which records were released before its commit; 0: none
 *
 * Each number is stored before the records are released.
 *
 * If the standby's last epoch is older than COMMITTED, the standby has lost its copy, and all
 * hashes are forgotten. If the epoch EARLY is given up, its released records are lost. Then the
 * hashes of their blocks (struct ring_early) are forgotten, and QEMU reads the whole disk again, so
 * that these blocks are sent again. A new agent does not have this struct, so it forgets all
 * hashes.
 *
 * Where: engine_disks.c. Threads: the ring's reader.
 */
#ifndef EPOCH_RING_EPOCHS_H
#define EPOCH_RING_EPOCHS_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/ring.h"

/* Record that the standby has @epoch, and release the records before @cut, the position at which
 * @epoch ends. If an earlier agent sealed @epoch, that position is not known: @cut must be 0,
 * nothing is released, and the records go to the standby again. */
void ring_epochs_committed(struct disk_ring *ring, uint64_t epoch, uint64_t cut);

/* Release the records before @pos, although the FULL epoch @epoch, which has them in its frames, is
 * not committed. */
void ring_epochs_release_early(struct disk_ring *ring, uint64_t epoch, uint64_t pos);

/* Record that @epoch is the standby's last epoch. If the standby has lost a committed epoch,
 * forgets the hashes and returns true: the caller must then end the mirror and begin it again. */
bool ring_epochs_resumed(struct disk_ring *ring, uint64_t epoch)
	__attribute__((warn_unused_result));

/* The blocks whose records were put into the current FULL epoch. A zeroed struct: they are not
 * known. */
struct ring_early {
	uint64_t *bits; /* one for each block; NULL: not known */
	uint64_t n_blocks;
};

/* Were records released early, for a FULL epoch that is not committed? If this epoch is given up,
 * they are lost. */
bool ring_epochs_has_early(const struct disk_ring *ring);

/* Called when a FULL epoch begins, and all epochs that are not committed are given up. Returns true
 * if released records are lost (ring_epochs_has_early()): the caller must then end the mirror and
 * begin it again. In this case forgets the hashes of the blocks in @early. If these blocks are not
 * known, or a writer runs (@has_writer), forgets all hashes. In any case empties @early for the new
 * epoch. If memory is short, the new epoch's blocks will not be known. */
bool ring_epochs_full_begins(struct disk_ring *ring, struct ring_early *early, bool has_writer)
	__attribute__((warn_unused_result));

/* Add the blocks of @record, which was put into the FULL epoch. Does nothing if the blocks are not
 * known. */
void ring_early_add(struct ring_early *early, const struct disk_record *record);
void ring_early_free(struct ring_early *early);

#endif
