/* hist.h - a histogram of uint64 values in fixed memory, for quantiles of pauses and latencies.
 *
 * Why: gives p50 and p99 of millions of samples at any time, without storing samples or allocating.
 * Assumption: an error of 1 % is small beside the noise of what is measured.
 *
 * Buckets are log-linear: values below 128 have one each (exact); above, every power of two is cut
 * into 64, so a bucket is at most 1/64 of its lower bound wide, and its middle is off by at most
 * 1/128 = 0.78 %.
 *
 *	value   0 .. 127    128..129  130..131 ..  254..255   256..259 ..
 *	bucket  0 .. 127    128       129      ..  191        192      ..
 *
 * Recording costs a count-leading-zeros, a shift and an increment. Each histogram takes 30 KiB: put
 * it in a context struct, not on the stack.
 * Threads: one owner; readers in other threads need their own merge under the owner's lock.
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS	6
#define HIST_SUB	(1u << HIST_SUB_BITS)
#define HIST_N_BUCKETS	(2 * HIST_SUB + (64 - HIST_SUB_BITS - 1) * HIST_SUB)

/* A zero-initialised histogram is empty. */
struct hist {
	uint64_t buckets[HIST_N_BUCKETS];
	uint64_t count; /* of values recorded */
	uint64_t sum;	/* of values recorded; wraps silently, see hist_mean() */
	uint64_t min;	/* valid when count > 0 */
	uint64_t max;	/* valid when count > 0 */
};

/* Add @value once. Cannot fail; counts wrap after 2^64 values. */
void hist_record(struct hist *hist, uint64_t value);

/* The value at quantile @q (0 <= q <= 1, cut to that range; NaN counts as 0): at least a q-th of
 * the values are <= it, within the error above. q = 0 is exactly the least and q = 1 exactly the
 * largest value. 0 when empty. */
uint64_t hist_quantile(const struct hist *hist, double q);

/* Exact; 0 when empty. The mean is meaningless once the sum has passed 2^64. */
uint64_t hist_max(const struct hist *hist);
uint64_t hist_min(const struct hist *hist);
uint64_t hist_count(const struct hist *hist);
uint64_t hist_mean(const struct hist *hist);

/* Add all of @from to @into. */
void hist_merge(struct hist *into, const struct hist *from);

/* Forget everything. */
void hist_reset(struct hist *hist);

#endif
