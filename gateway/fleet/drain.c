#include "fleet/drain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "fleet/drain_private.h"

#define RETRY_NS (3 * CLOCK_NS_PER_S) /* between two attempts to move a guest, or to end a copy */
/* an urgent drain keeps a quarter of its time limit, but at most this, for ending the copies */
#define COPIES_NS (5 * CLOCK_NS_PER_S)
/* After this many failed moves of a guest, an urgent drain leaves the guest on the host. */
#define GUARD_TRIES 3

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

struct drain_action *drain_act(struct drain_turn *s, enum drain_action_kind kind)
{
	struct drain_action *a = &s->out->list[s->out->n];

	if (s->out->n + 1 < DRAIN_ACTIONS_MAX)
		s->out->n++;
	*a = (struct drain_action){.kind = kind, .vm = DRAIN_VMS_MAX, .code = ""};
	return a;
}

void drain_say(struct drain_turn *s, size_t vm, const char *format, ...)
{
	struct drain_action *a = drain_act(s, DRAIN_ACT_SAY);
	va_list args;

	a->vm = vm;
	va_start(args, format);
	(void)text_vput(a->text, sizeof(a->text), format, args);
	va_end(args);
}

void drain_reply(struct drain_turn *s, uint64_t op_id, bool ok, const char *code,
		 const char *format, ...)
{
	struct drain_action *a;
	va_list args;

	if (!op_id)
		return;
	a = drain_act(s, DRAIN_ACT_REPLY);
	a->op_id = op_id;
	a->ok = ok;
	a->code = code;
	va_start(args, format);
	(void)text_vput(a->text, sizeof(a->text), format, args);
	va_end(args);
}

/* Answer the operator who waits for the drain to end. */
static void finish(struct drain_turn *s, bool ok, const char *code, const char *text)
{
	drain_reply(s, s->d->op_id, ok, code, "%s", text);
	s->d->op_id = 0;
}

void drain_enter(struct drain_turn *s, enum drain_phase phase)
{
	s->d->phase = phase;
	if (drain_is_storing(s->d))
		(void)drain_act(s, DRAIN_ACT_STORE);
}

unsigned int drain_names_of(const struct drain_turn *s, bool (*test)(const struct drain_view *v),
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

/* ---- moving ---- */

/* Returns true if the drain will make no more attempt to move the guest, as things are now. */
static bool is_hopeless(const struct drain *d, const struct drain_view *v)
{
	const struct drain_vm *vm = &d->vms[v->vm];

	if (drain_is_kept(d, v) && !d->waits)
		return true;
	if (d->is_urgent)
		return v->place == VM_DRAIN_STUCK || vm->n_failed >= GUARD_TRIES;
	return !d->waits && (v->place == VM_DRAIN_STUCK || vm->n_failed > 0);
}

static const char *why_not(const struct drain *d, const struct drain_view *v)
{
	if (*v->why)
		return v->why;
	if (v->place == VM_DRAIN_ENDING)
		return "its end is not confirmed";
	if ((v->place == VM_DRAIN_MOVABLE || v->place == VM_DRAIN_COPY) && drain_is_kept(d, v))
		return "no third host can keep its copy any more";
	return *d->vms[v->vm].why ? d->vms[v->vm].why : "the time was over";
}

/* Write to @text which guests and copies are still on the host, and why, such as "web1 (it is not
 * protected), the copy of web2 (its end is not confirmed)". */
static void describe_left(const struct drain_turn *s, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < s->in->n_views && at < size; i++) {
		const struct drain_view *v = &s->in->views[i];
		int r;

		if (!drain_is_here(v) && !drain_has_copy(v))
			continue;
		r = snprintf(text + at, size - at, "%s%s%s (%s)", at ? ", " : "",
			     drain_has_copy(v) ? "the copy of " : "", v->name,
			     TEXT_SHORT(100, why_not(s->d, v)));
		at += r > 0 ? (size_t)r : 0;
	}
}

