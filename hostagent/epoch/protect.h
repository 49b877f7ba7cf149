/* protect.h - decides when written pages are write-protected again, and when they are
 * left writable.
 *
 * Problem: after a page is protected, the guest's next write to it causes a fault: 1-2 us on bare
 * metal, 20 us if the host itself is a virtual machine. Most epochs write the same pages as the
 * epoch before - stacks, queues, counters - and take a fault for each of these pages, right after
 * the guest resumes, when clients wait.
 *
 * Assumption: pages that one epoch wrote are likely written by the next one too. A page left
 * writable costs nothing extra while each epoch writes it: the seal must copy it and the encoder
 * must compare it anyway. Once the page is no longer written (stale), copying and comparing it is
 * wasted work. This waste grows with each page that is written once and then never again.
 *
 * Rule: as in the ski rental problem, rent until the sum of all rents reaches the price, then buy.
 * The rent is the time that copying and comparing stale pages has cost since everything was last
 * protected. To buy is to protect all pages again; the price is the time of the faults that this
 * will cause, one for each page that an epoch changes. With this rule the total cost is at most
 * twice the cost of the best choice in hindsight.
 *
 *	         ┌─ all protected                       ┌─ all protected
 *	faults   ■■■■                                    ■■■■
 *	stale      ·  ▪  ▪  ▪  ▪  ▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪     stale pages at each seal; at the last
 *	                                                     one, the rent reaches the price
 *
 * Copying also lengthens the pause. So copying stale pages is bounded by PROTECT_STALE_NS_MAX per
 * pause, and all copying by PROTECT_COPY_NS_MAX. If a pause exceeds a limit, all pages are
 * protected. It is then better to copy pages before the pause, and protection shows which of them
 * are written again before the pause begins.
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
	uint64_t fault_ns;     /* what one fault costs the guest */
	uint64_t copy_page_ns; /* running mean of the time to copy a page */
	uint64_t rent_ns;      /* time wasted on stale pages since everything was last protected */
	uint32_t n_changed;    /* running mean of the pages that an epoch changes */
	bool is_due;
};

/* Start with all pages protected. @fault_ns: the result of track_fault_ns(). */
void protect_init(struct protect *protect, uint64_t fault_ns);

/* Report an epoch that was sealed and encoded: @n_copied pages were copied in @copy_ns with the
 * guest stopped, and @n_stale of them had not changed (0 if @did_protect). @did_protect: the seal
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
