#include "codec/bitmap.h"

#include "codec/bitmap_parse.h"
#include "codec/simd.h"

int bitmap_encode(const uint8_t *old, const uint8_t *new, uint8_t *out)
{
	const struct simd_ahead none = {old, new, old, new};
	struct simd_scan scan;

	return simd_ops->bitmap_encode(old, new, &none, out, NULL, &scan);
}

int bitmap_check(const uint8_t *data, size_t size)
{
	struct bitmap_parts parts;

	return bitmap_parse(data, size, &parts, bitmap_sum_words);
}

int bitmap_apply(const uint8_t *data, size_t size, uint8_t *page)
{
	return simd_ops->bitmap_apply(data, size, page, 0, page);
}