/* Give up an operator's drain that cannot go on. The host may then get guests and copies again. */
static void give_up(struct drain_turn *s)
{
	char left[VM_TEXT_MAX / 2], text[VM_TEXT_MAX];

	describe_left(s, left, sizeof(left));
	(void)snprintf(text, sizeof(text),
		       "%s is not drained%s%s; what was moved stays where it is", s->d->host,
		       *left ? ", these are still there: " : ": its copies did not end",
		       left);
	drain_name_obstacles(s, false);
	drain_say(s, DRAIN_VMS_MAX, "%s", text);
	finish(s, false, "not-drained", text);
	drain_enter(s, DRAIN_LIFTING);
}

/* Leave the guests that could not be moved on the host, and tell operators. */
static void leave(struct drain_turn *s)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		if (!drain_is_here(v) || s->d->vms[v->vm].is_left)
			continue;
		s->d->vms[v->vm].is_left = true;
		drain_say(s, v->vm, "%s is left on %s, it could not be moved: %s", v->name,
			  s->d->host, why_not(s->d, v));
	}
}

/* Is the time of the present phase over? In an urgent drain, DRAIN_MOVING ends earlier, to leave
 * time for ending the copies. */
static bool is_over(const struct drain_turn *s)
{
	uint64_t limit_ns = s->d->limit_ns;
	uint64_t kept_ns = limit_ns / 4 < COPIES_NS ? limit_ns / 4 : COPIES_NS;

	if (s->d->is_urgent && s->d->phase == DRAIN_MOVING)
		limit_ns -= kept_ns;
	return s->in->now_ns - s->d->began_ns >= limit_ns;
}

/* If no guest is being moved, begin to move the next one. Returns true if a move is under way. */
static bool move_next(struct drain_turn *s)
{
	const struct drain_view *next = NULL;

	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];
		const struct drain_vm *vm = &s->d->vms[v->vm];

		if (vm->is_asked) /* an urgent drain waits for a move only until is_over() */
			return !(s->d->is_urgent && is_over(s));
		if (!next && drain_can_move_now(v) && !drain_is_kept(s->d, v) &&
		    s->in->now_ns >= vm->retry_ns && !is_hopeless(s->d, v))
			next = v;
	}
	if (!next)
		return false;
	s->d->vms[next->vm].is_asked = true;
	drain_act(s, DRAIN_ACT_MOVE)->vm = next->vm;
	return true;
}

static void tick_copies(struct drain_turn *s);

static void tick_moving(struct drain_turn *s)
{
	unsigned int n_here = 0, n_hopeless = 0;

	if (move_next(s))
		return;
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		n_here += drain_is_here(v);
		n_hopeless += drain_is_here(v) && is_hopeless(s->d, v);
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

bool drain_has_left(const struct drain_turn *s)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		if (s->in->views[i].place != VM_DRAIN_AWAY)
			return true;
	}
	return false;
}

static void settle(struct drain_turn *s)
{
	drain_say(s, DRAIN_VMS_MAX, "%s is drained%s: no guest is given to it until `holdfastctl "
		  "undrain %s`%s", s->d->host,
		  drain_has_left(s) ? ", but not empty" : "", s->d->host,
		  s->d->by_guard ? " or its next boot" : "");
	drain_enter(s, DRAIN_SETTLING);
}

/* Tell operators about each copy that the drain must leave on the host, because no other host can
 * protect its guest. */
static void name_kept(struct drain_turn *s)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		if (v->place == VM_DRAIN_COPY && drain_is_kept(s->d, v))
			drain_say(s, v->vm, "%s runs on %s, and its copy stays on %s: no third "
				  "host can keep it any more; --unprotected-ok agrees to none",
				  v->name, v->other, s->d->host);
	}
}

