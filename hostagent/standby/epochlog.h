/* epochlog.h - buffer an epoch whole, then apply it so that a kill at any instant tears nothing.
 *
 * Why: promise 2, atomic epochs. The copy in `ram` is changed in place (a second copy would double the
 * guest's memory), so while an epoch is being applied the copy alone is no guest anyone ever saw. What
 * makes it whole again is the epoch itself, kept on tmpfs until the copy says it has it.
 *
 * Where: standby.c feeds frames in and sends what comes out. Uses epochcheck.h (is it right?),
 * ramfile.h (where it goes). Threads: one.
 *
 *	frames ──► epoch-N.part ══ EPOCH_END right ══► epoch-N.complete ──► ack ──► apply ──► meta ──► removed
 *	           appended as       rename(2)          from here on the   ram,     applied=N
 *	           they came                            epoch cannot be    rom,     phase=copy
 *	                                                lost               device
 *
 * A file is the stream as it came: the GEOMETRY frame, EPOCH_BEGIN, PAGES and DEVICE, EPOCH_END, each
 * with its header and checksum; what is behind EPOCH_END is not looked at (a file is used again for a
 * later epoch: its tmpfs pages are there already).
 *
 * Invariants, at every instant (a kill -9 leaves exactly the system calls and stores done so far; they
 * are in program order, since all of it is memory of one host; tmpfs needs no fsync, and what a host
 * crash does to it does not matter, for the guest's memory is gone with it):
 *
 *  L1 A file named .complete holds one whole epoch that passed every check. (rename comes last)
 *  L2 EPOCH_ACK(N) is sent only when epoch-N.complete exists or applied >= N. (ack after rename)
 *  L3 meta.applied = N means: the copy is epoch N, or it is partly N+1 and epoch-(N+1).complete exists.
 *     (apply starts after the rename; meta is replaced after the last store; the file goes after meta)
 *  L4 Applying an epoch from its start again gives the same copy, however far an earlier try came:
 *     - records carry new bytes at given places, never differences, so the last writer of each byte is
 *       the same each time, and a byte that no record writes is not changed;
 *     - a DUP record copies a page that no later record changes, or in a FULL epoch one that had a record
 *       before: the same bytes each time (epochcheck.c, check_dup());
 *     - FULL: pages and pieces whose first record is none or a delta are cleared before anything is
 *       written (deltas there are against zero), so nothing of the old content shows;
 *     - `device` is replaced whole; bytes behind its end count as zero before and after.
 *  L5 A .part is never applied: at open it is removed.
 *  L6 A FULL epoch leaves the old state as it is until its own .complete exists (L3).
 *  L7 Of one term only: an epoch file of another term than meta's is removed at open. meta.applied = 0
 *     means that the copy is worthless and only a FULL epoch may follow.
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
	uint64_t epochs_discarded; /* begun, never completed */
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
	uint64_t reserve_bytes;	     /* of `spare` that keep their pages; 0: none */
	struct epochlog_stats stats;

	/* The epoch being buffered; fd is -1 when there is none. */
	int fd;
	uint64_t epoch;	   /* its number */
	uint64_t bytes;	   /* written so far */

	uint64_t pending; /* complete and not applied; 0: none. At most one. */

	uint8_t geometry_frame[WIRE_FRAME_MAX]; /* last GEOMETRY, as it came: opens each file */
	size_t geometry_size;
};

/* Start on @rf, which holds term rf->meta.term: remove halves and strangers, apply a complete epoch
 * that an earlier process left.
 * @bytes_max: limit of one epoch's file: whole frames.
 * A promoted copy (phase not COPY) is left alone.
 * 0; -EBADMSG: a .complete file does not pass the checks (somebody changed it); -ENOMEM; -errno. */
int epochlog_open(struct ramfile *rf, uint64_t bytes_max, struct epochlog *log)
	__attribute__((warn_unused_result));

/* Keep pages for epochs of up to @bytes, whoever fills the file system later: `spare` has them, and each epoch's file
 * is made of it. Idempotent. 0; -ENOSPC; -errno: as before. */
int epochlog_reserve(struct epochlog *log, uint64_t bytes) __attribute__((warn_unused_result));

/* Give these pages back: no epoch will come. */
void epochlog_give_back(struct epochlog *log);

/* Stop buffering (a .part is removed) and free. The copy and a .complete file stay. */
void epochlog_close(struct epochlog *log);

/* The connection ended or starts anew: forget a half epoch and the geometry. */
void epochlog_reset(struct epochlog *log);

/* Move on to a newer @term: everything buffered and the copy become worthless, phase is COPY. The
 * caller made sure that no guest runs on the copy. 0; -errno: nothing changed. */
int epochlog_set_term(struct epochlog *log, uint64_t term) __attribute__((warn_unused_result));

/* The same by a vote of this host, which is on file when this returns. DIRECT keeps the copy: what is
 * complete is applied, and its number goes on in the new term. UNPROTECTED drops it.
 * 0; -errno: the term and the copy are as they were. */
int epochlog_vote(struct epochlog *log, uint64_t term, enum ramfile_vote vote)
	__attribute__((warn_unused_result));

/* Last complete epoch of the term; 0: none. Applied or about to be. */
uint64_t epochlog_complete(const struct epochlog *log);

/* Take the next frame from the gateway.
 * @ours: what the warm QEMU is (compared with GEOMETRY); NULL: not compared (tests).
 * 1: this was the end of a whole epoch; it is safe: acknowledge epochlog_complete(), then
 *    epochlog_apply(). 0: taken.
 * -EPROTO: refused, nothing of this epoch is kept; send *ret_error as STREAM_ERROR and drop the
 * connection. -errno: could not be stored (*ret_error set, the same to be done). The copy and the
 * epochs before are as they were. */
int epochlog_frame(struct epochlog *log, const struct wire_frame *frame,
		   const struct wire_geometry *ours, struct epochcheck_error *ret_error)
	__attribute__((warn_unused_result));

/* Apply the complete epoch, if there is one. Takes as long as copying its pages. 0: the copy is epoch
 * epochlog_complete(); -EBADMSG: the file does not pass the checks, the copy was not touched;
 * -errno: try again, the epoch stays. */
int epochlog_apply(struct epochlog *log) __attribute__((warn_unused_result));

#endif
