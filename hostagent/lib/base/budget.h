/* budget.h - limits some work to a percentage of the time. The budget grows as time passes, and
 * shrinks by the measured duration of the work.
 *
 * Why: strangers can make an event loop spend its time on handshakes. The loop must still have time
 * for the peers that it serves. The cost of a handshake is known only after the handshake. (For
 * events of equal cost, see rate.h.)
 *
 * Where: gateway/session/admission.c, gateway/control/newcomers.c. Pure; one thread.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdint.h>

#include "base/clock.h"

/* the longest time credited at once, so that the product below cannot overflow */
#define BUDGET_GAP_MAX_NS (10 * CLOCK_NS_PER_S)

struct budget {
	/* time that the work may still take; while it is 0 or less, the work must wait */
	int64_t left_ns;
	uint64_t earned_at_ns; /* when left_ns was last credited */
};

/* Add to left_ns @percent of the time since the last call. left_ns never goes above @max_ns. */
static inline void budget_earn(struct budget *b, uint64_t percent, uint64_t max_ns, uint64_t now_ns)
{
	uint64_t passed_ns = now_ns - b->earned_at_ns;
	int64_t left_ns = b->left_ns;

	b->earned_at_ns = now_ns;
	if (passed_ns > BUDGET_GAP_MAX_NS)
		passed_ns = BUDGET_GAP_MAX_NS;
	left_ns += (int64_t)(passed_ns * percent / 100);
	b->left_ns = left_ns < (int64_t)max_ns ? left_ns : (int64_t)max_ns;
}

/* Returns the time at which left_ns will be above 0, if no more work is done until then. If left_ns
 * is above 0 already, returns a past time. @percent: as in budget_earn(). */
static inline uint64_t budget_ready_ns(const struct budget *b, uint64_t percent)
{
	if (b->left_ns > 0)
		return b->earned_at_ns;
	return b->earned_at_ns + (uint64_t)(1 - b->left_ns) * 100 / percent + 1;
}

#endif
