#include "fleet/drain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define RETRY_NS (3 * CLOCK_NS_PER_S) /* between two attempts to move a guest */
#define COPIES_NS (5 * CLOCK_NS_PER_S) /* what a host that goes down keeps for its copies */
/* The guard of a host that goes down tries to move a guest at most this often. */
#define GUARD_TRIES 3

struct step {
	struct drain *d;
	const struct drain_input *in;
	struct drain_actions *out;
};

const char *drain_phase_name(enum drain_phase phase)
{
	static const char *const names[] = {
		[DRAIN_NONE] = "none",	     [DRAIN_RECORDING] = "draining",
		[DRAIN_MOVING] = "draining", [DRAIN_COPIES] = "draining",
		[DRAIN_SETTLING] = "draining", [DRAIN_DONE] = "drained",
		[DRAIN_LIFTING] = "lifting",
	};

	return names[phase];
}

static struct drain_action *act(struct step *s, enum drain_action_kind kind)
{
	struct drain_action *a = &s->out->list[s->out->n];

	if (s->out->n + 1 < DRAIN_ACTIONS_MAX)
		s->out->n++;
	*a = (struct drain_action){.kind = kind, .vm = DRAIN_VMS_MAX, .code = ""};
	return a;
}

static void say(struct step *s, size_t vm, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void say(struct step *s, size_t vm, const char *format, ...)
{
	struct drain_action *a = act(s, DRAIN_ACT_SAY);
	va_list args;

	a->vm = vm;
	va_start(args, format);
	(void)vsnprintf(a->text, sizeof(a->text), format, args);
	va_end(args);
}

static void reply(struct step *s, uint64_t op_id, bool ok, const char *code, const char *format,
		  ...) __attribute__((format(printf, 5, 6)));
static void reply(struct step *s, uint64_t op_id, bool ok, const char *code, const char *format,
		  ...)
{
	struct drain_action *a;
	va_list args;

	if (!op_id)
		return;
	a = act(s, DRAIN_ACT_REPLY);
	a->op_id = op_id;
	a->ok = ok;
	a->code = code;
	va_start(args, format);
	(void)vsnprintf(a->text, sizeof(a->text), format, args);
	va_end(args);
}

/* Answer the operator who waits for the end of the drain. */
static void finish(struct step *s, bool ok, const char *code, const char *text)
{
	reply(s, s->d->op_id, ok, code, "%s", text);
	s->d->op_id = 0;
}

static void enter(struct step *s, enum drain_phase phase)
{
	s->d->phase = phase;
	if (drain_is_storing(s->d))
		(void)act(s, DRAIN_ACT_STORE);
}

/* Does the guest run on this host, or is it not certain that it does not? */
static bool is_here(const struct drain_view *v)
{
	return v->place == VM_DRAIN_MOVABLE || v->place == VM_DRAIN_BUSY ||
	       v->place == VM_DRAIN_STUCK;
}

static bool can_move_now(const struct drain_view *v)
{
	return v->place == VM_DRAIN_MOVABLE;
}

/* Will the guest have no copy while the host is drained, although it has one now or gets one? */
static bool loses_copy(const struct drain_view *v)
{
	return !v->has_third && (v->place == VM_DRAIN_MOVABLE || v->place == VM_DRAIN_BUSY ||
				 v->place == VM_DRAIN_COPY);
}

/* Write the names of the VMs for which @test holds to @text, such as "web1, web2". Returns their
 * number. */
static unsigned int names_of(const struct step *s, bool (*test)(const struct drain_view *v),
			     char *text, size_t size)
{
	unsigned int n = 0;
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];
		int r;

		if (!test(v))
			continue;
		n++;
		r = snprintf(text + at, size - at, "%s%s", n > 1 ? ", " : "", v->name);
		if (r > 0 && (size_t)r < size - at)
			at += (size_t)r;
		else
			(void)snprintf(text + (size > 4 ? size - 4 : 0), 4, "...");
	}
	return n;
}

/* ---- asking ---- */

/* A host whose guests have nowhere to go is not drained. */
static bool refuse_nowhere(struct step *s)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		if (!v->is_other_barred)
			continue;
		say(s, v->vm, "%s is not drained: %s has nowhere to go, its other host %s is "
		    "drained or being drained; `holdfastctl undrain %s` first",
		    s->d->host, v->name, v->other, v->other);
		reply(s, s->in->op_id, false, "not-possible",
		      "%s is not drained: %s has nowhere to go, its other host %s is drained or "
		      "being drained; `holdfastctl undrain %s` first",
		      s->d->host, v->name, v->other, v->other);
		return true;
	}
	return false;
}

