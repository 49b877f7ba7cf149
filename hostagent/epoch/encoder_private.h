/* encoder_private.h - the encoder's state, private to the encoder's own files:
 *
 *	encoder.c         begin and end of an epoch, device state, the guest's clock, counts
 *	encoder_disk.c    changes of disks
 *	encoder_ram.c     hashes of pages
 *	encoder_pages.c   decides for each page: left out, a record at once, or a delta later
 *	encoder_frames.c  frames in the backlog; the sink of the engine's own thread
 *	encoder_units.c   the sink of several threads
 *
 * encoder_pages.c decides how each page is encoded. A sink takes the page's record. There are two
 * sinks:
 *
 *                         encoder_frames.c          encoder_units.c
 *      writes into        the frame being filled    a unit
 *      finds deltas on    the engine's thread       any thread
 *      finds deltas at    the end of each batch     (workers.h)
 *      frames are ready   at once                   when the unit is finished
 *
 * Threads: the engine's, except for a unit that was submitted (workers.h).
 */
#ifndef EPOCH_ENCODER_PRIVATE_H
#define EPOCH_ENCODER_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "codec/encode.h"
#include "epoch/dup.h"
#include "epoch/encoder.h"
#include "epoch/packer.h"
#include "epoch/reference.h"
#include "epoch/unit.h"
#include "epoch/workers.h"

/* A sink takes the records of pages. For each batch, encoder_pages() calls @begin, then @room for
 * each page (at most ENCODER_BATCH pages), then @end. After each @room it calls @wrote or
 * @add_item. */
struct page_sink {
	/* Begins a batch. Returns 0;
	 * -ENOBUFS: the backlog is full; call again later;
	 * -ENOMEM: the epoch is lost. */
	int (*begin)(struct encoder *e);
	/* Sets *ret_room to a place with PAGE_RECORD_ROOM bytes for the record of page @index.
	 * Returns 0;
	 * -EAGAIN: a unit must be finished first; end this batch, and call again for this page in
	 * the next one;
	 * other -errno: the epoch is lost. */
	int (*room)(struct encoder *e, uint32_t index, uint8_t **ret_room);
	/* Takes the record of @size bytes that the caller has written to *ret_room. */
	void (*wrote)(struct encoder *e, size_t size);
	/* Takes a page whose record will be a delta. The sink keeps @page and the pinned @reference
	 * until it has written the delta, then unpins @reference (reference_put()). */
	void (*add_item)(struct encoder *e, uint32_t index, const uint8_t *page,
			 uint8_t *reference);
	/* Ends a batch. @r: 0, or the error at which the batch stopped. @is_last: the cursor is at
	 * its end. Returns the value that encoder_pages() will return. */
	int (*end)(struct encoder *e, int r, bool is_last);
};

extern const struct page_sink encoder_frames_sink, encoder_units_sink;

struct encoder {
	struct page_encoder pages;  /* settings and counts for guest pages */
	struct page_encoder pieces; /* settings and counts for device state */
	struct reference *reference;
	struct dup *dup;
	uint8_t *device; /* the last blob, padded with zeros to WIRE_BLOB_MAX bytes */
	size_t device_size;
	uint32_t device_next; /* next piece to encode; not 0 if encoder_device() returned early */
	struct retain *retain;
	const struct page_sink *sink;
	/* payload of the open frame, which is being filled; NULL: no frame is open */
	uint8_t *payload;
	struct bytes_writer w; /* writes into payload */
	uint8_t frame_type;    /* type of the frame being filled */
	uint64_t n_records;    /* number of page records in the epoch so far */
	/* zero pages that needed no record, because they are already zero at the standby */
	uint64_t n_still_zero;
	uint64_t n_whole_zero, n_whole_raw; /* ZERO and RAW records of pages that the reference does
					     * not have */
	uint64_t payload_bytes; /* size of all payloads of the epoch's finished frames */

	/* pages of the batch that need a delta (encoder_frames.c) */
	struct page_item batch[ENCODER_BATCH];
	size_t n_batch;

	char disk[WIRE_DISK_NAME_MAX + 1]; /* disk of the open DISK frame */
	/* as in struct encoder_counts: disk records, and their bytes */
	uint64_t n_disk_records, disk_bytes;

	/* the standby's hashes, from encoder_set_base(). When a page gets its first record, its
	 * hash here is zeroed */
	uint8_t *base;
	uint64_t base_seed;
	uint64_t n_kept;

	/* features (WIRE_FEATURE_*) that the frames of retained epochs may use */
	uint64_t used_features;

	/* for the second stage, which packs frames with LZ4 (packer.h) */
	bool packs;
	struct packer_counts packing;
	struct packer packer;

	/* for several threads (encoder_units.c) */
	struct workers *workers; /* NULL: there is only one thread */
	uint32_t n_threads;
	struct unit *unit;    /* the unit being filled; NULL: none */
	uint32_t n_submitted; /* number of units submitted for the current list of pages */
	/* how many frames of the oldest finished unit are already in `retain` */
	uint32_t n_collected;
};

/* encoder_frames.c. Ensure that a frame of @type is open, with room for @room more bytes.
 * Returns 0;
 * -ENOBUFS: the backlog is full; call again later;
 * -ENOMEM: the epoch is lost.
 * On error no frame is open. */
int encoder_need_frame(struct encoder *e, uint8_t type, size_t room)
	__attribute__((warn_unused_result));
/* Finish the open frame. If the frame is empty (all its pages were unchanged), it is not sent. */
void encoder_close_frame(struct encoder *e, uint8_t flags);
/* Add the next frame to the backlog. Its payload is already in the room that retain_reserve() gave.
 * @size: the payload's size; @plain_size: its size before the second stage. */
void encoder_add_frame(struct encoder *e, uint8_t type, uint8_t flags, size_t size,
		       size_t plain_size);

#endif
