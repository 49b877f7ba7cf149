/* protect.h - when written pages are write-protected again, and when they are left writable.
 *
 * Problem: protecting a page makes the guest's next write to it a fault: 1-2 us on bare metal, 20
 * us where the host itself is a virtual machine. Most epochs write the same pages again - stacks,
 * queues, counters - and pay it for each of them, right after they resume, when clients wait.
 *
 * Assumption: pages that one epoch wrote are likely written by the next one too. A page left
 * writable costs nothing extra while each epoch writes it: the seal must copy it and the encoder
 * must compare it anyway. Once the page is no longer written (stale), that work is wasted, and it
 * grows with each page that was written once.
 *
 * Rule: ski rental. The rent is what stale pages have cost since everything was last protected. The
 * price is the faults that protecting will cause, one for each page that epochs change. Protect
 * when the rent reaches the price: that never costs more than twice the best choice in hindsight.
 *
 *	         ┌─ all protected                       ┌─ all protected
 *	faults   ■■■■                                    ■■■■
 *	stale      ·  ▪  ▪  ▪  ▪  ▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪     (sum reaches the price)
 *
 * Copying also lengthens the pause. So copying stale pages is bounded by PROTECT_STALE_NS_MAX per
 * pause, and all copying by PROTECT_COPY_NS_MAX. Above that, pages are better copied ahead of the
 * pause, which needs protection to see what is written meanwhile.
 *
 * Where: the epoch engine's. Pure: figures are passed in. Threads: one.
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
	uint64_t copy_page_ns; /* time to copy a page, running mean */
	uint64_t rent_ns;      /* time wasted on stale pages since everything was protected */
	uint32_t n_changed;    /* pages that an epoch changes, running mean */
	bool is_due;
};

/* Everything is protected now. @fault_ns: track_fault_ns(). */
void protect_init(struct protect *protect, uint64_t fault_ns);

/* An epoch was sealed and encoded: @n_copied pages were copied in @copy_ns with the guest stopped.
 * @n_stale of them had not changed (0 if the seal protected: all were written). */
void protect_sealed(struct protect *protect, bool did_protect, uint32_t n_copied, uint32_t n_stale,
		    uint64_t copy_ns);

/* A seal copied @n_unchanged pages that had not changed. How many of them were copied only because
 * an earlier seal left them writable? After a seal that protected everything: none, since each was
 * written, if only with the same bytes. @keeps: this seal leaves its pages writable; @kept_before:
 * the one before it did. */
static inline uint32_t protect_stale(bool keeps, bool kept_before, uint32_t n_unchanged)
{
	return keeps || kept_before ? n_unchanged : 0;
}

/* Should the next seal protect the pages that were written? */
bool protect_is_due(const struct protect *protect);

#endif
