/* fsm_command.c - handles operators' commands for a VM: protect, unprotect, failover, move.
 * verify and drill are in fsm_asked.c, the commands in a conflict in fsm_conflict.c. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "vm/fsm_private.h"

#define BUSY "%s: an operator's request is running; `holdfastctl events` tells its end"

/* Accept the command. The operator then waits for the result, unless the command says no_wait. */
static void begin(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;

	if (s->in->no_wait) {
		vm_reply(s, true, "accepted", "%s: begun in term %" PRIu64, fsm->config->name,
		      fsm->record.term);
		return;
	}
	fsm->op.id = s->in->op_id;
	fsm->op.command = s->in->command;
	fsm->op.started_ns = s->now_ns;
}

void vm_command_begin(struct vm_step *s)
{
	begin(s);
}

static bool refuse_absent(struct vm_step *s, uint8_t h)
{
	const struct vm_fsm *fsm = s->fsm;

	if (fsm->host[h].up && fsm->host[h].reported)
		return false;
	vm_reply(s, false, "not-connected",
	      "the agent of %s %s; is holdfast-agent running there, with this gateway's address%s?",
	      vm_host_name(fsm, h),
	      fsm->host[h].up ? "has not reported this VM" : "is not connected",
	      fsm->host[h].up ? " and a file for this VM" : "");
	return true;
}

bool vm_refuse_absent(struct vm_step *s, uint8_t h)
{
	return refuse_absent(s, h);
}

static bool refuse_barred(struct vm_step *s, uint8_t h)
{
	const char *host = vm_host_name(s->fsm, h);

	if (!s->fsm->is_barred[h])
		return false;
	vm_reply(s, false, "drained",
	      "%s is drained, or being drained, so it gets neither copy nor guest of %s; "
	      "`holdfastctl undrain %s` takes it back", host, s->fsm->config->name, host);
	return true;
}

/* If the operator named the host that is to keep the copy, check that this host can do so now. If
 * it cannot, refuse the command and return true. */
static bool refuse_named(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, s->in->host), *vm = fsm->config->name;

	if (!s->in->is_host_named || s->in->host == vm_fsm_other(fsm))
		return false;
	if (s->in->host == fsm->record.owner) {
		vm_reply(s, false, "not-possible", "%s owns %s, so it keeps no copy of it", name,
			 vm);
		return true;
	}
	if (fsm->record.state == VM_UNPROTECTED)
		return false;
	vm_reply(s, false, "busy",
		 "%s is %s with %s, and a spare takes a seat only while it is unprotected: "
		 "`holdfastctl unprotect %s`, then `protect %s --with %s`", vm,
		 vm_state_name(fsm->record.state), vm_host_name(fsm, vm_fsm_other(fsm)), vm, vm,
		 name);
	return true;
}

/* Host @h is to keep the copy. If this host or the owner still has to end something of the last
 * term, refuse the command and return true. */
static bool refuse_unended(struct vm_step *s, uint8_t h)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct vm_host *host = &fsm->host[h];
	bool is_spare = h == vm_fsm_spare(fsm), is_owners = fsm->release_due;

	if (is_spare) {
		is_owners |= vm_agent_holds(fsm->host[fsm->record.owner].agent_state);
		/* If the host that loses its seat must still be fenced, refuse: the change of seats
		 * would forget the fence. */
		if (!is_owners && fsm->fence_due && fsm->host[vm_fsm_other(fsm)].up)
			h = vm_fsm_other(fsm);
		else if (!is_owners && !vm_protect_obstacle(fsm, h))
			return false;
	} else if (!fsm->fence_due && !fsm->release_due && !vm_is_being_fenced(host) &&
		   !(host->reported && host->agent_state == WIRE_STATE_RUNNING &&
		     fsm->record.term > 0)) {
		return false;
	}
	vm_reply(s, false, "busy",
		 "%s has not yet confirmed the end of the last term; try again. If it stays so, "
		 "`holdfastctl events` and its agent's log say why",
		 vm_host_name(fsm, is_owners ? fsm->record.owner : h));
	return true;
}

/* After a power failure of both hosts, or while it is not known whether the guest was started again
 * after such a power failure, refuse the command and return true. If no guest is known to run,
 * there is nothing to protect or to unprotect. Also, the journal's record of the last protection is
 * still needed, to decide from which disks the guest is started. */
