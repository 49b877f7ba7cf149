#include "liveness/liveness.h"

void liveness_init(struct liveness *l, const struct liveness_config *config, uint64_t now_ns)
{
	*l = (struct liveness){
		.watching_ns = now_ns,
		.grace_ns = config->restart_grace_ns,
	};
}

static bool seen_since_watching(const struct liveness *l)
{
	return l->seen_ns != 0 && l->seen_ns >= l->watching_ns;
}

void liveness_seen(struct liveness *l, const struct liveness_config *config, uint64_t now_ns)
{
	if (seen_since_watching(l) && now_ns - l->seen_ns >= config->beat_timeout_ns / 2) {
		l->back_ns = now_ns;
		l->away_ns = now_ns - l->seen_ns;
	}
	l->seen_ns = now_ns;
}

void liveness_stalled(struct liveness *l, const struct liveness_config *config, uint64_t gap_ns,
		      uint64_t now_ns)
{
	uint64_t grace_ns = gap_ns;

	if (grace_ns < config->beat_timeout_ns)
		grace_ns = config->beat_timeout_ns;
	if (grace_ns > config->restart_grace_ns)
		grace_ns = config->restart_grace_ns;
	/* If an earlier grace still runs and ends later than the grace for this stall, keep the
	 * earlier one. */
	if (!seen_since_watching(l) && l->watching_ns + l->grace_ns > now_ns + grace_ns)
		grace_ns = l->watching_ns + l->grace_ns - now_ns;
	l->watching_ns = now_ns;
	l->grace_ns = grace_ns;
}

bool liveness_silent_for(const struct liveness *l, uint64_t limit_ns, uint64_t now_ns)
{
	uint64_t from_ns = l->watching_ns;

	if (seen_since_watching(l))
		from_ns = l->seen_ns;
	else if (limit_ns < l->grace_ns)
		limit_ns = l->grace_ns;
	return now_ns >= from_ns && now_ns - from_ns >= limit_ns;
}

enum liveness_judgement liveness_judge(const struct liveness *l,
				       const struct liveness_config *config, uint64_t now_ns)
{
	if (liveness_silent_for(l, config->beat_timeout_ns, now_ns))
		return LIVENESS_SILENT;
	return seen_since_watching(l) ? LIVENESS_ALIVE : LIVENESS_UNKNOWN;
}

bool liveness_may_follow(const struct liveness *first, const struct liveness *second,
			 const struct liveness_config *config, uint64_t now_ns)
{
	uint64_t limit_ns = first->away_ns;

	if (limit_ns > config->restart_grace_ns)
		limit_ns = config->restart_grace_ns;
	if (first->back_ns == 0 || second->seen_ns >= first->back_ns)
		return false;
	/* If @second fell silent clearly earlier than @first, its silence has a different cause. */
	if (second->seen_ns + config->beat_timeout_ns / 2 < first->back_ns - first->away_ns)
		return false;
	return now_ns - first->back_ns < limit_ns;
}

uint64_t liveness_age_ns(const struct liveness *l, uint64_t now_ns)
{
	if (l->seen_ns == 0)
		return UINT64_MAX;
	return now_ns > l->seen_ns ? now_ns - l->seen_ns : 0;
}
