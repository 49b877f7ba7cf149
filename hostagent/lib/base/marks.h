/* marks.h - a mark of two bits for each of very many things, of which few are marked at a time.
 *
 * Why: an epoch marks some of a guest's pages and the next one starts from nothing: forgetting must cost what
 * was marked, not the size of the guest.
 *
 *	words     [ 32 marks ][ 32 marks ] ...     1/16384 of the memory that pages stand for
 *	is_used   one byte for each 512 words (16384 marks): some of them may not be 0
 *
 * Where: the standby's check of an epoch, the primary's search for duplicate pages.
 * Threads: one for each struct. Allocates in marks_init() only.
 */
#ifndef BASE_MARKS_H
#define BASE_MARKS_H

#include <stdint.h>

struct marks {
	uint64_t *words;
	uint8_t *is_used;
	uint64_t n_things;
};

/* @n_things marks of 0. 0: *marks is ended by marks_done(); -ENOMEM: nothing was done. */
int marks_init(uint64_t n_things, struct marks *marks) __attribute__((warn_unused_result));
void marks_done(struct marks *marks); /* accepts a zeroed one, and leaves such a one */

/* All marks are 0 again. */
void marks_reset(struct marks *marks);

/* Of thing @i (< n_things); @mark: 0..3. */
static inline unsigned marks_get(const struct marks *marks, uint64_t i)
{
	return (unsigned)(marks->words[i / 32] >> 2 * (i % 32)) & 3;
}

static inline void marks_set(struct marks *marks, uint64_t i, unsigned mark)
{
	uint64_t *word = &marks->words[i / 32];

	*word = (*word & ~(UINT64_C(3) << 2 * (i % 32))) | (uint64_t)(mark & 3) << 2 * (i % 32);
	marks->is_used[i / 32 / 512] = 1;
}

#endif
