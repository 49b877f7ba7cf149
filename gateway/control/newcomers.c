#include "control/newcomers.h"

#include "control/control_private.h"

static bool is_unproven(const struct control_conn *c)
{
	return c->phase == CONTROL_REQUEST || c->phase == CONTROL_CLOSING;
}

static unsigned int n_of(const struct control *control, uint32_t address_be32)
{
	unsigned int n = 0;

	for (const struct control_conn *c = control->connections; c; c = c->next)
		n += is_unproven(c) && c->address_be32 == address_be32;
	return n;
}

struct control_conn *newcomers_victim(const struct control *control, uint32_t address_be32)
{
	struct control_conn *victim = NULL;
	unsigned int n_all = 0, most = 0;

	for (struct control_conn *c = control->connections; c; c = c->next) {
		unsigned int n;

		if (!is_unproven(c))
			continue;
		n_all++;
		n = n_of(control, c->address_be32) + (c->address_be32 == address_be32);
		if (n < most)
			continue;
		most = n;
		/* the list begins with the newest connection, so the last match is the oldest */
		victim = c;
	}
	return n_all >= CONTROL_UNPROVEN_MAX ? victim : NULL;
}

static void earn(struct control *control, uint64_t now_ns)
{
	budget_earn(&control->handshakes, NEWCOMERS_PERCENT, NEWCOMERS_MAX_NS, now_ns);
}

bool newcomers_may_run(struct control_conn *c, uint64_t now_ns)
{
	if (wire_tls_is_established(c->tls))
		return true;
	earn(c->control, now_ns);
	/* A handshake that comes now must not overtake those that wait already. */
	c->waiting |= c->control->handshakes.left_ns <= 0 ||
		      newcomers_deadline_ns(c->control) != UINT64_MAX;
	return !c->waiting;
}

void newcomers_charge(struct control_conn *c, uint64_t ns)
{
	c->control->handshakes.left_ns -= (int64_t)ns;
}

struct control_conn *newcomers_next(struct control *control, uint64_t now_ns)
{
	struct control_conn *next = NULL;
	unsigned int fewest = 0;

	earn(control, now_ns);
	if (control->handshakes.left_ns <= 0)
		return NULL;
	for (struct control_conn *c = control->connections; c; c = c->next) {
		unsigned int n;

		if (!c->waiting)
			continue;
		n = n_of(control, c->address_be32);
		if (next && n > fewest)
			continue;
		fewest = n;
		next = c;
	}
	if (next)
		next->waiting = false;
	return next;
}

uint64_t newcomers_deadline_ns(const struct control *control)
{
	for (const struct control_conn *c = control->connections; c; c = c->next) {
		if (c->waiting)
			return budget_ready_ns(&control->handshakes, NEWCOMERS_PERCENT);
	}
	return UINT64_MAX;
}
