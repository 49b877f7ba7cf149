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
 *      *: called as often as necessary. encoder_disk (DISK frames) can be called as often as
 *      necessary anywhere between encoder_begin and encoder_end, except within one list of pages.
 *
 * -ENOBUFS means that the backlog is full. After -ENOBUFS from any function but encoder_begin(),
 * wait until frames have been sent, then call the function again to continue.
 *
 * Several threads can encode pages (workers.h). encoder_pages() hands the pages out to the threads
 * in units of UNIT_PAGES, and puts the frames of finished units into the backlog, in the order in
 * which the units were filled. While a page is in a unit, its slot in the reference is pinned, so
 * no page is in two units. If a page is given twice, its second record is a delta to its first
 * version. To encode a list of pages, call encoder_pages() with the same cursor until it returns 0.
 * All units of that list are then finished, so the pages of two lists never mix.
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

/* A position in a list of pages. At the start of the list, `range` and `offset` are 0, and `pages`
 * is the content of the first page. */
struct encoder_cursor {
	const struct page_range *ranges;
	uint32_t n_ranges;
	const uint8_t *pages;
	const uint64_t *skip; /* bit i: leave page i of the guest out; NULL: leave none out */
	uint32_t range;	 /* index of the current range in @ranges; n_ranges: at the end */
	uint32_t offset; /* index of the next page in the current range */
};

/* Make an encoder for a guest of @n_pages, with a reference of at most @reference_pages. The
 * encoder writes into @retain, which the caller still owns. @n_threads (up to WORKERS_THREADS_MAX)
 * is the number of threads that encode pages, including the caller's thread; 0:
 * workers_default_threads() decides.
 * Returns 0;
 * -ENOMEM;
 * or another error of workers_new(). */
int encoder_new(uint32_t n_pages, uint32_t reference_pages, uint32_t n_threads,
		struct retain *retain, struct encoder **ret) __attribute__((warn_unused_result));
struct encoder *encoder_free(struct encoder *encoder); /* accepts NULL, returns NULL */

#define ENCODER_SHED_PAGES 8192u
/* Give a part of the reference's memory back to the kernel. Call this again, always between two
 * epochs, until it returns true: only ENCODER_SHED_PAGES pages are left then. When a page that was
 * dropped from the reference changes, it is sent whole. */
bool encoder_shed(struct encoder *encoder);
/* Let the reference grow again after encoder_shed(). */
void encoder_shed_end(struct encoder *encoder);

/* Continue after an earlier program of this agent. The standby has the last epoch of that program,
 * and @device is the device state of that epoch. This program does not know the standby's versions
 * of the pages, so the next record of each page has the whole page. */
void encoder_continue(struct encoder *encoder, const uint8_t *device, size_t size);
/* Return the device state of the last epoch, borrowed until the next encoder_begin(). *ret_size is
 * 0 if there is none. */
const uint8_t *encoder_get_device(const struct encoder *encoder, size_t *ret_size);

/* Set the page classes (PAGE_FEATURE_* bits) that can be used from the next epoch on. Call this
 * only between two epochs. A new encoder uses none of these classes. */
void encoder_set_features(struct encoder *encoder, uint64_t features);
/* Return what encoder_set_features() has set. */
uint64_t encoder_features(const struct encoder *encoder);

/* Can a receiver that supports only @features (WIRE_FEATURE_*) read all retained frames? If not, a
 * connection to that receiver must start with a FULL epoch. */
bool encoder_can_resend(const struct encoder *encoder, uint64_t features);

/* For the next FULL epoch, tell the encoder what the standby has already. @hash has WIRE_HASH_SIZE
 * bytes for each page: the hash of the standby's page (wire_hash() with @seed), or zeros if it is
 * not known. A page that still has this hash becomes a KEEP record. Such an epoch has no DUP
 * records. The encoder changes @hash, and borrows it until the next call of this function. Call
 * this before encoder_begin(). After the epoch, or after encoder_abandon(), call this again with
 * @hash NULL (nothing is known). */
void encoder_set_base(struct encoder *encoder, uint64_t seed, uint8_t *hash);

/* Switch packing with LZ4 (WIRE_FLAG_LZ4) on or off. While it is on, each frame is packed when it
 * is finished, if that makes it shorter. Can be called at any time. */
void encoder_set_second_stage(struct encoder *encoder, bool is_on);

/* Start epoch @epoch, which builds on epoch @previous. @flags: WIRE_FLAG_* of EPOCH_BEGIN. A FULL
 * epoch builds on no other epoch: the reference is emptied. Each frame of a FULL epoch is dropped
 * when it was sent.
 * Returns 0;
 * -ENOBUFS: the backlog is full;
 * -ENOMEM.
 * After an error, do not continue this epoch: only a FULL epoch can follow. */
