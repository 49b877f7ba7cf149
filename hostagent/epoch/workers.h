/* workers.h - threads that help the engine's thread to encode units (batches of pages).
 *
 * Why: on one core, encoding a large epoch takes as long as sending it. The pages of an epoch can
 * be encoded in any order, so other cores can help.
 *
 * The units form a ring. The owner is the thread that calls these functions. The owner fills a unit
 * and submits it, one of the threads encodes the unit, and the owner collects it. Units are
 * submitted, begun and collected in the same order, so the result does not depend on which thread
 * encoded a unit.
 *
 *              head                        begun             tail
 *               ▼                            ▼                 ▼
 *      ... free │ encoded, or in encoding    │ waiting         │ free (workers_get) ...
 *               └ collected next             └ begun next, by any idle thread
 *
 * When no unit is free to be filled, or no pages are left, the owner itself encodes waiting units
 * (workers_help()). So the owner counts as one of the threads, and a small epoch need not wake
 * another thread.
 *
 * Where: used by the encoder. Threads: the owner is the engine's thread; only this thread calls the
 * functions. A mutex is locked a few times for each unit, but never while a unit is encoded.
 */
#ifndef EPOCH_WORKERS_H
#define EPOCH_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "epoch/unit.h"

#define WORKERS_THREADS_MAX 16u

struct workers;

/* Start a pool of @n_threads threads (2 <= @n_threads <= WORKERS_THREADS_MAX). The calling thread
 * is one of them, so @n_threads - 1 threads are created. The pool's ring has @n_units (>= 2)
 * entries. Returns 0, and the caller must free *ret with workers_free();
 * -ENOMEM, -EMFILE or -ENFILE;
 * -EAGAIN: no more threads can be created. */
int workers_new(uint32_t n_threads, uint32_t n_units, struct workers **ret)
	__attribute__((warn_unused_result));

/* Do what workers_new() does, but choose the number of units so that they never pin more than half
 * of the reference's @n_slots slots. If @n_threads is 0, workers_default_threads() decides.
 * *ret_n_threads is set to the number of threads, including the owner. If this number is 1, no
 * thread was started, and *ret is unchanged. Returns the same as workers_new(). */
int workers_start(uint32_t n_threads, uint32_t n_slots, uint32_t *ret_n_threads,
		  struct workers **ret) __attribute__((warn_unused_result));

/* End the threads, after each has finished its current frame. Accepts NULL; returns NULL. */
struct workers *workers_free(struct workers *workers);

/* Return the default number of threads on this machine, including the owner: a quarter of the CPUs
 * that the process may use, but 1 to 4. The guest needs the other CPUs more. */
uint32_t workers_default_threads(void);

/* Return the unit to fill next, or NULL if no unit is free. Until the unit is submitted, further
 * calls return the same unit. */
struct unit *workers_get(struct workers *workers);

/* Submit the unit that workers_get() gave, and that the caller has filled. If @wakes, wake an idle
 * thread to run it. */
void workers_submit(struct workers *workers, bool wakes);

/* If the oldest submitted unit is finished, return it: it belongs to the owner until workers_put().
 * If not, or if there is none, return NULL. */
struct unit *workers_collect(struct workers *workers);
/* Give back the unit that workers_collect() returned, so that it can be filled again. */
void workers_put(struct workers *workers);

/* Have all submitted units been collected and given back? */
bool workers_is_idle(const struct workers *workers);

/* Encode one frame of a unit that waits. Never blocks. Do not call this while workers_is_idle().
 * Returns 1 if a frame was encoded, or if the oldest unit is finished.
 * Returns -EAGAIN if other threads run all submitted units that are not finished. When the oldest
 * unit is finished, workers_fd() becomes readable. */
int workers_help(struct workers *workers, struct packer *packer)
	__attribute__((warn_unused_result));
int workers_fd(const struct workers *workers);

/* Drop all submitted units, finished or not. Waits until each thread has finished its current
 * frame. After this no thread uses any unit. */
void workers_drop(struct workers *workers);

#endif
