#include "epoch/pacer.h"

#include "base/clock.h"

static int64_t budget_at(const struct pacer_budget *budget, uint64_t at_ns)
{
	uint32_t share = budget->share;
	uint64_t run_ns = at_ns > budget->at_ns ? at_ns - budget->at_ns : 0;
	int64_t budget_ns;

	/* After a minute of running, the budget is full, whatever the share. Return here, because
	 * with a larger run_ns the calculation below could overflow. */
	if (run_ns > 60 * CLOCK_NS_PER_S)
		return (int64_t)PACER_BURST_NS;
	budget_ns = budget->ns + (int64_t)(run_ns * share / (100 - share));
	return budget_ns > (int64_t)PACER_BURST_NS ? (int64_t)PACER_BURST_NS : budget_ns;
}

/* Return when the budget is back at 0. If the budget is not negative, returns the time of its last
 * update. */
static uint64_t budget_due_ns(const struct pacer_budget *budget)
{
	uint32_t share = budget->share;

	if (budget->ns >= 0)
		return budget->at_ns;
	return budget->at_ns + ((uint64_t)-budget->ns * (100 - share) + share - 1) / share;
}

/* Charge @charge_ns to the budget, for a pause of the guest from @paused_ns to @resumed_ns. */
static void budget_pay(struct pacer_budget *budget, uint64_t paused_ns, uint64_t resumed_ns,
		       int64_t charge_ns)
{
	int64_t lowest_ns = -(int64_t)(PACER_DEBT_RUN_NS * budget->share / (100 - budget->share));

	budget->ns = budget_at(budget, paused_ns) - charge_ns;
	if (budget->ns < lowest_ns)
		budget->ns = lowest_ns;
	budget->at_ns = resumed_ns;
}

/* Return when the wall budget is back at 0. While the guest's clock is corrected, the wall budget
 * does not apply: return 0. */
static uint64_t wall_due_ns(const struct pacer *pacer)
{
	return pacer->is_clock_corrected ? 0 : budget_due_ns(&pacer->wall);
}

void pacer_init(struct pacer *pacer, const struct pacer_config *config, uint64_t now_ns)
{
	*pacer = (struct pacer){
		.config = *config,
		.resumed_ns = now_ns,
		.computed = {.share = config->pause_share_max, .at_ns = now_ns},
		.wall = {.share = config->wall_share_max, .at_ns = now_ns},
	};
}

void pacer_demand(struct pacer *pacer, uint64_t now_ns, bool full)
{
	if (!pacer->demand)
		pacer->demand_ns = now_ns;
	pacer->demand = true;
	pacer->full = pacer->full || full;
}

/* Return what to charge for a pause, which depends on how busy the guest was in the epoch that
 * ends. */
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
	budget_pay(&pacer->computed, paused_ns, resumed_ns,
		   charge_ns(pacer, paused_ns, resumed_ns, busy_ns));
	budget_pay(&pacer->wall, paused_ns, resumed_ns, (int64_t)(resumed_ns - paused_ns));
	pacer->resumed_ns = resumed_ns;
	pacer->demand = false;
	pacer->full = false;
}

void pacer_clock(struct pacer *pacer, bool is_corrected)
{
	pacer->is_clock_corrected = is_corrected;
}

void pacer_in_flight(struct pacer *pacer, uint32_t n_in_flight, bool is_backlog_full)
{
	pacer->in_flight = n_in_flight;
	pacer->is_backlog_full = is_backlog_full;
}

void pacer_link(struct pacer *pacer, uint64_t now_ns, uint64_t waiting_bytes, double bytes_per_ns)
{
	double busy_ns = bytes_per_ns > 0 ? (double)waiting_bytes / bytes_per_ns : 0;

	if (busy_ns <= (double)PACER_BACKLOG_NS) {
		pacer->link_free_ns = 0;
		return;
	}
	busy_ns -= (double)PACER_BACKLOG_NS;
	if (busy_ns > (double)PACER_LOOK_NS)
		busy_ns = (double)PACER_LOOK_NS;
	pacer->link_free_ns = now_ns + (uint64_t)busy_ns;
}

/* Return when the running epoch would be sealed if no rule about backlog, epochs in flight or link
 * delayed the seal. */
static uint64_t wanted_ns(const struct pacer *pacer)
{
	uint64_t due_ns, budget_ns, wall_ns = wall_due_ns(pacer);

	if (pacer->full)
		return pacer->resumed_ns + pacer->config.epoch_min_ns;
	due_ns = pacer->resumed_ns +
		 (pacer->demand ? pacer->config.epoch_min_ns : pacer->config.epoch_max_ns);
	budget_ns = budget_due_ns(&pacer->computed);
	if (wall_ns > budget_ns)
		budget_ns = wall_ns;
	return budget_ns > due_ns ? budget_ns : due_ns;
}

uint64_t pacer_due_ns(const struct pacer *pacer)
{
	uint64_t due_ns = wanted_ns(pacer);

	if (pacer->is_backlog_full || pacer->in_flight >= pacer->config.in_flight_max)
		return UINT64_MAX;
	return pacer->link_free_ns > due_ns ? pacer->link_free_ns : due_ns;
}

void pacer_sealing(struct pacer *pacer, uint64_t now_ns)
{
	uint64_t due_ns = wanted_ns(pacer);

	if (pacer->demand && pacer->demand_ns > due_ns)
		/* before this time no frame was held, so nobody waited for the seal */
		due_ns = pacer->demand_ns;
	if (now_ns < due_ns + PACER_STRETCH_MIN_NS)
		return;
	pacer->n_stretched++;
	pacer->stretched_ns += now_ns - due_ns;
}

const char *pacer_reason(const struct pacer *pacer, uint64_t now_ns)
{
	if (pacer->is_backlog_full)
		return "backlog";
	if (pacer->in_flight >= pacer->config.in_flight_max)
		return "in flight";
	if (pacer->link_free_ns > now_ns && pacer->link_free_ns > wanted_ns(pacer))
		return "link";
	if (pacer->full)
		return "hold full";
	if (wall_due_ns(pacer) > now_ns && wall_due_ns(pacer) > budget_due_ns(&pacer->computed))
		return "clock budget";
	if (budget_due_ns(&pacer->computed) > now_ns)
		return "pause budget";
	return pacer->demand ? "demand" : "epoch_max";
}