static bool cannot_move(const struct drain_view *v)
{
	return is_here(v) && !can_move_now(v);
}

/* Name each guest that stands in the way of the drain, and why. */
static void name_obstacles(struct step *s, bool with_copies)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		if (cannot_move(v))
			say(s, v->vm, "%s cannot be moved from %s: %s", v->name, s->d->host,
			    v->why);
		else if (with_copies && loses_copy(v))
			say(s, v->vm,
			    v->place == VM_DRAIN_COPY
				    ? "%s runs on %s; its only copy is on %s, and would be given up"
				    : "%s would run on %s, with no host for a copy beside %s",
			    v->name, v->other, s->d->host);
	}
}

static bool refuse_operator(struct step *s)
{
	const struct drain_input *in = s->in;
	char names[VM_TEXT_MAX / 2];
	unsigned int n;

	if (!in->unprotected_ok) {
		n = names_of(s, loses_copy, names, sizeof(names));
		if (n > 0) {
			name_obstacles(s, true);
			reply(s, in->op_id, false, "unprotected",
			      "%s is not drained: %u of its VMs would have no copy until `undrain` "
			      "(%s); --unprotected-ok agrees to that", s->d->host, n, names);
			return true;
		}
	}
	if (in->waits || in->leaves)
		return false;
	n = names_of(s, cannot_move, names, sizeof(names));
	if (n == 0)
		return false;
	name_obstacles(s, false);
	reply(s, in->op_id, false, "not-safe",
	      "%s is not drained: %u of its guests cannot be moved now (%s); --wait waits for "
	      "them, --leave goes on without",
	      s->d->host, n, names);
	return true;
}

static void begin(struct step *s, bool by_guard)
{
	struct drain *d = s->d;
	const char *host = d->host;

	memset(d, 0, sizeof(*d));
	d->host = host;
	d->by_guard = by_guard;
	d->leaves = s->in->leaves;
	d->is_urgent = by_guard || d->leaves;
	d->waits = by_guard || s->in->waits;
	d->began_ns = s->in->now_ns;
	d->limit_ns = s->in->limit_ns;
	d->op_id = s->in->op_id;
	if (by_guard)
		(void)snprintf(d->boot, sizeof(d->boot), "%s", s->in->boot);
	say(s, DRAIN_VMS_MAX, "%s is to be drained: %s", host,
	    by_guard ? "it is told to go down" : "an operator asks for it");
	enter(s, DRAIN_RECORDING);
}

static void on_asked(struct step *s)
{
	struct drain *d = s->d;

	if (d->phase == DRAIN_DONE) {
		if (d->by_guard) { /* now it stays drained after a boot, too */
			d->by_guard = false;
			(void)act(s, DRAIN_ACT_STORE);
		}
		reply(s, s->in->op_id, true, "already", "%s is drained already", d->host);
	} else if (d->phase != DRAIN_NONE) {
		reply(s, s->in->op_id, false, "busy",
		      "%s is %s already; `holdfastctl events --follow` shows it, `holdfastctl "
		      "undrain %s` gives it up",
		      d->host, d->phase == DRAIN_LIFTING ? "being taken back" : "being drained",
		      d->host);
	} else if (!refuse_nowhere(s) && !refuse_operator(s)) {
		begin(s, false);
	}
}

static void on_guard(struct step *s)
{
	struct drain *d = s->d;

	if (d->phase == DRAIN_NONE) {
		begin(s, true); /* what has nowhere to go is left, and named */
	} else if (d->phase != DRAIN_DONE && d->phase != DRAIN_LIFTING && !d->by_guard) {
		/* An operator's drain is under way. It stays one, but has no more time. */
		d->is_urgent = true;
		d->limit_ns = s->in->now_ns - d->began_ns + s->in->limit_ns;
	}
}

/* ---- moving ---- */

/* Is nothing to be expected of the guest any more? */
static bool is_hopeless(const struct drain *d, const struct drain_view *v)
{
	const struct drain_vm *vm = &d->vms[v->vm];

	if (d->is_urgent)
		return v->place == VM_DRAIN_STUCK || vm->n_failed >= GUARD_TRIES;
	return !d->waits && (v->place == VM_DRAIN_STUCK || vm->n_failed > 0);
}

static const char *why_not(const struct drain *d, const struct drain_view *v)
{
	if (*v->why)
		return v->why;
	return *d->vms[v->vm].why ? d->vms[v->vm].why : "the time was over";
}

