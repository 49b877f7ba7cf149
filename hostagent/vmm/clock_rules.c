#include "vmm/clock_rules.h"

#include <stddef.h>

#include "base/clock.h"

/* A rate is computed only from two stops that are at least this far apart. */
#define RATE_MIN_NS	 (20 * CLOCK_NS_PER_MS)
#define RATE_TOLERANCE	 0.01
#define COST_WEIGHT	 4u  /* the cost of the last start counts for a quarter in the average */
#define FIRST_COST_NS	 (150 * CLOCK_NS_PER_US)

void clock_rules_init(struct clock_rules *rules, uint64_t step_max_ns)
{
	*rules = (struct clock_rules){
		.why = "", .step_max_ns = step_max_ns, .cost_ns = FIRST_COST_NS};
}

void clock_rules_off(struct clock_rules *rules, const char *why)
{
	if (rules->state == CLOCK_OFF)
		return;
	rules->state = CLOCK_OFF;
	rules->why = why;
	rules->is_ours = false;
}

/* Make @words the target, to which later corrections set the clock. Time that the guest has lost so
 * far will not be given back. */
static void anchor(struct clock_rules *rules, const struct clock_words *words)
{
	rules->forgotten_ns = rules->lost_ns;
	rules->target = *words;
}

void clock_rules_running(struct clock_rules *rules, const struct clock_words *words)
{
	rules->is_ours = false;
	rules->is_steady = false;
	if (rules->state == CLOCK_OFF)
		return;
	if (!words->is_running) {
		rules->has_running = false;
		return;
	}
	if (!rules->has_running) {
		anchor(rules, words);
	} else {
		/* If somebody else has paused the guest, its running offsets have changed. Change
		 * the target by the same amount: the time of that pause is not given back. */
		rules->is_steady = words->clock == rules->running.clock &&
				   words->ticks == rules->running.ticks;
		rules->target.clock += words->clock - rules->running.clock;
		rules->target.ticks += words->ticks - rules->running.ticks;
	}
	rules->running = *words;
	rules->has_running = true;
}

static bool is_near(double a, double b)
{
	return a > b * (1 - RATE_TOLERANCE) && a < b * (1 + RATE_TOLERANCE);
}

/* Learn the tick rate from a stop at which the host's clock was @host_ns and its tick counter
 * @host_ticks. Returns false if the new rate contradicts the rate so far. */
static bool learn_rate(struct clock_rules *rules, uint64_t host_ns, uint64_t host_ticks)
{
	double rate;

	rules->is_rate_same = false;
	if (rules->n_stops == 0) {
		rules->first_ns = host_ns;
		rules->first_ticks = host_ticks;
		rules->n_stops = 1;
		return true;
	}
	if (host_ns < rules->first_ns + RATE_MIN_NS)
		return true;
	rate = (double)(int64_t)(host_ticks - rules->first_ticks) /
	       (double)(host_ns - rules->first_ns);
	if (rate <= 0)
		return false;
	if (rules->n_stops > 1 && !is_near(rate, rules->rate)) {
		if (rules->state == CLOCK_PROVING)
			/* the old or the new rate is wrong: measure the rate anew */
			rules->n_stops = 0;
		return false;
	}
	rules->is_rate_same = rules->n_stops > 1;
	rules->rate = rate;
	rules->n_stops = 2;
	return true;
}

static void miss(struct clock_rules *rules)
{
	rules->has_running = false; /* the clock words must be read again before the next pause */
	if (++rules->n_misses >= CLOCK_MISSES_MAX)
		clock_rules_off(rules, "QEMU's clock does not follow the host's");
}

/* Returns what the clock words (QEMU's two offsets) would be at the host's time @at_ns, if the
 * guest had never been stopped. */
static struct clock_words wanted_at(const struct clock_rules *rules, uint64_t at_ns)
{
	double ticks = rules->rate * (double)(int64_t)(at_ns - rules->stop_ns);

	return (struct clock_words){
		.clock = rules->target.clock + at_ns,
		.ticks = rules->target.ticks + rules->stop_ticks + (uint64_t)(int64_t)ticks,
	};
}

/* Set rules->written to the clock words with which the guest should start. Returns false if nothing
 * needs to be written, because these words would not set the guest's clock forward. */
static bool set_forward(struct clock_rules *rules, uint64_t now_ns)
{
	struct clock_words wanted = wanted_at(rules, now_ns + rules->cost_ns);

	rules->written = clock_step(&rules->stopped, &wanted, rules->step_max_ns,
				    (uint64_t)(rules->rate * 1e9));
	if (rules->written.clock == rules->stopped.clock)
		return false;
	rules->n_set++;
	return true;
}

static bool same(const struct clock_words *a, const struct clock_words *b)
{
	return a->ticks == b->ticks && a->clock == b->clock;
}

bool clock_rules_stopped(struct clock_rules *rules, const struct clock_words *words,
			 uint64_t sent_ns, uint64_t seen_ns, uint64_t now_ns,
			 struct clock_words *ret_words)
{
	uint64_t host_ns;

