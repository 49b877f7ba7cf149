/* encode.h - encodes a dirty page as a short record, and applies records to pages.
 * page_encode() chooses a class for the page and writes the record. It updates the reference from
 * the bytes in the record, and never reads the page a second time. While a FULL epoch is copied,
 * the guest runs and can write to the page during the call. Even then the reference becomes exactly
 * what was sent, so both sides have the same reference.
 *
 *      case                            class and size of the record
 *      page == reference               no record
 *      page all zero                   ZERO     8 bytes
 *      delta negotiated and short      BITMAP   8 + 12..4032 bytes
 *      as above, few runs, and XRLE    XRLE     8 + 3..4032 bytes
 *      is shorter than BITMAP
 *      as above, many runs, and XRLE   XRLE     8 + 3..4032 bytes
 *      is much shorter than BITMAP
 *      any other case                  RAW      8 + 4096 bytes
 *
 * For a FULL epoch, sender and receiver both start from a reference of zero pages.
 *
 * Where: the epoch engine encodes; the standby checks (before it acknowledges) and applies.
 * Threads: one thread per struct page_encoder. Nothing here allocates, locks, logs or blocks.
 */
#ifndef CODEC_ENCODE_H
#define CODEC_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

/* The encoder's settings and counters. The caller sets `features`, and sets all other members to 0.
 * The caller may read the members at any time. */
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

/* Write to @out the record that turns @reference into @page, and update @reference. @out has room
 * for PAGE_RECORD_ROOM bytes, all of which can be overwritten. Returns the record's size, including
 * its header. If the page is unchanged, returns 0: it needs no record. Cannot fail. */
size_t page_encode(struct page_encoder *encoder, uint32_t index, const uint8_t *page,
		   uint8_t *reference, uint8_t *out);

/* Do what page_encode() does, for @n_items pages in turn. Stop when less than PAGE_RECORD_ROOM is
 * left of the @room bytes at @out. Pass many items at once, because the function prefetches later
 * pages while it encodes a page. This doubles the speed for pages that are not in the CPU's cache.
 * Returns the number of items encoded (0 if @room is too small for one item), and sets *ret_size to
 * the number of bytes written. */
size_t page_encode_batch(struct page_encoder *encoder, const struct page_item *items,
			 size_t n_items, uint8_t *out, size_t room, size_t *ret_size);

/* For benchmarks: write to @out (PAGE_BYTES) only the data of the record that page_encode() would
 * make for items[0]. Updates no reference. Prefetches the items after the first. Returns the data's
 * size. Sets *ret_class; PAGE_UNCHANGED means that there would be no record. */
size_t page_delta(uint64_t features, const struct page_item *items, size_t n_items, uint8_t *out,
		  enum page_class *ret_class);

/* Check whether page_apply() would accept this record. Returns 0: yes; -EPROTO: the class is
 * unknown or does not allow this data. Writes nothing, so the standby can check a whole epoch
 * before it acknowledges the epoch. The caller must check that the class was negotiated. */
int page_check(uint8_t class, const uint8_t *data, size_t size) __attribute__((warn_unused_result));

/* Apply a record to @page (PAGE_BYTES): before the call the reference, after the call the new page.
 * Applying the record again changes nothing. Returns 0; -EPROTO: page_check() refuses the record,
 * and @page is unchanged. */
int page_apply(uint8_t class, const uint8_t *data, size_t size, uint8_t *page)
	__attribute__((warn_unused_result));

/* One record of a batch to apply. */
struct page_record {
	uint8_t class;	     /* enum page_class; other numbers are refused */
	uint16_t size;	     /* bytes at @data */
	/* the record's data. The function is faster if the data of successive records follow each
	 * other in memory */
	const uint8_t *data;
	uint8_t *page;	     /* PAGE_BYTES; several records may have the same page */
};

/* Do what page_apply() does, for @n_records records in turn. Pass many records at once, because the
 * function prefetches later records, and the memory that they change. This doubles the speed for
 * pages that are not in the CPU's cache. Returns the number of records applied: @n_records, or the
 * index of the first record that page_check() would refuse. */
size_t page_apply_batch(const struct page_record *records, size_t n_records);

#endif
