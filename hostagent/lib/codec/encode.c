#include "codec/encode.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "codec/bitmap.h"
#include "codec/bitmap_parse.h"
#include "codec/simd.h"
#include "codec/xrle.h"

/* How many pages later_old and later_new of struct simd_ahead are ahead of the current page. */
#define LATER 3

/* Each run takes time to encode. So a page with more runs than this is encoded as XRLE only if XRLE
 * saves a sixteenth of the bytes. With a limit of 16 instead of 12, a redis server's pages would
 * take 0.6 % fewer bytes but 2 % more time. */
#define FEW_RUNS 12

/* Should this page be sent as an XRLE delta, and not as its bitmap delta of @bitmap_size bytes
 * (-E2BIG: that delta is too large)? The decision is based on an upper bound of the XRLE delta's
 * size. The bound is the sum of
 * - the changed bytes
 * - two bytes of lengths per run
 * - a byte for each group of neighbouring changed lines: a gap above 127 bytes, whose length takes
 *   two bytes, contains a whole unchanged line
 * - a byte for each 128 bytes of delta: a run above 127 bytes has a length of two bytes
 * Short gaps that are sent as changed bytes never make the delta longer (xrle.h). */
static bool xrle_pays(const struct simd_scan *scan, int bitmap_size)
{
	uint32_t size = scan->n_bytes + 2 * scan->n_runs;
	uint32_t others = bitmap_size > 0 ? (uint32_t)bitmap_size : PAGE_BYTES;

	size += (uint32_t)__builtin_popcountll(scan->lines & ~(scan->lines << 1)) + size / 128;
	return size < (scan->n_runs <= FEW_RUNS ? others : others - others / 16);
}

/* Choose a class for the page @new, and write the record's data to @out. If @reference is not NULL,
 * update it. Returns the data's size: 0 for PAGE_UNCHANGED (nothing to send) and PAGE_ZERO. For
 * connections on which BITMAP was negotiated. */
static size_t encode_with_bitmap(uint64_t features, const uint8_t *old, const uint8_t *new,
				 const struct simd_ahead *ahead, uint8_t *out, uint8_t *reference,
				 enum page_class *ret_class)
{
	/* bitmap_encode() has already updated the reference, so the reference holds the page as it
	 * was read. */
	const uint8_t *page = reference ? reference : new;
	struct simd_scan scan;
	int size = simd_ops->bitmap_encode(old, new, ahead, out, reference, &scan);

	*ret_class = PAGE_BITMAP;
	if (!scan.lines) {
		*ret_class = PAGE_UNCHANGED;
		return 0;
	}
	if (!scan.any_nonzero) {
		*ret_class = PAGE_ZERO;
		return 0;
	}
	if (features & PAGE_FEATURE_XRLE && xrle_pays(&scan, size)) {
		size = simd_ops->xrle_emit(&scan, page, out, NULL);
		*ret_class = PAGE_XRLE;
	}
	if (size > 0)
		return (size_t)size;
	memcpy(out, page, PAGE_BYTES);
	*ret_class = PAGE_RAW;
	return PAGE_BYTES;
}

/* Does the same for connections on which BITMAP was not negotiated. */
static size_t encode_without_bitmap(uint64_t features, const uint8_t *old, const uint8_t *new,
				    const struct simd_ahead *ahead, uint8_t *out,
				    uint8_t *reference, enum page_class *ret_class)
{
	struct simd_scan scan;
	int size;

	simd_ops->scan(old, new, ahead, &scan);
	*ret_class = PAGE_UNCHANGED;
	if (!scan.lines)
		return 0;
	if (!scan.any_nonzero) {
		if (reference)
			memset(reference, 0, PAGE_BYTES);
		*ret_class = PAGE_ZERO;
		return 0;
	}
	if (features & PAGE_FEATURE_XRLE) {
		size = simd_ops->xrle_emit(&scan, new, out, reference);
		if (size > 0) {
			*ret_class = PAGE_XRLE;
			return (size_t)size;
		}
	}
	memcpy(out, new, PAGE_BYTES);
	if (reference)
		/* copy from @out, not from the page, which the guest may have changed: encode.h */
		memcpy(reference, out, PAGE_BYTES);
	*ret_class = PAGE_RAW;
	return PAGE_BYTES;
}

static size_t encode_data(uint64_t features, const uint8_t *old, const uint8_t *new,
			  const struct simd_ahead *ahead, uint8_t *out, uint8_t *reference,
			  enum page_class *ret_class)
{
	if (features & PAGE_FEATURE_BITMAP)
		return encode_with_bitmap(features, old, new, ahead, out, reference, ret_class);
	return encode_without_bitmap(features, old, new, ahead, out, reference, ret_class);
}

/* Returns what to prefetch while item @i of @n_items is encoded. If there is no later item, returns
 * item @i itself, which is already in the cache. */
