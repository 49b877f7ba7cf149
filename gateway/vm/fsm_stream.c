/* fsm_stream.c - handles the streams of epochs: decides who may open a stream, from which epoch the
 * stream continues, and what is committed. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "vm/fsm_private.h"

uint16_t vm_fsm_check_stream(const struct vm_fsm *fsm, uint8_t host, uint8_t role, uint64_t term,
			     struct error *ret_error)
{
	bool owner = host == fsm->record.owner;
	bool primary = role == WIRE_VM_ROLE_PRIMARY;
	enum vm_state state = fsm->record.state;

	/* Refuse a host with "stale term" only if it is no longer the owner. An owner whose
	 * protection has ended must continue to run the guest. */
	if (term < fsm->record.term && !owner && primary)
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_STALE_TERM,
			      "term %" PRIu64 " is over: %s owns %s in term %" PRIu64, term,
			      vm_host_name(fsm, fsm->record.owner), fsm->config->name,
			      fsm->record.term);
	if (owner != primary || host == vm_fsm_spare(fsm))
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_NOT_ASKED, "%s is the %s of %s",
			      vm_host_name(fsm, host), owner ? "owner"
			      : host == vm_fsm_spare(fsm)    ? "spare"
							     : "standby",
			      fsm->config->name);
	if (state != VM_SYNCING && state != VM_PROTECTED && (primary || state != VM_PREPARING))
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_NOT_ASKED,
				 "%s is %s, no %s stream is wanted", fsm->config->name,
				 vm_state_name(state), wire_vm_role_name(role));
	if (term < fsm->record.term)
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_STALE_TERM,
			      "term %" PRIu64 " is over, %s is in term %" PRIu64, term,
			      fsm->config->name, fsm->record.term);
	if (term > fsm->record.term)
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_NOT_ASKED,
			      "term %" PRIu64 " was never given; %s is in term %" PRIu64, term,
			      fsm->config->name, fsm->record.term);
	return 0;
}

void vm_resume_if_ready(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t other = vm_fsm_other(fsm);
	const struct vm_order *order = &fsm->host[other].order;
	struct vm_action *a;

	/* `effective` shows that the standby has reported after it got the order, so
	 * vm_way_obstacle() is up to date. */
	if (fsm->record.state == VM_PREPARING && fsm->stream[VM_STREAM_STANDBY].up &&
	    order->verb == WIRE_VERB_STANDBY_START && order->term == fsm->record.term &&
	    order->done && order->ok && fsm->host[other].effective &&
	    !vm_way_obstacle(fsm, other)) {
		vm_set_state(s, VM_SYNCING, fsm->record.owner, false, "standby %s is ready",
			     vm_host_name(fsm, other));
		/* At the end of this step vm_reconcile() orders PROTECT. When the primary has
		 * opened its stream, RESUME is sent. */
		return;
	}
	if (fsm->record.state != VM_SYNCING && fsm->record.state != VM_PROTECTED)
		return;
	if (!fsm->stream[VM_STREAM_PRIMARY].up || !fsm->stream[VM_STREAM_STANDBY].up)
		return;
	/* Has the standby lost committed epochs? After a restart of this gateway, `committed` can
	 * be 0 (unknown). But in PROTECTED, an epoch was committed. So if the standby has no epoch,
	 * it has lost epochs. */
	if ((fsm->protection.complete < fsm->protection.committed ||
	     fsm->protection.complete == 0) &&
	    fsm->record.state == VM_PROTECTED)
		vm_set_state(s, VM_SYNCING, fsm->record.owner, false,
			     "%s holds epoch %" PRIu64 ", but %" PRIu64 " was committed",
			     vm_host_name(fsm, vm_fsm_other(fsm)), fsm->protection.complete,
			     fsm->protection.committed);
	fsm->protection.progress_ns = s->now_ns;
	fsm->protection.progress_bytes = 0;
	vm_standby_resumed(fsm);
	a = vm_act(s, VM_ACT_RESUME);
	a->term = fsm->record.term;
	a->epoch = fsm->protection.complete;
	a->generation = ++fsm->generation;
	/* Send COMMIT again, because the last COMMIT may have been lost. In SYNCING do not: only an
	 * acknowledgement of an epoch that was sent to the standby can make the VM PROTECTED. */
	if (fsm->record.state == VM_PROTECTED)
		vm_epoch_complete(s, fsm->protection.complete);
}

/* Is the input about a stream that its host may have now? If the input has waited for the disk, the
 * host may have lost its role or its seat meanwhile. In this case its stream was closed. */
static bool is_of_seat(const struct vm_step *s)
{
	return s->in->host == (s->in->role == WIRE_VM_ROLE_STANDBY ? vm_fsm_other(s->fsm)
								   : s->fsm->record.owner);
}

