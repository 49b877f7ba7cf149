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
 * Records are written in place, without a journal. If the agent is killed while it applies an
 * epoch, an image is a mixture of two epochs. But the epoch's file is still stored, and the next
 * agent applies the epoch again from its start (epochlog.h, L3 and L4).
 *
 * A qcow2 image is written through a raw view of it, by a daemon of QEMU's (rawview.h). If this
 * daemon is killed, the image has lost writes of applied epochs. From then on images_open() fails,
 * until images_forget_loss() is called. The caller of that function must have dropped the copy
 * before, or must replay the disk log afterwards.
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
	struct rawview view; /* used if the image is qcow2 */
	int fd;       /* the image, or the view of a qcow2 image; -1: not open */
	/* qcow2: the image's own file, for images_flush_soon() and images_settle(); -1: not open */
	int below_fd;
	uint64_t bytes;   /* size of the disk when the image was last opened; 0: never opened yet */
	/* Together with inode: which file the image is. For a block device: which device, and inode
	 * is 0 */
	dev_t device;
	ino_t inode;
	bool is_changed;  /* was written to after the last images_sync() */
	/* Since images_renew(), the kernel has reported that some writes did not reach the disk. */
	bool is_lost;
	bool cannot_zero; /* the file system cannot zero a range: write zeros */
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

/* Store the names and paths of @disks, without opening anything. Returns 0;
 * -EINVAL: there are more than IMAGES_MAX, or a name is not valid or occurs twice; *ret_error says
 * which. */
int images_init(struct images *images, const struct standby_disk *disks, uint32_t n,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Set the paths for the raw views of qcow2 images. Call this after images_init() if there may be
 * qcow2 images. Returns 0, or -ENAMETOOLONG with *ret_error. */
int images_name_views(struct images *images, const char *run_dir, const char *vm,
		      struct error *ret_error) __attribute__((warn_unused_result));

/* Open every image for writing and read its size. Does nothing if the images are open already. If
 * there is a qcow2 image, blocks as long as rawview_open() does. Returns 0;
 * -ENOENT: an image is missing;
 * -EINVAL: an image is neither a regular file nor a block device, is empty, does not consist of
 * whole sectors, or belongs to two disks;
 * -EUCLEAN: a qcow2 image has lost writes;
 * other -errno, also of rawview_open().
 * On error no image is open, and *ret_error names disk and path, and says what to do. */
int images_open(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Like images_open(), but starts no daemon: opens the file of a qcow2 image itself. After this,
 * only images_sync() may be called; then close the images. */
int images_open_to_sync(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Close all images; their sizes stay known. Does nothing if they are closed. Accepts a zeroed
 * struct. If there is a qcow2 image, blocks as long as rawview_end() does; its errors are
 * logged. */
void images_close(struct images *images);

/* Like images_close(), but also report if a daemon did not end, or a qcow2 image has lost writes.
 * The images are closed even then. Returns 0, or an error of rawview_end() with *ret_error. */
int images_hand_over(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Has a daemon that writes a qcow2 image ended by itself? If so, *ret_error names the image. Close
 * the images then; images_have_lost() says whether writes are lost. */
bool images_have_died(const struct images *images, struct error *ret_error);

/* Fill *ret_fds, for poll(), with descriptors that become readable when a daemon ends. Returns
 * their number. */
uint32_t images_watch(const struct images *images, struct pollfd ret_fds[IMAGES_MAX]);

/* Does an image lack writes that were applied to it? If so, *ret_error names it. */
bool images_have_lost(const struct images *images, struct error *ret_error);

/* Allow images_open() again after a loss. The caller must have dropped the copy before, or must
 * replay the disk log into the images afterwards. */
void images_forget_loss(struct images *images);

/* Check that no other QEMU on this host has locked an image. (A QEMU that may write to an image
 * locks it. The warm QEMU has no locks. A qcow2 image is not checked: our daemon has its lock.)
 * Returns 0, or -EBUSY, and *ret_error names the image. */
int images_check_free(const struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns the image of the disk @name, or NULL if there is none. */
struct image *images_find(struct images *images, const char *name);

/* Check that all bytes of @record are within @image. Returns 0, or -ERANGE if they reach past its
 * end. */
int images_check(const struct image *image, const struct wire_disk_record *record)
	__attribute__((warn_unused_result));

/* Carry out one record. The bytes of a ZERO or DISCARD record read as zeros afterwards. Returns 0:
 * the page cache has the new content of all bytes;
 * -EBADF: the images are closed;
 * -ERANGE: see images_check();
 * other -errno: some bytes can still be old, so the epoch must be applied again.
 * On error *ret_error names disk, path and offset. */
int images_apply(struct images *images, struct image *image, const struct wire_disk_record *record,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* Forget the results in `checked` of all images. Called before an epoch is applied, and after the
 * results were reported. */
void images_begin_checks(struct images *images);

/* Compare the image with a HASH record, and add the result to `checked`. Bytes that cannot be read
 * count as different. Each difference is logged. The images must be open. Reads through the page
 * cache: if a block is in the cache, wrong bytes on the disk are not found. */
void images_compare(struct images *images, struct image *image,
		    const struct wire_disk_record *record);

/* Find the next part of the image that has data, from @at up to @end. Returns the offset of the
 * part, and *ret_end is its end; returns @end if there is none. If the file cannot say where its
 * holes are (a block device cannot), all bytes count as data. */
uint64_t images_next_data(const struct image *image, uint64_t at, uint64_t end, uint64_t *ret_end);
/* Write the range to the disk, and drop it from the page cache as far as the kernel allows. Then
 * images_read() reads what the disk really has. (After lost writes, the cache can have content that
 * the disk lacks.) Returns 0; -errno if the disk does not take the cached content. */
int images_settle(const struct image *image, uint64_t offset, uint64_t bytes)
	__attribute__((warn_unused_result));
/* Read @bytes at @offset. Returns 0 or -errno. */
int images_read(const struct image *image, uint8_t *data, size_t bytes, uint64_t offset)
	__attribute__((warn_unused_result));

/* Call this when a new copy begins: forgets that earlier writes did not reach the disk. This is
 * safe, because the new copy leaves out only blocks that were read back from the disk (base.h). If
 * the disk is still broken, the next images_sync() fails. */
void images_renew(struct images *images);

/* Make the kernel begin to write the applied changes to the disk, at most once a second. Then
 * little is left for images_sync() to do at a promotion. Usually does not wait for the disk. */
void images_flush_soon(struct images *images, uint64_t now_ns);

/* Write all applied changes to the disk (fdatasync), including those that an earlier agent applied.
 * Call this before the guest runs on the images: data that the guest synced on the primary must be
 * on the disk here. The images must be open. Returns 0;
 * -EIO: some changes did not reach the disk. *ret_error names disk and path. Every later call fails
 * too, until images_renew(). */
int images_sync(struct images *images, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
