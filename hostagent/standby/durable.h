/* durable.h - decides what of each epoch goes into the disk log. With the log, the guest's disks of
 * the newest acknowledged epoch outlive a power failure of both hosts.
 *
 * Why: the disk log (disklog.h) is a file with entries. Which entry an epoch needs depends on three
 * things: the content of the images, the newest entry of the log, and whether output is held.
 *
 *	epoch arrives			its entry, before it is acknowledged
 *	-------------			------------------------------------
 *	UNHELD (a first copy)		NO_COPY, unless the log says that already
 *	held, follows the last entry	WRITES; nothing if it has no writes
 *	held, does not follow it	images_sync(), then START with its writes
 *	larger than half of the log	NO_COPY; after it is applied: images_sync(), then START
 *
 * All disks of the VM use one log. With a log per disk, a power failure could leave two logs that
 * end at different epochs.
 *
 * If images_sync() fails, `meta` says "disks=lost" (ramfile.h). From then on no agent appends a
 * START for this copy. The entries in the log stay valid. A new copy is not affected.
 *
 * A kill of the agent at any step is harmless: the copy on tmpfs tells the next agent what is
 * applied. The first held epoch that the next agent receives is logged as a START. After a power
 * failure and a replay, the images have the newest logged epoch. This is the newest acknowledged
 * epoch, or the epoch after it, whose acknowledgement was not sent yet.
 *
 * Where: epochlog.c reports the epochs, promote.c reports the promotion, orders.c recovers. Uses
 * disklog.h and images.h. Threads: one. Blocks on the disk.
 */
#ifndef STANDBY_DURABLE_H
#define STANDBY_DURABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "standby/disklog.h"
#include "standby/images.h"
#include "standby/ramfile.h"

/* Which bytes of an epoch's file are DISK frames. */
struct durable_span {
	uint64_t offset, bytes;
};

struct durable {
	struct disklog *log; /* NULL: there is none */
	struct images *images; /* borrowed */
	struct ramfile *rf;    /* tests use its `step` function; borrowed */
	uint64_t n_entries;    /* number of entries written; for statistics */
	uint64_t append_ns;    /* how long the last entry took, until it was on the disk */

	/* The newest stored epoch, if a replay of the log brings the images to this epoch; else
	 * 0. */
	uint64_t logged;
	/* the stored epoch is too large for the log: append a START when it is applied */
	bool must_start;

	/* The epoch that is arriving. */
	bool is_unheld;
	struct durable_span *spans;
	size_t n_spans, n_room;
	uint64_t bytes; /* size of all spans together */
};

/* Open the log @path for the disks @images. If the log is missing, make one of @bytes; if @bytes is
 * 0, open none. Does nothing if a log is open already. Before the first call, *d must be zeroed.
 * Returns 0 or the error of disklog_open(), with *ret_error. */
int durable_open(struct durable *d, struct ramfile *rf, struct images *images, const char *path,
		 uint64_t bytes, struct error *ret_error) __attribute__((warn_unused_result));
void durable_close(struct durable *d); /* accepts a zeroed struct, and one that is closed */

/* Replay the log into the images, and write the images to the disk. Call this after a crash of the
 * host, and before a guest boots from the images. Call it only if the copy on tmpfs is gone, and
 * never if the guest was promoted here. If the log is empty or its newest entry is NO_COPY, does
 * nothing. The images are closed afterwards.
 * Returns 1: the images now have the content of *ret_state's epoch;
 * 0: there was nothing to replay;
 * -EBUSY: another QEMU uses an image;
 * other -errno.
 * On error *ret_error says why. */
int durable_recover(struct durable *d, struct disklog_state *ret_state, struct error *ret_error)
	__attribute__((warn_unused_result));

/* If there is a log, write the images to the disk. If that fails, record it in `meta` (disks_lost),
 * because the kernel reports lost writes only once. Without a log, does nothing, because after a
 * power failure nothing would be known of the images anyway. Blocks. Returns 0, or -errno with
 * *ret_error. */
int durable_sync(struct durable *d, struct error *ret_error) __attribute__((warn_unused_result));

/* Call this when an epoch begins. @is_unheld: the epoch has the flag UNHELD. */
void durable_begin(struct durable *d, bool is_unheld);
/* Call this when a DISK frame is appended to the epoch's file at @offset. Returns 0 or -ENOMEM. */
int durable_frame(struct durable *d, uint64_t offset, uint64_t bytes)
	__attribute__((warn_unused_result));

/* Append the log entry that @epoch of @term needs (see the table above). The file @fd contains the
 * whole epoch. The caller has applied all earlier epochs; @applied is the last of them. Returns 0:
 * the epoch may be acknowledged;
 * -errno, with *ret_error: the epoch must be refused. */
int durable_complete(struct durable *d, int fd, uint64_t term, uint64_t epoch, uint64_t applied,
		     struct error *ret_error) __attribute__((warn_unused_result));
/* Call this when the epoch is stored: durable_complete() has succeeded, and the epoch's file has
 * its final name. */
void durable_stored(struct durable *d, uint64_t epoch);
/* Call this when the stored epoch is applied. Returns 0. If the images cannot be written to the
 * disk, returns -errno with *ret_error; the next epoch tries again. */
int durable_applied(struct durable *d, uint64_t term, uint64_t epoch, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Call this when epochs may be missing, or when a new term begins: the next held epoch then makes a
 * START. */
void durable_forget(struct durable *d);

/* Append a NO_COPY. Call this before the guest itself runs on the images, and before epochs are
 * applied without the log. Does nothing if the log is empty or ends with NO_COPY. Returns 0 or
 * -errno with *ret_error. */
int durable_end(struct durable *d, struct error *ret_error) __attribute__((warn_unused_result));

#endif