static bool refuse_cold(struct vm_step *s)
{
	const char *vm = s->fsm->config->name;
	char advice[VM_TEXT_MAX];

	if (!vm_cold_is_nowhere(s->fsm)) {
		if (!vm_lost_is_start(s->fsm))
			return false;
		vm_reply(s, false, "cold", "%s",
			 vm_lost_advice(s->fsm, advice, sizeof(advice)));
		return true;
	}
	vm_reply(s, false, "cold", "%s runs nowhere: `holdfastctl start %s` first", vm, vm);
	return true;
}

static void on_protect(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t owner = fsm->record.owner;
	uint8_t other = s->in->is_host_named ? s->in->host : vm_fsm_other(fsm);

	if (refuse_cold(s))
		return;
	if (refuse_named(s))
		return;
	if (fsm->record.state == VM_PROTECTED) {
		vm_reply(s, true, "already", "%s is protected already, in term %" PRIu64,
		      fsm->config->name, fsm->record.term);
		return;
	}
	if (fsm->again.is_own && !fsm->op.id) {
		/* the gateway itself has already begun a protection, so the operator waits for its
		 * result */
		fsm->record.is_wanted = fsm->config->reprotect_auto;
		begin(s);
		return;
	}
	if (fsm->record.state != VM_UNPROTECTED || fsm->op.id) {
		vm_reply(s, false, "busy", fsm->record.state == VM_FAILED
			 ? "%s is %s%s: when the cause is mended, `failover` tries again; or "
			   "`holdfastctl unprotect %s` first"
			 : "%s is %s%s; wait, or `holdfastctl unprotect %s` first",
		      fsm->config->name, vm_state_name(fsm->record.state),
		      fsm->op.id ? " and an operator's request is running" : "",
		      fsm->config->name);
		return;
	}
	if (refuse_barred(s, other) || refuse_absent(s, owner) || refuse_absent(s, other))
		return;
	if (fsm->record.term > 0 && fsm->host[other].agent_state == WIRE_STATE_FENCED &&
	    vm_guest_is_gone(&fsm->host[owner])) {
		vm_reply(s, false, "no-guest",
		      "%s was fenced, and what it keeps of the guest may be all that is left of "
		      "it: %s says that its guest has ended; start it there first",
		      vm_host_name(fsm, other), vm_host_name(fsm, owner));
		return;
	}
	if (!fsm->release_due && other == vm_fsm_other(fsm) && vm_left_is_copy(fsm, s->now_ns)) {
		vm_reply(s, false, "would-lose",
			 "%s does not say that it has the guest, and %s has a copy of it that "
			 "would be given up. `holdfastctl failover %s --lose` goes on from that "
			 "copy, `unprotect %s --lose` gives it up", vm_host_name(fsm, owner),
			 vm_host_name(fsm, other), fsm->config->name, fsm->config->name);
		return;
	}
	if (refuse_unended(s, other))
		return;
	fsm->record.is_wanted = fsm->config->reprotect_auto;
	if (other == vm_fsm_spare(fsm))
		(void)vm_spare_take_seat(s, "an operator asks for it");
	else
		vm_set_state(s, VM_PREPARING, owner, true,
			     "operator asked for protection of %s on %s", fsm->config->name,
			     vm_host_name(fsm, owner));
	fsm->stop_due = false;
	begin(s);
}

/* After a failed promotion, give the guest back to its previous owner. The gateway and the previous
 * owner are two of three parties (gateway and two hosts), so they can decide this. The order
 * PROMOTE can still be on its way to the other host, the candidate. So the candidate first gets the
 * order STANDBY_STOP. Hosts carry out orders one by one. So when the candidate answers
 * STANDBY_STOP, no older order is left. */
static void unprotect_failed(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t candidate = fsm->record.owner;
	const struct vm_host *host = &fsm->host[candidate];
	const char *name = vm_host_name(fsm, candidate), *vm = fsm->config->name;
	const char *to = vm_host_name(fsm, vm_fsm_other(fsm));

	if (refuse_absent(s, candidate))
		return;
	if (host->agent_state == WIRE_STATE_RUNNING || host->agent_state == WIRE_STATE_PROMOTING) {
		vm_reply(s, false, "running",
			 "%s reports that it runs the guest; `holdfastctl failover %s` confirms it "
			 "as the owner", name, vm);
		return;
	}
	if (vm_settle_failed(s)) {
		begin(s);
		return;
	}
	if (fsm->give_back_due && fsm->give_back_is_operators) {
		vm_reply(s, false, "busy",
			 "%s is being asked to stop standing by; wait for its answer", name);
		return;
	}
	if (!vm_has_guest_now(s, vm_fsm_other(fsm))) {
		vm_reply(s, false, "no-guest",
		      "%s does not say that it has the guest, so what %s holds may be all that is "
		      "left of it, and would be given up: `holdfastctl failover %s` promotes it; "
		      "else start the guest on %s first", to, name, vm, to);
		return;
	}
	if (host->verdict == WIRE_VERDICT_EXITED && !s->in->may_lose) {
		vm_reply(s, false, "would-lose",
			 "%s says that its guest has ended, so it may have run there, and what "
			 "clients have seen since would be lost. `holdfastctl failover %s` tries "
			 "again; `unprotect %s --lose` goes back to the older guest of %s",
			 name, vm, vm, to);
		return;
	}
	fsm->give_back_due = fsm->give_back_is_operators = true;
	if (host->order.done) /* STANDBY_STOP has failed before: order it again at once */
		memset(&fsm->host[candidate].order, 0, sizeof(host->order));
	begin(s);
}

