/* ring_epochs.h - which of a ring's records does the standby have, and are the ring's hashes (one
 * for each block of the disk) valid?
 *
 * Why: records are released when their epoch is committed. Hashes are valid while the standby gets
 * all records (disk/ring.h). Even if the agent is killed, the next agent must know both. So two
 * epochs are stored in the ring, each before the change that needs it:
 *
 *	COMMITTED  the hashes take for granted that the standby has this epoch
 *	EARLY	   records were released before this FULL epoch was committed; 0: none
 *
 * If the standby's last epoch is older than COMMITTED, the standby has lost its copy. If the epoch
 * EARLY is given up, its released records are lost. In both cases the disk must be copied whole.
 *
 * Where: engine_disks.c. Threads: the ring's reader.
 */
#ifndef EPOCH_RING_EPOCHS_H
#define EPOCH_RING_EPOCHS_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/ring.h"

/* Record that the standby has @epoch. Release the records before @cut, the position at which that
 * epoch ends. If an earlier agent sealed the epoch, @cut is not known and must be 0: the records go
 * to the standby again. */
void ring_epochs_committed(struct disk_ring *ring, uint64_t epoch, uint64_t cut);

/* Release the records before @pos. They are in frames of the FULL epoch @epoch. */
void ring_epochs_release_early(struct disk_ring *ring, uint64_t epoch, uint64_t pos);

/* Record that @epoch is the standby's last. Returns true if the standby has lost a committed epoch.
 * In this case the hashes are forgotten, and the caller must end the mirror and begin it again. */
bool ring_epochs_resumed(struct disk_ring *ring, uint64_t epoch)
	__attribute__((warn_unused_result));

/* Called when a FULL epoch begins and all that was not committed is given up. Returns true if
 * records are lost. In this case the caller must do the same as after a lost epoch. */
bool ring_epochs_full_begins(struct disk_ring *ring) __attribute__((warn_unused_result));

#endif
