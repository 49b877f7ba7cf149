/* rate.h - limits the rate of events with a token bucket, and counts the events that it refuses.
 *
 * Where: output that a peer can cause and a user reads (events, log lines). Pure; one thread.
 */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* A zero-initialised struct is ready for use: rate_pass() then lets @burst events pass at once. */
struct rate {
	/* when the debt (see rate_pass()) will be 0; a past time: there is no debt */
	uint64_t paid_ns;
	uint64_t n_suppressed; /* passes refused since the last rate_take_suppressed() */
};

/* Can one more event pass at @now_ns? Returns true if so. Returns false if there were too many
 * events, and counts the refusal. On average one event passes per @per_ns, but up to @burst events
 * can pass at once. */
static inline bool rate_pass(struct rate *r, uint64_t per_ns, uint64_t burst, uint64_t now_ns)
{
	/* Each pass adds @per_ns to the debt, and the debt shrinks as time goes by. If the debt
	 * would exceed @burst * @per_ns, the pass is refused. */
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
