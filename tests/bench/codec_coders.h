/* codec_coders.h - the coders that the codec benchmark compares, behind one shape. */
#ifndef BENCH_CODEC_CODERS_H
#define BENCH_CODEC_CODERS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/encode.h"

#define CODER_ROOM 16384 /* more than any coder writes for one page */

struct coder {
	const char *name;
	const char *what;

	/* For a coder of ours: PAGE_FEATURE_*, for page_delta() and page_apply_batch(). 0: a
	 * baseline. */
	uint64_t features;

	/* For a baseline: encode one page. Returns the bytes written to @out (CODER_ROOM); 0:
	 * nothing needs sending; PAGE_BYTES: @out holds the page itself. */
	size_t (*encode)(const uint8_t *old, const uint8_t *new, uint8_t *out);

	/* Turn @page, the old page, into the new one. 0 or negative. */
	int (*decode)(const uint8_t *data, size_t size, uint8_t *page);
};

/* Encode items[0] to @out (CODER_ROOM), as page_delta() does. Returns the bytes written; baselines
 * do not set *ret_class. A page of zeros counts as one byte: its record has no data, but its class
 * must be sent. */
size_t coder_encode(const struct coder *coder, const struct page_item *items, size_t n_items,
		    uint8_t *out, enum page_class *ret_class);

extern const struct coder coders_ours[];      /* the project's coders; ends with name NULL */
extern const struct coder coders_baselines[]; /* the rivals; ends with name NULL */

/* A general compressor over a batch of deltas. */
struct second_stage {
	const char *name;
	size_t (*compress)(const uint8_t *data, size_t size, uint8_t *out, size_t room);
};
extern const struct second_stage second_stages[]; /* ends with name NULL */

/* The physical limit: reads both pages of items[0] whole and prefetches those of items[1]. Not 0:
 * they differ. */
uint64_t anchor_compare(const struct page_item *items, size_t n_items);

#endif