void vm_on_stream_up(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	bool standby = s->in->role == WIRE_VM_ROLE_STANDBY;
	struct vm_stream *stream = &fsm->stream[standby ? VM_STREAM_STANDBY : VM_STREAM_PRIMARY];

	if (!is_of_seat(s))
		return;
	stream->up = true;
	stream->changed_ns = s->now_ns;
	if (standby)
		fsm->protection.complete = s->in->epoch;
	vm_stream_event(s, "%s stream of %s is up%s", wire_vm_role_name(s->in->role),
		 vm_host_name(fsm, s->in->host), standby ? "" : ", waiting for its epochs");
	vm_resume_if_ready(s);
}

void vm_on_stream_down(struct vm_step *s)
{
	struct vm_stream *stream =
		&s->fsm->stream[s->in->role == WIRE_VM_ROLE_STANDBY ? VM_STREAM_STANDBY
								    : VM_STREAM_PRIMARY];

	if (!stream->up || !is_of_seat(s))
		return;
	stream->up = false;
	stream->changed_ns = s->now_ns;
	if (s->in->role == WIRE_VM_ROLE_STANDBY)
		vm_standby_broke(s->fsm, NULL);
	vm_stream_event(s, "%s stream of %s is down", wire_vm_role_name(s->in->role),
			vm_host_name(s->fsm, s->in->host));
}

void vm_on_stream_failed(struct vm_step *s)
{
	if (!is_of_seat(s))
		return;
	if (s->in->role == WIRE_VM_ROLE_STANDBY)
		vm_standby_broke(s->fsm, vm_peer_text(s));
	vm_stream_event(s, "%s of %s: %s", wire_vm_role_name(s->in->role),
			vm_host_name(s->fsm, s->in->host), vm_peer_text(s));
}

/* Called when the standby has refused the stream for good. In SYNCING, ends the attempt at once and
 * tells the operator. In PROTECTED, the VM stays PROTECTED until its standby counts as lost. */
void vm_on_stream_refused(struct vm_step *s)
{
	vm_on_stream_failed(s);
	if (s->fsm->record.state == VM_SYNCING && is_of_seat(s))
		vm_protect_failed(s, s->in->host, vm_peer_text(s));
}

void vm_epoch_complete(struct vm_step *s, uint64_t epoch)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_action *a;

	if (epoch == 0 || epoch < fsm->protection.committed)
		return;
	/* Do not protect the VM while output cannot leave the owner's host: a commit would release
	 * nothing. */
	if (fsm->record.state == VM_SYNCING && vm_way_obstacle(fsm, fsm->record.owner))
		return;
	/* Become PROTECTED only with an epoch after whose seal all output was held. With an earlier
	 * epoch, the standby would not know of output that clients have received. */
	if (fsm->record.state == VM_SYNCING && fsm->protection.held_from &&
	    epoch >= fsm->protection.held_from) {
		vm_set_state(s, VM_PROTECTED, fsm->record.owner, false,
			     "%s holds epoch %" PRIu64 " whole",
			     vm_host_name(fsm, vm_fsm_other(fsm)), epoch);
		if (fsm->record.state != VM_PROTECTED)
			return; /* the VM is in doubt: no output may leave */
		if (fsm->op.command == VM_COMMAND_PROTECT)
			vm_finish_op(s, true, "done", "%s is protected in term %" PRIu64
				     ": %s, standby %s", fsm->config->name, fsm->record.term,
				     vm_host_name(fsm, fsm->record.owner),
				     vm_host_name(fsm, vm_fsm_other(fsm)));
	}
	if (epoch > fsm->protection.committed) {
		fsm->protection.committed = epoch;
		fsm->protection.committed_ns = s->now_ns;
		vm_standby_committed(s);
		vm_copy_ended(fsm);
	}
	a = vm_act(s, VM_ACT_COMMIT);
	a->term = fsm->record.term;
	a->epoch = epoch;
}

void vm_on_epoch_ack(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;

	/* Ignore acknowledgements of an old term, which may still arrive. */
	if (s->in->term != fsm->record.term || s->in->host != vm_fsm_other(fsm) ||
	    (fsm->record.state != VM_SYNCING && fsm->record.state != VM_PROTECTED))
		return;
	if (s->in->epoch <= fsm->protection.complete)
		return;
	fsm->protection.complete = s->in->epoch;
	fsm->host[s->in->host].epoch = s->in->epoch; /* its next report says so, too */
	if (!s->in->is_unheld && !fsm->protection.held_from)
		fsm->protection.held_from = s->in->epoch;
	vm_epoch_complete(s, s->in->epoch);
}
