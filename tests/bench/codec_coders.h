/* codec_coders.h - the coders that the codec benchmark compares, behind one shape. */
#ifndef BENCH_CODEC_CODERS_H
#define BENCH_CODEC_CODERS_H

#include <stddef.h>
#include <stdint.h>

#define CODER_ROOM 16384 /* more than any coder writes for one page */

struct coder {
	const char *name;
	const char *what;

	/* One page: bytes written to @out (CODER_ROOM); 0: nothing needs sending; PAGE_BYTES: @out
	 * holds the page itself. The next pair of pages is for prefetching. */
	size_t (*encode)(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
			 const uint8_t *next_new, uint8_t *out);

	/* Turn @page (the old one) into the new one. 0 or negative. */
	int (*decode)(const uint8_t *data, size_t size, uint8_t *page);

	uint8_t class; /* of our deltas, decoded in batches as the standby does; 0: a baseline */
};

/* The class of @size encoded bytes of one of our coders. */
uint8_t coder_class(const struct coder *coder, size_t size);

extern const struct coder coders_ours[];      /* the project's forms; ends with name NULL */
extern const struct coder coders_baselines[]; /* what they are measured against; the same */

/* A general compressor over a batch of deltas. */
struct second_stage {
	const char *name;
	size_t (*compress)(const uint8_t *data, size_t size, uint8_t *out, size_t room);
};
extern const struct second_stage second_stages[]; /* ends with name NULL */

/* The physical anchors: do the work once for one page, so that it cannot be left out. */
uint64_t anchor_compare(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
			const uint8_t *next_new);

#endif
