/* codec_coders.h - the coders that the codec benchmark compares, behind one interface. */
#ifndef BENCH_CODEC_CODERS_H
#define BENCH_CODEC_CODERS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/encode.h"

#define CODER_ROOM 16384 /* room for one encoded page; no coder writes more */

struct coder {
	const char *name;
	const char *what;

	/* For one of our coders, the PAGE_FEATURE_* bits for page_delta() and page_apply_batch(),
	 * which do the work. For a baseline, 0: `encode` and `decode` below do the work. */
	uint64_t features;

	/* Encodes one page to @out (CODER_ROOM bytes). Returns the number of bytes written: 0 if
	 * nothing needs to be sent, PAGE_BYTES if @out holds the page itself. */
	size_t (*encode)(const uint8_t *old, const uint8_t *new, uint8_t *out);

	/* Decodes @data: changes @page from the old page to the new one. Returns 0, or a negative
	 * number if @data is wrong. */
	int (*decode)(const uint8_t *data, size_t size, uint8_t *page);
};

/* Encode items[0] to @out (CODER_ROOM bytes), as page_delta() does. Returns the number of bytes
 * written. A page of zeros counts as one byte: its record has no data, but its class must be sent.
 * Baselines do not set *ret_class. */
size_t coder_encode(const struct coder *coder, const struct page_item *items, size_t n_items,
		    uint8_t *out, enum page_class *ret_class);

extern const struct coder coders_ours[];      /* Holdfast's coders; name NULL ends the list */
extern const struct coder coders_baselines[]; /* for comparison; name NULL ends the list */

/* A general compressor that is applied to a batch of deltas. */
struct second_stage {
	const char *name;
	size_t (*compress)(const uint8_t *data, size_t size, uint8_t *out, size_t room);
};
extern const struct second_stage second_stages[]; /* name NULL ends the list */

/* Read both pages of items[0] completely and prefetch those of items[1]. No coder can be faster
 * than this, so its speed is the limit. Returns 0 if the two pages are equal. */
uint64_t anchor_compare(const struct page_item *items, size_t n_items);

#endif
