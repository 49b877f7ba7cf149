/* drain_ask.c - handles the requests for a drain: refuses an operator's request, or begins the
 * drain. See drain.h. */
#include <stdio.h>
#include <string.h>

#include "fleet/drain_private.h"

/* Returns the words that describe the host in a refusal. A drained host can still have guests or
 * copies. */
static const char *what_it_is(const struct drain *d)
{
	return d->phase == DRAIN_DONE ? "is drained, but not empty" : "is not drained";
}

/* Refuse the drain if the other host of one of the VMs is barred too (drain.h): its guest or its
 * copy would have no host to go to. Returns true if the drain was refused. */
static bool refuse_nowhere(struct drain_turn *s)
{
	unsigned int n = 0;

	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		n += v->is_other_barred;
		if (v->is_other_barred)
			drain_say(s, v->vm, "%s has nowhere to go, its other host %s is drained or "
				  "being drained: `holdfastctl undrain %s` first", v->name,
				  v->other, v->other);
	}
	if (n > 0)
		drain_reply(s, s->in->op_id, false, "not-possible", "%s %s: %u of its VMs could "
			    "go nowhere", s->d->host, what_it_is(s->d), n);
	return n > 0;
}

static bool cannot_move(const struct drain_view *v)
{
	return drain_is_here(v) && !drain_can_move_now(v);
}

void drain_name_obstacles(struct drain_turn *s, bool with_copies)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		if (cannot_move(v))
			drain_say(s, v->vm, "%s cannot be moved from %s: %s", v->name, s->d->host,
				  v->why);
		else if (with_copies && v->is_spare && drain_loses_copy(v))
			drain_say(s, v->vm, "%s needs %s for its copy: no other host can keep it",
				  v->name, s->d->host);
		else if (with_copies && drain_loses_copy(v))
			drain_say(s, v->vm, v->place == VM_DRAIN_COPY
					    ? "%s runs on %s; its only copy is on %s, and would be "
					      "given up"
					    : "%s would run on %s, with no host for a copy beside "
					      "%s", v->name, v->other, s->d->host);
	}
}

static bool refuse_operator(struct drain_turn *s)
{
	const struct drain_input *in = s->in;
	char names[VM_TEXT_MAX / 2];
	unsigned int n;

	if (!in->unprotected_ok) {
		n = drain_names_of(s, drain_loses_copy, names, sizeof(names));
		if (n > 0) {
			drain_name_obstacles(s, true);
			drain_reply(s, in->op_id, false, "unprotected",
				    "%s %s: %u of its VMs would have no copy until `undrain` (%s); "
				    "--unprotected-ok agrees to that", s->d->host,
				    what_it_is(s->d), n, names);
			return true;
		}
	}
	if (in->waits || in->leaves)
		return false;
	n = drain_names_of(s, cannot_move, names, sizeof(names));
	if (n == 0)
		return false;
	drain_name_obstacles(s, false);
	drain_reply(s, in->op_id, false, "not-safe",
		    "%s %s: %u of its guests cannot be moved now (%s); --wait waits for them, "
		    "--leave goes on without", s->d->host, what_it_is(s->d), n, names);
	return true;
}

static void begin(struct drain_turn *s, bool by_guard)
{
	struct drain *d = s->d;
	const char *host = d->host;
	bool was_done = d->phase == DRAIN_DONE;

	memset(d, 0, sizeof(*d));
	d->host = host;
	d->was_done = was_done;
	d->by_guard = d->goes_down = by_guard;
	d->leaves = s->in->leaves;
	d->is_urgent = by_guard || d->leaves;
	d->waits = by_guard || s->in->waits;
	d->keeps_copies = !by_guard && !s->in->unprotected_ok;
	d->began_ns = s->in->now_ns;
	d->limit_ns = s->in->limit_ns;
	d->op_id = s->in->op_id;
	if (by_guard)
		(void)snprintf(d->boot, sizeof(d->boot), "%s", s->in->boot);
	drain_say(s, DRAIN_VMS_MAX, "%s is to be drained: %s", host,
		  by_guard ? "it is told to go down" : "an operator asks for it");
	drain_enter(s, DRAIN_RECORDING);
}

void drain_on_asked(struct drain_turn *s)
{
	struct drain *d = s->d;

	if (d->phase == DRAIN_DONE && !drain_has_left(s) && s->in->n_faults == 0) {
		if (d->by_guard) { /* now it is the operator's: the next boot must not end it */
			d->by_guard = false;
			(void)drain_act(s, DRAIN_ACT_STORE);
		}
		drain_reply(s, s->in->op_id, true, "already", "%s is drained already", d->host);
	} else if (d->phase != DRAIN_NONE && d->phase != DRAIN_DONE) {
		drain_reply(s, s->in->op_id, false, "busy",
			    "%s is %s already; `holdfastctl events --follow` shows it, "
			    "`holdfastctl undrain %s` gives it up", d->host,
			    d->phase == DRAIN_LIFTING ? "being taken back" : "being drained",
			    d->host);
	} else if (!refuse_nowhere(s) && !refuse_operator(s)) {
		begin(s, false); /* a drained host that is not empty is drained again */
	}
}

void drain_on_guard(struct drain_turn *s)
{
	struct drain *d = s->d;
	bool is_operators = d->phase == DRAIN_DONE && !d->by_guard;

	if (d->phase == DRAIN_NONE || (d->phase == DRAIN_DONE && drain_has_left(s))) {
		/* guests that have nowhere to go stay on the host, and operators are told */
		begin(s, true);
		if (is_operators) /* the host's next boot must not end the drain */
			d->by_guard = false;
	} else if (d->phase != DRAIN_DONE && d->phase != DRAIN_LIFTING && !d->by_guard) {
		/* An operator's drain is under way. It remains the operator's, but must now end
		 * within the guard's time limit. */
		d->is_urgent = d->goes_down = true;
		d->keeps_copies = false;
		d->limit_ns = s->in->now_ns - d->began_ns + s->in->limit_ns;
	}
}
