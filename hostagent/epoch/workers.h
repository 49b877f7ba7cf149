/* workers.h - threads that encode units beside the engine's thread.
 *
 * Why: one core needs as long to find the deltas of a large epoch as the link needs to carry them,
 * and even longer for LZ4. The pages of an epoch can be encoded in any order, so other cores may
 * help.
 *
 * Units go round in a ring; each step takes them in the same order: filled, submitted, begun,
 * collected.
 *
 *	        head           begun            tail
 *	         ▼               ▼                ▼
 *	... free │ done running  │ waiting        │ free (workers_get) ...
 *	         └ collected next └ begun next, by whichever thread is idle
 *
 * The owner collects units in the order in which it submitted them, so the result does not depend
 * on which thread ran them. When no unit is free for filling, or nothing is left to fill, the owner
 * runs waiting units itself (workers_help): it is one of the threads, and a small epoch wakes no
 * other.
 *
 * Where: the encoder. Threads: every function is the owner's, the engine's thread. A mutex is taken
 * once or twice for each unit (some 100 us of work), and never held while one is run.
 */
#ifndef EPOCH_WORKERS_H
#define EPOCH_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "epoch/unit.h"

#define WORKERS_THREADS_MAX 16u

struct workers;

/* Start @n_threads - 1 threads (2 <= @n_threads <= WORKERS_THREADS_MAX: the owner is one of them),
 * with a ring of @n_units (>= 2). 0: *ret is the caller's, see workers_free(); -ENOMEM; -EAGAIN: no
 * more threads; -EMFILE, -ENFILE. */
int workers_new(uint32_t n_threads, uint32_t n_units, struct workers **ret)
	__attribute__((warn_unused_result));

/* As workers_new(), but chooses the ring's size for a reference of @n_slots: the pages of all units
 * may be pinned there at once. @n_threads 0: workers_default_threads(). *ret_n_threads: the number
 * of threads now; 1: none was started, *ret is untouched. Returns as workers_new(). */
int workers_start(uint32_t n_threads, uint32_t n_slots, uint32_t *ret_n_threads,
		  struct workers **ret) __attribute__((warn_unused_result));

/* Ends the threads; waits until each has finished its current frame. Accepts NULL; returns NULL. */
struct workers *workers_free(struct workers *workers);

/* How many threads, the owner's included, suit this machine: a quarter of the CPUs that the process
 * may use, 1 to 4. The guest needs the others more. */
uint32_t workers_default_threads(void);

/* Returns the unit to fill next; the same one until it is submitted. NULL: all are under way. */
struct unit *workers_get(struct workers *workers);

/* The unit that workers_get() gave is filled. @wakes: wake an idle thread to run it. */
void workers_submit(struct workers *workers, bool wakes);

/* Returns the oldest unit under way, if it is finished; the owner's until workers_put(). NULL: it
 * is not finished, or there is none. */
struct unit *workers_collect(struct workers *workers);
void workers_put(struct workers *workers); /* the unit that workers_collect() gave is free again */

/* Is no unit under way? (All that were submitted were put back.) */
bool workers_is_idle(const struct workers *workers);

/* Run a unit for one frame's work. Must not be called when idle. 1: did so, or the oldest unit is
 * finished; -EAGAIN: other threads have all units; workers_fd() becomes readable when the oldest is
 * finished. Never blocks. */
int workers_help(struct workers *workers, struct packer *packer)
	__attribute__((warn_unused_result));
int workers_fd(const struct workers *workers);

/* Forget all units under way. When this returns, no thread reads any of them; waits until each
 * thread has finished its current frame. */
void workers_drop(struct workers *workers);

#endif