	/* The guest stayed stopped after the seal: set its clock again. We already know when the
	 * guest stopped. The words no longer show this, because we have changed them. */
	if (rules->state != CLOCK_OFF && rules->is_ours && rules->has_running &&
	    !words->is_running && same(words, &rules->written)) {
		rules->set_ns = now_ns;
		if (rules->state != CLOCK_CORRECTED || !set_forward(rules, now_ns))
			return false;
		*ret_words = rules->written;
		return true;
	}
	rules->is_ours = false;
	if (rules->state == CLOCK_OFF || !rules->has_running || words->is_running)
		return false;
	host_ns = words->clock - rules->running.clock;
	if (host_ns < sent_ns || host_ns > seen_ns ||
	    !learn_rate(rules, host_ns, words->ticks - rules->running.ticks)) {
		miss(rules);
		return false;
	}
	rules->n_misses = 0;
	rules->is_ours = true;
	rules->stopped = rules->written = *words;
	rules->set_ns = now_ns;
	rules->stop_ns = host_ns;
	rules->stop_ticks = words->ticks - rules->running.ticks;
	if (rules->state != CLOCK_CORRECTED || !set_forward(rules, now_ns))
		return false;
	*ret_words = rules->written;
	return true;
}

void clock_rules_resumed(struct clock_rules *rules, const struct clock_words *words)
{
	uint64_t cost_ns = rules->written.clock - words->clock - rules->set_ns;
	int64_t lag_ns;

	if (rules->state == CLOCK_OFF)
		return;
	if (!words->is_running) {
		rules->has_running = false;
		return;
	}
	if (rules->is_ours && cost_ns < CLOCK_COST_MAX_NS)
		rules->cost_ns += cost_ns / COST_WEIGHT - rules->cost_ns / COST_WEIGHT;
	if (!rules->has_running)
		anchor(rules, words);
	rules->running = *words;
	rules->has_running = true;
	lag_ns = (int64_t)(rules->target.clock - words->clock);
	rules->lost_ns = rules->forgotten_ns + (lag_ns > 0 ? (uint64_t)lag_ns : 0);
}

void clock_rules_saved(struct clock_rules *rules, const struct clock_words *words)
{
	if (rules->state == CLOCK_OFF || !rules->is_ours)
		return;
	/* We do not know whether QEMU saved the clock words before or after we wrote them. So
	 * either value is right. */
	if (!same(words, &rules->stopped) && !same(words, &rules->written)) {
		clock_rules_off(rules, "QEMU's saved state has another clock than its memory");
		return;
	}
	if (rules->state != CLOCK_PROVING || !rules->is_steady || !rules->is_rate_same)
		return;
	if (++rules->n_proofs >= CLOCK_PROOFS)
		rules->state = CLOCK_CORRECTED;
}

void clock_rules_paused(struct clock_rules *rules, uint64_t paused_ns)
{
	if (rules->state == CLOCK_OFF)
		rules->lost_ns += paused_ns;
}

bool clock_rules_forecast(const struct clock_rules *rules, uint64_t at_ns,
			  struct clock_words *ret_words)
{
	if (rules->state != CLOCK_CORRECTED || !rules->is_ours)
		return false;
	*ret_words = wanted_at(rules, at_ns);
	return true;
}

struct clock_words clock_step(const struct clock_words *words, const struct clock_words *wanted,
			      uint64_t step_max_ns, uint64_t ticks_per_s)
{
	int64_t clock = (int64_t)(wanted->clock - words->clock);
	int64_t ticks = (int64_t)(wanted->ticks - words->ticks);
	double ticks_max = (double)step_max_ns * (double)ticks_per_s / 1e9;
	struct clock_words result = *words;

	if (clock <= 0)
		return result;
	result.clock += (uint64_t)clock < step_max_ns ? (uint64_t)clock : step_max_ns;
	if (ticks > 0)
		result.ticks += (double)ticks < ticks_max ? (uint64_t)ticks : (uint64_t)ticks_max;
	return result;
}

const char *clock_rules_word(const struct clock_rules *rules)
{
	static const char *const words[] = {
		[CLOCK_PROVING] = "not yet", [CLOCK_CORRECTED] = "yes", [CLOCK_OFF] = "no"};

	return words[rules->state];
}

/* --- loss */

void clock_loss_note(struct clock_loss *loss, uint64_t now_ns, uint64_t lost_ns)
{
	uint64_t second = now_ns / CLOCK_NS_PER_S + 1; /* 0 marks an empty slot */
	size_t slot = second % CLOCK_LOSS_SLOTS;

	if (loss->second[slot] == second)
		return;
	loss->second[slot] = second;
	loss->lost_ns[slot] = lost_ns;
}

double clock_loss_percent(const struct clock_loss *loss, uint64_t now_ns, uint64_t lost_ns)
{
	uint64_t second = now_ns / CLOCK_NS_PER_S + 1, since_ns = 0, before_ns = 0;

	for (uint32_t i = CLOCK_LOSS_SPAN_S; i > 0 && since_ns == 0; i--) {
		size_t slot = (second - i) % CLOCK_LOSS_SLOTS;

		if (second <= i || loss->second[slot] != second - i)
			continue;
		since_ns = (second - i - 1) * CLOCK_NS_PER_S;
		before_ns = loss->lost_ns[slot];
	}
	if (since_ns == 0 || now_ns <= since_ns || lost_ns <= before_ns)
		return 0;
	return 100.0 * (double)(lost_ns - before_ns) / (double)(now_ns - since_ns);
}

bool clock_loss_alarm(struct clock_loss *loss, double percent, uint32_t limit)
{
	loss->is_alarm = percent >= (double)limit || (loss->is_alarm && percent >= limit / 2.0);
	return loss->is_alarm;
}
