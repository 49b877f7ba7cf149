/* encoder.h - turns pages, device state and changes of disks into the frames of an epoch.
 *
 * Why: a delta is the difference to the version of the page that the standby has after all earlier
 * frames. The reference has these versions. So one file must decide the order of an epoch's frames,
 * and update the reference in this order.
 *
 *      call              frames in the backlog (struct retain)
 *      encoder_begin     EPOCH_BEGIN
 *      encoder_expect*   none
 *      encoder_pages*    PAGES...
 *      encoder_device    DEVICE...
 *      encoder_end       EPOCH_END
 *      encoder_disk* can be called anywhere between encoder_begin and encoder_end: DISK...
 *
 * -ENOBUFS means that the backlog is full: let frames be sent, then call again to continue.
 *
 * Several threads can encode pages (workers.h). encoder_pages() hands pages out in units of
 * UNIT_PAGES, and puts finished units into the backlog. Frames are sent in the order in which their
 * units were filled. While a page is in a unit, its slot in the reference is pinned, so no page is
 * in two units. If a page is given twice, its second record is a delta to its first version. To
 * encode a list of pages, call encoder_pages() with the same cursor until it returns 0. All units
 * of that list are then finished, so the pages of two lists never mix.
 *
 * Where: used by the epoch engine. Threads: the engine's. Allocates in encoder_new only.
 */
#ifndef EPOCH_ENCODER_H
#define EPOCH_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch/packer.h"
#include "epoch/reference.h"
#include "epoch/retain.h"
#include "vmm/page_range.h"

struct encoder;
struct wire_clock;
struct wire_disk_record;
struct wire_ram_hash;

/* Counts of the pages encoded since encoder_new(). A member includes device state only if its
 * comment says so. */
struct encoder_counts {
	uint64_t n_unchanged, n_zero, n_xrle, n_bitmap, n_raw, n_dup; /* number of pages of each
								       * class */
	uint64_t n_kept; /* pages of class KEEP: the standby had them already */
	struct reference_counts reference;
	uint64_t n_epoch_pages;			      /* number of page records in the latest
						       * epoch */
	uint64_t epoch_bytes; /* size of the latest epoch's frames, headers included */
	struct packer_counts packing; /* counts of all PAGES, DEVICE and DISK frames */
	/* records in DISK frames, and the bytes of data in them before packing */
	uint64_t n_disk_records, disk_bytes;
	uint32_t n_threads;	      /* number of threads that encode pages */
};

/* A position in a list of pages, @ranges. @pages has the bytes of these pages, one page
 * after another. */
struct encoder_cursor {
	const struct page_range *ranges;
	uint32_t n_ranges;
	const uint8_t *pages;
	const uint64_t *skip; /* a bit per page: pages to leave out; NULL: none */
	uint32_t range;	 /* index of the current range in @ranges */
	uint32_t offset; /* index of the next page in that range */
};

/* Make an encoder for a guest of @n_pages, with a reference of at most @reference_pages. It writes
 * into @retain, which the caller still owns. @n_threads (up to WORKERS_THREADS_MAX) is the number
 * of threads that encode pages, including the caller's thread. If @n_threads is 0,
 * workers_default_threads() decides. Returns 0; -ENOMEM; other errors of workers_new(). */
int encoder_new(uint32_t n_pages, uint32_t reference_pages, uint32_t n_threads,
		struct retain *retain, struct encoder **ret) __attribute__((warn_unused_result));
struct encoder *encoder_free(struct encoder *encoder); /* accepts NULL, returns NULL */

/* Call this between two epochs: each call gives back a part of the reference's memory. Returns true
 * when only ENCODER_SHED_PAGES are left. Until encoder_shed_end(), the reference does not grow
 * again. If a page that was dropped from the reference changes, it is sent whole. */
#define ENCODER_SHED_PAGES 8192u
bool encoder_shed(struct encoder *encoder);
void encoder_shed_end(struct encoder *encoder);

/* Continue after an earlier program of this agent. The standby has the last epoch of that program,
 * and @device is the device state of that epoch. This program does not know the standby's versions
 * of the pages, so the next record of each page has the whole page. encoder_get_device() gives the
 * device state of the last epoch, borrowed until the next encoder_begin(); *ret_size is 0 if there
 * is none. */
void encoder_continue(struct encoder *encoder, const uint8_t *device, size_t size);
const uint8_t *encoder_get_device(const struct encoder *encoder, size_t *ret_size);

/* Set the page classes (PAGE_FEATURE_* bits) that can be used from the next epoch on. A new encoder
 * uses none of them. Call this between epochs only. Epochs that are already encoded stay as they
 * are. */
void encoder_set_features(struct encoder *encoder, uint64_t features);
uint64_t encoder_features(const struct encoder *encoder);

/* Can a receiver that has only @features (WIRE_FEATURE_*) read all retained frames? If not, a
 * connection to that receiver must start with a FULL epoch. */
bool encoder_can_resend(const struct encoder *encoder, uint64_t features);

/* Tell the encoder what the standby has already, for the next FULL epoch: @hash has WIRE_HASH_SIZE
 * bytes for each page (wire_hash() with @seed), zeros where nothing is known. A page that has this
 * hash becomes a KEEP record. Such an epoch has no DUP records. The encoder changes @hash, and
 * borrows it until the next call. Call this before encoder_begin(). Call it again with NULL
 * (nothing is known) after the epoch, or after encoder_abandon(). */
