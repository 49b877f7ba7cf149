/* protect.h - when written pages are write-protected again, and when they are left writable.
 *
 * Problem: protecting a page makes the guest's next write to it a fault: 1-2 us on bare metal, 20 us
 * where the host itself is a virtual machine. Most epochs write the same pages again - stacks, queues,
 * counters - and pay it for each of them, right after they resume, when clients wait.
 *
 * Assumption: what an epoch wrote the next one likely writes too. A page left writable costs nothing
 * while it is written; each seal copies it and the encoder compares it with its reference. Once it is
 * not written any more (stale) that work is wasted, and grows with each page that was touched once.
 *
 * Rule: the ski rental's. Rent is what stale pages have cost since all was last protected; the price
 * is the faults that protecting will cause, one for each page that epochs change. Protect when the rent
 * reaches the price: never more than twice the cost of the best choice in hindsight.
 *
 *	         ┌─ all protected                       ┌─ all protected
 *	faults   ■■■■                                    ■■■■
 *	stale      ·  ▪  ▪  ▪  ▪  ▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪ ▪▪     (sum reaches the price)
 *
 * Both are also in the way of the pause, so copying stale pages is bounded by PROTECT_STALE_NS_MAX a
 * pause, and copying in all by PROTECT_COPY_NS_MAX: above it pages are rather copied ahead of the pause,
 * which needs protection to see what is written meanwhile.
 *
 * Where: the epoch engine's. Pure: figures are passed in. Threads: one.
 */
#ifndef EPOCH_PROTECT_H
#define EPOCH_PROTECT_H

#include <stdbool.h>
#include <stdint.h>

#define PROTECT_STALE_NS_MAX UINT64_C(300000)
#define PROTECT_COPY_NS_MAX  UINT64_C(4000000)

struct protect {
	uint64_t fault_ns;     /* what one fault costs the guest */
	uint64_t copy_page_ns; /* what copying a page takes, running mean */
	uint64_t rent_ns;      /* wasted on stale pages since all was protected */
	uint32_t n_changed;    /* pages that an epoch changes, running mean */
	bool is_due;
};

/* Everything is protected now. @fault_ns: track_fault_ns(). */
void protect_init(struct protect *protect, uint64_t fault_ns);

/* An epoch was sealed and encoded: @n_copied pages were copied in @copy_ns with the guest stopped,
 * @n_stale of them (0 when the seal protected: they were all written) had not changed. */
void protect_sealed(struct protect *protect, bool did_protect, uint32_t n_copied, uint32_t n_stale,
		    uint64_t copy_ns);

/* Of the pages that a seal copied and that had not changed, @n_unchanged, how many were only copied because they were
 * left writable by an earlier seal? Behind one that protected everything there are none: each was written, if only with
 * what it held. @keeps: this seal leaves its pages writable; @kept_before: the one before it did. */
static inline uint32_t protect_stale(bool keeps, bool kept_before, uint32_t n_unchanged)
{
	return keeps || kept_before ? n_unchanged : 0;
}

/* Is the next seal to protect what was written? */
bool protect_is_due(const struct protect *protect);

#endif
