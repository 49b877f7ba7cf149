#include "codec/encode.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "codec/bitmap.h"
#include "codec/bitmap_parse.h"
#include "codec/simd.h"
#include "codec/xrle.h"

/* Up to so many changed lines both deltas are made and the shorter is taken: a bitmap has 9 fixed
 * bytes, and on such pages the second try costs little. */
#define TRY_BOTH_LINES_MAX 8

/* The page has changed lines only where its reference was brought up to date: XRLE of the same
 * snapshot, over the bitmap at @out if it is shorter. Returns the size at @out. */
static int try_xrle(const struct simd_scan *scan, const uint8_t *reference, uint8_t *out, int size,
		    enum page_class *ret_class)
{
	uint8_t other[PAGE_BYTES];
	int other_size = simd_ops->xrle_emit(scan, reference, other);

	if (other_size < 0 || (size > 0 && other_size >= size))
		return size;
	memcpy(out, other, (size_t)other_size);
	*ret_class = PAGE_XRLE;
	return other_size;
}

/* Each of these writes the data of the shortest class at @out and brings @reference up to date.
 * 0 with PAGE_UNCHANGED: nothing to send. Otherwise the data's size. */
static size_t encode_with_bitmap(uint64_t features, const struct page_item *item,
				 const struct page_item *next, uint8_t *out,
				 enum page_class *ret_class)
{
	struct simd_scan scan;
	int size = simd_ops->bitmap_encode_update(item->reference, item->page, next->reference,
						  next->page, out, &scan);

	*ret_class = PAGE_BITMAP;
	if (!scan.lines) {
		*ret_class = PAGE_UNCHANGED;
		return 0;
	}
	if (!scan.any_nonzero) {
		memset(item->reference, 0, PAGE_BYTES);
		*ret_class = PAGE_ZERO;
		return 0;
	}
	if (features & PAGE_FEATURE_XRLE && __builtin_popcountll(scan.lines) <= TRY_BOTH_LINES_MAX)
		size = try_xrle(&scan, item->reference, out, size, ret_class);
	if (size > 0)
		return (size_t)size;
	memcpy(out, item->reference, PAGE_BYTES); /* the page as it was read */
	*ret_class = PAGE_RAW;
	return PAGE_BYTES;
}

static size_t encode_without_bitmap(uint64_t features, const struct page_item *item,
				    const struct page_item *next, uint8_t *out,
				    enum page_class *ret_class)
{
	struct simd_scan scan;
	int size;

	simd_ops->scan(item->reference, item->page, next->reference, next->page, &scan);
	*ret_class = PAGE_UNCHANGED;
	if (!scan.any_changed)
		return 0;
	if (!scan.any_nonzero) {
		memset(item->reference, 0, PAGE_BYTES);
		*ret_class = PAGE_ZERO;
		return 0;
	}
	if (features & PAGE_FEATURE_XRLE) {
		size = simd_ops->xrle_emit_update(&scan, item->page, out, item->reference);
		if (size > 0) {
			*ret_class = PAGE_XRLE;
			return (size_t)size;
		}
	}
	memcpy(out, item->page, PAGE_BYTES);
	memcpy(item->reference, out, PAGE_BYTES); /* from the record, see encode.h */
	*ret_class = PAGE_RAW;
	return PAGE_BYTES;
}

static size_t encode_one(struct page_encoder *encoder, const struct page_item *item,
			 const struct page_item *next, uint8_t *out)
{
	uint8_t *data = out + PAGE_RECORD_HEADER_BYTES;
	enum page_class class;
	size_t size;

	if (encoder->features & PAGE_FEATURE_BITMAP)
		size = encode_with_bitmap(encoder->features, item, next, data, &class);
	else
		size = encode_without_bitmap(encoder->features, item, next, data, &class);
	encoder->n_pages++;
	if (class == PAGE_UNCHANGED) {
		encoder->n_unchanged++;
		return 0;
	}
	out[0] = (uint8_t)class;
	out[1] = 0;
	bytes_put_be16(out + 2, (uint16_t)size);
	bytes_put_be32(out + 4, item->index);
	size += PAGE_RECORD_HEADER_BYTES;
	encoder->n_records[class]++;
	encoder->bytes[class] += size;
	return size;
}

size_t page_encode(struct page_encoder *encoder, uint32_t index, const uint8_t *page,
		   uint8_t *reference, uint8_t *out)
{
	struct page_item item = {index, page, reference};

	return encode_one(encoder, &item, &item, out);
}

size_t page_encode_batch(struct page_encoder *encoder, const struct page_item *items,
			 size_t n_items, uint8_t *out, size_t room, size_t *ret_size)
{
	size_t used = 0, i;

	for (i = 0; i < n_items && room - used >= PAGE_RECORD_ROOM; i++) {
		/* The last item prefetches itself: those lines are there already. */
		const struct page_item *next = i + 1 < n_items ? &items[i + 1] : &items[i];

		used += encode_one(encoder, &items[i], next, out + used);
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

/* How far ahead of the record being applied its successors' data are fetched: the maps at a
 * delta's end are read first, so the CPU's own prefetcher sees no pattern. Tried: 1, 2, 4, 8 KiB;
 * 2 and 4 are best. */
#define AHEAD_BYTES 4096

/* The lines of its page that a record will change, as far as that is cheap to know. */
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

		/* Beyond the last record these addresses may be anything: a prefetch cannot fault. */
		for (size_t at = 0; at < record->size; at += 64)
			__builtin_prefetch(record->data + AHEAD_BYTES + at);
		if (record->class == PAGE_BITMAP) {
			r = simd_ops->bitmap_apply(record->data, record->size, record->page, next_lines,
						   next_page);
		} else {
			bitmap_prefetch(next_lines, next_page);
			r = page_apply(record->class, record->data, record->size, record->page);
		}
		if (r < 0)
			return i;
	}
	return n_records;
}
