/* fsm_move.c - moves a protected guest to the VM's other host. Nothing is lost: the guest continues
 * there exactly from the epoch at which it stopped here.
 *
 *      move                       owner answers MOVE with    standby runs it          protected
 *	────► ORDERED ───────────► PROMOTING ───────────────► PROTECTING ────────────► DONE
 *	      PROTECTED, term n    PROMOTING, term n + 1      UNPROTECTED and on
 *	         │                    │
 *	         │ given up           │ standby cannot
 *	         ▼                    ▼
 *	      FAILED: PROTECT      FAILED: STANDBY_STOP there, then UNPROTECT here in term n + 2
 *
 * The owner's answer is a promise (docs/wire-format.md 5.6): the guest's last epoch is committed,
 * the guest is stopped, and the owner releases no more output, whatever lease it has. So the
 * promotion waits for no lease. Until the promotion is journaled, the move can be given up: the
 * order PROTECT in the same term lets the owner continue. The owner must get this order even if the
 * order MOVE came from a gateway that has died, or on a connection that broke. So the order follows
 * from what the owner reports, like all orders follow from the state (rule 6 of fsm.h).
 *
 * A promotion begins only with the answer to the last order, on the connection on which this order
 * was sent. A report does not begin one, because it may belong to an earlier move that was given
 * up.
 *
 * A move is not journaled. If the gateway dies in ORDERED, a restarted gateway finds the guest
 * stopped and lets it continue. If the gateway dies in PROMOTING, a restarted gateway carries out
 * the promotion like any other. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"

/* How long to wait, after a move that failed at the new owner, before the guest is protected
 * again. */
#define AGAIN_NS (10 * CLOCK_NS_PER_S)

static const char *to_name(const struct vm_fsm *fsm)
{
	return vm_host_name(fsm, fsm->move.to);
}

static const char *from_name(const struct vm_fsm *fsm)
{
	return vm_host_name(fsm, fsm->move.from);
}

const char *vm_move_state_name(enum vm_move_state state)
{
	static const char *const names[] = {
		[VM_MOVE_NONE] = "none",	     [VM_MOVE_ORDERED] = "ordered",
		[VM_MOVE_PROMOTING] = "promoting",   [VM_MOVE_PROTECTING] = "protecting",
		[VM_MOVE_DONE] = "done",	     [VM_MOVE_FAILED] = "failed",
		[VM_MOVE_UNPROTECTED] = "unprotected",
	};

	return names[state];
}

uint64_t vm_move_pause_ns(const struct vm_fsm *fsm)
{
	const struct vm_move *move = &fsm->move;

	return move->stopped_ns && move->runs_ns > move->stopped_ns
		       ? move->runs_ns - move->stopped_ns
		       : 0;
}

void vm_move_begin(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;

	fsm->move = (struct vm_move){
		.state = VM_MOVE_ORDERED, .from = fsm->record.owner, .to = vm_fsm_other(fsm),
		.began_ns = s->now_ns};
	vm_event(s, "move", "%s is to let go of the guest, so that %s can run it", from_name(fsm),
		 to_name(fsm));
}

void vm_move_give_up(struct vm_step *s, const char *why)
{
	struct vm_fsm *fsm = s->fsm;
	char text[VM_TEXT_MAX];

	if (fsm->move.state != VM_MOVE_ORDERED)
		return;
	fsm->move.state = VM_MOVE_FAILED;
	/* In a conflict no order is given (vm_reconcile()), so the owner is not told to let the
	 * guest continue. */
	if (vm_fsm_in_conflict(fsm))
		(void)text_put(text, sizeof(text),
			       "can stand still on %s until it is clear who owns it "
			       "(`holdfastctl owner %s HOST`): %s", from_name(fsm),
			       fsm->config->name, TEXT_SHORT(100, why));
	else
		(void)text_put(text, sizeof(text), "goes on on %s: %s",
			       from_name(fsm), TEXT_SHORT(180, why));
	vm_event(s, "move", "given up, the guest %s", text);
	if (fsm->op.command == VM_COMMAND_MOVE)
		vm_finish_op(s, false, "move-failed", "%s was not moved, it %s", fsm->config->name,
			     text);
}

