/* counters.h - counters with names. Each thread counts in a struct of its own; a table with one row
 * per counter says how to sum and print these structs.
 *
 * Why: when something is wrong, operators look at the counters first. So there are many counters,
 * and each must be cheap. A counter is a plain struct member, and counting is one addition. A row
 * of a table gives the counter its name.
 *
 *	struct seal_counters { uint64_t epochs; uint64_t pages_sent; };
 *	static const struct counters_row rows[] = {
 *		COUNTERS_ROW(struct seal_counters, epochs),
 *		COUNTERS_ROW(struct seal_counters, pages_sent),
 *	};
 *	counters_add(&c->pages_sent, n);                        one writer thread per struct
 *	counters_print(rows, ARRAY_SIZE(rows), &all, n_all, &w); "epochs=812\npages_sent=40960\n"
 *
 * Threads: a struct has one writing thread; any thread may read. Loads and stores are relaxed
 * atomics: a reader never sees a half-written value, but two counters may be from different
 * moments.
 */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct counters_row {
	const char *name; /* [a-z0-9_]+, as REPORT and `holdfastctl stats` show it */
	size_t offset;	  /* offset of the uint64_t in the struct */
};

#define COUNTERS_ROW(struct_, member_) {#member_, offsetof(struct_, member_)}

/* Add @n to a counter. Call it only from the thread that writes the struct: it uses a plain load
 * and store, not a locked instruction. */
static inline void counters_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* Set a counter to @value, for values that can also fall. Call it only from the thread that writes
 * the struct. */
static inline void counters_set(uint64_t *counter, uint64_t value)
{
	__atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

/* Read a counter, from any thread. */
static inline uint64_t counters_get(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Write one line "name=sum\n" per row to @w: the sum over the @n_structs structs at @structs. If a
 * line does not fit, leaves it out and sets w->bad. Never allocates. */
void counters_print(const struct counters_row *rows, size_t n_rows, const void *const *structs,
		    size_t n_structs, struct bytes_writer *w);

#endif
