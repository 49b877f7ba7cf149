/* ring_epochs.h - which of a ring's records does the standby have, and what are its hashes worth?
 *
 * Why: records are released when their epoch is committed; hashes are worth something while the
 * standby gets all records (disk/ring.h). Both must stay right when the agent is killed at any
 * moment and the next one finds the ring again. So two epochs are noted in the ring, each before
 * the change that needs it:
 *
 *	COMMITTED  the hashes take for granted that the standby has this epoch
 *	EARLY	   records were released though this FULL epoch was not committed; 0: none
 *
 * If the standby has an epoch before COMMITTED, it has lost its copy. If the epoch EARLY is given
 * up, its released records are lost. In both cases the disk must be copied whole.
 *
 * Where: engine_disks.c. Threads: the ring's reader.
 */
#ifndef EPOCH_RING_EPOCHS_H
#define EPOCH_RING_EPOCHS_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/ring.h"

/* The standby has @epoch, which ends at @cut: release the records before it. A @cut that is not
 * known, since an earlier agent sealed the epoch, is 0: the records go to the standby again. */
void ring_epochs_committed(struct disk_ring *ring, uint64_t epoch, uint64_t cut);

/* Release the records before @pos, which are in frames of the FULL epoch @epoch. */
void ring_epochs_release_early(struct disk_ring *ring, uint64_t epoch, uint64_t pos);

/* The standby says that @epoch is its last. True: it has lost a committed one; the hashes are
 * forgotten, end the mirror and begin it again. */
bool ring_epochs_resumed(struct disk_ring *ring, uint64_t epoch)
	__attribute__((warn_unused_result));

/* A FULL epoch begins, and all that was not committed is given up. True: records are lost; as
 * above. */
bool ring_epochs_full_begins(struct disk_ring *ring) __attribute__((warn_unused_result));

#endif
