#include "codec/encode.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "codec/simd.h"
#include "codec/xrle.h"

/* Choose a class, write the data, bring the reference up to date. Returns the data's size. */
static size_t encode_data(const struct page_encoder *encoder, const struct simd_scan *scan,
			  const uint8_t *page, uint8_t *reference, uint8_t *out,
			  enum page_class *ret_class)
{
	int size;

	if (!scan->any_nonzero) {
		memset(reference, 0, PAGE_BYTES);
		*ret_class = PAGE_ZERO;
		return 0;
	}
	if (encoder->features & PAGE_FEATURE_XRLE) {
		size = simd_ops->xrle_emit_update(scan, page, out, reference);
		if (size > 0) {
			*ret_class = PAGE_XRLE;
			return (size_t)size;
		}
	}
	memcpy(out, page, PAGE_BYTES);
	memcpy(reference, out, PAGE_BYTES); /* from the record, see encode.h */
	*ret_class = PAGE_RAW;
	return PAGE_BYTES;
}

static size_t encode_one(struct page_encoder *encoder, const struct page_item *item,
			 const struct page_item *next, uint8_t *out)
{
	struct simd_scan scan;
	enum page_class class;
	size_t size;

	encoder->n_pages++;
	simd_ops->scan(item->reference, item->page, next->reference, next->page, &scan);
	if (!scan.any_changed) {
		encoder->n_unchanged++;
		return 0;
	}
	size = encode_data(encoder, &scan, item->page, item->reference,
			   out + PAGE_RECORD_HEADER_BYTES, &class);
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
	default:
		return -EPROTO;
	}
}

int page_apply(uint8_t class, const uint8_t *data, size_t size, uint8_t *page)
{
	if (class == PAGE_XRLE)
		return xrle_apply(data, size, page);
	if (page_check(class, data, size) < 0)
		return -EPROTO;
	if (class == PAGE_ZERO)
		memset(page, 0, PAGE_BYTES);
	else
		memcpy(page, data, PAGE_BYTES);
	return 0;
}
