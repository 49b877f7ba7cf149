/* hist.h - a histogram of uint64 values in fixed memory, for quantiles of pauses and latencies.
 *
 * Why: a histogram gives p50 and p99 of millions of samples at any time, without storing samples or
 * allocating. Assumption: an error of 1 % is small compared with the noise of the measurements.
 *
 * Each value below 128 has its own bucket. From 128 on, the range from each power of two to the
 * next has 64 buckets. So the middle of a bucket differs from any value in it by at most 0.78 %.
 *
 *	value   0 .. 127    128..129  130..131 ..  254..255   256..259 ..
 *	bucket  0 .. 127    128       129      ..  191        192      ..
 *
 * Recording a value costs a few instructions. A histogram takes 30 KiB, so do not put it on the
 * stack. Threads: one thread records, and holds a lock of the caller's meanwhile. Any other thread
 * must take this lock, copy the values into a histogram of its own with hist_merge(), and then read
 * that copy.
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
	uint64_t count; /* number of values recorded */
	uint64_t sum;	/* sum of the values recorded; wraps silently, see hist_mean() */
	uint64_t min;	/* valid when count > 0 */
	uint64_t max;	/* valid when count > 0 */
};

/* Record @value. Cannot fail; counts wrap after 2^64 values. */
void hist_record(struct hist *hist, uint64_t value);

/* Returns the value at quantile @q: at least the fraction @q of the recorded values is at or below
 * it. The result can be wrong by 0.78 % (see above). If @q is 0 or 1, the result is exactly the
 * least or the largest value. If @q is below 0 or NaN, it counts as 0. If @q is above 1, it counts
 * as 1. Returns 0 if the histogram is empty. */
uint64_t hist_quantile(const struct hist *hist, double q);

/* These four functions return exact values; 0 if the histogram is empty. hist_mean() is wrong if
 * the sum of the recorded values has exceeded 64 bits. */
uint64_t hist_max(const struct hist *hist);
uint64_t hist_min(const struct hist *hist);
uint64_t hist_count(const struct hist *hist);
uint64_t hist_mean(const struct hist *hist);

/* Add all values recorded in @from to @into. */
void hist_merge(struct hist *into, const struct hist *from);

/* Make the histogram empty. */
void hist_reset(struct hist *hist);

#endif
