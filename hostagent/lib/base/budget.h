/* budget.h - a share of the time that some work may take: earned as time passes, spent as measured.
 *
 * Why: what strangers make a loop compute (handshakes) must leave it time for whom it serves.
 * rate.h counts things of one price; here the price is known afterwards.
 *
 * Where: gateway/session/admission.c, gateway/control/newcomers.c. Pure; one thread.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdint.h>

#define BUDGET_GAP_MAX_NS UINT64_C(10000000000) /* of time that earns; keeps the product small */

struct budget {
	int64_t left_ns;       /* below 0: spent; nothing runs until it is above */
	uint64_t earned_at_ns; /* until then it has earned */
};

/* Earn @percent of what passed until @now_ns; at most @max_ns are saved up. */
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

/* When there will be something left, if nothing more is spent. */
static inline uint64_t budget_ready_ns(const struct budget *b, uint64_t percent)
{
	if (b->left_ns > 0)
		return b->earned_at_ns;
	return b->earned_at_ns + (uint64_t)(1 - b->left_ns) * 100 / percent + 1;
}

#endif
