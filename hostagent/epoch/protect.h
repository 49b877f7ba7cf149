/* protect.h - decides when written pages are write-protected again, and when they are
 * left writable.
 *
 * Problem: after a page is protected, the guest's next write to it causes a fault. A fault takes
 * 1-2 microseconds on bare metal, and 20 if the host itself is a virtual machine. In most epochs
 * the guest writes the same pages as in the epoch before (stacks, queues, counters). Each of these
 * pages causes a fault right after the guest resumes, when clients wait.
 *
 * Assumption: pages that are written in one epoch are likely written in the next one too. So it can
 * be better to leave them writable (not protected). But we do not learn whether the guest wrote
 * such a page. So each seal must copy it, and the encoder must compare it. While the guest writes
 * the page in each epoch, this costs nothing extra. Once the guest no longer writes the page (the
 * page is stale), the work is wasted. Each page that is written once and never again adds to the
 * waste.
 *
 * Rule: this is the ski rental problem: rent until the sum of all rents reaches the price, then
 * buy. Here the sum of rents is the time spent on copying and comparing stale pages since all pages
 * were last protected. "To buy" means to protect all pages again. The price is the time of the
 * faults that follow, one for each page that an epoch changes. With this rule the total cost is at
 * most twice the cost of the best choice in hindsight.
 *
 *	         ┌─ all protected                       ┌─ all protected
 *	faults   ■■■■                                    ■■■■
 *	stale      ·  ▪  ▪  ▪  ▪  ▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪     stale pages at each seal; at the
 *	                                                     last seal, the rent reaches the price
 *
 * Copying also lengthens the pause. So there are two more limits per pause: PROTECT_STALE_NS_MAX
 * for copying stale pages, and PROTECT_COPY_NS_MAX for copying all pages. If a pause exceeds a
 * limit, all pages are protected again. Protected pages need no copy in the pause: they can be
 * copied before it, while the guest runs. The faults tell which of them the guest writes after
 * that; only these are copied once more in the pause.
 *
 * Where: owned by the epoch engine. Pure: measurements are passed in. Threads: one.
 */
#ifndef EPOCH_PROTECT_H
#define EPOCH_PROTECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define PROTECT_STALE_NS_MAX UINT64_C(300000)
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

/* Report an epoch that was sealed and encoded. With the guest stopped, @n_copied pages were copied
 * in @copy_ns. @n_stale of them had not changed (0 if @did_protect). @did_protect: the seal
 * protected all written pages again. */
void protect_sealed(struct protect *protect, bool did_protect, uint32_t n_copied, uint32_t n_stale,
		    uint64_t copy_ns);

/* A seal has copied @n_unchanged pages that had not changed. Return how many of them were copied
 * only because an earlier seal had left them writable. @keeps: this seal leaves its pages writable;
 * @kept_before: the seal before it did. If both are false, the result is 0: the guest must then
 * have written each copied page, even if it wrote the same bytes again. */
static inline uint32_t protect_stale(bool keeps, bool kept_before, uint32_t n_unchanged)
{
	return keeps || kept_before ? n_unchanged : 0;
}

/* Should the next seal protect the pages that were written? */
bool protect_is_due(const struct protect *protect);

#endif
