/* protect.h - decides when written pages are write-protected again, and when they are
 * left writable.
 *
 * Problem: after a page is protected, the guest's next write to it causes a fault. A fault takes
 * 1-2 microseconds on bare metal, and 20 if the host itself is a virtual machine. In most epochs
 * the guest writes the same pages as in the epoch before (stacks, queues, counters). Each of these
 * pages causes a fault soon after the guest resumes, while clients wait.
 *
 * So it can be better to leave written pages writable. But the kernel does not report writes to a
 * page that is writable already. So each seal must copy the page, and the encoder must compare the
 * copy with the page's last version. If the guest writes the page in each epoch, this costs nothing
 * extra. If the guest no longer writes the page, the page is stale and the work is wasted.
 *
 * Rule: add up the time that stale pages have wasted since all pages were last protected (the
 * "rent"). If all pages are protected again, one fault follows for each page that an epoch changes;
 * the time of these faults is the "price". When the rent reaches the price, protect all pages
 * again. This is the "ski rental" rule: the total cost is at most twice the cost of the best choice
 * in hindsight.
 *
 *	         ┌─ all protected                       ┌─ all protected
 *	faults   ■■■■                                    ■■■■
 *	stale      ·  ▪  ▪  ▪  ▪  ▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪     stale pages at each seal; at the
 *	                                                     last seal, the rent reaches the price
 *
 * Copying also lengthens the pause. So all pages are also protected again if copying takes too long
 * in a pause: more than PROTECT_STALE_NS_MAX for stale pages, or more than PROTECT_COPY_NS_MAX for
 * all pages. This shortens the pause: pages that are protected again can be copied before the
 * pause, while the guest runs (SEAL_AHEAD, seal.h). Only pages that the guest writes after that
 * cause a fault, and must be copied again in the pause.
 *
 * Where: owned by the epoch engine. Pure: measurements are passed in. Threads: one.
 */
#ifndef EPOCH_PROTECT_H
#define EPOCH_PROTECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define PROTECT_STALE_NS_MAX (300 * CLOCK_NS_PER_US)
#define PROTECT_COPY_NS_MAX  (4 * CLOCK_NS_PER_MS)

struct protect {
	uint64_t fault_ns;     /* how long one fault takes */
	uint64_t copy_page_ns; /* running mean of the time to copy a page */
	uint64_t rent_ns;      /* time wasted on stale pages since all pages were last protected */
	uint32_t n_changed;    /* running mean of the number of pages that an epoch changes */
	bool is_due;
};

/* Start with all pages protected. @fault_ns: the result of track_fault_ns(). */
void protect_init(struct protect *protect, uint64_t fault_ns);

/* Report an epoch that was sealed and encoded. @did_protect: the seal protected all written pages
 * again. @n_copied: number of pages that were copied. @n_stale: how many of them had not changed; 0
 * if @did_protect. @copy_ns: time of copying while the guest was stopped. */
void protect_sealed(struct protect *protect, bool did_protect, uint32_t n_copied, uint32_t n_stale,
		    uint64_t copy_ns);

/* A seal has copied @n_unchanged pages that had not changed. Returns how many of them are stale:
 * they were copied only because they had been left writable. @keeps: this seal leaves its pages
 * writable. @kept_before: the previous seal left its pages writable. If both are false, returns 0,
 * because the guest has written each copied page, perhaps with the same bytes. */
static inline uint32_t protect_stale(bool keeps, bool kept_before, uint32_t n_unchanged)
{
	return keeps || kept_before ? n_unchanged : 0;
}

/* Should the next seal protect all written pages again? */
bool protect_is_due(const struct protect *protect);

#endif
