/* rate.h - a rate limit: a token bucket, and a count of what was refused.
 *
 * Where: for what a peer can cause and the user reads (events, log lines). Pure; one thread.
 */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised, the bucket is full at its first use. */
struct rate {
	uint64_t paid_ns;      /* when the passes granted so far are paid off; past: no debt */
	uint64_t n_suppressed; /* passes refused since the caller last took the count */
};

/* May one more pass at @now_ns? In the long run one per @per_ns, and up to @burst of them at once.
 * False: too many; the refusal was counted. */
static inline bool rate_pass(struct rate *r, uint64_t per_ns, uint64_t burst, uint64_t now_ns)
{
	/* Each pass costs @per_ns of time. The debt may not exceed @burst passes. */
	if (r->paid_ns < now_ns)
		r->paid_ns = now_ns;
	if (r->paid_ns - now_ns > (burst - 1) * per_ns) {
		r->n_suppressed++;
		return false;
	}
	r->paid_ns += per_ns;
	return true;
}

/* Return and clear the number of refused passes. */
static inline uint64_t rate_take_suppressed(struct rate *r)
{
	uint64_t n = r->n_suppressed;

	r->n_suppressed = 0;
	return n;
}

#endif