void vm_give_back_fails(struct vm_step *s, const char *why)
{
	struct vm_fsm *fsm = s->fsm;
	const char *candidate = vm_host_name(fsm, fsm->record.owner);
	const char *to = vm_host_name(fsm, vm_fsm_other(fsm)), *vm = fsm->config->name;

	if (fsm->op.id) {
		vm_finish_op(s, false, "running",
			     "%s has not stopped standing by (%s); `holdfastctl failover %s` "
			     "confirms it as the owner", candidate, why, vm);
		return;
	}
	if (fsm->move.is_stuck_told && fsm->give_back_due)
		return;
	fsm->move.is_stuck_told = true;
	vm_event(s, "supervision",
		 "the guest is not given back to %s: %s: %s; `holdfastctl failover %s` "
		 "confirms %s as the owner, `holdfastctl unprotect %s` gives the guest back", to,
		 candidate, TEXT_SHORT(110, why), vm, candidate, vm);
}

void vm_give_back(struct vm_step *s, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_host *host = &fsm->host[fsm->record.owner];
	const char *candidate = vm_host_name(fsm, fsm->record.owner);
	const char *to = vm_host_name(fsm, vm_fsm_other(fsm));
	bool is_operators = fsm->give_back_is_operators, is_certain = vm_move_is_certain(fsm);
	char why[VM_TEXT_MAX];

	fsm->give_back_due = false;
	/* Perhaps the promotion has succeeded after all. The host's last report shows this, because
	 * a host reports before it answers an order. */
	if (!ok || host->agent_state == WIRE_STATE_RUNNING ||
	    host->agent_state == WIRE_STATE_PROMOTING || !(is_operators || is_certain)) {
		/* After a move, order STANDBY_STOP again, unless the guest runs on that host or may
		 * have run there. */
		fsm->give_back_due = !ok && !is_operators && is_certain &&
				     host->agent_state != WIRE_STATE_RUNNING;
		if (ok && !is_operators && !is_certain)
			text = "it may have run the guest";
		(void)text_put(why, sizeof(why), "%s, it reports %s", TEXT_SHORT(200, text),
			       wire_state_name(host->agent_state));
		vm_give_back_fails(s, why);
		return;
	}
	if (is_operators)
		/* do this only now, because a failed `unprotect` must change nothing */
		vm_again_forget(fsm);
	vm_set_state(s, VM_UNPROTECTED, vm_fsm_other(fsm), true,
		     is_operators
			     ? "operator gave the guest back to %s, %s stands by no longer"
			     : "the move failed, so %s has the guest back, %s stands by no longer",
		     to, candidate);
	fsm->release_due = fsm->stop_due = true;
	if (!is_operators)
		vm_move_given_back(s);
}

/* Refuse `unprotect` and return true if the copy may be all that is left of the guest, because the
 * owner is silent, or does not report that it has the guest. */
static bool refuse_last_copy(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	const char *name = vm_host_name(fsm, fsm->record.owner);
	const char *other = vm_host_name(fsm, vm_fsm_other(fsm)), *vm = fsm->config->name;

	if (fsm->record.state != VM_PROTECTED || s->in->may_lose ||
	    vm_has_guest_now(s, fsm->record.owner))
		return false;
	vm_reply(s, false, "would-lose",
		 "%s %s, so the copy on %s may be all that is left of %s. If %s is lost, see that "
		 "holdfast-agent runs on %s: it is promoted by itself. `holdfastctl unprotect %s "
		 "--lose` gives the copy up", name,
		 !owner->up		? "is not connected"
		 : vm_has_guest(owner) ? "is silent"
				       : "does not say that it has the guest",
		 other, vm,
		 name, other, vm);
	return true;
}

