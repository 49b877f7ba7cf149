/* disklog.h - logs the disk writes of acknowledged epochs in a file that outlives a power failure.
 *
 * Why: an epoch is stored on tmpfs until it is applied, and the images are written through the page
 * cache. A power failure of this host destroys both, and can leave an image that is a mixture of
 * two epochs. So before an epoch is acknowledged, its disk writes go into this log, with fdatasync.
 * When the host starts again, the log is replayed into the images. Then the images are the guest's
 * disks at the newest acknowledged epoch.
 *
 * The file has two halves, which are used in turn. Entries follow each other from a half's start:
 *
 *	half 0  [ entry 17 | entry 18 | entry 19 | ...old bytes ]
 *	half 1  [ entry 20 | entry 21 | ...old bytes            ]   ◄── newest: the half replayed
 *	                              ▲ next
 *
 * If an entry does not fit into the current half, it goes to the start of the other half. Before
 * that, the caller writes all earlier epochs to the images' disk (images_sync()). So no earlier
 * entry is needed any more, in either half. If a power failure tears the first entry of the new
 * half, the entries of the old half are still whole.
 *
 * Before a disk is copied for the first time, an entry NO_COPY is made: during that copy the image
 * changes without the log, and is useless to the guest. After the copy, an entry START is made.
 *
 *      usable ── disklog_append(NO_COPY) ──► not usable: changes that are not logged follow
 *	  ▲                                     │
 *	  └── images_sync(), then disklog_append(START) ──┘
 *
 * An entry before a NO_COPY or START is never replayed, because it could undo later changes.
 *
 * The file is filled with zeros when it is made. So an append changes no metadata, and fdatasync
 * costs one write and one flush of the disk.
 *
 * Where: used by durable.c and orders.c. Threads: one at a time. Blocks on the disk.
 */
#ifndef STANDBY_DISKLOG_H
#define STANDBY_DISKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

#define DISKLOG_BYTES_MIN (UINT64_C(1) << 20)
#define DISKLOG_BYTES_MAX (UINT64_C(1) << 40)

struct disklog;

/* What an entry says of the images. The values are stored in the file. */
enum disklog_kind {
	DISKLOG_WRITES	= 1, /* its writes follow those of the entry before it */
	/* the images on the disk have all earlier writes; the writes of this entry follow them */
	DISKLOG_START   = 2,
	DISKLOG_NO_COPY = 3, /* the images are changed without this log; the entry has no writes */
};

/* What the newest entry says. */
struct disklog_state {
	bool is_empty; /* there is no entry: nothing is known of the images */
	bool is_copy;  /* after a replay of the log, the images are the disks of `epoch` */
	uint64_t term;
	uint64_t epoch;
};

/* Open the log @path. If it is missing, make one of @bytes, rounded down so that both halves
 * consist of whole sectors. An existing log keeps its size and its entries. If an entry is torn, it
 * and all that follow are ignored: their epochs were never acknowledged.
 * Returns 0, and the caller closes *ret with disklog_close();
 * -ENOENT: the log is missing and @bytes is 0;
 * -EINVAL: @bytes is out of its limits;
 * -EBADMSG: the file is not a log;
 * -ENOSPC; other -errno.
 * On error *ret_error names the file. */
int disklog_open(const char *path, uint64_t bytes, struct disklog **ret, struct error *ret_error)
	__attribute__((warn_unused_result));
struct disklog *disklog_close(struct disklog *log); /* accepts NULL, returns NULL */

void disklog_get_state(const struct disklog *log, struct disklog_state *ret_state);

/* Call @each with the writes of each entry that is still needed, oldest first. Needed are
 * - the newest START and all entries after it
 * - if the newest half has no START: all entries of that half
 * - if the newest entry is NO_COPY: none.
 * A second replay gives the same images. @each returns 0, or a negative value, which ends the
 * replay. Returns 0; the negative value of @each; -ENOMEM; or -errno of the file. */
typedef int (*disklog_fn)(void *arg, const uint8_t *payload, size_t size);
int disklog_replay(const struct disklog *log, disklog_fn each, void *arg)
	__attribute__((warn_unused_result));

/* Can an entry with @size bytes of payload be appended? */
enum disklog_room {
	DISKLOG_FITS,	    /* yes, at once */
	/* yes, but only after images_sync(): then older entries are not needed any more */
	DISKLOG_NEEDS_SYNC,
	DISKLOG_TOO_LARGE,  /* no: it is larger than a half */
};
enum disklog_room disklog_room(const struct disklog *log, uint64_t size);

/* Append an entry of @kind. @pieces are the disk writes of @epoch in @term. When this returns 0,
 * the entry is on the disk. Call images_sync() before an entry DISKLOG_START, and whenever
 * disklog_room() is DISKLOG_NEEDS_SYNC.
 * Returns 0;
 * -EFBIG: disklog_room() is DISKLOG_TOO_LARGE;
 * other -errno of the file.
 * On error *ret_error names the file. The entry is not in the log, and the caller must not
 * acknowledge the epoch. */
int disklog_append(struct disklog *log, uint64_t term, uint64_t epoch,
		   enum disklog_kind kind, const struct iovec *pieces, size_t n_pieces,
		   struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
