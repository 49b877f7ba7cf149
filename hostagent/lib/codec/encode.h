/* encode.h - encodes a dirty page as a short record, and applies records to pages.
 *
 * What: page_encode() chooses a class for the page, writes the record, and updates the reference
 * from the bytes in the record. It never reads the page a second time. So the reference is exactly
 * what was sent, even if the guest writes to the page during the call. (The guest runs while a FULL
 * epoch is copied.) Therefore both sides always have the same reference.
 *
 *	case				record: class and size
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

/* The encoder's settings and counters. The owner sets `features` and zeroes the rest; the owner may
 * read the members at any time. */
struct page_encoder {
	uint64_t features;		    /* PAGE_FEATURE_*: delta classes that may be used */
	uint64_t n_pages;		    /* pages given to the encoder */
	/* how many of n_pages equalled their reference, so that nothing was sent */
	uint64_t n_unchanged;
	uint64_t n_records[PAGE_N_CLASSES]; /* how many of n_pages became records, by class */
	uint64_t bytes[PAGE_N_CLASSES];	    /* record bytes by class, headers included */
};

/* One page of a batch. */
struct page_item {
	uint32_t index;	     /* page index, as in the record */
	const uint8_t *page; /* PAGE_BYTES, any alignment */
	uint8_t *reference;  /* the standby's version of the page (PAGE_BYTES), which is updated */
};

/* Write the record that turns @reference into @page to @out, and update @reference. @out: room for
 * PAGE_RECORD_ROOM bytes, all of which can be overwritten. Returns the record's size, header
 * included, or 0 if the page is unchanged and needs no record. Cannot fail. */
size_t page_encode(struct page_encoder *encoder, uint32_t index, const uint8_t *page,
		   uint8_t *reference, uint8_t *out);

/* Encode @n_items pages in turn as page_encode() does, until less than PAGE_RECORD_ROOM is left of
 * the @room bytes at @out. Pass many items at once: while the function encodes one page, it
 * prefetches the next page, and touches a later one to translate its address early. This doubles
 * the speed on cold pages.
 * Returns the number of items encoded (0 when @room is too small for one item); *ret_size is set to
 * the number of bytes written. */
size_t page_encode_batch(struct page_encoder *encoder, const struct page_item *items,
			 size_t n_items, uint8_t *out, size_t room, size_t *ret_size);

/* For benchmarks: write to @out (PAGE_BYTES) only the data of the record that page_encode() would
 * make for items[0]. Updates no reference; prefetches the items after the first. Returns the data's
 * size and sets *ret_class, which is PAGE_UNCHANGED if there would be no record. */
size_t page_delta(uint64_t features, const struct page_item *items, size_t n_items, uint8_t *out,
		  enum page_class *ret_class);

/* Check whether page_apply() would accept this record. Returns 0 if it would, or -EPROTO if the
 * class is unknown or does not allow this data. Writes nothing, so the standby can check a whole
 * epoch before it acknowledges the epoch. The caller must check that the class was negotiated. */
int page_check(uint8_t class, const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Apply a record to @page (PAGE_BYTES), which holds the reference before the call and the new page
 * after it. Applying the record again changes nothing. Returns 0, or -EPROTO where page_check()
 * does; @page is then untouched. */
int page_apply(uint8_t class, const uint8_t *data, size_t size, uint8_t *page)
	__attribute__((warn_unused_result));

/* One record of a batch to apply. */
struct page_record {
	uint8_t class;	     /* enum page_class; other numbers are refused */
	uint16_t size;	     /* bytes at @data */
	/* the record's data. Applying is faster when the data of all records follow each other in
	 * memory */
	const uint8_t *data;
	uint8_t *page;	     /* PAGE_BYTES; several records may have the same page */
};

/* Apply @n_records records in turn, as page_apply() does. While the function applies one record, it
 * prefetches the lines that the next record will change and the data of later records. This doubles
 * the speed on cold pages. Returns the number of records applied: @n_records, or the index of the
 * first record that page_check() would refuse. */
size_t page_apply_batch(const struct page_record *records, size_t n_records);

#endif
