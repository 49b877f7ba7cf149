#include "codec/xrle.h"

#include "codec/simd.h"
#include "codec/xrle_parse.h"

int xrle_encode(const uint8_t *old, const uint8_t *new, uint8_t *out, size_t max)
{
	const struct simd_ahead none = {old, new, old, new};
	struct simd_scan scan;
	int size;

	simd_ops->scan(old, new, &none, &scan);
	if (!scan.lines)
		return 0;
	size = simd_ops->xrle_emit(&scan, new, out, NULL);
	if (size > 0 && (size_t)size >= max)
		return -E2BIG;
	return size;
}

int xrle_check(const uint8_t *data, size_t size)
{
	int n_runs = xrle_parse(data, size, NULL);

	return n_runs < 0 ? n_runs : 0;
}

int xrle_apply(const uint8_t *data, size_t size, uint8_t *page)
{
	return simd_ops->xrle_apply(data, size, page);
}
