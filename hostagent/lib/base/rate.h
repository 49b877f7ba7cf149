/* rate.h - how often something may happen: a bucket of tokens, and a count of what was refused.
 *
 * Where: whatever a peer can cause and the user reads (events, log lines). Pure; one thread.
 */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised: full at its first use. */
struct rate {
	uint64_t paid_ns;      /* until then what passed is being paid for */
	uint64_t n_suppressed; /* since the caller last took the count */
};

/* One more at @now_ns: @per_ns apart for long, @burst of them at once. False: too many, counted. */
static inline bool rate_pass(struct rate *r, uint64_t per_ns, uint64_t burst, uint64_t now_ns)
{
	/* Each one costs @per_ns of time. The debt may not go further than @burst of them. */
	if (r->paid_ns < now_ns)
		r->paid_ns = now_ns;
	if (r->paid_ns - now_ns > (burst - 1) * per_ns) {
		r->n_suppressed++;
		return false;
	}
	r->paid_ns += per_ns;
	return true;
}

/* How many were refused since the last call. */
static inline uint64_t rate_take_suppressed(struct rate *r)
{
	uint64_t n = r->n_suppressed;

	r->n_suppressed = 0;
	return n;
}

#endif
