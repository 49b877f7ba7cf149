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
 * If the standby's last epoch is older than COMMITTED, the standby has lost its copy, and all
 * hashes are forgotten. If the epoch EARLY is given up, its released records are lost. Then QEMU
 * must read all of the disk again. But only the hashes of the blocks in these records are
 * forgotten, if the agent still knows the blocks (struct ring_early); a new agent does not.
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

/* The blocks whose records were put into the current FULL epoch. All zero: they are not known. */
struct ring_early {
	uint64_t *bits; /* one for each block; NULL: not known */
	uint64_t n_blocks;
};

/* Were records released for a FULL epoch that is not committed? They are lost if it is given up. */
bool ring_epochs_has_early(const struct disk_ring *ring);

/* Called when a FULL epoch begins and all that was not committed is given up. If
 * ring_epochs_has_early(), forgets the hashes of the blocks in @early. Forgets all hashes if these
 * blocks are not known, or if @has_writer: a writer runs. Returns true if records are lost. In this
 * case the caller must end the mirror and begin it again. Empties @early for the new epoch; without
 * memory, its blocks will not be known. */
bool ring_epochs_full_begins(struct disk_ring *ring, struct ring_early *early, bool has_writer)
	__attribute__((warn_unused_result));

/* Note that @record was put into the FULL epoch. Does nothing if @early is not known. */
void ring_early_add(struct ring_early *early, const struct disk_record *record);
void ring_early_free(struct ring_early *early);

#endif
