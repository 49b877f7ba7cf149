#include "replace/plan.h"

void plan_init(struct plan *plan)
{
	*plan = (struct plan){.phase = PLAN_IDLE};
}

static enum plan_action enter(struct plan *plan, enum plan_phase phase, uint64_t now_ns,
			      enum plan_action action)
{
	plan->phase = phase;
	plan->since_ns = now_ns;
	return action;
}

enum plan_action plan_ask(struct plan *plan, uint64_t now_ns)
{
	if (plan->phase != PLAN_IDLE)
		return PLAN_DO_NOTHING;
	plan->n_tries = 0;
	return enter(plan, PLAN_CHECKING, now_ns, PLAN_DO_CHECK);
}

static enum plan_action call_off(struct plan *plan, uint64_t now_ns)
{
	if (++plan->n_tries == PLAN_TRIES)
		return enter(plan, PLAN_IDLE, now_ns, PLAN_DO_GIVE_UP);
	return enter(plan, PLAN_WAITING, now_ns, PLAN_DO_GO_ON);
}

enum plan_action plan_step(struct plan *plan, const struct plan_view *view, uint64_t now_ns)
{
	const uint64_t past_ns = now_ns - plan->since_ns;

	switch (plan->phase) {
	case PLAN_CHECKING:
		if (view->check == PLAN_CHECK_GOOD)
			return enter(plan, PLAN_RESTING, now_ns, PLAN_DO_REST);
		if (view->check == PLAN_CHECK_BAD || past_ns >= PLAN_CHECK_NS)
			return enter(plan, PLAN_IDLE, now_ns, PLAN_DO_REFUSE);
		return PLAN_DO_NOTHING;
	case PLAN_RESTING:
		if (view->one_cannot)
			return call_off(plan, now_ns);
		if (view->all_rest)
			return enter(plan, PLAN_YIELDING, now_ns, PLAN_DO_YIELD);
		return past_ns >= PLAN_REST_NS ? call_off(plan, now_ns) : PLAN_DO_NOTHING;
	case PLAN_YIELDING:
		/* After PLAN_YIELD_NS all guests go on here, even if the last one has yielded
		 * meanwhile. */
		if (view->one_cannot || past_ns >= PLAN_YIELD_NS)
			return call_off(plan, now_ns);
		return view->all_yielded ? enter(plan, PLAN_GOING, now_ns, PLAN_DO_EXEC)
					 : PLAN_DO_NOTHING;
	case PLAN_WAITING:
		return past_ns >= PLAN_WAIT_NS ? enter(plan, PLAN_RESTING, now_ns, PLAN_DO_REST)
					       : PLAN_DO_NOTHING;
	case PLAN_IDLE:
	case PLAN_GOING:
		break;
	}
	return PLAN_DO_NOTHING;
}

bool plan_is_under_way(const struct plan *plan)
{
	return plan->phase != PLAN_IDLE;
}

bool plan_is_pressing(const struct plan *plan)
{
	return plan->phase == PLAN_RESTING || plan->phase == PLAN_YIELDING;
}