static void on_unprotect(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;

	if (refuse_cold(s) || refuse_last_copy(s))
		return;
	switch (fsm->record.state) {
	case VM_UNPROTECTED:
		if (!fsm->release_due) {
			bool is_planned = fsm->again.when != VM_AGAIN_NEVER;
			bool is_wanted = fsm->record.is_wanted;
			bool gives_up = s->in->may_lose && vm_left_is_copy(fsm, s->now_ns);

			fsm->is_copy_unwanted |= s->in->may_lose;
			vm_again_forget(fsm);
			/* begin no new term, because that would end the watch over a promoted
			 * guest */
			if (is_wanted)
				vm_journal_record(s);
			vm_reply(s, true, "already",
				 "%s is unprotected already%s%s", fsm->config->name,
			      is_planned ? "; it will not be protected again by itself" : "",
			      gives_up ? "; the copy that was left is given up" : "");
			return;
		}
		if (fsm->op.id && !(s->in->may_lose && fsm->op.command == VM_COMMAND_UNPROTECT)) {
			vm_reply(s, false, "busy", BUSY, fsm->config->name);
			return;
		}
		vm_finish_op(s, false, "aborted", "an operator gave the copy of %s up",
			     fsm->config->name);
		fsm->is_copy_unwanted |= s->in->may_lose;
		vm_again_forget(fsm);
		vm_set_state(s, VM_UNPROTECTED, fsm->record.owner, true, "operator asked again");
		fsm->release_due = fsm->stop_due = true;
		break;
	case VM_PROMOTING:
		vm_reply(s, false, "busy", "%s is being promoted; wait for its end",
		      fsm->config->name);
		return;
	case VM_FAILED:
		unprotect_failed(s);
		return;
	case VM_PREPARING:
	case VM_SYNCING:
	case VM_PROTECTED:
	default:
		fsm->is_copy_unwanted |= s->in->may_lose;
		vm_finish_op(s, false, "aborted", "an operator unprotected %s", fsm->config->name);
		vm_again_forget(fsm);
		vm_end_protection(s, "operator asked to unprotect");
		break;
	}
	/* If the owner has output to release and is connected, answer when it has released the
	 * output. If not, answer at once. */
	if (!fsm->release_due) {
		vm_reply(s, true, "done", "%s is unprotected in term %" PRIu64, fsm->config->name,
		      fsm->record.term);
	} else if (!fsm->host[fsm->record.owner].up) {
		vm_reply(s, true, "pending",
		      "%s is unprotected in term %" PRIu64 "; %s is not connected and releases its "
		      "guest when it returns", fsm->config->name, fsm->record.term,
		      vm_host_name(fsm, fsm->record.owner));
	} else {
		begin(s);
	}
}

static void on_failover(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const char *why;

	if (fsm->record.state == VM_FAILED) {
		/* what has failed is a cold start, so there is no copy that could be promoted */
		if (refuse_cold(s) || refuse_absent(s, fsm->record.owner) ||
		    vm_lost_refuse_failover(s))
			return;
		vm_set_state(s, VM_PROMOTING, fsm->record.owner, true,
			     "operator asked %s to try again",
			     vm_host_name(fsm, fsm->record.owner));
		/* Reply to an operator who waits until the guest is given back, because it will not
		 * be given back now. */
		vm_finish_op(s, false, "aborted", "an operator asked for a failover of %s",
			     fsm->config->name);
		begin(s);
		return;
	}
	if (vm_left_failover(s))
		return;
	if (s->in->is_off_named) {
		vm_reply(s, false, "not-possible",
			 "--off goes with --lose, in a conflict or for a copy that is left; %s is "
			 "%s", fsm->config->name, vm_state_name(fsm->record.state));
		return;
	}
	if (fsm->op.id) {
		vm_reply(s, false, "busy", BUSY, fsm->config->name);
		return;
	}
	if (vm_promote(s, "operator asked for a failover", false, &why)) {
		begin(s);
		return;
	}
	if (fsm->record.state == VM_PROTECTED)
		vm_reply(s, false, "not-possible",
			 "%s cannot fail over: %s", fsm->config->name, why);
	else if (fsm->record.state == VM_PROMOTING)
		vm_reply(s, false, "busy", "%s is being promoted on %s already; wait for its end",
		      fsm->config->name, vm_host_name(fsm, fsm->record.owner));
	else if (fsm->record.state == VM_UNPROTECTED)
		vm_reply(s, false, "not-protected",
		      "%s is %s: there is no standby to fail over to; `holdfastctl protect %s` "
		      "first",
		      fsm->config->name, vm_state_name(fsm->record.state), fsm->config->name);
	else
		vm_reply(s, false, "busy",
		      "%s is %s: its standby is not ready yet; wait until it is PROTECTED",
		      fsm->config->name, vm_state_name(fsm->record.state));
}