/* Write which guests are still on the host, and why, such as "web1 (it is not protected)". */
static void describe_left(const struct step *s, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < s->in->n_views && at < size; i++) {
		const struct drain_view *v = &s->in->views[i];
		int r;

		if (!is_here(v))
			continue;
		r = snprintf(text + at, size - at, "%s%s (%.100s)", at ? ", " : "", v->name,
			     why_not(s->d, v));
		at += r > 0 ? (size_t)r : 0;
	}
}

/* An operator's drain that cannot go on is undone: the host may get guests and copies again. */
static void give_up(struct step *s)
{
	char left[VM_TEXT_MAX / 2], text[VM_TEXT_MAX];

	describe_left(s, left, sizeof(left));
	(void)snprintf(text, sizeof(text),
		       "%s is not drained%s%s; what was moved stays where it is", s->d->host,
		       *left ? ", these are still there: " : ": its copies did not end",
		       left);
	name_obstacles(s, false);
	say(s, DRAIN_VMS_MAX, "%s", text);
	finish(s, false, "not-drained", text);
	enter(s, DRAIN_LIFTING);
}

/* Go on without the guests that cannot be moved. */
static void leave(struct step *s)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		if (!is_here(v) || s->d->vms[v->vm].is_left)
			continue;
		s->d->vms[v->vm].is_left = true;
		s->d->n_left++;
		say(s, v->vm, "%s is left on %s, it could not be moved: %s", v->name, s->d->host,
		    why_not(s->d, v));
	}
}

/* Is the time of the present phase over? A host that goes down keeps some of its time for the
 * copies. */
static bool is_over(const struct step *s)
{
	uint64_t limit_ns = s->d->limit_ns;
	uint64_t kept_ns = limit_ns / 4 < COPIES_NS ? limit_ns / 4 : COPIES_NS;

	if (s->d->is_urgent && s->d->phase == DRAIN_MOVING)
		limit_ns -= kept_ns;
	return s->in->now_ns - s->d->began_ns >= limit_ns;
}

/* Move the next guest, one at a time. Returns true if one is under way. */
static bool move_next(struct step *s)
{
	const struct drain_view *next = NULL;

	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];
		const struct drain_vm *vm = &s->d->vms[v->vm];

		if (vm->is_asked) /* a host that goes down cannot wait for ever */
			return !(s->d->is_urgent && is_over(s));
		if (!next && can_move_now(v) && s->in->now_ns >= vm->retry_ns &&
		    !is_hopeless(s->d, v))
			next = v;
	}
	if (!next)
		return false;
	s->d->vms[next->vm].is_asked = true;
	act(s, DRAIN_ACT_MOVE)->vm = next->vm;
	return true;
}

static void tick_copies(struct step *s);

static void tick_moving(struct step *s)
{
	unsigned int n_here = 0, n_hopeless = 0;

	if (move_next(s))
		return;
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		n_here += is_here(v);
		n_hopeless += is_here(v) && is_hopeless(s->d, v);
	}
	if (n_here > n_hopeless && !is_over(s))
		return;
	if (n_here > 0 && !s->d->is_urgent) {
		give_up(s);
		return;
	}
	leave(s);
	s->d->phase = DRAIN_COPIES;
	tick_copies(s);
}

/* ---- copies ---- */

static void settle(struct step *s)
{
	say(s, DRAIN_VMS_MAX, "%s is drained%s: no guest is given to it until `holdfastctl undrain "
	    "%s`%s", s->d->host, s->d->n_left ? ", but not empty" : "", s->d->host,
	    s->d->by_guard ? " or its next boot" : "");
	enter(s, DRAIN_SETTLING);
}

static void tick_copies(struct step *s)
{
	bool is_waiting = false;

	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];
		struct drain_vm *vm = &s->d->vms[v->vm];

		if (is_here(v) && !vm->is_left) {
			s->d->phase = DRAIN_MOVING; /* it has failed over to this host, or so */
			return;
		}
		is_waiting |= vm->is_asked || v->place == VM_DRAIN_COPY ||
			      v->place == VM_DRAIN_ENDING;
		if (v->place != VM_DRAIN_COPY || vm->is_asked || s->in->now_ns < vm->retry_ns)
			continue;
		vm->is_asked = true;
		act(s, DRAIN_ACT_END_COPY)->vm = v->vm;
	}
	if (!is_waiting || (is_over(s) && s->d->is_urgent))
		settle(s);
	else if (is_over(s))
		give_up(s);
}

