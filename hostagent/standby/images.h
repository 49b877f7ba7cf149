/* images.h - the standby's disk images: raw files, block devices or qcow2 files with the content
 * that the guest's disks had at the end of the last applied epoch.
 *
 * Why: a promoted guest must continue with memory and disks of the same moment. Before the
 * promotion, only this host's agent writes to the images. The warm QEMU has the images open too,
 * but does not read or write them.
 *
 * Where: epochcheck.c compares the records with names and sizes, and apply.c applies the records.
 * epochlog.c opens the images (never after the guest was promoted), promote.c closes them. Threads:
 * one at a time. images_open() and the functions that write can block on the disk.
 *
 *	disks = root:/var/lib/holdfast/web1.raw data:/dev/vg0/web1-data
 *	disks = root:qcow2:/var/lib/holdfast/web1.qcow2
 *
 *	      images_init        images_open (START, an epoch)      images_close (promotion, STOP)
 *	 [names and paths] ────► [open: sizes known, may write] ────► [closed: sizes known]
 *	                              ▲                                        │
 *	                              └────────────────────────────────────────┘
 *
 * Records are written in place, without a journal. If the agent is killed while an epoch is being
 * applied, an image is a mixture of two epochs. But the epoch's file is still stored, and the next
 * agent applies the epoch again from its start (epochlog.h, L3 and L4).
 *
 * A qcow2 image is written through a raw view of it, by a daemon of QEMU's (rawview.h). If this
 * daemon is killed, the image has lost applied epochs. Then images_open() fails until
 * images_forget_loss() is called. Its caller must have dropped the copy, or must replay the disk
 * log.
 */
#ifndef STANDBY_IMAGES_H
#define STANDBY_IMAGES_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "standby/rawview.h"
#include "standby/standby.h"
#include "standby/torn.h"
#include "wire/msg.h"

#define IMAGES_MAX    WIRE_DISKS_MAX
#define IMAGES_SECTOR 512u /* an image's size is a multiple of this */

struct touched;

/* One image. */
struct image {
	char name[WIRE_DISK_NAME_MAX + 1];
	const char *path; /* borrowed */
	bool is_qcow2;
	struct rawview view; /* of a qcow2 image */
	int fd;       /* the image, or the view of a qcow2 image; -1: not open */
	int below_fd; /* qcow2: the image's own file, for images_flush_soon(); -1: not open */
	uint64_t bytes;   /* size of the image when it was last opened; 0: never opened yet */
	/* with inode: identifies the file. For a block device: the device itself, and inode is 0 */
	dev_t device;
	ino_t inode;
	bool is_changed;  /* was written to after the last images_sync() */
	/* Since images_renew(), the kernel has reported that some writes did not reach the disk. */
	bool is_lost;
	bool cannot_zero; /* the file system cannot zero a range, so zeros must be written */
	bool shows_holes; /* the file system says where holes are */
	/* what images_compare() found since images_begin_checks() */
	struct wire_disk_checked checked;
	/* flags of the blocks (TOUCHED_BLOCK_BYTES) that records write; NULL: no drill. Borrowed */
	struct touched *touched;
};

struct images {
	struct image item[IMAGES_MAX];
	uint32_t n;
	bool is_open;
	uint64_t n_records;	/* number of records applied; for statistics */
	uint64_t bytes_written; /* bytes of data that the WRITE records have written */
	uint64_t n_checked, n_differ; /* blocks that images_compare() compared, and that differed */
	uint64_t flushed_ns;	/* when images_flush_soon() last made the kernel write */
	struct torn torn;	/* see torn.h; images_init() zeroes it: nothing is recorded */
};

/* Store the names and paths of @disks, without opening anything. Returns 0. If there are more than
 * IMAGES_MAX, or a name is not valid or occurs twice, returns -EINVAL; *ret_error says which. */
