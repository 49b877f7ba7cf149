/* xrle_parse.h - the only parser of XRLE deltas, used by xrle_check() and by each form's apply.
 *
 * Internal to lib/codec. Inlined, so that xrle_check() does not store the list of runs. Threads:
 * any.
 */
#ifndef CODEC_XRLE_PARSE_H
#define CODEC_XRLE_PARSE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/page.h"

/* Maximum number of runs in a delta of PAGE_BYTES: each run takes at least 3 bytes. */
#define XRLE_RUNS_MAX (PAGE_BYTES / 3 + 1)

struct xrle_run {
	uint16_t to;   /* offset in the page */
	uint16_t from; /* offset in the delta */
	uint16_t size;
};

/* Read a length at *at and move *at past it. Returns false if the length is truncated, is above
 * PAGE_BYTES, or has two bytes but needs only one. */
static inline bool xrle_get_length(const uint8_t *data, size_t size, size_t *at, size_t *ret_length)
{
	size_t low, high;

	if (*at >= size)
		return false;
	low = data[(*at)++];
	if (low < 128) {
		*ret_length = low;
		return true;
	}
	if (*at >= size)
		return false;
	high = data[(*at)++];
	*ret_length = (low & 127) | high << 7;
	return high != 0 && *ret_length <= PAGE_BYTES;
}

/* Check a whole delta. If @runs is not NULL, list its runs there (room for XRLE_RUNS_MAX). Returns
 * the number of runs, or -EPROTO. */
static inline __attribute__((always_inline)) int
xrle_parse(const uint8_t *data, size_t size, struct xrle_run *runs)
{
	size_t at = 0, to = 0, n_equal, n_changed;
	int n = 0;

	if (size == 0 || size > PAGE_BYTES)
		return -EPROTO;
	while (at < size) {
		if (!xrle_get_length(data, size, &at, &n_equal) ||
		    !xrle_get_length(data, size, &at, &n_changed))
			return -EPROTO;
		to += n_equal;
		if (n_changed == 0 || (n_equal == 0 && n > 0) || to + n_changed > PAGE_BYTES ||
		    n_changed > size - at)
			return -EPROTO;
		if (runs)
			runs[n] =
				(struct xrle_run){(uint16_t)to, (uint16_t)at, (uint16_t)n_changed};
		n++;
		to += n_changed;
		at += n_changed;
	}
	return n;
}

#endif