void vm_move_ordered(struct vm_step *s, uint8_t host, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	uint64_t epoch = s->in->epoch, committed = fsm->protection.committed;
	const char *why;

	if (fsm->move.state != VM_MOVE_ORDERED || host != fsm->move.from)
		return;
	if (!ok) {
		vm_move_give_up(s, text);
		return;
	}
	if (epoch == 0 || epoch > fsm->protection.complete || epoch < committed) {
		vm_move_give_up(s, "it names another last epoch than was committed (a bug)");
		return;
	}
	why = vm_promotion_obstacle(fsm, 2 * fsm->config->liveness.beat_timeout_ns, s->now_ns);
	if (why) {
		vm_move_give_up(s, why);
		return;
	}
	fsm->move.state = VM_MOVE_PROMOTING;
	fsm->move.epoch = epoch;
	fsm->move.yielded_ns = s->now_ns;
	/* The owner gave its lease up, so there is no lease to wait for. */
	fsm->mute_ns = s->now_ns;
	vm_set_state(s, VM_PROMOTING, vm_fsm_other(fsm), true,
		     "%s let go of the guest at epoch %" PRIu64 ", which %s holds whole",
		     from_name(fsm), epoch, to_name(fsm));
	fsm->promote_epoch = epoch;
	fsm->move.term = fsm->record.term;
}

/* Called when the guest is protected again. */
static void is_protected(struct vm_step *s)
{
	struct vm_move *move = &s->fsm->move;

	move->state = VM_MOVE_DONE;
	move->protected_ns = s->now_ns;
	vm_event(s, "move",
		 "protected again, %s stands by: %" PRIu64 " ms after the guest ran on %s",
		 from_name(s->fsm), (s->now_ns - move->runs_ns) / CLOCK_NS_PER_MS,
		 to_name(s->fsm));
}

void vm_move_entered(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	enum vm_state to = fsm->record.state;

	switch (fsm->move.state) {
	case VM_MOVE_ORDERED:
		vm_move_give_up(s, "it is no longer protected as it was");
		break;
	case VM_MOVE_PROMOTING:
		/* A later term does not belong to the move: the guest was given back, an operator
		 * has decided, or two voices have named the owner. */
		if (fsm->move.term && fsm->record.term != fsm->move.term)
			fsm->move.state = VM_MOVE_FAILED;
		break;
	case VM_MOVE_PROTECTING:
		if (to == VM_PROTECTED)
			is_protected(s);
		else if (to == VM_PROMOTING)
			fsm->move.state = VM_MOVE_UNPROTECTED; /* a failover, or the next move */
		break;
	default:
		break;
	}
}

void vm_move_runs(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_move *move = &fsm->move;

	if (move->state != VM_MOVE_PROMOTING)
		return;
	move->state = VM_MOVE_PROTECTING;
	move->runs_ns = s->now_ns;
	vm_event(s, "move",
		 "from %s to %s at epoch %" PRIu64 ": the guest stood still for %" PRIu64
		 " ms, %" PRIu64 " of them until it was let go of",
		 from_name(fsm), to_name(fsm), move->epoch,
		 vm_move_pause_ns(fsm) / CLOCK_NS_PER_MS,
		 move->stopped_ns ? (move->yielded_ns - move->stopped_ns) / CLOCK_NS_PER_MS : 0);
	/* Protect the guest again, whatever the policy `reprotect` is, because it was protected
	 * before the move. */
	vm_again_plan(fsm, VM_AGAIN_SOON, "runs the moved guest", s->now_ns);
}

/* Is it certain that the new owner has not run the guest? It may have run the guest and
 * acknowledged clients' writes if its agent reports that the guest has ended, or if its connection
 * broke: then the host may have died and booted again. */
bool vm_move_is_certain(const struct vm_fsm *fsm)
{
	const struct vm_host *to = &fsm->host[fsm->record.owner];

	return fsm->move.state == VM_MOVE_PROMOTING && fsm->move.term == fsm->record.term &&
	       !fsm->move.is_unsure && to->up && to->verdict == WIRE_VERDICT_NONE;
}

