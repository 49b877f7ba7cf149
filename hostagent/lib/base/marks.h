/* marks.h - two-bit marks for a very large number of items, of which few are marked at a time.
 *
 * Why: each epoch marks some of a guest's pages, and the next epoch starts without marks. So the
 * cost of a reset must depend only on how many pages were marked.
 *
 *	words     [ 32 marks ][ 32 marks ] ...     for pages, takes 1/16384 of the guest's memory
 *	is_used   one byte per 512 words (16384 marks): nonzero if any of these marks may be set
 *
 * Where: the standby's check of an epoch, the primary's search for duplicate pages.
 * Threads: a struct is used by one thread. Only marks_init() allocates.
 */
#ifndef BASE_MARKS_H
#define BASE_MARKS_H

#include <stdint.h>

struct marks {
	uint64_t *words;
	uint8_t *is_used;
	uint64_t n_things;
};

/* Create marks for @n_things items, all 0. Returns 0; the caller must free them with marks_done().
 * If memory is short, returns -ENOMEM and does not touch *marks. */
int marks_init(uint64_t n_things, struct marks *marks) __attribute__((warn_unused_result));
void marks_done(struct marks *marks); /* accepts a zeroed struct; leaves the struct zeroed */

/* Set all marks to 0. */
void marks_reset(struct marks *marks);

/* Returns the mark (0..3) of item @i (< n_things). */
static inline unsigned marks_get(const struct marks *marks, uint64_t i)
{
	return (unsigned)(marks->words[i / 32] >> 2 * (i % 32)) & 3;
}

/* Set the mark of item @i (< n_things) to @mark (0..3). */
static inline void marks_set(struct marks *marks, uint64_t i, unsigned mark)
{
	uint64_t *word = &marks->words[i / 32];

	*word = (*word & ~(UINT64_C(3) << 2 * (i % 32))) | (uint64_t)(mark & 3) << 2 * (i % 32);
	marks->is_used[i / 32 / 512] = 1;
}

#endif