/* Leave the copies that are still on the host, and tell operators about each of them. */
static void leave_copies(struct drain_turn *s)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];

		if (drain_has_copy(v))
			drain_say(s, v->vm, "the copy of %s is left on %s, and goes down with it: "
				  "%s", v->name, s->d->host, why_not(s->d, v));
	}
}

static void end_copies(struct drain_turn *s)
{
	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];
		struct drain_vm *vm = &s->d->vms[v->vm];

		if (v->place != VM_DRAIN_COPY || vm->is_asked || s->in->now_ns < vm->retry_ns ||
		    drain_is_kept(s->d, v))
			continue;
		vm->is_asked = true;
		drain_act(s, DRAIN_ACT_END_COPY)->vm = v->vm;
	}
}

static void tick_copies(struct drain_turn *s)
{
	bool is_waiting = false, is_keeping = false;

	for (size_t i = 0; i < s->in->n_views; i++) {
		const struct drain_view *v = &s->in->views[i];
		const struct drain_vm *vm = &s->d->vms[v->vm];

		/* the guest is on the host again, perhaps by a failover */
		if (drain_is_here(v) && !vm->is_left) {
			s->d->phase = DRAIN_MOVING;
			return;
		}
		is_waiting |= vm->is_asked || drain_has_copy(v);
		is_keeping |= v->place == VM_DRAIN_COPY && !vm->is_asked && drain_is_kept(s->d, v);
	}
	if (is_keeping && (is_over(s) || !s->d->waits)) { /* give up before any copy is ended */
		name_kept(s);
		give_up(s);
		return;
	}
	end_copies(s);
	if (is_waiting && !is_over(s))
		return;
	if (is_waiting && !s->d->goes_down) {
		give_up(s);
		return;
	}
	leave_copies(s);
	settle(s);
}

static void on_moved(struct drain_turn *s)
{
	const struct drain_input *in = s->in;
	struct drain_vm *vm = &s->d->vms[in->vm];
	bool is_said;

	vm->is_asked = false;
	if (s->d->phase != DRAIN_MOVING && s->d->phase != DRAIN_COPIES)
		return;
	if (in->ok) {
		vm->why[0] = '\0';
		drain_say(s, in->vm, "%s", in->text);
		return;
	}
	vm->n_failed += s->d->phase == DRAIN_MOVING;
	vm->retry_ns = in->now_ns + RETRY_NS;
	is_said = strncmp(vm->why, in->text, sizeof(vm->why) - 1) == 0;
	(void)snprintf(vm->why, sizeof(vm->why), "%s", in->text);
	if (!is_said) /* several attempts may fail for the same reason: report it once */
		drain_say(s, in->vm, "%s: %s", s->d->host, in->text);
}

/* ---- the end ---- */

static void lift(struct drain_turn *s, const char *why)
{
	drain_say(s, DRAIN_VMS_MAX, "%s is drained no longer: %s; guests are not moved back, and "
		  "those that had a copy get one again by themselves", s->d->host, why);
	finish(s, false, "aborted", "the drain was given up: an operator took the host back");
	s->d->lift_op_id = s->in->op_id;
	drain_enter(s, DRAIN_LIFTING);
}

static void on_undrain(struct drain_turn *s)
{
	struct drain *d = s->d;

	if (d->phase == DRAIN_NONE)
		drain_reply(s, s->in->op_id, true, "already", "%s is not drained", d->host);
	else if (d->phase == DRAIN_LIFTING)
		drain_reply(s, s->in->op_id, false, "busy", "%s is being taken back already",
			    d->host);
	else
		lift(s, "an operator takes it back");
}

static void on_boot(struct drain_turn *s)
{
	const struct drain *d = s->d;

	if (d->phase != DRAIN_NONE && d->phase != DRAIN_LIFTING && d->by_guard &&
	    strcmp(d->boot, s->in->boot) != 0)
		lift(s, "it has booted since it was told to go down");
}