bool vm_move_may_begin_back(const struct vm_fsm *fsm)
{
	return vm_move_is_certain(fsm) && vm_has_guest(&fsm->host[vm_fsm_other(fsm)]);
}

void vm_move_given_back(struct vm_step *s)
{
	vm_again_plan(s->fsm, VM_AGAIN_SOON, "has the guest back after a move",
		      s->now_ns + AGAIN_NS);
}

void vm_move_connection(struct vm_step *s, uint8_t host)
{
	struct vm_fsm *fsm = s->fsm;

	if (fsm->move.state != VM_MOVE_PROMOTING || host != fsm->record.owner)
		return;
	fsm->move.is_unsure = true;
	if (fsm->give_back_due && !fsm->give_back_is_operators) {
		fsm->give_back_due = false;
		vm_give_back_fails(s, "its connection broke, so it may have run the guest");
	}
}

void vm_move_report(struct vm_step *s, struct vm_host *host)
{
	struct vm_fsm *fsm = s->fsm;
	bool before = host->is_move_stopped;

	host->is_move_stopped = s->in->move_stopped_us > 0;
	if (!host->is_move_stopped)
		return;
	if (fsm->move.state == VM_MOVE_ORDERED) {
		fsm->move.stopped_ns = s->now_ns - s->in->move_stopped_us * 1000;
		return;
	}
	/* No move is under way, but the host has stopped the guest for a move, perhaps because an
	 * order MOVE arrived late. Forget the last order, so that the host is ordered to continue
	 * even if the last order was the same (PROTECT). */
	if (!before && host->order.done && host->order.verb == WIRE_VERB_PROTECT)
		memset(&host->order, 0, sizeof(host->order));
}

void vm_move_tick(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char why[VM_TEXT_MAX];

	if (fsm->move.state != VM_MOVE_ORDERED ||
	    s->now_ns - fsm->move.began_ns < fsm->config->move_timeout_ns)
		return;
	(void)text_put(why, sizeof(why), "it was not let go of within %" PRIu64
		       " ms (move_timeout_ms)",
		       fsm->config->move_timeout_ns / CLOCK_NS_PER_MS);
	vm_move_give_up(s, why);
}

bool vm_move_must_go_on(const struct vm_fsm *fsm, const struct vm_host *host)
{
	return fsm->move.state != VM_MOVE_ORDERED &&
	       (host->is_move_stopped || (host->order.id && host->order.verb == WIRE_VERB_MOVE &&
					  host->order.term == fsm->record.term));
}

void vm_move_reply(struct vm_step *s, bool ok, const char *how)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_move *move = &fsm->move;
	char next[VM_TEXT_MAX / 2];

	if (!ok) {
		vm_finish_op(s, false, "no-answer", "%s", how);
		return;
	}
	if (fsm->is_barred[move->from] && vm_drain_has_third(fsm, move->from))
		(void)text_put(next, sizeof(next), "%s, the spare, is to keep its copy",
			       vm_host_name(fsm, vm_fsm_spare(fsm)));
	else if (fsm->is_barred[move->from])
		(void)text_put(next, sizeof(next), "it has no copy while %s is drained",
			       from_name(fsm));
	else
		(void)text_put(next, sizeof(next),
			       "it is being protected again, with %s as the standby: `holdfastctl "
			       "vm show %s`", from_name(fsm), fsm->config->name);
	vm_finish_op(s, true, "done",
		     "%s was moved from %s to %s at epoch %" PRIu64 ", term %" PRIu64
		     "; pause %" PRIu64 ".%" PRIu64 " ms, %s; %s",
		     fsm->config->name, from_name(fsm), to_name(fsm), move->epoch,
		     fsm->record.term, vm_move_pause_ns(fsm) / CLOCK_NS_PER_MS,
		     vm_move_pause_ns(fsm) / (CLOCK_NS_PER_MS / 10) % 10, how, next);
}