static void on_moved(struct step *s)
{
	const struct drain_input *in = s->in;
	struct drain_vm *vm = &s->d->vms[in->vm];

	vm->is_asked = false;
	if (s->d->phase != DRAIN_MOVING && s->d->phase != DRAIN_COPIES)
		return;
	if (in->ok) {
		vm->why[0] = '\0';
		say(s, in->vm, "%s", in->text);
		return;
	}
	vm->n_failed += s->d->phase == DRAIN_MOVING;
	vm->retry_ns = in->now_ns + RETRY_NS;
	(void)snprintf(vm->why, sizeof(vm->why), "%s", in->text);
	say(s, in->vm, "%s: %s", s->d->host, in->text);
}

/* ---- the end ---- */

static void lift(struct step *s, const char *why)
{
	say(s, DRAIN_VMS_MAX, "%s is drained no longer: %s; guests are not moved back, and are "
	    "protected again by themselves", s->d->host, why);
	finish(s, false, "aborted", "the drain was given up: an operator took the host back");
	s->d->lift_op_id = s->in->op_id;
	enter(s, DRAIN_LIFTING);
}

static void on_undrain(struct step *s)
{
	struct drain *d = s->d;

	if (d->phase == DRAIN_NONE)
		reply(s, s->in->op_id, true, "already", "%s is not drained", d->host);
	else if (d->phase == DRAIN_LIFTING)
		reply(s, s->in->op_id, false, "busy", "%s is being taken back already", d->host);
	else
		lift(s, "an operator takes it back");
}

static void on_boot(struct step *s)
{
	const struct drain *d = s->d;

	if (d->phase != DRAIN_NONE && d->phase != DRAIN_LIFTING && d->by_guard &&
	    strcmp(d->boot, s->in->boot) != 0)
		lift(s, "it has booted since it was told to go down");
}

static void on_stored(struct step *s)
{
	struct drain *d = s->d;
	const char *host = d->host;

	switch (d->phase) {
	case DRAIN_RECORDING:
		d->phase = s->in->ok ? DRAIN_MOVING : DRAIN_NONE;
		if (!s->in->ok) {
			say(s, DRAIN_VMS_MAX,
			    "%s is not drained: it cannot be recorded in state_dir", host);
			finish(s, false, "journal", "cannot record it in state_dir");
		}
		break;
	case DRAIN_SETTLING: /* if it could not be written, the next gateway drains it again */
		d->phase = DRAIN_DONE;
		if (d->n_left) {
			finish(s, d->leaves, d->leaves ? "done" : "not-drained",
			       d->leaves ? "drained, but some guests are left there, and go down "
					   "with it; no copy is kept there"
					 : "it was told to go down before all of its guests could "
					   "be moved; `holdfastctl events` names them");
			break;
		}
		finish(s, true, "done",
		       s->in->ok ? "drained: no guest runs there and no copy is kept there; it can "
				   "be taken down; `holdfastctl undrain` takes it back"
				 : "drained, but state_dir cannot be written: a gateway that is "
				   "restarted drains it anew");
		break;
	case DRAIN_LIFTING:
		reply(s, d->lift_op_id, s->in->ok, s->in->ok ? "done" : "journal",
		      s->in->ok ? "%s is taken back; guests stay where they are, and are protected "
				  "again by themselves"
				: "%s is taken back, but state_dir cannot be written: a gateway "
				  "that is restarted takes it as drained",
		      host);
		memset(d, 0, sizeof(*d));
		d->host = host;
		break;
	default:
		break;
	}
}

static void on_tick(struct step *s)
{
	if (s->d->phase == DRAIN_MOVING)
		tick_moving(s);
	else if (s->d->phase == DRAIN_COPIES)
		tick_copies(s);
}

void drain_step(struct drain *drain, const struct drain_input *in,
		struct drain_actions *ret_actions)
{
	static void (*const handlers[])(struct step *s) = {
		[DRAIN_IN_TICK] = on_tick,	   [DRAIN_IN_ASKED] = on_asked,
		[DRAIN_IN_GUARD] = on_guard,	   [DRAIN_IN_UNDRAIN] = on_undrain,
		[DRAIN_IN_BOOT] = on_boot,	   [DRAIN_IN_MOVED] = on_moved,
		[DRAIN_IN_STORED] = on_stored,
	};
	struct step s = {.d = drain, .in = in, .out = ret_actions};

	ret_actions->n = 0;
	handlers[in->kind](&s);
}

void drain_resume(struct drain *drain, bool is_done, uint64_t now_ns)
{
	drain->phase = is_done ? DRAIN_DONE : DRAIN_MOVING;
	drain->waits = true; /* the hosts have not connected yet */
	drain->began_ns = now_ns;
}