/* Answer the operator whose drain has ended, and name what is left on the host. The answer is a
 * success if nothing is left, or if the operator has agreed to leave guests (`leaves`) and no copy
 * is left. VMs that the gateway does not look after are named too, because they may run there. */
static void answer_drained(struct drain_turn *s)
{
	char guests[VM_TEXT_MAX / 4], copies[VM_TEXT_MAX / 4], text[VM_TEXT_MAX];
	unsigned int n_guests = drain_names_of(s, drain_is_here, guests, sizeof(guests));
	unsigned int n_copies = drain_names_of(s, drain_has_copy, copies, sizeof(copies));
	bool ok = s->d->leaves && n_copies == 0;

	if (n_guests == 0 && n_copies == 0 && s->in->n_faults == 0) {
		finish(s, true, "done",
		       s->in->ok ? "drained: no guest runs there and no copy is kept there; it can "
				   "be taken down; `holdfastctl undrain` takes it back"
				 : "drained, but state_dir cannot be written: a gateway that is "
				   "restarted drains it anew");
		return;
	}
	(void)text_put(text, sizeof(text), "%sdrained, but %s%s%s%s%s%s",
		       s->d->goes_down ? "it is told to go down: " : "",
		       n_guests + n_copies > 0 ? "not empty" : "perhaps not empty",
		       n_guests ? "; guests that go down with it: " : "", guests,
		       n_copies ? "; copies that go down with it: " : "", copies,
		       s->in->n_faults ? "; a VM that is not looked after may run there, "
					 "`holdfastctl status` names it" : "");
	finish(s, ok, ok ? "done" : "not-drained", text);
}

static void on_stored(struct drain_turn *s)
{
	struct drain *d = s->d;
	const char *host = d->host;

	switch (d->phase) {
	case DRAIN_RECORDING:
		d->phase = s->in->ok || d->was_done ? DRAIN_MOVING : DRAIN_NONE;
		if (d->phase == DRAIN_NONE) {
			drain_say(s, DRAIN_VMS_MAX,
				  "%s is not drained: it cannot be recorded in state_dir", host);
			finish(s, false, "journal", "cannot record it in state_dir");
		}
		break;
	/* Here a failed write is no failure of the drain: a restarted gateway drains the host
	 * again. */
	case DRAIN_SETTLING:
		d->phase = DRAIN_DONE;
		answer_drained(s);
		break;
	case DRAIN_LIFTING:
		drain_reply(s, d->lift_op_id, s->in->ok, s->in->ok ? "done" : "journal",
		      s->in->ok ? "%s is taken back; guests stay where they are, and those that "
				  "had a copy before get one again by themselves"
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

static void on_tick(struct drain_turn *s)
{
	if (s->d->phase == DRAIN_MOVING)
		tick_moving(s);
	else if (s->d->phase == DRAIN_COPIES)
		tick_copies(s);
}

void drain_step(struct drain *drain, const struct drain_input *in,
		struct drain_actions *ret_actions)
{
	static void (*const handlers[])(struct drain_turn *s) = {
		[DRAIN_IN_TICK] = on_tick,	   [DRAIN_IN_ASKED] = drain_on_asked,
		[DRAIN_IN_GUARD] = drain_on_guard, [DRAIN_IN_UNDRAIN] = on_undrain,
		[DRAIN_IN_BOOT] = on_boot,	   [DRAIN_IN_MOVED] = on_moved,
		[DRAIN_IN_STORED] = on_stored,
	};
	struct drain_turn s = {.d = drain, .in = in, .out = ret_actions};

	ret_actions->n = 0;
	handlers[in->kind](&s);
}

void drain_resume(struct drain *drain, bool is_done, uint64_t now_ns)
{
	drain->phase = is_done ? DRAIN_DONE : DRAIN_MOVING;
	drain->waits = true; /* no guest can move yet: no host has connected to this gateway */
	drain->began_ns = now_ns;
}
