/* unit.h - a batch of pages that one thread encodes into frames.
 *
 * Why: if a page's old version is known (reference.h), any thread can encode the page, and pages
 * can be encoded in any order. But only one thread may have a page at a time. A unit contains
 * everything that is needed to encode its pages, so threads that encode different units share
 * nothing.
 *
 *      1. The engine's thread fills the unit. If a page is sent whole, its record is written to the
 *         payloads at once. If a page is sent as a delta, it is added to the items.
 *      2. Any one thread encodes the unit, a frame at a time: it makes the items' records, adds
 *         them to the payloads, and packs each payload (packer.h).
 *
 *      payloads, WIRE_PAYLOAD_MAX each:   [ frame 0 ][ frame 1 ] ... up to UNIT_FRAMES_MAX
 *
 * A page must not be in two items of a unit.
 *
 * Where: the encoder fills and empties units, workers.h passes them around. Threads: one at a time;
 * workers.h ensures that. Allocates in unit_init() only.
 */
#ifndef EPOCH_UNIT_H
#define EPOCH_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/encode.h"
#include "epoch/packer.h"
#include "wire/limits.h"

#define UNIT_PAGES	124u /* the records of this many whole pages fill four frames */
#define UNIT_FRAMES_MAX 5u

/* A frame is closed when it has no room for one more record. */
_Static_assert(UNIT_PAGES * PAGE_RECORD_ROOM / (WIRE_PAYLOAD_MAX - PAGE_RECORD_ROOM) + 1 <=
		       UNIT_FRAMES_MAX,
	       "the longest records of all pages fit");

struct unit_frame {
	size_t plain_size; /* size of the frame's records; 0: the frame is empty and is not sent */
	size_t size;	   /* size after the second stage; valid when the frame is finished */
};

struct unit {
	uint8_t *payloads;

	/* set while the unit is filled */
	struct page_item items[UNIT_PAGES];
	uint32_t n_items;
	uint32_t n_whole; /* number of records of whole pages */
	bool packs;	  /* pack the frames with LZ4 (the second stage) */

	/* set while the unit is filled, and then while it runs */
	struct unit_frame frames[UNIT_FRAMES_MAX];
	uint32_t n_frames; /* number of frames so far; the last one is open */

	/* set while the unit runs */
	uint32_t n_encoded;  /* number of items that are encoded */
	uint32_t n_finished; /* number of frames that are finished */
	struct page_encoder pages;
	struct packer_counts packing;
};

/* Allocate the unit's payloads. Returns 0 or -ENOMEM. */
int unit_init(struct unit *unit) __attribute__((warn_unused_result));
void unit_done(struct unit *unit); /* accepts a zeroed unit */

/* Empty the unit, so that it can be filled. @features: PAGE_FEATURE_* that the deltas may use. */
void unit_begin(struct unit *unit, uint64_t features);

/* Does the unit have UNIT_PAGES pages, so that no page may be added? */
bool unit_is_full(const struct unit *unit);

/* Add a page that is sent as a delta to @reference. Until the unit is finished, @page and
 * @reference belong to the thread that runs the unit. */
void unit_add_item(struct unit *unit, uint32_t index, const uint8_t *page, uint8_t *reference);

/* Return room of PAGE_RECORD_ROOM bytes for the record of a whole page. The caller must write the
 * record there at once, then call unit_wrote(). */
uint8_t *unit_room(struct unit *unit);
/* Add the record that the caller has written to unit_room(). @size: the record's size. */
void unit_wrote(struct unit *unit, size_t size);

/* Finish one more frame of the unit. Returns true if there are more frames; false if all are
 * finished. */
bool unit_run(struct unit *unit, struct packer *packer);

/* Return the payload of the unit's frame @i. */
uint8_t *unit_payload(const struct unit *unit, uint32_t i);

#endif
