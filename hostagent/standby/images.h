/* images.h - the standby's disk images: raw files or block devices that hold what the guest's disks
 * had at the last applied epoch.
 *
 * Why: a promoted guest goes on with memory and disks of the same moment. The warm QEMU has the
 * images open too, but inactive: it neither reads nor writes them before the promotion. Until then
 * this host's agent is the only writer.
 *
 * Where: epochcheck.c asks for names and sizes, apply.c applies the records, epochlog.c opens the
 * images when it must write and refuses to once the guest was promoted, promote.c closes them.
 * Threads: one at a time. images_open() and the functions that write may block on the disk.
 *
 *	disks = root:/var/lib/holdfast/web1.raw data:/dev/vg0/web1-data
 *
 *	      images_init        images_open (START, an epoch)      images_close (promotion, STOP)
 *	 [names and paths] ────► [open: sizes known, may write] ────► [closed: sizes known, no writes]
 *	                              ▲                                        │
 *	                              └────────────────────────────────────────┘
 *
 * Records are written in place, without a journal. A kill in the middle of an epoch leaves an image
 * between two epochs; the epoch is kept and applied again from its start (epochlog.h, L3 and L4).
 */
#ifndef STANDBY_IMAGES_H
#define STANDBY_IMAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "standby/standby.h"
#include "wire/msg.h"

#define IMAGES_MAX    WIRE_DISKS_MAX
#define IMAGES_SECTOR 512u /* an image's size is a multiple of this */

/* One image. */
struct image {
	char name[WIRE_DISK_NAME_MAX + 1];
	const char *path; /* borrowed */
	int fd;		  /* -1: not open */
	uint64_t bytes;	  /* size of the image when it was last open; 0: never yet */
	dev_t device;	  /* the file, or the block device itself; valid while open */
	ino_t inode;
	bool is_changed;  /* has writes that images_sync() has not brought to the disk */
	bool is_lost;	  /* the kernel said that writes did not reach the disk */
	bool cannot_zero; /* its file system zeroes no ranges: write zeros */
};

struct images {
	struct image item[IMAGES_MAX];
	uint32_t n;
	bool is_open;
	uint64_t n_records;	/* records applied; for statistics */
	uint64_t bytes_written; /* bytes of data written by them */
	uint64_t flushed_ns;	/* when images_flush_soon() last did something */
};

/* Take the names and paths of @disks; nothing is opened. Returns 0, or -EINVAL if there are more
 * than IMAGES_MAX, or a name is not valid or occurs twice; *ret_error says which. */
int images_init(struct images *images, const struct standby_disk *disks, uint32_t n,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Open every image for writing and learn its size. Does nothing if they are open. Returns 0;
 * -ENOENT if an image is missing; -EINVAL if one is neither a regular file nor a block device, has
 * no size or one that is not of whole sectors, or belongs to two disks; other -errno. On error no
 * image is open, and *ret_error names disk and path, and says what to do. */
int images_open(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Close all images; the sizes stay known. Accepts a zeroed struct, and one that is closed. */
void images_close(struct images *images);

/* Check that no other QEMU on this host has locked an image, as one does that may write to it. The
 * warm QEMU has no locks. Returns 0, or -EBUSY; then *ret_error names the image. */
int images_check_free(const struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns the image of the disk @name, or NULL if there is none. */
struct image *images_find(struct images *images, const char *name);

/* Check that @record is within @image. Returns 0, or -ERANGE if it reaches past the end. */
int images_check(const struct image *image, const struct wire_disk_record *record)
	__attribute__((warn_unused_result));

/* Carry out one record. The bytes of ZERO and DISCARD read as zeros afterwards. Returns 0 once all
 * of its bytes have their new content in the page cache; -EBADF if the images are closed; -ERANGE;
 * other -errno, after which some bytes may be old, so the epoch must be applied again. On error
 * *ret_error names disk, path and offset. */
int images_apply(struct images *images, struct image *image, const struct wire_disk_record *record,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* Let the kernel begin to write what was applied, at most once a second, so that images_sync() at a
 * promotion has little to do. Does not wait for the disk as a rule. */
void images_flush_soon(struct images *images, uint64_t now_ns);

/* Bring all that was applied to the disk (fdatasync), by an earlier agent too. Call this before the
 * guest runs on the images: what it synced on the primary is on the disk then. The images are open.
 * Returns 0, or -EIO if some of it did not reach the disk; then *ret_error names disk and path, and
 * every later call of this agent fails again. */
int images_sync(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
