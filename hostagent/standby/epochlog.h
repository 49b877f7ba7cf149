/* epochlog.h - buffers a whole epoch, then applies it to the copy. Whenever the agent is killed,
 * the copy is a whole epoch, or can be completed to one.
 *
 * Why: Holdfast promises atomic epochs. The copy in the file `ram` is changed in place, because a
 * second copy would need as much memory again. So while an epoch is being applied, the copy is a
 * mixture of two epochs. If the agent is killed at that time, the next agent applies the epoch
 * again from its start. So the epoch's file stays on tmpfs until `meta` says that the epoch was
 * applied.
 *
 * Where: stream.c passes in the frames and sends the acknowledgements. Uses epochcheck.h (to check
 * the epoch), ramfile.h (the copy) and images.h (the guest's disks). Threads: one.
 *
 *	frames ──► epoch-N.part ══ EPOCH_END right ══► epoch-N.complete ──► ack ──► apply ──► meta ──► removed
 *	           appended as       rename(2)          from here on the   ram,     applied=N
 *	           they came                            epoch cannot be    rom,     phase=copy
 *	                                                lost               disks,
 *	                                                                   device
 *
 * A file contains the frames as they arrived: GEOMETRY, EPOCH_BEGIN, PAGES, DEVICE, DISK, CLOCK,
 * RAM_HASH and EPOCH_END. Each frame has its header and checksum. Files are used again for later
 * epochs, because their tmpfs pages are allocated already. So there can be bytes of an earlier
 * epoch after EPOCH_END; they are ignored.
 *
 * The invariants below are true at every instant. All files are in this host's memory (disk images:
 * in its page cache). So after a kill -9, exactly the system calls and stores that were made have
 * taken effect, in program order. The files on tmpfs need no fsync: a crash of the host loses the
 * guest's memory anyway. Until a promotion the disk images need no fsync either: the disk log has
 * all that they can lose (L9).
 *
 *  L1 A file named .complete contains one whole epoch that has passed every check.
 *  L2 EPOCH_ACK(N) is sent only if epoch-N.complete exists or applied >= N.
 *  L3 If meta.applied = N, copy and disks are epoch N, or a mixture of epochs N and N+1. In the
 *     second case epoch-(N+1).complete exists. The order of the steps ensures this: rename to
 *     .complete, apply to memory and disks, replace `meta`, remove the file.
 *  L4 An epoch can be applied again from its start at any time, with the same result:
 *     - A record sets bytes to new values, whatever the old values are. So each byte gets its
 *       final value from the same record each time. Other bytes are not changed.
 *     - A DUP record copies the same bytes each time (epochcheck.c, check_dup()). In an ordinary
 *       epoch no later record changes its source page. In a FULL epoch an earlier record has set
 *       the source page.
 *     - In a FULL epoch, a page (or a piece of the device blob) without a record is cleared. If its
 *       first record is a delta, it is cleared before that. Old content is left only in a page
 *       whose first record is KEEP: nothing changes it before that record.
 *     - `device` is replaced as a whole. Bytes after the end of `device` count as zero, both before
 *       and after the replacement.
 *     - Records of a disk are applied in the order in which they came. So if two records overlap,
 *       the bytes of the later one remain, each time. A FULL epoch clears nothing on a disk: bytes
 *       that no record covers stay as they are.
 *  L5 A .part is never applied. At open it is removed or becomes `spare`.
 *  L6 Until the .complete of an epoch exists, the epoch changes neither the copy nor the disks
 *     (L3). This is true of FULL epochs, too.
 *  L7 All files are of one term. epochlog_open() removes epoch files whose term is not meta's.
 *     If meta.applied = 0, the copy is worthless, and the next epoch must be FULL. The disks have
 *     the content of no known epoch, so the primary must send all blocks that differ from its own
 *     disks, or all blocks.
 *  L8 After a promotion has begun, this agent writes to no disk. This module applies epochs and
 *     opens images only in phase COPY. promote.c closes the images before QEMU can write to them.
 *  L9 With a disk log, the log's newest entry covers each acknowledged epoch (durable.h). An
 *     epoch's entry is on the disk before the epoch's file is named .complete. If the agent is
 *     killed in between, that epoch was never acknowledged. The next entry is then a START, and so
 *     the entry before it is not replayed any more.
 */
#ifndef STANDBY_EPOCHLOG_H
#define STANDBY_EPOCHLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "standby/durable.h"
#include "standby/epochcheck.h"
#include "standby/ramfile.h"
#include "wire/frame.h"

/* Counters for statistics, since epochlog_open(). */
struct epochlog_stats {
	uint64_t epochs_complete;
	uint64_t epochs_full;	   /* how many of the complete epochs were FULL */
	uint64_t epochs_discarded; /* epochs that were begun but never completed */
	uint64_t epochs_refused;   /* epochs for which a STREAM_ERROR was sent */
	uint64_t frames_dropped;   /* dropped frames of an older generation */
	uint64_t bytes_buffered;   /* size of all complete epochs, with headers */
	uint64_t pages_applied;	   /* number of page records applied */
	uint64_t apply_last_ns, apply_max_ns, apply_total_ns;
	uint64_t n_applied;
};

