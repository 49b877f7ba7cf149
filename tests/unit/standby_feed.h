/* standby_feed.h - build an epoch stream as a primary would, for tests of the standby.
 *
 *	feed_init ─ feed_geometry ─ { feed_begin ─ feed_page* ─ feed_blob ─ feed_end }* ─ feed_done
 *
 * The bytes of all frames since the last feed_clear() are in feed->bytes. Failures of the encoder
 * are bugs of the test: abort.
 */
#ifndef TESTS_STANDBY_FEED_H
#define TESTS_STANDBY_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/encode.h"
#include "wire/msg.h"

struct feed {
	uint64_t term;
	uint64_t epoch; /* of the epoch being built, or the last */
	uint32_t generation;
	struct wire_geometry geometry;

	uint8_t *bytes; /* whole frames */
	size_t size, room;

	/* The epoch being built. */
	uint32_t n_frames, n_records;
	uint64_t payload_bytes;
	uint8_t frame[WIRE_FRAME_MAX]; /* PAGES being filled */
	struct bytes_writer w;
	bool open; /* `frame` has records */
	bool packs; /* LZ4 over PAGES and DEVICE, even if it makes them longer */
};

void feed_init(struct feed *f, uint64_t term, const struct wire_geometry *geometry);
void feed_done(struct feed *f);
void feed_clear(struct feed *f);

void feed_geometry(struct feed *f);
/* What the machine is made of: @value is its CPU; NULL: an empty list, which is what a standby
 * without QEMU has. */
void feed_machine(struct feed *f, const char *value);
/* The next epoch; FULL: stands alone. */
void feed_begin(struct feed *f, bool full);
/* The record that turns @reference into @page; also updates @reference. @delta: XRLE and BITMAP may
 * be used. Nothing is added when they are the same. */
void feed_page(struct feed *f, uint32_t index, const uint8_t *page, uint8_t *reference, bool delta);
/* A record as it is, right or wrong. */
void feed_record(struct feed *f, uint8_t class, uint32_t index, const uint8_t *data, size_t size);
/* Page @index becomes what @source is. */
void feed_dup(struct feed *f, uint32_t index, uint32_t source);
/* DEVICE frames turning @reference (@ref_size bytes, then zeros; room for whole pages) into
 * @blob. */
void feed_blob(struct feed *f, const uint8_t *blob, uint32_t size, uint8_t *reference, bool delta);
void feed_end(struct feed *f);
/* A frame as it is. */
void feed_frame(struct feed *f, const struct wire_header *h, const uint8_t *payload, size_t size);

/* "pc.ram" of @ram_pages and "pc.bios" of @rom_pages. */
void feed_small_geometry(struct wire_geometry *ret_geometry, uint32_t ram_pages,
			 uint32_t rom_pages);

#endif
