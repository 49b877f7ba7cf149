/* budget.h - limits some work to a share of the time: earned as time passes, spent as measured.
 *
 * Why: strangers can make a loop compute (handshakes); the loop must still have time for those it
 * serves. rate.h counts things of equal cost; here the cost is known only afterwards.
 *
 * Where: gateway/session/admission.c, gateway/control/newcomers.c. Pure; one thread.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdint.h>

#include "base/clock.h"

#define BUDGET_GAP_MAX_NS (10 * CLOCK_NS_PER_S) /* longest time that earns; no overflow below */

struct budget {
	int64_t left_ns;       /* 0 or less: overspent; the work waits until it is above 0 */
	uint64_t earned_at_ns; /* when it was last credited */
};

/* Credit @percent of the time since the last call; the balance never goes above @max_ns. */
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

/* When the balance will be above 0, if nothing more is spent. */
static inline uint64_t budget_ready_ns(const struct budget *b, uint64_t percent)
{
	if (b->left_ns > 0)
		return b->earned_at_ns;
	return b->earned_at_ns + (uint64_t)(1 - b->left_ns) * 100 / percent + 1;
}

#endif