void encoder_set_base(struct encoder *encoder, uint64_t seed, uint8_t *hash);

/* Switch packing with LZ4 (WIRE_FLAG_LZ4) on or off. Frames that are finished after this call are
 * packed if that makes them shorter. Can be called at any time. */
void encoder_set_second_stage(struct encoder *encoder, bool is_on);

/* Start epoch @epoch, which builds on epoch @previous. @flags: WIRE_FLAG_* of EPOCH_BEGIN. A FULL
 * epoch builds on no other epoch: the reference is emptied. Each frame of a FULL epoch is dropped
 * once it is sent. Returns 0, -ENOBUFS or -ENOMEM. After -ENOMEM only a FULL epoch can follow. */
int encoder_begin(struct encoder *encoder, uint64_t epoch, uint64_t previous, uint8_t flags)
	__attribute__((warn_unused_result));

/* Announce that encoder_pages() will be called for the pages at @cursor. Before the first
 * encoder_pages(), announce all pages of the epoch, in one or more calls. An ordinary epoch has DUP
 * records only if its pages were announced. A FULL epoch needs no announcement. */
void encoder_expect(struct encoder *encoder, const struct encoder_cursor *cursor);

/* Encode the pages at @cursor. Repeat the call with the same cursor until it returns 0, with no
 * other call for the epoch in between. One call encodes a batch (at most ENCODER_BATCH pages),
 * hands a batch to other threads, or collects what they have encoded. Other threads read
 * @cursor->pages, so keep these until the call returns 0, or until encoder_abandon(). Never blocks.
 * Returns
 *      1         there is more to do
 *      0         all pages of @cursor are in frames
 *      -ENOBUFS  the backlog is full
 *      -EAGAIN   nothing to do until encoder_fd() is readable: other threads are encoding
 *      -ENOMEM   the epoch is lost, for example because a page was not announced; only a FULL
 *                epoch can follow */
#define ENCODER_BATCH 32u
int encoder_pages(struct encoder *encoder, struct encoder_cursor *cursor)
	__attribute__((warn_unused_result));
int encoder_fd(const struct encoder *encoder); /* -1: encoder_pages() never returns -EAGAIN */

/* Give up the epoch. Waits until each thread has finished its current frame. After that, no thread
 * reads the epoch's pages. Only a FULL epoch can follow. */
void encoder_abandon(struct encoder *encoder);

/* Encode the device state @blob. Call this once per epoch. After -ENOBUFS, call it again with the
 * same blob to continue. Returns 0; -ENOBUFS; -ENOMEM; -EFBIG if @blob is larger than
 * WIRE_BLOB_MAX. */
int encoder_device(struct encoder *encoder, const uint8_t *blob, size_t size)
	__attribute__((warn_unused_result));

/* Put one change of the disk @name into the epoch, if WIRE_FEATURE_DISK is in use. Call this
 * between encoder_begin() and encoder_end(), but not between two calls of encoder_pages() for one
 * list of pages. Changes are sent in the order of the calls. A change that is larger than a frame
 * becomes several records. A frame has changes of only one disk.
 *      @record  a change of any size except 0; or a HASH, if WIRE_FEATURE_DISK_HASH is in use. The
 *               data of a WRITE are copied. If they are not contiguous, make two calls.
 *      @done    how many of the record's bytes are in frames already; 0 before the first call
 * Returns 0 once all bytes are in frames. Errors:
 *      -ENOBUFS  the backlog is full; to continue, call again with the same @record and @done
 *      -ENOMEM   the epoch is lost
 *      -EINVAL   the name, op or size is not valid, or the bytes end past WIRE_DISK_SIZE_MAX;
 *                nothing was added */
int encoder_disk(struct encoder *encoder, const char *name, const struct wire_disk_record *record,
		 uint32_t *done) __attribute__((warn_unused_result));

/* Put hashes of pages into the epoch, if WIRE_FEATURE_VERIFY is in use. Call this after the epoch's
 * pages. Returns 0; -ENOBUFS (call it again to continue); -ENOMEM; -EINVAL if @hash is out of its
 * bounds. */
int encoder_ram_hash(struct encoder *encoder, const struct wire_ram_hash *hash)
	__attribute__((warn_unused_result));

/* Call this if the standby's version of @page is wrong, between encoder_begin() and the first
 * encoder_pages(). The page's next record then has the whole page. Until that record, no DUP record
 * copies from @page. */
void encoder_forget(struct encoder *encoder, uint32_t page);

/* Add the time that the guest's clock should show. Call this after encoder_device(), and only if
 * WIRE_FEATURE_CLOCK is in use. Returns 0; -ENOBUFS (call it again to continue); -ENOMEM; -EINVAL
 * if @clock is out of its bounds. */
int encoder_clock(struct encoder *encoder, const struct wire_clock *clock)
	__attribute__((warn_unused_result));

/* Finish the epoch. Returns 0, -ENOBUFS or -ENOMEM. */
int encoder_end(struct encoder *encoder) __attribute__((warn_unused_result));

void encoder_get_counts(const struct encoder *encoder, struct encoder_counts *ret_counts);

#endif
