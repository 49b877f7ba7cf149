#include "session/admission.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "session/session_private.h"

static const struct {
	uint64_t percent, max_ns;
} limits[2] = {
	{ADMISSION_STRANGERS_PERCENT, ADMISSION_STRANGERS_MAX_NS},
	{ADMISSION_KNOWN_PERCENT, ADMISSION_KNOWN_MAX_NS},
};

void admission_init(struct admission *a, uint64_t now_ns)
{
	*a = (struct admission){0};
	for (size_t i = 0; i < ARRAY_SIZE(a->budget); i++) {
		a->budget[i].left_ns = (int64_t)limits[i].max_ns;
		a->budget[i].earned_at_ns = now_ns;
	}
}

/* Is @source known (admission.h)? This is looked up each time, because hosts can change their
 * addresses. */
static bool is_known(const struct sessions *sessions, const char *source)
{
	const struct fleet *fleet = sessions->fleet;

	for (size_t i = 0; i < fleet->n_hosts; i++) {
		if (strcmp(fleet->hosts[i].source, source) == 0 ||
		    strcmp(fleet->hosts[i].configured, source) == 0)
			return true;
	}
	return false;
}

static bool is_unproven(const struct session *s)
{
	return s->phase == SESSION_HANDSHAKE || s->phase == SESSION_HELLO;
}

/* Returns the number of connections from @source that have not said HELLO. */
static unsigned int n_unproven(const struct sessions *sessions, const char *source)
{
	unsigned int n = 0;

	for (const struct session *s = sessions->all; s; s = s->next)
		n += is_unproven(s) && strcmp(s->source, source) == 0;
	return n;
}

/* ---- slots ---- */

void admission_settle(struct sessions *sessions)
{
	/* Each host needs a control connection, and each VM two streams. */
	uint32_t n_needed = (uint32_t)(sessions->fleet->n_hosts + 2 * sessions->fleet->n_vms);
	struct session_config *config = &sessions->config;

	if (config->n_handshakes_max == 0) {
		config->n_handshakes_max = n_needed > ADMISSION_HANDSHAKES_LEAST
						   ? n_needed
						   : ADMISSION_HANDSHAKES_LEAST;
		if (config->n_sessions_max != 0 &&
		    config->n_handshakes_max > config->n_sessions_max)
			config->n_handshakes_max = config->n_sessions_max;
	}
	if (config->n_sessions_max == 0) {
		config->n_sessions_max = n_needed + config->n_handshakes_max;
		if (config->n_sessions_max < ADMISSION_SESSIONS_LEAST)
			config->n_sessions_max = ADMISSION_SESSIONS_LEAST;
	}
}

/* Returns the number of open sessions from @source that have been silent for at least beat_timeout.
 * Their connections may be dead, and must not keep the same host's new connection out. */
static unsigned int n_silent(const struct sessions *sessions, const char *source, uint64_t now_ns)
{
	unsigned int n = 0;

	for (const struct session *s = sessions->all; s; s = s->next)
		n += s->phase == SESSION_OPEN && strcmp(s->source, source) == 0 &&
		     now_ns - s->link.seen_ns >= sessions->config.beat_timeout_ns;
	return n;
}

/* Returns how many unproven connections @source has above its share: a quarter of the slots for a
 * known source, and 0 for any other. The new connection, which came from @newcomer, is counted as
 * if it were open already. */
static int excess(const struct sessions *sessions, const char *source, const char *newcomer)
{
	unsigned int reserve = sessions->config.n_handshakes_max / 4;
	int n = (int)n_unproven(sessions, source) + (strcmp(source, newcomer) == 0);

	if (!is_known(sessions, source))
		return n;
	return n - (reserve > 0 ? (int)reserve : 1);
}

/* Returns the session to end, or NULL if none may be ended. Chooses the source whose excess() is
 * largest, and that source's oldest unproven session, which is the last match in sessions->all. */
