/* encode.h - a dirty page -> the shortest page record, and a page record -> the page.
 *
 * What: page_encode() picks a class per page, writes the record, and makes the reference what the
 * standby will have once it applied the record. The reference is updated from the record's own
 * bytes, never from the page a second time: so it is what was sent, even if the page is written to
 * meanwhile (the guest runs while a full epoch is copied), and both sides stay in step by
 * construction.
 *
 *	page == reference		nothing at all
 *	page all zero			ZERO   8 bytes
 *	delta negotiated and short	BITMAP 8 + 12..4032 bytes, or XRLE 8 + 3..4032 where that is
 *					shorter and has few runs, or much shorter
 *	else				RAW    8 + 4096 bytes
 *
 * A FULL epoch starts from a reference of zero pages, as its receiver does.
 *
 * Where: the epoch engine encodes; the standby checks (before it acknowledges) and applies.
 * Threads: one thread per struct page_encoder. Nothing here allocates, locks, logs or blocks.
 */
#ifndef CODEC_ENCODE_H
#define CODEC_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

/* Members may be read at any time by the owner; zero-initialised but for `features`. */
struct page_encoder {
	uint64_t features;		    /* PAGE_FEATURE_*: delta classes that may be used */
	uint64_t n_pages;		    /* pages looked at */
	uint64_t n_unchanged;		    /* of these: equal to the reference, nothing sent */
	uint64_t n_records[PAGE_N_CLASSES]; /* of these: records by class */
	uint64_t bytes[PAGE_N_CLASSES];	    /* record bytes by class, headers included */
};

/* One page of a batch. */
struct page_item {
	uint32_t index;	     /* as on the wire */
	const uint8_t *page; /* PAGE_BYTES, any alignment */
	uint8_t *reference;  /* PAGE_BYTES: what the standby has; updated */
};

/* Write the record that turns @reference into @page at @out (PAGE_RECORD_ROOM bytes, all of which
 * may be written), and update @reference. Returns the record's size, header included; 0: unchanged,
 * no record. Cannot fail. */
size_t page_encode(struct page_encoder *encoder, uint32_t index, const uint8_t *page,
		   uint8_t *reference, uint8_t *out);

/* The same for @n_items pages in turn, until less than PAGE_RECORD_ROOM is left of @room bytes at
 * @out; while one page is encoded the next is prefetched, and the address of one further on translated, which
 * doubles the speed on cold pages: give it many items at once.
 * Returns the number of items done (0 when @room is too small for one); *ret_size is set to the
 * bytes written. */
size_t page_encode_batch(struct page_encoder *encoder, const struct page_item *items,
			 size_t n_items, uint8_t *out, size_t room, size_t *ret_size);

/* The data alone that page_encode() would write for items[0], to @out (PAGE_BYTES); no reference is
 * updated. The items behind it, as many as there are, are prefetched. Returns the data's size and sets
 * *ret_class, PAGE_UNCHANGED where there would be no record. For measuring. */
size_t page_delta(uint64_t features, const struct page_item *items, size_t n_items, uint8_t *out,
		  enum page_class *ret_class);

/* Would page_apply() take this record? 0; -EPROTO: unknown class, or data that the class does not
 * allow. Reads only: the standby runs it over a whole epoch before it acknowledges. Whether a class
 * was negotiated is the caller's to know. */
int page_check(uint8_t class, const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Apply a record to @page (PAGE_BYTES; the reference in, the new page out). Applying it again
 * changes nothing. 0; -EPROTO as page_check(), @page untouched. */
int page_apply(uint8_t class, const uint8_t *data, size_t size, uint8_t *page)
	__attribute__((warn_unused_result));

/* One record of a batch to apply. */
struct page_record {
	uint8_t class;	     /* enum page_class; others are refused */
	uint16_t size;	     /* bytes at @data */
	const uint8_t *data; /* faster when the records' data follow each other in memory */
	uint8_t *page;	     /* PAGE_BYTES; the same page may occur more than once */
};

/* page_apply() for @n_records records in turn; while one is applied, the lines that the next will
 * change and the data behind it are prefetched, which doubles the speed on cold pages. Returns the
 * number of records applied: @n_records, or the index of the first one that page_check() refuses. */
size_t page_apply_batch(const struct page_record *records, size_t n_records);

#endif
