/* standby_feed.h - builds an epoch stream as a primary would, for tests of the standby.
 *
 *	feed_init ─ feed_geometry ─ { one epoch }* ─ feed_done
 *	one epoch: feed_begin ─ feed_page* ─ feed_blob ─ feed_disk* ─ feed_end
 *
 * The bytes of all frames since the last feed_clear() are in feed->bytes. A failure of the encoder
 * is a bug in the test and aborts the program.
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
	uint64_t epoch; /* number of the epoch being built, or of the last one built */
	uint32_t generation;
	struct wire_geometry geometry;

	uint8_t *bytes; /* all frames since feed_clear() */
	size_t size, room;

	/* Counts for the epoch being built. */
	uint32_t n_frames, n_records;
	uint64_t payload_bytes;
	uint8_t frame[WIRE_FRAME_MAX]; /* the PAGES frame being filled */
	struct bytes_writer w;
	bool open; /* true if `frame` has records that are not in `bytes` yet */
	/* true: compress PAGES, DEVICE and DISK payloads with LZ4, even where that makes
	 * them longer */
	bool packs;
	bool is_unheld; /* the next epochs have the flag UNHELD */
};

void feed_init(struct feed *f, uint64_t term, const struct wire_geometry *geometry);
void feed_done(struct feed *f);
void feed_clear(struct feed *f);

void feed_geometry(struct feed *f);
/* Append the list of the QEMU machine's parts. @value names its CPU. NULL makes the list empty, as
 * a standby without QEMU expects. */
void feed_machine(struct feed *f, const char *value);
/* Begin the next epoch. A FULL epoch does not depend on earlier epochs. */
void feed_begin(struct feed *f, bool full);
/* Append the record that changes @reference into @page. Then copy @page to @reference. @delta
 * allows the XRLE and BITMAP classes. Appends nothing if the two pages are equal. */
void feed_page(struct feed *f, uint32_t index, const uint8_t *page, uint8_t *reference, bool delta);
/* Append a record as given, valid or not. */
void feed_record(struct feed *f, uint8_t class, uint32_t index, const uint8_t *data, size_t size);
/* Append a DUP record: page @index becomes a copy of page @source. */
void feed_dup(struct feed *f, uint32_t index, uint32_t source);
/* Append a DISK frame with @n changes of the disk @name. */
void feed_disk(struct feed *f, const char *name, const struct wire_disk_record *records, size_t n);
/* Append a RAM_HASH frame with the hashes of the @n pages at @pages; the first of them is page
 * @first of the guest. */
void feed_ram_hash(struct feed *f, uint32_t first, uint32_t n, const uint8_t *pages);
/* Append the DEVICE frames that turn @reference into @blob, and copy @blob to @reference.
 * @reference holds whole pages; the bytes after the state's last byte are zero. @delta allows the
 * XRLE and BITMAP classes. */
void feed_blob(struct feed *f, const uint8_t *blob, uint32_t size, uint8_t *reference, bool delta);
void feed_end(struct feed *f);
/* Append a frame as given, valid or not. */
void feed_frame(struct feed *f, const struct wire_header *h, const uint8_t *payload, size_t size);

/* Make a geometry of two blocks: "pc.ram" with @ram_pages and "pc.bios" with @rom_pages. */
void feed_small_geometry(struct wire_geometry *ret_geometry, uint32_t ram_pages,
			 uint32_t rom_pages);

#endif