static struct session *find_victim(const struct sessions *sessions, const char *newcomer)
{
	struct session *victim = NULL;
	int most = excess(sessions, newcomer, newcomer);

	for (struct session *s = sessions->all; s; s = s->next) {
		int n;

		if (!is_unproven(s))
			continue;
		n = excess(sessions, s->source, newcomer);
		if (n < most)
			continue;
		victim = s;
		most = n;
	}
	return victim;
}

int admission_make_room(struct sessions *sessions, const char *source, uint64_t now_ns)
{
	const struct fleet_counters *c = &sessions->fleet->counters;
	struct session *victim;
	/* A closing session exists until its last output is sent, but takes no slot. */
	uint64_t n_taken = c->sessions_now - c->closing_now;

	if (n_taken >= sessions->config.n_sessions_max)
		n_taken -= n_silent(sessions, source, now_ns);
	if (n_taken < sessions->config.n_sessions_max &&
	    c->handshakes_now < sessions->config.n_handshakes_max)
		return 0;
	victim = find_victim(sessions, source);
	if (!victim)
		return -EBUSY;
	session_evict(victim, now_ns);
	return 0;
}

/* ---- time ---- */

static void earn(struct admission *a, uint64_t now_ns)
{
	for (size_t i = 0; i < ARRAY_SIZE(a->budget); i++)
		budget_earn(&a->budget[i], limits[i].percent, limits[i].max_ns, now_ns);
}

bool admission_may_run(struct session *s, uint64_t now_ns)
{
	struct admission *a = &s->sessions->admission;

	earn(a, now_ns);
	if (s->picked ||
	    (a->n_waiting == 0 && a->budget[is_known(s->sessions, s->source)].left_ns > 0)) {
		s->picked = false;
		return true;
	}
	if (!s->waiting) {
		s->waiting = true;
		a->n_waiting++;
	}
	return false;
}

void admission_charge(struct session *s, uint64_t ns)
{
	s->sessions->admission.budget[is_known(s->sessions, s->source)].left_ns -= (int64_t)ns;
}

void admission_forget(struct session *s)
{
	if (s->waiting)
		s->sessions->admission.n_waiting--;
	s->waiting = s->picked = false;
}

/* Returns the waiting session that may continue next, or NULL if none may. Leaves out sessions
 * whose budget is spent. Prefers known sources to unknown ones, then the source with the fewest
 * unproven connections, then the oldest session. */
static struct session *next_waiting(const struct sessions *sessions)
{
	struct session *best = NULL;
	unsigned int best_n = 0;
	bool best_known = false;

	for (struct session *s = sessions->all; s; s = s->next) {
		bool known;
		unsigned int n;

		if (!s->waiting)
			continue;
		known = is_known(sessions, s->source);
		if (sessions->admission.budget[known].left_ns <= 0)
			continue;
		n = n_unproven(sessions, s->source);
		if (best && (known < best_known || (known == best_known && n > best_n)))
			continue;
		best = s;
		best_n = n;
		best_known = known;
	}
	return best;
}

void admission_run(struct sessions *sessions, uint64_t now_ns)
{
	struct session *s;

	if (sessions->admission.n_waiting == 0)
		return;
	earn(&sessions->admission, now_ns);
	s = next_waiting(sessions);
	if (!s)
		return;
	admission_forget(s);
	s->picked = true;
	session_mark_dirty(s);
}

uint64_t admission_deadline_ns(const struct sessions *sessions)
{
	const struct admission *a = &sessions->admission;
	uint64_t at_ns = UINT64_MAX;

	if (a->n_waiting == 0)
		return UINT64_MAX;
	for (const struct session *s = sessions->all; s; s = s->next) {
		bool known;
		uint64_t ready_ns;

		if (!s->waiting)
			continue;
		known = is_known(sessions, s->source);
		ready_ns = budget_ready_ns(&a->budget[known], limits[known].percent);
		if (ready_ns < at_ns)
			at_ns = ready_ns;
	}
	return at_ns;
}
