/* codec_coders.h - the coders that the codec benchmark compares, behind one interface. */
#ifndef BENCH_CODEC_CODERS_H
#define BENCH_CODEC_CODERS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/encode.h"

#define CODER_ROOM 16384 /* more than any coder writes for one page */

struct coder {
	const char *name;
	const char *what;

	/* For one of our coders: the PAGE_FEATURE_* bits for page_delta() and page_apply_batch().
	 * 0: the coder is a baseline, which has the functions below. */
	uint64_t features;

	/* Encodes one page. Returns the bytes written to @out (CODER_ROOM); 0: nothing needs
	 * sending; PAGE_BYTES: @out holds the page itself. */
	size_t (*encode)(const uint8_t *old, const uint8_t *new, uint8_t *out);

	/* Turns @page, the old page, into the new one. Returns 0 or a negative number. */
	int (*decode)(const uint8_t *data, size_t size, uint8_t *page);
};

/* Encode items[0] to @out (CODER_ROOM bytes), as page_delta() does. Returns the bytes written. A
 * page of zeros counts as one byte, since its record has no data, but its class must be sent.
 * Baselines do not set *ret_class. */
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

/* Measures the physical limit of a coder: reads both pages of items[0] completely and prefetches
 * those of items[1]. Returns 0 if the two pages are equal. */
uint64_t anchor_compare(const struct page_item *items, size_t n_items);

#endif