/* Returns what prevents a move of the protected guest, or NULL. */
static const char *move_obstacle(const struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	uint64_t silence_max_ns = fsm->config->liveness.beat_timeout_ns / 2;
	const char *why = vm_promotion_obstacle(fsm, silence_max_ns, s->now_ns);

	if (why)
		return why;
	if (liveness_silent_for(&owner->live, silence_max_ns, s->now_ns))
		return "its host is silent: if it has failed, the standby is promoted by itself";
	if (!owner->takes_moves)
		return "the agent of its host is too old to know moves: update it";
	if (owner->verdict != WIRE_VERDICT_NONE)
		return "its host says that it does not run: let it run first";
	if (fsm->protection.copy.is_held)
		return "its disks are being copied again; wait until `holdfastctl status` says "
		       "SAFE";
	if (owner->agent_state != WIRE_STATE_PROTECTED)
		return "its host does not replicate it at the moment; wait until `holdfastctl "
		       "status` says SAFE";
	return vm_way_obstacle(fsm, vm_fsm_other(fsm));
}

static void on_move(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const char *why, *name = fsm->config->name;

	/* Refuse if the named host has no copy, or if something else must end first. */
	if (s->in->host == vm_fsm_spare(fsm)) {
		vm_reply(s, false, "not-possible",
			 "%s has no copy of %s, it is the spare: `holdfastctl unprotect %s`, then "
			 "`protect %s --with %s`, and move it then",
			 vm_host_name(fsm, s->in->host), name, name, name,
			 vm_host_name(fsm, s->in->host));
		return;
	}
	if (s->in->host == fsm->record.owner) {
		vm_reply(s, false, "not-possible",
			 "%s is owned by %s already; its other host is %s",
		      name, vm_host_name(fsm, s->in->host), vm_host_name(fsm, vm_fsm_other(fsm)));
		return;
	}
	if (fsm->op.id || fsm->move.state == VM_MOVE_ORDERED) {
		vm_reply(s, false, "busy", "%s: %s is running", name,
		      fsm->op.id ? "an operator's request" : "a move");
		return;
	}
	if (fsm->record.state == VM_UNPROTECTED) {
		vm_reply(s, false, "not-protected",
		      "%s is not protected, so %s has no copy to go on from; `holdfastctl protect "
		      "%s` first", name, vm_host_name(fsm, s->in->host), name);
		return;
	}
	if (fsm->record.state != VM_PROTECTED) {
		vm_reply(s, false, "busy", "%s is %s; wait until it is PROTECTED", name,
		      vm_state_name(fsm->record.state));
		return;
	}
	/* Refuse if a host cannot do its part in the move now. */
	if (refuse_barred(s, s->in->host) || refuse_absent(s, fsm->record.owner) ||
	    refuse_absent(s, s->in->host))
		return;
	why = move_obstacle(s);
	if (why) {
		vm_reply(s, false, "not-possible", "%s cannot be moved: %s", name, why);
		return;
	}
	begin(s);
	vm_move_begin(s);
}

void vm_on_command(struct vm_step *s)
{
	if (vm_conflict_command(s))
		return;
	switch (s->in->command) {
	case VM_COMMAND_PROTECT:
		on_protect(s);
		break;
	case VM_COMMAND_UNPROTECT:
		on_unprotect(s);
		break;
	case VM_COMMAND_FAILOVER:
		on_failover(s);
		break;
	case VM_COMMAND_MOVE:
		on_move(s);
		break;
	case VM_COMMAND_VERIFY:
		vm_on_asked(s, VM_ASKED_VERIFY);
		break;
	case VM_COMMAND_DRILL:
		vm_on_asked(s, VM_ASKED_DRILL);
		break;
	case VM_COMMAND_START:
		vm_on_start(s);
		break;
	case VM_COMMAND_END_COPY:
		vm_on_end_copy(s);
		break;
	case VM_COMMAND_NONE:
	case VM_COMMAND_OWNER: /* vm_conflict_command() has handled it */
	default:
		vm_reply(s, false, "bad-verb", "no such command");
		break;
	}
}
