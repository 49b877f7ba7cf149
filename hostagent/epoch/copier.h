/* copier.h - copies a stopped guest's pages with two threads.
 *
 * Why: the more pages are dirty, the longer a pause takes. While the guest is stopped, the guest's
 * core is free, so a second thread can help to copy. Times for 64 MiB:
 *
 *      memory                               one thread   two threads
 *      private (read by process_vm_readv)   6.4 ms       4.4 ms
 *      scattered pages                      10 ms        5.7 ms
 *      shared                               3.8 ms       3.1 ms
 *
 * Two threads copy: the caller of copier_run(), and a helper thread of this module. The pages are
 * divided into steps of COPIER_STEP_PAGES, across ranges. Each thread takes the next step that
 * nobody has taken. The helper begins only when QEMU has saved its devices, because until then QEMU
 * needs the second core.
 *
 *	pages    │ step 0 │ step 1 │ step 2 │ ... │
 *      caller     copies a step, asks @between whether the second core is free, copies the next ...
 *      helper     once the second core is free: copies a step, copies the next ...
 *
 * The caller does not wait for the helper to wake up. If the helper wakes up late, it finds no
 * steps left. If the helper is still copying a step, the caller waits for the end of that step.
 *
 * Where: used by seal.c. Threads: one thread must make all calls; the helper only copies pages.
 */
#ifndef EPOCH_COPIER_H
#define EPOCH_COPIER_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/guestmem.h"

/* One step copies 1 MiB in about 0.15 ms. This is short enough for the caller, which must serve a
 * gate (vmm/gate.h) between two steps. */
#define COPIER_STEP_PAGES 256u
/* The helper is woken only if at least this many pages are left: a wake-up takes 0.05 to 0.1 ms. */
#define COPIER_BOTH_PAGES 2048u

struct copier;

/* A function that copier_run() calls in its caller's thread before each step. Returns
 *      0       QEMU still uses the second core
 *      1       the second core is free, so the helper can be woken
 *      -errno  end the copy with this error */
typedef int (*copier_between_fn)(void *arg);

/* Make a copier. Start its helper thread, unless the machine has only one core. If the helper
 * cannot be started, the caller of copier_run() copies alone. @mem is borrowed until copier_free().
 * @n_pages is the largest number of pages in one copy. Returns 0 or -ENOMEM. */
int copier_new(const struct guestmem *mem, uint32_t n_pages, struct copier **ret)
	__attribute__((warn_unused_result));

/* End the helper and free @copier. Accepts NULL; returns NULL. */
struct copier *copier_free(struct copier *copier);

/* Copy the pages of @ranges, in their order and without gaps, to @ret_pages. @arg is passed to
 * @between. If @between is NULL, the caller copies alone.
 * Returns 0;
 * -EINVAL: there are more pages than @n_pages of copier_new(); nothing was copied;
 * an error of guestmem_read() or of @between: some pages are not copied. */
int copier_run(struct copier *copier, const struct page_range *ranges, uint32_t n_ranges,
	       copier_between_fn between, void *arg, uint8_t *ret_pages)
	__attribute__((warn_unused_result));

#endif
