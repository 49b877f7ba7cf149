/* touched.h - notes which parts of the copy (pages of memory, blocks of a disk) are written while
 * another thread copies them.
 *
 *	standby's thread: write the part ─► touched_set()
 *	copying thread:                     touched_take() ─► read the part
 *
 * A part that is written while it is being read is read wrong. But the write is followed by
 * touched_set(), so the part will be read once more. The last parts are read while the standby's
 * thread applies no epoch (drill.h).
 *
 * Threads: one that sets, one that takes.
 */
#ifndef STANDBY_TOUCHED_H
#define STANDBY_TOUCHED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define TOUCHED_BLOCK_BYTES 65536u /* size of a part of a disk; a part of memory is a page */

struct touched {
	uint64_t n;	       /* number of parts */
	_Atomic uint8_t flag[]; /* 1: the part was written since it was last taken */
};

/* Returns flags for @n parts, all of them set; or NULL. Free it with free(). */
static inline struct touched *touched_new(uint64_t n)
{
	struct touched *t = malloc(sizeof(*t) + n);

	if (!t)
		return NULL;
	t->n = n;
	for (uint64_t i = 0; i < n; i++)
		atomic_init(&t->flag[i], 1);
	return t;
}

/* Set the flag of part @i. Does nothing if @t is NULL, which means that nobody copies. */
static inline void touched_set(struct touched *t, uint64_t i)
{
	if (t && i < t->n)
		atomic_store_explicit(&t->flag[i], 1, memory_order_release);
}

/* Returns whether the flag of part @i is set, and clears it. */
static inline bool touched_take(struct touched *t, uint64_t i)
{
	if (!atomic_load_explicit(&t->flag[i], memory_order_relaxed))
		return false;
	return atomic_exchange_explicit(&t->flag[i], 0, memory_order_acquire) != 0;
}

/* Returns how many flags are set. */
static inline uint64_t touched_count(const struct touched *t)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < t->n; i++)
		n += atomic_load_explicit(&t->flag[i], memory_order_relaxed);
	return n;
}

#endif
