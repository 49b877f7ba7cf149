/* encode.h - encodes a dirty page as the shortest record, and applies records to pages.
 *
 * What: page_encode() picks a class per page, writes the record, and updates the reference to what
 * the standby will have after applying the record. It updates the reference from the record's own
 * bytes and never reads the page a second time. So the reference is exactly what was sent, even if
 * the guest writes to the page meanwhile (it runs while a full epoch is copied), and both sides
 * stay in step.
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

/* The owner may read the members at any time. Set `features`; all else starts at zero. */
struct page_encoder {
	uint64_t features;		    /* PAGE_FEATURE_*: delta classes that may be used */
	uint64_t n_pages;		    /* pages looked at */
	uint64_t n_unchanged;		    /* of n_pages: equal to the reference, nothing sent */
	uint64_t n_records[PAGE_N_CLASSES]; /* of n_pages: records by class */
	uint64_t bytes[PAGE_N_CLASSES];	    /* record bytes by class, headers included */
};

/* One page of a batch. */
struct page_item {
	uint32_t index;	     /* as on the wire */
	const uint8_t *page; /* PAGE_BYTES, any alignment */
	uint8_t *reference;  /* PAGE_BYTES: the standby's version of the page; updated */
};

/* Write the record that turns @reference into @page at @out (PAGE_RECORD_ROOM bytes, all of which
 * may be written), and update @reference. Returns the record's size, header included; 0: unchanged,
 * no record. Cannot fail. */
size_t page_encode(struct page_encoder *encoder, uint32_t index, const uint8_t *page,
		   uint8_t *reference, uint8_t *out);

/* The same for @n_items pages in turn, until less than PAGE_RECORD_ROOM is left of the @room bytes
 * at @out. Give it many items at once: while it encodes a page it prefetches the next one and has
 * the address of a later one translated, which doubles the speed on cold pages.
 * Returns the number of items done (0 when @room is too small for one); *ret_size is set to the
 * bytes written. */
size_t page_encode_batch(struct page_encoder *encoder, const struct page_item *items,
			 size_t n_items, uint8_t *out, size_t room, size_t *ret_size);

/* For measuring: write only the data of the record that page_encode() would make of items[0] to
 * @out (PAGE_BYTES). No reference is updated. The items that follow are prefetched. Returns the
 * data's size and sets *ret_class, to PAGE_UNCHANGED where there would be no record. */
size_t page_delta(uint64_t features, const struct page_item *items, size_t n_items, uint8_t *out,
		  enum page_class *ret_class);

/* Would page_apply() take this record? 0; -EPROTO: unknown class, or data that the class does not
 * allow. Reads only: the standby runs it over a whole epoch before it acknowledges. The caller must
 * check that the class was negotiated. */
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

/* page_apply() for @n_records records in turn. While it applies a record it prefetches the lines
 * that the next one will change, and the data that follow, which doubles the speed on cold pages.
 * Returns the number of records applied: @n_records, or the index of the first that page_check()
 * refuses. */
size_t page_apply_batch(const struct page_record *records, size_t n_records);

#endif