struct epochlog {
	struct ramfile *rf; /* the directory and the copy; borrowed */
	struct images *images; /* the guest's disks; borrowed; NULL: none */
	/* the disk log; borrowed; NULL: none (epochlog_open() sets NULL) */
	struct durable *durable;
	struct epochcheck check;
	uint64_t bytes_max;	     /* largest size of one epoch's file */
	/* how many bytes at the start of `spare` stay reserved; 0: none */
	uint64_t reserve_bytes;
	struct epochlog_stats stats;

	/* The epoch being buffered; fd is -1 when there is none. */
	int fd;
	uint64_t epoch;	   /* number of the epoch */
	uint64_t bytes;	   /* bytes written so far */

	/* why the last failed attempt to apply an epoch, or to open the images, has failed */
	struct error why;

	uint64_t pending; /* number of the epoch that is complete but not yet applied; 0: none */

	/* the last GEOMETRY as it arrived: the first frame of each file */
	uint8_t geometry_frame[WIRE_FRAME_MAX];
	size_t geometry_size;
};

/* Open the log of the copy @rf. Remove the unfinished and stale epochs that an earlier process left
 * (an unfinished one can become `spare`). If that process left a complete epoch of the term
 * rf->meta.term, apply this epoch. A promoted copy (phase not COPY) is not changed.
 * @images: the guest's disks, opened when an epoch must be checked or applied; NULL: the guest has
 * none.
 * @bytes_max: largest size of one epoch's file, with the headers of all frames.
 * Returns 0;
 * -EBADMSG: something has changed a .complete file, so it does not pass the checks;
 * -ENOMEM; other -errno.
 * On error log->why says why. */
int epochlog_open(struct ramfile *rf, struct images *images, uint64_t bytes_max,
		  struct epochlog *log) __attribute__((warn_unused_result));

/* Reserve pages for epochs of up to @bytes. Such epochs can then be stored even if the file system
 * is full. The pages belong to `spare`, the file that each epoch uses again. Idempotent. Returns 0,
 * -ENOSPC or another -errno. On error the reserve is as before. */
int epochlog_reserve(struct epochlog *log, uint64_t bytes) __attribute__((warn_unused_result));

/* Free the reserved pages. Call this when no epochs will arrive any more. */
void epochlog_give_back(struct epochlog *log);

/* Stop buffering, which removes a .part or makes it `spare`, and free *log's memory. The copy and a
 * .complete file stay. */
void epochlog_close(struct epochlog *log);

/* Forget the unfinished epoch and the geometry. Call this when the connection has ended or starts
 * again. */
void epochlog_reset(struct epochlog *log);

/* Enter @term. Drop the buffered epochs, and forget the old copy: the next epoch must be FULL. The
 * phase becomes COPY, in which epochs are applied. The caller must make sure that no guest runs on
 * the copy. Returns 0 or -errno. On error nothing has changed. */
int epochlog_set_term(struct epochlog *log, uint64_t term) __attribute__((warn_unused_result));

/* Drop the buffered epochs, and forget the copy, but keep the term and the vote. Returns 0 or
 * -errno. On error nothing has changed. */
int epochlog_drop_copy(struct epochlog *log) __attribute__((warn_unused_result));

/* Like epochlog_drop_copy(), but for use before epochlog_open(), so that epochlog_open() finds no
 * stored epoch to apply. Returns 0 or -errno. On error some stored epochs may be left. */
int epochlog_discard(struct ramfile *rf) __attribute__((warn_unused_result));

/* Enter a newer @term because this host votes for it. When this returns 0, the vote is in the file
 * `meta`. After a DIRECT vote the copy stays: a complete epoch is applied to it first, and the new
 * term continues its epoch numbers. After an UNPROTECTED vote the copy is dropped. Returns 0 or
 * -errno. On error this host has not voted, and its term is as before. */
int epochlog_vote(struct epochlog *log, uint64_t term, enum ramfile_vote vote)
	__attribute__((warn_unused_result));

/* Returns the last complete epoch of the term, which is applied or waits to be applied; 0: none. */
uint64_t epochlog_complete(const struct epochlog *log);

/* Check and store the next frame of the stream. @ours: the warm QEMU's geometry; a GEOMETRY frame
 * that differs from it is refused. NULL (in tests): the geometry is not compared. Returns
 * - 0: the frame was stored, or dropped because it is of an older generation;
 * - 1: this frame completed an epoch, which cannot be lost any more. Acknowledge epoch
 *   epochlog_complete(), then call epochlog_apply();
 * - -EPROTO: the frame is refused, and nothing of its epoch is kept;
 * - other -errno: the frame could not be stored, an image could not be opened, or the epoch before
 *   could not be applied.
 * On error send *ret_error as STREAM_ERROR, and close the connection. No earlier epoch is lost. */
int epochlog_frame(struct epochlog *log, const struct wire_frame *frame,
		   const struct wire_geometry *ours, struct epochcheck_error *ret_error)
	__attribute__((warn_unused_result));

/* If the complete epoch is not applied yet, apply it to the copy and the disks. Takes as long as
 * copying the epoch's pages, and can wait for the disks.
 * Returns 0: copy and disks have the state of epoch epochlog_complete();
 * -EBADMSG: the epoch's file is not valid;
 * -EBUSY: the guest was promoted;
 * other -errno: the epoch is still stored, so try again.
 * On error log->why says why. */
int epochlog_apply(struct epochlog *log) __attribute__((warn_unused_result));

#endif
