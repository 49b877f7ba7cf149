#include "epoch/stage.h"

/* A rate that was measured over at least this time replaces the old rate. A rate that was measured
 * over a shorter time changes the old rate only in part. */
#define SMOOTH_NS	40e6
#define GUESSED_RATIO	0.70
#define GUESSED_COST_NS 1.5
/* the second stage is not needed while at most this share of the link's rate is used */
#define LOAD_MAX	0.70
#define MARGIN_ON	1.25

static void guess(struct stage *s)
{
	s->ratio = GUESSED_RATIO;
	s->cost = GUESSED_COST_NS;
}

void stage_init(struct stage *stage, enum stage_mode mode)
{
	*stage = (struct stage){.mode = mode};
	guess(stage);
}

static void turn(struct stage *s, bool is_on)
{
	s->n_switches += s->is_on != is_on;
	s->is_on = is_on;
	s->n_windows_off = 0;
}

void stage_connected(struct stage *stage, bool is_allowed)
{
	stage->is_allowed = is_allowed;
	stage->has_last = false;
	stage->full_ns = 0;
	stage->rate = 0;
	turn(stage, false);
}

bool stage_wants(const struct stage *stage, uint64_t now_ns)
{
	return !stage->has_last || now_ns - stage->last.now_ns >= STAGE_INTERVAL_NS;
}

/* Is the gain larger than @margin times the cost? If the link carries nothing at all (rate 0),
 * always true. */
static bool pays(const struct stage *s, double margin)
{
	return (1 - s->ratio) > s->cost * s->rate * margin;
}

static void learn_rate(struct stage *s, const struct stage_sample *sample, uint64_t interval_ns)
{
	double speed =
		(double)(sample->drained_bytes - s->last.drained_bytes) / (double)interval_ns;
	double weight = (double)interval_ns / SMOOTH_NS;
	bool is_full = s->last.waiting_bytes >= STAGE_WAITING_BYTES &&
		       sample->waiting_bytes >= STAGE_WAITING_BYTES;

	if (!is_full) {
		s->full_ns = 0;
		if (s->rate > 0 && speed > s->rate)
			s->rate = speed; /* the link carries at least `speed` */
		return;
	}
	if (s->full_ns == 0)
		s->rate = speed;
	else
		s->rate += (speed - s->rate) * (weight < 1 ? weight : 1);
	s->full_ns += interval_ns;
	s->was_full = true;
}

static void learn_stage(struct stage *s, const struct stage_sample *sample)
{
	uint64_t in = sample->in_bytes - s->learned.in_bytes;

	if (in < STAGE_LEARN_BYTES)
		return;
	s->ratio = (double)(sample->out_bytes - s->learned.out_bytes) / (double)in;
	s->cost = (double)(sample->spent_ns - s->learned.spent_ns) / (double)in;
	s->learned = *sample;
}

static void end_window(struct stage *s, const struct stage_sample *sample)
{
	double load = (double)(sample->plain_bytes - s->window.plain_bytes) /
		      (double)(sample->now_ns - s->window.now_ns);

	if (!s->is_on) {
		if (++s->n_windows_off >= STAGE_FORGET_WINDOWS)
			guess(s);
	} else if (!pays(s, 1) || (!s->was_full && load < LOAD_MAX * s->rate)) {
		turn(s, false);
	}
	s->window = *sample;
	s->was_full = false;
}

void stage_update(struct stage *s, const struct stage_sample *sample)
{
	uint64_t interval_ns = sample->now_ns - s->last.now_ns;

	if (!s->has_last) {
		s->last = s->window = s->learned = *sample;
		s->was_full = false;
		s->has_last = true;
		return;
	}
	if (interval_ns < STAGE_INTERVAL_NS)
		return;
	learn_rate(s, sample, interval_ns);
	learn_stage(s, sample);
	s->last = *sample;
	if (!s->is_on && s->full_ns >= STAGE_BUSY_NS && pays(s, MARGIN_ON))
		turn(s, true);
	if (sample->now_ns - s->window.now_ns >= STAGE_WINDOW_NS)
		end_window(s, sample);
}

bool stage_is_on(const struct stage *stage)
{
	if (!stage->is_allowed || stage->mode == STAGE_OFF)
		return false;
	return stage->mode == STAGE_LZ4 || stage->is_on;
}
