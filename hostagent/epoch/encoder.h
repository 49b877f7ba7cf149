/* encoder.h - turns pages, device state and changes of disks into the frames of an epoch.
 *
 * Why: a delta is correct only if it is taken against the right version of the page: the version
 * that the standby has after all earlier frames. So this one module decides the order of an epoch's
 * frames. It updates the reference, which has those versions, in the same order.
 *
 *	encoder_begin ─ encoder_expect* ─ encoder_pages* ─ encoder_device ─ encoder_end
 *	EPOCH_BEGIN                       PAGES...         DEVICE...        EPOCH_END     (into struct retain)
 *	                  encoder_disk* anywhere between: DISK...
 *
 * The frames go into the backlog (struct retain). -ENOBUFS means that it is full: let frames be
 * sent, then call again to continue.
 *
 * Pages can be encoded by several threads (workers.h): encoder_pages() hands them out in units of
 * UNIT_PAGES pages. While some units are being encoded, it puts finished units into the backlog.
 * The reference stays correct with several threads. Frames are sent in the order in which their
 * units were filled. No page is in two units at a time: its slot in the reference is pinned while
 * the page is in a unit. If a page is given twice, its second version is compared with the first
 * one. The second record comes after the first. To encode a list of pages, call encoder_pages()
 * with the same cursor until it returns 0. By then all units of that list are collected, so the
 * pages of two lists never mix.
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

/* Counts of the pages encoded since encoder_new(). Device state is included only if a member's
 * comment says so. */
struct encoder_counts {
	uint64_t n_unchanged, n_zero, n_xrle, n_bitmap, n_raw, n_dup; /* number of pages of each
								       * class */
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
 * into @retain, which stays the caller's. @n_threads is the number of threads that encode pages,
 * the caller's included, up to WORKERS_THREADS_MAX; if it is 0, workers_default_threads() decides.
 * Returns 0; -ENOMEM; other errors of workers_new(). */
int encoder_new(uint32_t n_pages, uint32_t reference_pages, uint32_t n_threads,
		struct retain *retain, struct encoder **ret) __attribute__((warn_unused_result));
struct encoder *encoder_free(struct encoder *encoder); /* accepts NULL, returns NULL */

/* Set the page classes (PAGE_FEATURE_* bits) that may be used from the next epoch on. A new encoder
 * may use none of them. Call this between epochs only. Epochs that are already encoded stay as they
 * are. */
void encoder_set_features(struct encoder *encoder, uint64_t features);
uint64_t encoder_features(const struct encoder *encoder);

/* Can a receiver that has only @features (WIRE_FEATURE_*) read all retained frames? If not, a
 * connection to that receiver must start with a FULL epoch. */
bool encoder_can_resend(const struct encoder *encoder, uint64_t features);

/* Switch packing with LZ4 (WIRE_FLAG_LZ4) on or off for frames finished after this call. A frame is
 * packed only if that makes it shorter. May be called at any time. */
void encoder_set_second_stage(struct encoder *encoder, bool is_on);

/* Start epoch @epoch, which builds on epoch @previous. @flags: WIRE_FLAG_* of EPOCH_BEGIN. A FULL
 * epoch builds on no other epoch: the reference is emptied, and each of the epoch's frames is
 * dropped once sent. Returns 0, -ENOBUFS, or -ENOMEM (after which only a FULL epoch may follow). */
int encoder_begin(struct encoder *encoder, uint64_t epoch, uint64_t previous, uint8_t flags)
	__attribute__((warn_unused_result));

/* Announce that encoder_pages() will be called for the pages at @cursor. Announce all pages of the
 * epoch, in one or more calls, before the first encoder_pages(). An ordinary epoch has DUP records
 * only if its pages were announced; a FULL epoch needs no announcement. */
void encoder_expect(struct encoder *encoder, const struct encoder_cursor *cursor);

/* Encode the pages at @cursor. One call handles a batch or collects units that other threads have
 * encoded. A batch is at most ENCODER_BATCH pages; the call encodes them or hands them out to other
 * threads, and advances the cursor. Repeat the call with the same cursor until it returns 0. Call
 * no other function of the epoch in between. Keep @cursor->pages in place until it returns 0, or
 * until encoder_abandon(): several threads read them. Never blocks. Returns 1 if there is more to
 * do; 0 once all pages of @cursor are in frames; -ENOBUFS if the backlog is full; -EAGAIN if other
 * threads are encoding and this thread has nothing to do until encoder_fd() is readable; -ENOMEM if
 * the epoch is lost, for example because a page was not announced (only a FULL epoch can
 * follow). */
#define ENCODER_BATCH 32u
int encoder_pages(struct encoder *encoder, struct encoder_cursor *cursor)
	__attribute__((warn_unused_result));
int encoder_fd(const struct encoder *encoder); /* -1: encoder_pages() never returns -EAGAIN */

/* Give up the epoch. Waits until each thread has finished its current frame. Afterwards no thread
 * reads the epoch's pages any more. Only a FULL epoch may follow. */
void encoder_abandon(struct encoder *encoder);

/* Encode the device state @blob. Call it once per epoch; on -ENOBUFS call again with the same blob
 * to continue. Returns 0; -ENOBUFS; -ENOMEM; -EFBIG if @blob is larger than WIRE_BLOB_MAX. */
int encoder_device(struct encoder *encoder, const uint8_t *blob, size_t size)
	__attribute__((warn_unused_result));

/* Put one change of the disk @name into the epoch, if WIRE_FEATURE_DISK is in use. Call this
 * between encoder_begin() and encoder_end(), but not between two calls of encoder_pages() for one
 * list of pages. Changes are sent in the order of the calls. A change that is larger than a frame
 * becomes several records. A frame has changes of only one disk.
 * @record: of any size except 0, or a HASH, if WIRE_FEATURE_DISK_HASH is in use. The data of a
 * WRITE are copied. If the data lie in two pieces of
 * memory, make two calls.
 * @done: how many of the record's bytes are in frames already. Set it to 0 before the first call.
 * Returns 0 once all bytes are in frames; -ENOBUFS if the backlog is full (call again with the same
 * @record and @done to continue); -ENOMEM if the epoch is lost; -EINVAL if the name, op or size is
 * not valid, or the bytes end past WIRE_DISK_SIZE_MAX (nothing was added). */
int encoder_disk(struct encoder *encoder, const char *name, const struct wire_disk_record *record,
		 uint32_t *done) __attribute__((warn_unused_result));

/* Add the time that the guest's clock should show. Call this after encoder_device(), and only if
 * WIRE_FEATURE_CLOCK is in use. Returns 0; -ENOBUFS (then call it again); -ENOMEM; -EINVAL if
 * @clock is out of its bounds. */
int encoder_clock(struct encoder *encoder, const struct wire_clock *clock)
	__attribute__((warn_unused_result));

/* Finish the epoch. Returns 0, -ENOBUFS or -ENOMEM. */
int encoder_end(struct encoder *encoder) __attribute__((warn_unused_result));

void encoder_get_counts(const struct encoder *encoder, struct encoder_counts *ret_counts);

#endif
