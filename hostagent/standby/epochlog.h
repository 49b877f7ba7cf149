/* epochlog.h - buffer an epoch whole, then apply it so that a kill at any instant tears nothing.
 *
 * Why: promise 2, atomic epochs. The copy in `ram` is changed in place (a second copy would double
 * the guest's memory). So while an epoch is being applied, the copy is a mixture that the guest
 * never was. The epoch itself can make it whole again: it is kept on tmpfs until meta says that the
 * copy has it.
 *
 * Where: standby.c feeds frames in and sends the acknowledgements. Uses epochcheck.h (is the epoch
 * right?) and ramfile.h (the copy). Threads: one.
 *
 *	frames ──► epoch-N.part ══ EPOCH_END right ══► epoch-N.complete ──► ack ──► apply ──► meta ──► removed
 *	           appended as       rename(2)          from here on the   ram,     applied=N
 *	           they came                            epoch cannot be    rom,     phase=copy
 *	                                                lost               device
 *
 * A file is the stream as it came: the GEOMETRY frame, EPOCH_BEGIN, PAGES and DEVICE, EPOCH_END,
 * each with its header and checksum. Bytes after EPOCH_END are ignored (a file is used again for a
 * later epoch, since its tmpfs pages are there already).
 *
 * The invariants below hold at every instant. A kill -9 leaves exactly the system calls and stores
 * done so far, in program order, since all of it is memory of one host. tmpfs needs no fsync: a
 * crash of the host loses the guest's memory anyway.
 *
 *  L1 A file named .complete holds one whole epoch that passed every check. (rename comes last)
 *  L2 EPOCH_ACK(N) is sent only when epoch-N.complete exists or applied >= N. (ack after rename)
 *  L3 meta.applied = N means: the copy is epoch N, or it is partly N+1 and epoch-(N+1).complete exists.
 *     (apply starts after the rename; meta is replaced after the last store; then the file goes)
 *  L4 Applying an epoch from its start again gives the same copy, however far an earlier try came:
 *     - records carry new bytes at given places, never differences, so the last writer of each byte is
 *       the same each time, and a byte that no record writes is not changed;
 *     - a DUP record copies a page that no later record changes, or in a FULL epoch one that had a record
 *       before: the same bytes each time (epochcheck.c, check_dup());
 *     - FULL: pages and pieces that have no record, or whose first record is a delta, are cleared
 *       before anything is written (such deltas are against zero), so no old content is left;
 *     - `device` is replaced whole; bytes behind its end count as zero before and after.
 *  L5 A .part is never applied: at open it is removed.
 *  L6 A FULL epoch leaves the old state as it is until its own .complete exists (L3).
 *  L7 All files are of one term: an epoch file of another term than meta's is removed at open.
 *     meta.applied = 0 means that the copy is worthless and only a FULL epoch may follow.
 */
#ifndef STANDBY_EPOCHLOG_H
#define STANDBY_EPOCHLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "standby/epochcheck.h"
#include "standby/ramfile.h"
#include "wire/frame.h"

/* Counters since open; for statistics. */
struct epochlog_stats {
	uint64_t epochs_complete;
	uint64_t epochs_full;	   /* of those, FULL ones */
	uint64_t epochs_discarded; /* begun but never completed */
	uint64_t epochs_refused;   /* STREAM_ERRORs */
	uint64_t frames_dropped;   /* of an older generation */
	uint64_t bytes_buffered;   /* of complete epochs, headers counted */
	uint64_t pages_applied;	   /* page records */
	uint64_t apply_last_ns, apply_max_ns, apply_total_ns;
	uint64_t n_applied;
};

struct epochlog {
	struct ramfile *rf; /* borrowed; the directory and the copy */
	struct epochcheck check;
	uint64_t bytes_max;	     /* of one epoch's file */
	uint64_t reserve_bytes;	     /* how much of `spare` keeps its pages; 0: none */
	struct epochlog_stats stats;

	/* The epoch being buffered; fd is -1 when there is none. */
	int fd;
	uint64_t epoch;	   /* its number */
	uint64_t bytes;	   /* written so far */

	uint64_t pending; /* the one epoch that is complete but not applied; 0: none */

	uint8_t geometry_frame[WIRE_FRAME_MAX]; /* last GEOMETRY, as it came: opens each file */
	size_t geometry_size;
};

/* Start on @rf, which holds term rf->meta.term: remove unfinished and stale epochs, apply a
 * complete epoch that an earlier process left. @bytes_max: limit of one epoch's file: whole frames.
 * A promoted copy (phase not COPY) is left alone.
 * 0; -EBADMSG: a .complete file does not pass the checks (somebody changed it); -ENOMEM; -errno. */
int epochlog_open(struct ramfile *rf, uint64_t bytes_max, struct epochlog *log)
	__attribute__((warn_unused_result));

/* Keep pages for epochs of up to @bytes, even if the file system is full later: `spare` has these
 * pages, and each epoch's file is made of it. Idempotent. 0; -ENOSPC; other -errno; on error
 * nothing changed. */
int epochlog_reserve(struct epochlog *log, uint64_t bytes) __attribute__((warn_unused_result));

/* Give the reserved pages back: no epoch will come. */
void epochlog_give_back(struct epochlog *log);

/* Stop buffering (a .part is removed) and free. The copy and a .complete file stay. */
void epochlog_close(struct epochlog *log);

/* The connection ended or starts anew: forget the unfinished epoch and the geometry. */
void epochlog_reset(struct epochlog *log);

/* Move on to a newer @term: buffered epochs and the copy become worthless, the phase is COPY. The
 * caller must have made sure that no guest runs on the copy. 0; -errno: nothing changed. */
int epochlog_set_term(struct epochlog *log, uint64_t term) __attribute__((warn_unused_result));

/* Move on to a newer @term by a vote of this host; the vote is on file when this returns. DIRECT
 * keeps the copy: a complete epoch is applied, and epoch numbers go on in the new term. UNPROTECTED
 * drops the copy.
 * 0; -errno: the term and the copy are as they were. */
int epochlog_vote(struct epochlog *log, uint64_t term, enum ramfile_vote vote)
	__attribute__((warn_unused_result));

/* Last complete epoch of the term; 0: none. Applied or about to be. */
uint64_t epochlog_complete(const struct epochlog *log);

/* Take the next frame from the gateway.
 * @ours: the warm QEMU's geometry, compared with GEOMETRY; NULL: not compared (tests).
 * 1: this was the end of a whole epoch, which is safe now: acknowledge epochlog_complete(), then
 * call
 *    epochlog_apply(). 0: taken.
 * -EPROTO: refused, nothing of this epoch is kept; send *ret_error as STREAM_ERROR and drop the
 * connection. Other -errno: the frame could not be stored; do the same. On error the copy and the
 * epochs before are as they were. */
int epochlog_frame(struct epochlog *log, const struct wire_frame *frame,
		   const struct wire_geometry *ours, struct epochcheck_error *ret_error)
	__attribute__((warn_unused_result));

/* Apply the complete epoch, if there is one. Takes as long as copying its pages. 0: the copy is
 * epoch epochlog_complete(); -EBADMSG: the file does not pass the checks, the copy was not touched;
 * -errno: try again, the epoch stays. */
int epochlog_apply(struct epochlog *log) __attribute__((warn_unused_result));

#endif