int images_init(struct images *images, const struct standby_disk *disks, uint32_t n,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Name the files for the raw views of qcow2 images. Call this after images_init() if there may be
 * qcow2 images. Returns 0, or -ENAMETOOLONG with *ret_error. */
int images_name_views(struct images *images, const char *run_dir, const char *vm,
		      struct error *ret_error) __attribute__((warn_unused_result));

/* Open every image for writing and read its size. Does nothing if the images are open already.
 * Returns 0; -ENOENT if an image is missing; -EINVAL if an image is neither a regular file nor a
 * block device, is empty, does not consist of whole sectors, or belongs to two disks; -EUCLEAN if
 * a qcow2 image has lost writes; an error of rawview_open(); or another -errno. On error no image
 * is open, and *ret_error names disk and path, and says what to do. If there is a qcow2 image,
 * blocks as long as rawview_open() does. */
int images_open(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Does what images_open() does, but starts no daemon: opens the file of a qcow2 image itself. Only
 * images_sync() may follow, and then the images must be closed. */
int images_open_to_sync(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Close all images; their sizes stay known. Does nothing if they are closed. Accepts a zeroed
 * struct. If there is a qcow2 image, blocks as long as rawview_end() does; its errors are
 * logged. */
void images_close(struct images *images);

/* Do what images_close() does, and also tell if a qcow2 image was not closed, or has lost writes.
 * Returns 0, or an error of rawview_end() with *ret_error. */
int images_hand_over(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Has a daemon that writes a qcow2 image ended by itself? If so, *ret_error says which: the images
 * must be closed. Their writes may be lost (images_have_lost()). */
bool images_have_died(const struct images *images, struct error *ret_error);

/* Fill *ret_fds, for poll(), with descriptors that become readable when a daemon ends. Returns how
 * many there are. */
uint32_t images_watch(const struct images *images, struct pollfd ret_fds[IMAGES_MAX]);

/* Does an image lack writes that were applied to it? If so, *ret_error names it. */
bool images_have_lost(const struct images *images, struct error *ret_error);

/* Allow images_open() again after a loss. The caller must have dropped the copy, or must replay the
 * disk log into the images. */
void images_forget_loss(struct images *images);

/* Check that no other QEMU on this host has locked an image. (A QEMU that may write to an image
 * locks it; the warm QEMU has no locks. A qcow2 image was locked by images_open().) Returns 0, or
 * -EBUSY, and *ret_error names the image. */
int images_check_free(const struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns the image of the disk @name, or NULL if there is none. */
struct image *images_find(struct images *images, const char *name);

/* Check that all bytes of @record are within @image. Returns 0, or -ERANGE if they reach past its
 * end. */
int images_check(const struct image *image, const struct wire_disk_record *record)
	__attribute__((warn_unused_result));

/* Carry out one record. The bytes of ZERO and DISCARD read as zeros afterwards. Returns 0 if the
 * page cache has the new content of all bytes;
 * -EBADF: the images are closed;
 * -ERANGE: see images_check();
 * other -errno: some bytes can still be old, so the epoch must be applied again.
 * On error *ret_error names disk, path and offset. */
int images_apply(struct images *images, struct image *image, const struct wire_disk_record *record,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* Forget the results in `checked` of all images. Called when an epoch begins to be applied. */
void images_begin_checks(struct images *images);

/* Compare the image with a HASH record, and add the result to `checked`. Bytes that cannot be read
 * count as different. The images must be open. Each difference is logged. Reads through the page
 * cache: if the cache has a block, wrong bytes on the disk are not found. */
void images_compare(struct images *images, struct image *image,
		    const struct wire_disk_record *record);

/* images_next_data(): find the next part of the image that has data, from @at up to @end. Returns
 * the part's offset, and sets *ret_end to its end; returns @end if there is none. If the file
 * cannot say where its holes are (a block device cannot), all counts as data.
 * images_settle(): write the range to the disk, and drop it from the page cache as far as the
 * kernel allows. images_read() then reads what the disk really has: after lost writes, the cache
 * can still have content that the disk lacks. Returns 0; -errno if the disk does not take the
 * cached content.
 * images_read(): read. Returns 0 or -errno. */
uint64_t images_next_data(const struct image *image, uint64_t at, uint64_t end, uint64_t *ret_end);
int images_settle(const struct image *image, uint64_t offset, uint64_t bytes)
	__attribute__((warn_unused_result));
int images_read(const struct image *image, uint8_t *data, size_t bytes, uint64_t offset)
	__attribute__((warn_unused_result));

/* Call this when a new copy begins: forgets that earlier writes did not reach the disk. The new
 * copy leaves out only blocks that were read back from the disk (base.h). If the disk is still
 * broken, the next images_sync() fails. */
void images_renew(struct images *images);

/* Make the kernel begin to write the applied changes to the disk, at most once a second. This
 * leaves little for images_sync() to do at a promotion. Usually does not wait for the disk. */
void images_flush_soon(struct images *images, uint64_t now_ns);

/* Write all applied changes to the disk (fdatasync), including those that an earlier agent applied.
 * Call this before the guest runs on the images: data that the guest synced on the primary must be
 * on the disk here. The images must be open. Returns 0, or -EIO if some changes did not reach the
 * disk. *ret_error then names disk and path, and every later call fails too, until
 * images_renew(). */
int images_sync(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