int encoder_begin(struct encoder *encoder, uint64_t epoch, uint64_t previous, uint8_t flags)
	__attribute__((warn_unused_result));

/* Announce that encoder_pages() will be called for the pages at @cursor. An ordinary epoch has DUP
 * records only if its pages were announced: all of them, in one or more calls, before the first
 * encoder_pages(). A FULL epoch needs no announcement. */
void encoder_expect(struct encoder *encoder, const struct encoder_cursor *cursor);

/* Encode the pages at @cursor. Repeat the call with the same cursor until it returns 0, with no
 * other call for the epoch in between. One call encodes a batch (at most ENCODER_BATCH pages),
 * hands a batch to other threads, or collects what they have encoded. Other threads read the pages'
 * content at @cursor->pages, so keep it until the call returns 0, or until encoder_abandon(). Never
 * blocks. Returns
 *      1         there is more to do
 *      0         all pages of @cursor are in frames
 *      -ENOBUFS  the backlog is full
 *      -EAGAIN   nothing to do until encoder_fd() is readable: other threads are encoding
 *      -ENOMEM   the epoch is lost, for example because a page was not announced; only a FULL
 *                epoch can follow */
#define ENCODER_BATCH 32u
int encoder_pages(struct encoder *encoder, struct encoder_cursor *cursor)
	__attribute__((warn_unused_result));
/* Return the descriptor to wait for after -EAGAIN. -1: encoder_pages() never returns -EAGAIN. */
int encoder_fd(const struct encoder *encoder);

/* Give up the epoch. Waits until each thread has finished its current frame. After that, no thread
 * reads the epoch's pages. Only a FULL epoch can follow. */
void encoder_abandon(struct encoder *encoder);

/* Encode the device state @blob. Call this once per epoch.
 * Returns 0;
 * -ENOBUFS: the backlog is full; to continue, call this again with the same blob;
 * -ENOMEM: the epoch is lost;
 * -EFBIG: @blob is empty, or larger than WIRE_BLOB_MAX. */
int encoder_device(struct encoder *encoder, const uint8_t *blob, size_t size)
	__attribute__((warn_unused_result));

/* Put one change of the disk @name into the epoch, if WIRE_FEATURE_DISK is in use. Call this
 * between encoder_begin() and encoder_end(), but not between two calls of encoder_pages() for one
 * list of pages. Changes are sent in the order of the calls. A change that is larger than a frame
 * becomes several records. A frame has changes of only one disk.
 *      @record  a change of any size except 0; or a HASH, if WIRE_FEATURE_DISK_HASH is in use. The
 *               data of a WRITE must be contiguous; they are copied.
 *      @done    in: 0 before the first call for @record; out: how many bytes of @record are in
 *               frames
 * Returns 0 once all bytes are in frames. Errors:
 *      -ENOBUFS  the backlog is full; to continue, call again with the same @record and @done
 *      -ENOMEM   the epoch is lost
 *      -EINVAL   the name, op or size is not valid, or the bytes end past WIRE_DISK_SIZE_MAX;
 *                nothing was added */
int encoder_disk(struct encoder *encoder, const char *name, const struct wire_disk_record *record,
		 uint32_t *done) __attribute__((warn_unused_result));

/* Put hashes of pages into the epoch, if WIRE_FEATURE_VERIFY is in use. Call this after the epoch's
 * pages.
 * Returns 0;
 * -ENOBUFS: the backlog is full; call this again;
 * -ENOMEM: the epoch is lost;
 * -EINVAL: a value in @hash is out of its bounds. */
int encoder_ram_hash(struct encoder *encoder, const struct wire_ram_hash *hash)
	__attribute__((warn_unused_result));

/* Call this if the standby's version of @page turned out to be wrong. The next record of @page then
 * has the whole page. Until that record, no DUP record uses @page as its source. Call this between
 * encoder_begin() and the first encoder_pages(). */
void encoder_forget(struct encoder *encoder, uint32_t page);

/* Add the time that the guest's clock should show. Call this after encoder_device(), and only if
 * WIRE_FEATURE_CLOCK is in use.
 * Returns 0;
 * -ENOBUFS: the backlog is full; call this again;
 * -ENOMEM: the epoch is lost;
 * -EINVAL: a value in @clock is out of its bounds. */
int encoder_clock(struct encoder *encoder, const struct wire_clock *clock)
	__attribute__((warn_unused_result));

/* Finish the epoch.
 * Returns 0;
 * -ENOBUFS: the backlog is full; call this again;
 * -ENOMEM: the epoch is lost. */
int encoder_end(struct encoder *encoder) __attribute__((warn_unused_result));

void encoder_get_counts(const struct encoder *encoder, struct encoder_counts *ret_counts);

#endif
