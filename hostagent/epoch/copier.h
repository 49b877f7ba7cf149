/* copier.h - copies a stopped guest's pages with two threads.
 *
 * Why: the more pages are dirty, the longer a pause takes. While the guest is stopped, its core is
 * free, so a second thread can help to copy. Times for 64 MiB:
 *
 *      memory                               one thread   two threads
 *      private (read by process_vm_readv)   6.4 ms       4.4 ms
 *      scattered pages                      10 ms        5.7 ms
 *      shared                               3.8 ms       3.1 ms
 *
 *	pages    │ step 0 │ step 1 │ step 2 │ ... │        COPIER_STEP_PAGES each, across ranges
 *      owner      copies a step, checks whether QEMU has saved its devices, copies the next ...
 *      helper     when QEMU has saved its devices: copies a step, copies the next ...
 *
 * The owner does not wait for the helper to wake up. If the helper wakes up late, it finds no steps
 * left. If the helper has begun a step, the owner waits for the end of that step.
 *
 * Where: used by seal.c. Threads: one owner calls all functions; the helper is started by this
 * module and touches nothing but the pages.
 */
#ifndef EPOCH_COPIER_H
#define EPOCH_COPIER_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/guestmem.h"

/* One step copies 1 MiB in about 0.15 ms. So the owner can serve a gate (vmm/gate.h) soon enough
 * between two steps. */
#define COPIER_STEP_PAGES 256u
/* The helper is woken only if at least this many pages are left: a wake-up takes 0.05 to 0.1 ms. */
#define COPIER_BOTH_PAGES 2048u

struct copier;

/* A function that copier_run() calls on the owner's thread, between two steps. Returns
 *      0       QEMU still uses the second core
 *      1       the second core is free, so the helper can be woken
 *      -errno  end the copy with this error */
typedef int (*copier_between_fn)(void *arg);

/* Make a copier. Start its helper thread, unless the machine has only one core. If the helper
 * cannot be started, the owner copies alone. @mem is borrowed until copier_free(). @n_pages is the
 * largest number of pages in one copy. Returns 0 or -ENOMEM. */
int copier_new(const struct guestmem *mem, uint32_t n_pages, struct copier **ret)
	__attribute__((warn_unused_result));

/* End the helper and free @copier. Accepts NULL; returns NULL. */
struct copier *copier_free(struct copier *copier);

/* Copy the pages of @ranges, in their order and without gaps, to @ret_pages. If @between is NULL,
 * the owner copies alone. Returns 0; an error of guestmem_read() or of @between; -EINVAL if there
 * are more pages than @n_pages of copier_new(). */
int copier_run(struct copier *copier, const struct page_range *ranges, uint32_t n_ranges,
	       copier_between_fn between, void *arg, uint8_t *ret_pages)
	__attribute__((warn_unused_result));

#endif
