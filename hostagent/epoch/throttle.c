#include "epoch/throttle.h"

/* A round of a FULL epoch is progress if it finds at most three quarters as many pages as the round
 * before. */
#define ROUND_SHRINKS(n_pages, n_before) ((uint64_t)(n_pages) * 4 <= (uint64_t)(n_before) * 3)
#define ROUND_STEPS 2u

static uint64_t max_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void begin_window(struct throttle *t, uint64_t now_ns)
{
	t->window.start_ns = now_ns;
	t->window.transfer_ns = 0;
	t->window.commit_ns = 0;
	t->window.copy_ns = 0;
}

/* Set the throttle to @percent, but at most to percent_max, and begin a new window. Returns true if
 * the throttle changed. */
static bool turn(struct throttle *t, uint64_t now_ns, uint64_t percent)
{
	uint32_t old = t->percent;

	t->percent = (uint32_t)min_of(percent, t->config.percent_max);
	t->n_begun += old == 0 && t->percent > 0;
	begin_window(t, now_ns);
	return t->percent != old;
}

void throttle_init(struct throttle *throttle, const struct throttle_config *config)
{
	*throttle = (struct throttle){.config = *config};
	if (throttle->config.percent_max > THROTTLE_PERCENT_LIMIT)
		throttle->config.percent_max = THROTTLE_PERCENT_LIMIT;
}

void throttle_reset(struct throttle *throttle, uint64_t now_ns)
{
	throttle->n_slow = 0;
	(void)turn(throttle, now_ns, 0); /* the caller need not know whether it changed */
}

/* Does the transfer to the standby take too long, and so long that the next epochs do not get
 * shorter by themselves? */
static bool is_late(const struct throttle *t, const struct throttle_epoch *epoch)
{
	return epoch->commit_ns > t->config.commit_max_ns &&
	       epoch->commit_ns / THROTTLE_LOAD_MAX_PERCENT > epoch->run_ns / 100;
}

/* @share is the share of the time for which the guest runs. Return it, reduced so far that work
 * which took @took_ns takes only THROTTLE_LOAD_PERCENT of @may_ns. */
static uint64_t cut(uint64_t share, uint64_t took_ns, uint64_t may_ns)
{
	return share * (may_ns / 1000) / (took_ns / 1000 + 1) * THROTTLE_LOAD_PERCENT / 100;
}

/* Return the throttle with which @epoch would not have been slow, in whole steps, and at least one
 * step above the current throttle. That is, the epoch's transfer would end while the next epoch
 * runs, and its pages would be copied within copy_max. */
static uint64_t fitting(const struct throttle *t, const struct throttle_epoch *epoch)
{
	uint64_t share = 100 - t->percent, percent;

	if (is_late(t, epoch))
		share = min_of(share, cut(100 - t->percent, epoch->commit_ns, epoch->run_ns));
	if (epoch->copy_ns > t->config.copy_max_ns)
		share = min_of(share, cut(100 - t->percent, epoch->copy_ns, t->config.copy_max_ns));
	percent = 100 - share + THROTTLE_STEP_PERCENT - 1;
	return max_of(percent - percent % THROTTLE_STEP_PERCENT,
		      t->percent + THROTTLE_STEP_PERCENT);
}

/* If the throttle were only @percent, would the load that was measured in the window stay within
 * the limits? */
static bool would_fit(const struct throttle *t, uint64_t window_ns, uint32_t percent)
{
	double growth = (double)(100 - percent) / (double)(100 - t->percent);
	double load = (double)t->window.transfer_ns / (double)window_ns;

	return load * growth * 100 <= THROTTLE_LOAD_MAX_PERCENT &&
	       (double)t->window.commit_ns * growth <= (double)t->config.commit_max_ns &&
	       (double)t->window.copy_ns * growth <= (double)t->config.copy_max_ns;
}

static bool end_window(struct throttle *t, uint64_t now_ns)
{
	uint64_t window_ns = now_ns - t->window.start_ns;
	uint32_t percent = t->percent;

	for (uint32_t step = 0; step < THROTTLE_DOWN_STEPS && percent > 0; step++) {
		uint32_t less =
			percent > THROTTLE_STEP_PERCENT ? percent - THROTTLE_STEP_PERCENT : 0;

		if (!would_fit(t, window_ns, less))
			break;
		percent = less;
	}
	return turn(t, now_ns, percent);
}

bool throttle_sealed(struct throttle *t, uint64_t now_ns, const struct throttle_epoch *epoch)
{
	bool is_slow = epoch->bytes >= THROTTLE_BYTES_MIN &&
		       (is_late(t, epoch) || epoch->copy_ns > t->config.copy_max_ns);

	if (t->config.percent_max == 0)
		return false;
	t->n_slow = is_slow ? t->n_slow + 1 : 0;
	if (t->n_slow >= 2)
		return turn(t, now_ns, fitting(t, epoch));
	if (t->percent == 0)
		return false;
	t->window.transfer_ns += epoch->transfer_ns;
	t->window.commit_ns = max_of(t->window.commit_ns, epoch->commit_ns);
	t->window.copy_ns = max_of(t->window.copy_ns, epoch->copy_ns);
	if (is_slow || now_ns - t->window.start_ns < THROTTLE_WINDOW_NS)
		return false;
	return end_window(t, now_ns);
}

bool throttle_full_round(struct throttle *t, uint64_t now_ns, uint32_t n_pages, uint32_t n_before,
			 uint64_t round_ns, bool is_awaited)
{
	if (ROUND_SHRINKS(n_pages, n_before))
		return true;
	if (round_ns <= t->config.commit_max_ns)
		return false;
	return turn(t, now_ns, t->percent + ROUND_STEPS * THROTTLE_STEP_PERCENT) && !is_awaited;
}

bool throttle_wants_stop(struct throttle *t, uint64_t now_ns)
{
	if (t->percent == 0) {
		t->is_stop = false;
		t->slice_end_ns = 0;
		return false;
	}
	if (now_ns >= t->slice_end_ns) {
		t->is_stop = !t->is_stop;
		t->slice_end_ns = now_ns + (t->is_stop ? THROTTLE_RUN_NS * t->percent /
								 (100 - t->percent)
						       : THROTTLE_RUN_NS);
	}
	return t->is_stop;
}

uint64_t throttle_slice_end_ns(const struct throttle *t)
{
	return t->percent ? t->slice_end_ns : UINT64_MAX;
}
