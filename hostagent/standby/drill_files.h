/* drill_files.h - makes a second copy of the guest (memory and disks of one epoch) for a drill
 * (drill.h), while epochs go on changing the first copy.
 *
 *	standby's thread                         drill's thread
 *	drill_files_begin ─────────────────────► drill_files_prepare
 *	epochs: touched_set()                    drill_files_pass, until little is left
 *	drill_files_finish: the rest   ◄──────── waits
 *	                                         drill_files_remove
 *	drill_files_detach, drill_files_end
 *
 * Where: drill.c. Threads: see the drawing. The two threads never use *f at the same time, except
 * for the flags (touched.h).
 */
#ifndef STANDBY_DRILL_FILES_H
#define STANDBY_DRILL_FILES_H

#include <stdint.h>

#include "base/error.h"
#include "standby/images.h"
#include "standby/ramfile.h"
#include "standby/room.h"
#include "standby/touched.h"

#define DRILL_PATH_MAX	  512

/* A disk's second copy. */
struct drill_disk {
	char path[DRILL_PATH_MAX];  /* path of the second copy */
	char image[DRILL_PATH_MAX]; /* path of the image that it copies */
	int from_fd, fd; /* the image and the second copy; -1: not open */
	uint64_t unsynced; /* bytes written to fd that the disk may not have yet */
	uint64_t bytes;
	struct touched *blocks; /* flags of the blocks, TOUCHED_BLOCK_BYTES each */
	dev_t device; /* with inode: identifies the second copy; set when it is made */
	ino_t inode;
};

struct drill_files {
	struct ramfile from; /* own mappings of the copy; only for ramfile_page() and the layout */
	struct ramfile to;
	struct touched *pages;
	struct drill_disk disk[IMAGES_MAX];
	uint32_t n_disks;
	char dir[sizeof(((struct ramfile *)0)->dir)];
	struct room room;
	/* the first copy's term when the drill began */
	uint64_t term;
	/* epoch of the second copy; valid after drill_files_finish() */
	uint64_t epoch;
};

/* Begin to note what epochs change in @rf and @images. @dir: the directory for the disks' second
 * copies; @vm: a part of their names.
 * Returns 0 (call drill_files_detach() and drill_files_end() later);
 * -ENODATA: there is no copy;
 * -ENOTSUP: a disk is qcow2;
 * -ENAMETOOLONG; -ENOMEM; other -errno.
 * On error nothing is left, and *ret_error says what to do. */
int drill_files_begin(struct drill_files *f, struct ramfile *rf, struct images *images,
		      const char *dir, const char *vm, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Reserve memory and disk space, and make the files of the second copy. Blocks for 0.3 s per GiB of
 * RAM. Returns 0;
 * -ENOSPC: there is too little space on tmpfs or in @dir of drill_files_begin();
 * -ENOMEM: this host cannot spare the memory;
 * -ECANCELED: *@cancel became true;
 * other -errno.
 * On error except -ECANCELED *ret_error says why. */
int drill_files_prepare(struct drill_files *f, const _Atomic bool *cancel, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Copy what was changed since the last pass; the first pass copies everything. Returns how many
 * bytes were changed again meanwhile;
 * -ECANCELED: *@cancel became true, so the pass ended early;
 * other -errno, with *ret_error. */
int64_t drill_files_pass(struct drill_files *f, const _Atomic bool *cancel,
			 struct error *ret_error) __attribute__((warn_unused_result));

/* Returns how many bytes have changed since they were copied. */
int64_t drill_files_left(const struct drill_files *f);

/* Copy what is left, and the device state. Before this, the caller applies all complete epochs;
 * during this call it applies none. Returns 0;
 * -ESTALE: the first copy was dropped, or its term has changed since the drill began;
 * other -errno.
 * On error *ret_error says why. */
int drill_files_finish(struct drill_files *f, struct ramfile *rf, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Stop noting what epochs change. */
void drill_files_detach(struct ramfile *rf, struct images *images);

/* Remove the second copy's files, which takes 0.25 s per GiB of RAM. Meanwhile the standby's thread
 * may still note changes. */
void drill_files_remove(struct drill_files *f);

/* Free *f. Call this after drill_files_detach(). */
void drill_files_end(struct drill_files *f);

/* Remove the files that a killed agent has left of a drill. Because this can take long, it goes on
 * in the background, on a thread of its own. */
void drill_files_sweep(const struct ramfile *rf, const struct images *images, const char *dir,
		       const char *vm);

#endif