static struct simd_ahead look_ahead(const struct page_item *items, size_t n_items, size_t i)
{
	const struct page_item *next = &items[i + 1 < n_items ? i + 1 : i];
	const struct page_item *later = &items[i + LATER < n_items ? i + LATER : i];

	return (struct simd_ahead){next->reference, next->page, later->reference, later->page};
}

static size_t encode_one(struct page_encoder *encoder, const struct page_item *item,
			 const struct simd_ahead *ahead, uint8_t *out)
{
	uint8_t *data = out + PAGE_RECORD_HEADER_BYTES;
	enum page_class class;
	size_t size = encode_data(encoder->features, item->reference, item->page, ahead, data,
				  item->reference, &class);

	encoder->n_pages++;
	if (class == PAGE_UNCHANGED) {
		encoder->n_unchanged++;
		return 0;
	}
	wire_record_put_header(out, (uint8_t)class, item->index, size);
	size += PAGE_RECORD_HEADER_BYTES;
	encoder->n_records[class]++;
	encoder->bytes[class] += size;
	return size;
}

size_t page_encode(struct page_encoder *encoder, uint32_t index, const uint8_t *page,
		   uint8_t *reference, uint8_t *out)
{
	struct page_item item = {index, page, reference};
	struct simd_ahead ahead = look_ahead(&item, 1, 0);

	return encode_one(encoder, &item, &ahead, out);
}

size_t page_delta(uint64_t features, const struct page_item *items, size_t n_items, uint8_t *out,
		  enum page_class *ret_class)
{
	struct simd_ahead ahead = look_ahead(items, n_items, 0);

	return encode_data(features, items->reference, items->page, &ahead, out, NULL, ret_class);
}

size_t page_encode_batch(struct page_encoder *encoder, const struct page_item *items,
			 size_t n_items, uint8_t *out, size_t room, size_t *ret_size)
{
	size_t used = 0, i;

	for (i = 0; i < n_items && room - used >= PAGE_RECORD_ROOM; i++) {
		struct simd_ahead ahead = look_ahead(items, n_items, i);

		used += encode_one(encoder, &items[i], &ahead, out + used);
	}
	*ret_size = used;
	return i;
}

int page_check(uint8_t class, const uint8_t *data, size_t size)
{
	switch (class) {
	case PAGE_ZERO:
		return size == 0 ? 0 : -EPROTO;
	case PAGE_RAW:
		return size == PAGE_BYTES ? 0 : -EPROTO;
	case PAGE_XRLE:
		return xrle_check(data, size);
	case PAGE_BITMAP:
		return bitmap_check(data, size);
	default:
		return -EPROTO;
	}
}

int page_apply(uint8_t class, const uint8_t *data, size_t size, uint8_t *page)
{
	if (class == PAGE_XRLE)
		return xrle_apply(data, size, page);
	if (class == PAGE_BITMAP)
		return bitmap_apply(data, size, page);
	if (page_check(class, data, size) < 0)
		return -EPROTO;
	if (class == PAGE_ZERO)
		memset(page, 0, PAGE_BYTES);
	else
		memcpy(page, data, PAGE_BYTES);
	return 0;
}

/* How far behind the current record's data to prefetch the data of later records. The CPU's own
 * prefetcher finds no pattern here, because the maps at a delta's end are read before the bytes at
 * its start. Measured: 2 and 4 KiB were faster than 1 and 8 KiB. */
#define AHEAD_BYTES 4096

/* Returns a map of the lines that a record will change in its page. If this is expensive to
 * compute, the map has all lines. */
static uint64_t lines_to_fetch(const struct page_record *record)
{
	if (record->class == PAGE_BITMAP && record->size >= BITMAP_LINES_BYTES)
		return bitmap_load64(record->data + record->size - BITMAP_LINES_BYTES);
	return UINT64_MAX;
}

size_t page_apply_batch(const struct page_record *records, size_t n_records)
{
	for (size_t i = 0; i < n_records; i++) {
		const struct page_record *record = &records[i];
		uint64_t next_lines = i + 1 < n_records ? lines_to_fetch(record + 1) : 0;
		const uint8_t *next_page = i + 1 < n_records ? record[1].page : record->page;
		int r;

		if (i + LATER < n_records)
			__builtin_prefetch(record[LATER].page);
		/* Near the last record these addresses may be invalid, but a prefetch cannot
		 * fault. */
		for (size_t at = 0; at < record->size; at += 64)
			__builtin_prefetch(record->data + AHEAD_BYTES + at);
		if (record->class == PAGE_BITMAP) {
			r = simd_ops->bitmap_apply(record->data, record->size, record->page,
						   next_lines, next_page);
		} else {
			bitmap_prefetch(next_lines, next_page);
			r = page_apply(record->class, record->data, record->size, record->page);
		}
		if (r < 0)
			return i;
	}
	return n_records;
}
