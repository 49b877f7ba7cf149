/* workers.h - threads that encode units beside the engine's thread.
 *
 * Why: finding the deltas of a large epoch takes one core as long as the link takes to carry them, LZ4
 * longer than that; the pages of an epoch can be encoded in any order, so other cores may help.
 *
 * Units go round in a ring, in one order from first to last: filled, submitted, begun, collected.
 *
 *	        head           begun            tail
 *	         ▼               ▼                ▼
 *	... free │ done running  │ waiting        │ free (workers_get) ...
 *	         └ collected next └ begun next, by whichever thread is idle
 *
 * The owner collects in the order in which it submitted, so what it makes of the units does not depend
 * on who ran them. When nothing is free for filling, or nothing is left to fill, it runs waiting units
 * itself (workers_help): it is one of the threads, and a small epoch wakes nobody.
 *
 * Where: the encoder. Threads: every function is the owner's, the engine's thread. A mutex is taken once
 * or twice for each unit (some 100 us of work), and never held while one is run.
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

/* The same by what is wanted: @n_threads (0: workers_default_threads()), and no more units than may
 * have their pages pinned in a reference of @n_slots. *ret_n_threads: as many as there are; 1: none
 * was started, *ret is untouched. Returns as workers_new(). */
int workers_start(uint32_t n_threads, uint32_t n_slots, uint32_t *ret_n_threads, struct workers **ret)
	__attribute__((warn_unused_result));

/* Ends the threads; waits for what each is at, a frame's work. Accepts NULL; returns NULL. */
struct workers *workers_free(struct workers *workers);

/* How many threads, the owner's included, suit this machine: a quarter of the CPUs that the process may
 * use, 1 to 4. The guest needs them more. */
uint32_t workers_default_threads(void);

/* The unit to fill next; the same one until it is submitted. NULL: all are under way. */
struct unit *workers_get(struct workers *workers);

/* What workers_get() gave is filled. @wakes: have an idle thread begin it. */
void workers_submit(struct workers *workers, bool wakes);

/* The oldest unit under way, if it is finished; the owner's until workers_put(). NULL: not yet, or
 * there is none. */
struct unit *workers_collect(struct workers *workers);
void workers_put(struct workers *workers); /* what workers_collect() gave is free again */

/* Nothing is under way: all that was submitted was put back. */
bool workers_is_idle(const struct workers *workers);

/* Run a frame's worth of a unit; not to be called when idle. 1: done so, or the oldest unit is finished;
 * -EAGAIN: other threads have all of them: workers_fd() becomes readable when the oldest is finished.
 * Never blocks. */
int workers_help(struct workers *workers, struct packer *packer) __attribute__((warn_unused_result));
int workers_fd(const struct workers *workers);

/* Forget everything under way. When this returns no thread looks at any of it; waits for what each is
 * at, a frame's work. */
void workers_drop(struct workers *workers);

#endif
