/* copier.h - copy a stopped guest's pages with two threads.
 *
 * Why: the copy is what grows with the number of dirty pages in a pause. While the guest is stopped its core is
 * free, so a second thread takes part from some thousands of pages on: 64 MiB of private memory (read by
 * process_vm_readv) in 4.4 ms instead of 6.4, scattered pages in 5.7 instead of 10; of shared memory in 3.1
 * instead of 3.8. (Streaming stores and prefetch were tried for the latter: 10 to 18 % less time, not worth
 * code per instruction set beside the second thread's 20 to 30 %.)
 *
 *	pages    │ step 0 │ step 1 │ step 2 │ ... │        COPIER_STEP_PAGES each, across ranges
 *	owner      takes the next step, looks whether QEMU has saved its devices, takes the next ...
 *	helper     when it has: takes the next step, takes the next ...
 *
 * The owner never waits for a helper that has not begun: one that wakes up late finds nothing to do. A helper
 * that has begun is waited for, one step at most.
 *
 * Where: seal.c. Threads: one owner; the helper is this module's own and touches nothing but the pages.
 */
#ifndef EPOCH_COPIER_H
#define EPOCH_COPIER_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/guestmem.h"

/* 1 MiB: some 0.15 ms; small enough for the owner to look after a gate between two. */
#define COPIER_STEP_PAGES 256u
/* With so many pages left the helper is woken: a wake-up takes 0.05 to 0.1 ms. */
#define COPIER_BOTH_PAGES 2048u

struct copier;

/* What the owner looks after between two steps. 0: the other core is in use; 1: it is free, the helper may be
 * woken; -errno: the copy ends with that. */
typedef int (*copier_between_fn)(void *context);

/* @mem is borrowed until copier_free(); @n_pages: the most that one copy may have. Starts the helper, but not
 * on a machine with one core; where none can be started the owner copies alone. 0; -ENOMEM. */
int copier_new(const struct guestmem *mem, uint32_t n_pages, struct copier **ret)
	__attribute__((warn_unused_result));

/* Ends the helper. Accepts NULL; returns NULL. */
struct copier *copier_free(struct copier *copier);

/* Copy the pages of @ranges, in their order and without gaps, to @ret_pages. @between may be NULL: the owner
 * copies alone. 0; errors of guestmem_read() and of @between; -EINVAL: more pages than promised. */
int copier_run(struct copier *copier, const struct page_range *ranges, uint32_t n_ranges,
	       copier_between_fn between, void *context, uint8_t *ret_pages)
	__attribute__((warn_unused_result));

#endif
