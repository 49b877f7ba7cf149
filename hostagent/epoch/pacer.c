#include "epoch/pacer.h"

static int64_t budget_at(const struct pacer *pacer, uint64_t at_ns)
{
	uint32_t share = pacer->config.pause_share_max;
	uint64_t run_ns = at_ns > pacer->budget_at_ns ? at_ns - pacer->budget_at_ns : 0;
	int64_t budget_ns;

	/* After a second of running the budget is full whatever the share: keep the product small. */
	if (run_ns > UINT64_C(60000000000))
		return (int64_t)PACER_BURST_NS;
	budget_ns = pacer->budget_ns + (int64_t)(run_ns * share / (100 - share));
	return budget_ns > (int64_t)PACER_BURST_NS ? (int64_t)PACER_BURST_NS : budget_ns;
}

/* When the budget reaches zero. */
static uint64_t budget_due_ns(const struct pacer *pacer)
{
	uint32_t share = pacer->config.pause_share_max;

	if (pacer->budget_ns >= 0)
		return pacer->budget_at_ns;
	return pacer->budget_at_ns +
	       ((uint64_t)-pacer->budget_ns * (100 - share) + share - 1) / share;
}

void pacer_init(struct pacer *pacer, const struct pacer_config *config, uint64_t now_ns)
{
	*pacer = (struct pacer){
		.config = *config,
		.resumed_ns = now_ns,
		.budget_at_ns = now_ns,
	};
}

void pacer_demand(struct pacer *pacer, bool full)
{
	pacer->demand = true;
	pacer->full = pacer->full || full;
}

/* What a pause costs the guest, by how busy it was in the epoch that ends. */
static int64_t charge_ns(const struct pacer *pacer, uint64_t paused_ns, uint64_t resumed_ns,
			 uint64_t busy_ns)
{
	uint64_t run_ns = paused_ns > pacer->resumed_ns ? paused_ns - pacer->resumed_ns : 0;
	uint64_t percent = run_ns && busy_ns < run_ns ? busy_ns * 100 / run_ns : 100;

	if (percent < PACER_IDLE_CHARGE_PERCENT)
		percent = PACER_IDLE_CHARGE_PERCENT;
	return (int64_t)((resumed_ns - paused_ns) * percent / 100);
}

void pacer_sealed(struct pacer *pacer, uint64_t paused_ns, uint64_t resumed_ns, uint64_t busy_ns)
{
	pacer->budget_ns = budget_at(pacer, paused_ns) -
			   charge_ns(pacer, paused_ns, resumed_ns, busy_ns);
	pacer->budget_at_ns = resumed_ns;
	pacer->resumed_ns = resumed_ns;
	pacer->demand = false;
	pacer->full = false;
}

void pacer_in_flight(struct pacer *pacer, uint32_t n_in_flight)
{
	pacer->in_flight = n_in_flight;
}

uint64_t pacer_due_ns(const struct pacer *pacer, uint64_t now_ns)
{
	uint64_t due_ns, budget_ns;

	(void)now_ns;
	if (pacer->in_flight >= pacer->config.in_flight_max)
		return UINT64_MAX;
	if (pacer->full)
		return pacer->resumed_ns + pacer->config.epoch_min_ns;
	due_ns = pacer->resumed_ns +
		 (pacer->demand ? pacer->config.epoch_min_ns : pacer->config.epoch_max_ns);
	budget_ns = budget_due_ns(pacer);
	return budget_ns > due_ns ? budget_ns : due_ns;
}

const char *pacer_reason(const struct pacer *pacer, uint64_t now_ns)
{
	if (pacer->in_flight >= pacer->config.in_flight_max)
		return "in flight";
	if (pacer->full)
		return "hold full";
	if (budget_due_ns(pacer) > now_ns)
		return "pause budget";
	return pacer->demand ? "demand" : "epoch_max";
}
