/* protect.h - decides when written pages are write-protected again, and when they are
 * left writable.
 *
 * Problem: after a page is protected, the guest's next write to it causes a fault. A fault takes
 * 1-2 microseconds on bare metal, and 20 if the host itself is a virtual machine. In most epochs
 * the guest writes the same pages as in the epoch before (stacks, queues, counters). Each of these
 * pages causes a fault right after the guest resumes, when clients wait.
 *
 * So it can be better to leave written pages writable. But the kernel does not say whether the
 * guest wrote a writable page. So each seal must copy the page, and the encoder must compare it. If
 * the guest writes the page in each epoch, this costs nothing extra. If the guest no longer writes
 * the page, the page is stale and the work is wasted.
 *
 * Rule: add up the time that stale pages have wasted since all pages were last protected. When this
 * sum reaches the time of the faults that would follow, protect all pages again. (One fault follows
 * for each page that an epoch changes.) This is the "ski rental" rule: the total cost is at most
 * twice the cost of the best choice in hindsight. The wasted time is the "rent". The time of the
 * faults is the price.
 *
 *	         ┌─ all protected                       ┌─ all protected
 *	faults   ■■■■                                    ■■■■
 *	stale      ·  ▪  ▪  ▪  ▪  ▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪     stale pages at each seal; at the
 *	                                                     last seal, the rent reaches the price
 *
 * Copying also lengthens the pause. So all pages are also protected again if copying takes too long
 * in a pause: above PROTECT_STALE_NS_MAX for stale pages, or above PROTECT_COPY_NS_MAX for all
 * pages. A protected page can be copied before the pause, while the guest runs. If the guest writes
 * the page after that, there is a fault, and the page must be copied again in the pause.
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
	uint64_t rent_ns;      /* time wasted on stale pages since everything was last protected */
	uint32_t n_changed;    /* running mean of the pages that an epoch changes */
	bool is_due;
};

/* Start with all pages protected. @fault_ns: the result of track_fault_ns(). */
void protect_init(struct protect *protect, uint64_t fault_ns);

/* Report an epoch that was sealed and encoded. @n_copied pages were copied in @copy_ns while the
 * guest was stopped. @n_stale of them had not changed (0 if @did_protect). @did_protect: the seal
 * protected all written pages again. */
void protect_sealed(struct protect *protect, bool did_protect, uint32_t n_copied, uint32_t n_stale,
		    uint64_t copy_ns);

/* A seal has copied @n_unchanged pages that had not changed. Returns how many of them are stale,
 * that is, were copied only because they had been left writable. @keeps: this seal leaves its pages
 * writable. @kept_before: the previous seal did. If both are false, the result is 0: the guest has
 * written each copied page, perhaps with the same bytes. */
static inline uint32_t protect_stale(bool keeps, bool kept_before, uint32_t n_unchanged)
{
	return keeps || kept_before ? n_unchanged : 0;
}

/* Should the next seal protect the pages that were written? */
bool protect_is_due(const struct protect *protect);

#endif
