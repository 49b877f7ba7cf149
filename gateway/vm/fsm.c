#include "vm/fsm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"
#include "vm/fsm_table.h"

static const char *const state_names[VM_N_STATES] = {
	[VM_UNPROTECTED] = "UNPROTECTED", [VM_PREPARING] = "PREPARING", [VM_SYNCING] = "SYNCING",
	[VM_PROTECTED] = "PROTECTED",	  [VM_PROMOTING] = "PROMOTING", [VM_FAILED] = "FAILED",
};

enum { KEPT, OTHER, ANY };
enum { SAME, NEW };
enum { OWN, FOLLOW };

static const struct {
	enum vm_state from, to;
	uint8_t owner, term, by;
} transitions[] = {
#define ROW(from, to, owner, term, by) {VM_##from, VM_##to, owner, term, by},
	VM_TRANSITIONS(ROW)
#undef ROW
};

const char *vm_state_name(enum vm_state state)
{
	return (unsigned int)state < VM_N_STATES ? state_names[state] : "UNKNOWN";
}

int vm_state_parse(const char *name, enum vm_state *ret_state)
{
	for (size_t i = 0; i < VM_N_STATES; i++) {
		if (strcmp(state_names[i], name) == 0) {
			*ret_state = (enum vm_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

struct vm_action *vm_act(struct vm_step *s, enum vm_action_kind kind)
{
	struct vm_action *a;

	if (s->out->n == VM_ACTIONS_MAX) {
		s->out->overflow = true;
		a = &s->out->list[VM_ACTIONS_MAX - 1];
	} else {
		a = &s->out->list[s->out->n++];
	}
	memset(a, 0, offsetof(struct vm_action, text));
	a->kind = kind;
	a->event = a->from = a->to = a->code = "";
	a->text[0] = '\0';
	return a;
}

void vm_event(struct vm_step *s, const char *event, const char *format, ...)
{
	struct vm_action *a = vm_act(s, VM_ACT_EVENT);
	va_list args;

	a->event = event;
	va_start(args, format);
	(void)text_vput(a->text, sizeof(a->text), format, args); /* a longer text is cut */
	va_end(args);
}

void vm_journal_record(struct vm_step *s)
{
	vm_act(s, VM_ACT_JOURNAL)->record = s->fsm->record;
}

/* Forget everything about the protection in the last term. The streams of that term are closed
 * without VM_IN_STREAM_DOWN, so mark them as down. */
static void forget_protection(struct vm_fsm *fsm, uint64_t now_ns)
{
	memset(&fsm->protection, 0, sizeof(fsm->protection));
	fsm->close_due = true;
	for (int i = 0; i < VM_STREAMS; i++)
		fsm->stream[i] = (struct vm_stream){.changed_ns = now_ns};
	for (int h = 0; h < VM_HOSTS; h++)
		fsm->host[h].effective = false;
}

/* Does the table in fsm_table.h list this change, and may the change be made now? */
static bool is_transition(const struct vm_step *s, enum vm_state to, uint8_t owner, bool new_term)
{
	const struct vm_record *record = &s->fsm->record;

	for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
		if (transitions[i].from != record->state || transitions[i].to != to ||
		    (transitions[i].term == NEW) != new_term ||
		    (transitions[i].owner == KEPT && owner != record->owner) ||
		    (transitions[i].owner == OTHER && owner == record->owner))
			continue;
		if (transitions[i].by == FOLLOW ? s->may_resolve
						: !new_term || !vm_fsm_in_conflict(s->fsm))
			return true;
	}
	return false;
}

void vm_set_state(struct vm_step *s, enum vm_state to, uint8_t owner, bool new_term,
		  const char *format, ...)
{
	struct vm_fsm *fsm = s->fsm;
	enum vm_state from = fsm->record.state;
	struct vm_action *a;
	va_list args;

	/* The VM is in doubt (in_doubt): an unreadable line of the journal may be its newest one. A
	 * new line would hide that. So write no line until it is clear who owns the guest. */
	if (fsm->record.in_doubt && !s->may_resolve)
		return;
	if (!is_transition(s, to, owner, new_term)) {
		vm_event(s, "bug", "no transition %s -> %s; state kept", vm_state_name(from),
			 vm_state_name(to));
		return;
	}
	/* Begin a new term with a number above every term seen, and forget the old protection. */
	if (new_term) {
		uint64_t last = fsm->record.term > fsm->term_seen ? fsm->record.term
								  : fsm->term_seen;

		if (last >= WIRE_TERM_MAX) {
			vm_event(s, "bug", "there is no term after %" PRIu64 "; state kept", last);
			return;
		}
		fsm->record.term = last + 1;
		fsm->record.in_doubt = false;
		for (int h = 0; h < VM_HOSTS; h++)
			fsm->host[h].conflict &= fsm->host[h].term > fsm->record.term;
		forget_protection(fsm, s->now_ns);
	}
	if (to != VM_PROTECTED || new_term)
		vm_asked_protection_ended(s);
	/* Enter the state @to, and reset what belonged to the old state. */
	fsm->record.owner = owner;
	fsm->record.state = to;
	fsm->give_back_due = false;
	fsm->cold.is_start = fsm->cold.is_lost = false;
	fsm->is_copy_unwanted &= to == VM_UNPROTECTED;
	if (to != VM_PROMOTING && to != VM_FAILED)
		memset(fsm->may_run, 0, sizeof(fsm->may_run));
	vm_again_entered(fsm, s->now_ns);
	fsm->fencing = VM_FENCING_NONE;
	fsm->entered_ns = s->now_ns;
	fsm->protection.progress_ns = s->now_ns;
	if (new_term || from == VM_PREPARING)
		vm_standby_begin(fsm, s->now_ns);
	if (to == VM_PROTECTED) {
		detector_init(&fsm->detector, fsm->host[owner].up, s->now_ns);
		fsm->protection.progress_bytes = 0;
	}
	vm_journal_record(s);
	if (!s->is_known) {
		a = vm_act(s, VM_ACT_EVENT);
		a->event = "state";
		a->from = vm_state_name(from);
		a->to = vm_state_name(to);
		va_start(args, format);
		(void)text_vput(a->text, sizeof(a->text), format, args);
		va_end(args);
	}
	vm_move_entered(s);
}

void vm_reply(struct vm_step *s, bool ok, const char *code, const char *format, ...)
{
	struct vm_action *a = vm_act(s, VM_ACT_REPLY);
	va_list args;

	a->op_id = s->in->op_id;
	a->ok = ok;
	a->code = code;
	va_start(args, format);
	(void)text_vput(a->text, sizeof(a->text), format, args);
	va_end(args);
}

void vm_finish_op(struct vm_step *s, bool ok, const char *code, const char *format, ...)
{
	struct vm_action *a;
	va_list args;

	if (s->fsm->op.id == 0)
		return;
	a = vm_act(s, VM_ACT_REPLY);
	a->op_id = s->fsm->op.id;
	a->ok = ok;
	a->code = code;
	va_start(args, format);
	(void)text_vput(a->text, sizeof(a->text), format, args);
	va_end(args);
	s->fsm->op.id = 0;
	s->fsm->op.command = VM_COMMAND_NONE;
}

const char *vm_promotion_obstacle(const struct vm_fsm *fsm, uint64_t silence_max_ns,
				  uint64_t now_ns)
{
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];

	if (fsm->record.state != VM_PROTECTED)
		return "it is not protected";
	if (vm_fsm_in_conflict(fsm))
		return "who owns the guest is not clear (a conflict)";
	if (!other->up)
		return "the standby's agent is not connected; start it: if the owner is lost, the "
		       "standby is then promoted by itself";
	/* A promotion needs two of the three parties (gateway, owner, standby). Here they are the
	 * gateway and the standby. If both hosts are silent, perhaps the gateway is cut off. */
	if (liveness_silent_for(&other->live, silence_max_ns, now_ns))
		return "the standby is silent too (is this gateway cut off?)";
	/* Wait for the standby's report. While this gateway was away, the standby may have voted
	 * for a newer term (fsm_newer.c). */
	if (!other->reported)
		return "the standby's agent has not reported yet";
	if (!vm_agent_stands_by(other->agent_state) && other->agent_state != WIRE_STATE_PROMOTING)
		return "the standby's agent keeps no epoch; `holdfastctl vm show` has its reason";
	/* Compare the terms, not the epochs' numbers, because epochs are numbered anew in each
	 * term. */
	if (other->term < fsm->record.term)
		return "the standby's copy is of an older term; it is sent all while the owner "
		       "runs";
	/* The standby has a whole epoch if its report or `complete` says so. `complete` can be
	 * newer than the report. But while the stream is down, `complete` does not count, because
	 * the standby may have lost that copy. */
	if (other->agent_state != WIRE_STATE_PROMOTING && other->epoch == 0 &&
	    (fsm->protection.complete == 0 || !fsm->stream[VM_STREAM_STANDBY].up))
		return "the standby has got no whole epoch yet; it gets one while the owner runs";
	if (fsm->stream[VM_STREAM_STANDBY].up &&
	    fsm->protection.complete < fsm->protection.committed)
		return "the standby has lost committed epochs; it is sent all while the owner runs";
	return NULL;
}

bool vm_promote(struct vm_step *s, const char *reason, bool silent, const char **ret_why)
{
	struct vm_fsm *fsm = s->fsm;
	uint64_t lowest = fsm->protection.committed ? fsm->protection.committed : 1;
	uint64_t timeout_ns = fsm->config->liveness.beat_timeout_ns;
	/* If the reason is the primary's silence, allow the standby only a short silence. A message
	 * from the standby after the primary fell silent shows that the gateway's own link
	 * works. */
	const char *why = vm_promotion_obstacle(fsm, silent ? timeout_ns / 2 : 2 * timeout_ns,
						s->now_ns);

	if (!why && silent &&
	    liveness_may_follow(&fsm->host[vm_fsm_other(fsm)].live,
				&fsm->host[fsm->record.owner].live, &fsm->config->liveness,
				s->now_ns))
		why = "the standby was silent too until a moment ago (was this gateway cut off?)";
	if (why) {
		*ret_why = why;
		return false;
	}
	vm_set_state(s, VM_PROMOTING, vm_fsm_other(fsm), true, "%s", reason);
	fsm->promote_epoch = lowest;
	/* If the old owner is silent, run the fence command. If it is not silent, it gets the order
	 * to stop. */
	if (silent && fsm->config->has_fence_command)
		fsm->fencing = VM_FENCING_DUE;
	return true;
}

/* Returns the evidence of this tick: the input's evidence, and what the state machine knows. */
static struct detector_evidence gather_evidence(const struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	struct detector_evidence evidence = {0};

	if (s->in->evidence)
		evidence = *s->in->evidence;
	/* Expect epochs only while the standby owes no acknowledgement (evidence.c). If it
	 * acknowledges nothing, the primary soon has too many epochs in flight, and sends no
	 * more. */
	evidence.expects_progress = fsm->stream[VM_STREAM_STANDBY].up && !s->in->standby_owes &&
				    fsm->move.state != VM_MOVE_ORDERED;
	evidence.is_paused = owner->up && owner->verdict == WIRE_VERDICT_PAUSED;
	evidence.is_copying = owner->up && owner->reported && fsm->protection.copy.is_held;
	evidence.copied = fsm->protection.copy.n_steps;
	return evidence;
}

/* Write to @text, for the promotion's event, which epoch was last committed, and when. */
static void describe_commits(const struct vm_fsm *fsm, uint64_t now_ns, char *text, size_t size)
{
	if (fsm->protection.committed_ns)
		(void)text_put(text, size, "last epoch %" PRIu64 " committed %" PRIu64 " ms ago",
			       fsm->protection.committed,
			       (now_ns - fsm->protection.committed_ns) / CLOCK_NS_PER_MS);
	else
		(void)text_put(text, size, "no epoch committed since start");
}

static void promote_if_failed(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char evidence[DETECTOR_TEXT_MAX], commits[64], reason[VM_TEXT_MAX];
	const char *why;

	if (fsm->detector.state != DETECTOR_FAILED) {
		fsm->protection.waiting_said = false;
		return;
	}
	describe_commits(fsm, s->now_ns, commits, sizeof(commits));
	(void)text_put(reason, sizeof(reason), "%s; %s",
		       TEXT_SHORT(200, detector_describe(&fsm->detector, evidence,
							 sizeof(evidence))), commits);
	if (vm_promote(s, reason, true, &why))
		return;
	if (!fsm->protection.waiting_said)
		vm_event(s, "supervision", "%s, but no promotion: %s",
			 TEXT_SHORT(200, reason), why);
	fsm->protection.waiting_said = true;
}

static void judge_primary(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct detector *d = &fsm->detector;
	struct detector_evidence evidence = gather_evidence(s);
	enum detector_state before = d->state;

	if (s->in->relayed_bytes != fsm->protection.progress_bytes) {
		fsm->protection.progress_bytes = s->in->relayed_bytes;
		detector_saw(d, DETECTOR_PROGRESS, s->now_ns);
	}
	if (detector_tick(d, &fsm->config->detector, &evidence, s->now_ns)) {
		struct vm_action *a = vm_act(s, VM_ACT_EVENT);

		a->event = "liveness";
		a->from = detector_state_name(before);
		a->to = detector_state_name(d->state);
		(void)detector_describe(d, a->text, sizeof(a->text));
	}
	promote_if_failed(s);
}

/* The shadow is a detector that knows only beats. Report what the shadow would have done. It
 * decides nothing; it shows how useful the evidence other than beats is. */
static void judge_shadow(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint64_t timeout_ns = fsm->config->shadow_timeout_ns;
	const struct liveness *live = &fsm->host[fsm->shadow_host].live;

	if (timeout_ns == 0)
		return;
	/* The host is heard again. Report how long it was silent: with any shorter timeout, a
	 * detector that knows only beats would have promoted the standby needlessly. */
	if (fsm->shadow_told_ns && live->seen_ns != fsm->shadow_told_ns) {
		vm_event(s, "shadow", "beats from %s again after %" PRIu64 " ms",
			 vm_host_name(fsm, fsm->shadow_host),
			 (live->seen_ns - fsm->shadow_told_ns) / CLOCK_NS_PER_MS);
		fsm->shadow_told_ns = 0;
	}
	if (fsm->record.state == VM_PROTECTED && fsm->shadow_host != fsm->record.owner) {
		fsm->shadow_host = fsm->record.owner;
		fsm->shadow_fired = false;
		fsm->shadow_told_ns = 0;
		return;
	}
	if (!liveness_silent_for(live, timeout_ns, s->now_ns)) {
		fsm->shadow_fired = fsm->shadow_fired && fsm->record.state != VM_PROTECTED;
		return;
	}
	if (!fsm->shadow_fired) {
		vm_event(s, "shadow", "beats alone would promote: none from %s for %" PRIu64 " ms",
			 vm_host_name(fsm, fsm->shadow_host),
			 liveness_age_ns(live, s->now_ns) / CLOCK_NS_PER_MS);
		fsm->shadow_told_ns = live->seen_ns;
	}
	fsm->shadow_fired = true;
}

static void tick_preparing(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t other = vm_fsm_other(fsm);
	const char *obstacle = vm_way_obstacle(fsm, other);
	/* Allow another order_timeout if the standby reports that clients could not reach the guest
	 * there. Spanning tree can need that long to open a bridge port. */
	uint64_t since_ns = fsm->entered_ns + (obstacle ? fsm->config->order_timeout_ns : 0);
	char reason[VM_TEXT_MAX], stuck[VM_TEXT_MAX];

	if (s->now_ns < since_ns || !vm_is_stuck(s, other, since_ns))
		return;
	(void)text_put(reason, sizeof(reason), "standby %s did not get ready: %s",
		       vm_host_name(fsm, other),
		       TEXT_SHORT(200, obstacle ? obstacle
						: vm_describe_stuck(fsm, other, stuck,
								    sizeof(stuck))));
	vm_end_protection(s, reason);
	vm_finish_op(s, false, "timeout", "%s; see the log of its agent", reason);
}

static void tick_syncing(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char reason[VM_TEXT_MAX];

	if (s->in->relayed_bytes != fsm->protection.progress_bytes) {
		fsm->protection.progress_bytes = s->in->relayed_bytes;
		fsm->protection.progress_ns = s->now_ns;
	}
	/* Give up only if neither host makes progress. Even without relayed bytes, a host can be
	 * busy: attaching to QEMU, writing the copy, or rehearsing a takeover. */
	if (vm_is_stuck(s, fsm->record.owner, fsm->protection.progress_ns) &&
	    vm_is_stuck(s, vm_fsm_other(fsm), fsm->protection.progress_ns)) {
		(void)vm_describe_copy(fsm, reason, sizeof(reason));
		vm_end_protection(s, reason);
		vm_finish_op(s, false, "timeout", "%s; see the log of its agent", reason);
		return;
	}
	vm_judge_standby(s);
	if (fsm->record.state == VM_SYNCING)
		vm_judge_way(s);
}

static void tick_protected(struct vm_step *s)
{
	vm_move_tick(s);
	judge_primary(s);
	if (s->fsm->record.state == VM_PROTECTED && !vm_fsm_in_conflict(s->fsm))
		vm_judge_standby(s);
}

/* A promotion has no time limit, because waiting is safe: the old owner can release nothing in the
 * new term. If the new owner connects again, it gets the order again. If it makes no progress, an
 * operator who waits gets an error. But a cold start that makes no progress is given up
 * (fsm_lost.c). */
static void tick_promoting(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char stuck[VM_TEXT_MAX];

	if (vm_lost_tick(s))
		return;
	if (fsm->op.id && vm_is_stuck(s, fsm->record.owner, fsm->op.started_ns))
		vm_finish_op(
			s, false, "timeout",
			"%s has not promoted: %s; it gets the order again when it connects",
			vm_host_name(fsm, fsm->record.owner),
			TEXT_SHORT(200, vm_describe_stuck(fsm, fsm->record.owner, stuck,
							  sizeof(stuck))));
}

static void tick_failed(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char stuck[VM_TEXT_MAX];

	if (fsm->give_back_due && fsm->op.id &&
	    vm_is_stuck(s, fsm->record.owner, fsm->op.started_ns))
		vm_give_back(s, false,
			     vm_describe_stuck(fsm, fsm->record.owner, stuck, sizeof(stuck)));
}

static void tick_unprotected(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char stuck[VM_TEXT_MAX];

	vm_again_tick(s);
	if (fsm->record.state != VM_UNPROTECTED)
		return;
	/* Watch the promoted guest only in a step that has not just changed the state. After a
	 * change, events wait until the journal is written. The event that the guest serves must
	 * not wait. */
	vm_promoted_tick(s);
	if (fsm->op.id && fsm->op.command != VM_COMMAND_FAILOVER &&
	    fsm->op.command != VM_COMMAND_MOVE &&
	    vm_is_stuck(s, fsm->record.owner, fsm->op.started_ns))
		vm_finish_op(
			s, false, "timeout",
			"term %" PRIu64
			" is unprotected, but %s has not released the guest: %s; it is told "
			"again when it connects",
			fsm->record.term, vm_host_name(fsm, fsm->record.owner),
			TEXT_SHORT(150, vm_describe_stuck(fsm, fsm->record.owner, stuck,
							  sizeof(stuck))));
}

static void expire_orders(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char text[VM_TEXT_MAX];

	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		struct vm_order *order = &fsm->host[h].order;

		if (!order->id || order->done || !vm_is_stuck(s, h, order->sent_ns))
			continue;
		order->done = true;
		order->ok = false;
		vm_order_ended(s, h, order->verb, false,
			       vm_describe_stuck(fsm, h, text, sizeof(text)));
	}
}

static void on_tick(struct vm_step *s)
{
	static const vm_handler_fn by_state[VM_N_STATES] = {
		[VM_UNPROTECTED] = tick_unprotected, [VM_PREPARING] = tick_preparing,
		[VM_SYNCING] = tick_syncing,	     [VM_PROTECTED] = tick_protected,
		[VM_PROMOTING] = tick_promoting,     [VM_FAILED] = tick_failed,
	};

	s->fsm->ticked_ns = s->now_ns;
	expire_orders(s);
	/* In a conflict, the deadlines do not apply. But in PROTECTED, tick even then, so that the
	 * operator sees how the primary is judged. */
	if (vm_fsm_in_conflict(s->fsm) && s->fsm->record.state != VM_PROTECTED)
		return;
	if (vm_cold_is_nowhere(s->fsm) && s->fsm->record.state != VM_PROMOTING)
		return; /* the guest runs nowhere, so there is nothing to judge */
	if (by_state[s->fsm->record.state])
		by_state[s->fsm->record.state](s);
	judge_shadow(s);
}

static void on_seen(struct vm_step *s)
{
	(void)s; /* vm_fsm_step() has noted the sign of life */
}

static const struct {
	vm_handler_fn handle;
	bool from_host; /* true if the input proves that the host lives */
} inputs[VM_IN_N] = {
	[VM_IN_TICK]	     = {on_tick, false},
	[VM_IN_CONTROL_UP]   = {vm_on_control_up, true},
	[VM_IN_CONTROL_DOWN] = {vm_on_control_down, false},
	[VM_IN_SEEN]	     = {on_seen, true},
	[VM_IN_REPORT]	     = {vm_on_report, true},
	[VM_IN_ORDER_DONE]   = {vm_on_order_done, true},
	[VM_IN_STREAM_UP]    = {vm_on_stream_up, true},
	[VM_IN_STREAM_DOWN]  = {vm_on_stream_down, false},
	[VM_IN_STREAM_REFUSED] = {vm_on_stream_refused, true},
	[VM_IN_STREAM_FAILED] = {vm_on_stream_failed, true},
	[VM_IN_EPOCH_ACK]    = {vm_on_epoch_ack, true},
	[VM_IN_COMMAND]	     = {vm_on_command, false},
	[VM_IN_OBEYS_ANOTHER] = {vm_on_obeys_another, false},
	[VM_IN_FENCED]	     = {vm_on_fenced, false},
	[VM_IN_POLICY]	     = {vm_on_policy, false},
};

/* If the gateway itself stalled, do not count that time as silence of the hosts. */
static void forgive_own_stall(struct vm_fsm *fsm, uint64_t now_ns)
{
	const struct liveness_config *config = &fsm->config->liveness;

	if (now_ns - fsm->stepped_ns < config->beat_timeout_ns / 2)
		return;
	for (int h = 0; h < VM_HOSTS; h++)
		liveness_stalled(&fsm->host[h].live, config, now_ns - fsm->stepped_ns, now_ns);
	vm_copy_stalled(fsm, now_ns - fsm->stepped_ns);
}

void vm_fsm_step(struct vm_fsm *fsm, const struct vm_input *in, struct vm_actions *ret_actions)
{
	struct vm_step s = {.fsm = fsm, .in = in, .out = ret_actions, .now_ns = in->now_ns,
			    .was_conflict = vm_fsm_in_conflict(fsm)};

	ret_actions->n = 0;
	ret_actions->overflow = false;
	if ((unsigned int)in->kind >= VM_IN_N || in->host >= VM_HOSTS)
		return;
	forgive_own_stall(fsm, in->now_ns);
	fsm->stepped_ns = in->now_ns;
	if (inputs[in->kind].from_host) {
		liveness_seen(&fsm->host[in->host].live, &fsm->config->liveness, in->now_ns);
		if (in->host == fsm->record.owner)
			detector_saw(&fsm->detector, DETECTOR_BEAT, in->now_ns);
	}
	inputs[in->kind].handle(&s);
	if (in->kind == VM_IN_REPORT || in->kind == VM_IN_TICK)
		vm_cold_look(&s);
	vm_reconcile(&s);
	if (fsm->close_due) {
		fsm->close_due = false;
		vm_act(&s, VM_ACT_CLOSE);
	}
}
