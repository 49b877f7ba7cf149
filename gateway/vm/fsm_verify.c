/* fsm_verify.c - compares all of the standby's copy because an operator asks for it.
 *
 * The owner's agent compares, and answers the order VERIFY when it has ended. That can take hours,
 * so the request has a place of its own beside `op`: while it waits, an operator can still fail
 * over or unprotect. The order is not one that the state requires (rule 6 of fsm.h), so it is not
 * given again. If the owner's connection or the protection ends, the operator gets that answer and
 * can ask again.
 *
 * An order VERIFY would make the agent begin anew. So while one is not answered, another request
 * only joins those that wait for it. Nobody tells us that a connection of holdfastctl was closed:
 * if there is no place left, the oldest request is answered and loses its place. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vm/fsm_private.h"

static void reply(struct vm_step *s, uint64_t op_id, bool ok, const char *code, const char *text)
{
	struct vm_action *a = vm_act(s, VM_ACT_REPLY);

	a->op_id = op_id;
	a->ok = ok;
	a->code = code;
	(void)snprintf(a->text, sizeof(a->text), "%s", text);
}

void vm_verify_ended(struct vm_step *s, bool ok, const char *code, const char *text)
{
	struct vm_verify *verify = &s->fsm->verify;

	if (!verify->order_id)
		return;
	vm_event(s, "verify", "%s", text);
	for (size_t i = 0; i < VM_VERIFY_WAITERS_MAX; i++)
		if (verify->op_id[i])
			reply(s, verify->op_id[i], ok, code, text);
	*verify = (struct vm_verify){0};
}

static void order(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_action *a = vm_act(s, VM_ACT_ORDER);

	fsm->verify = (struct vm_verify){
		.order_id = fsm->next_order_id++,
		.term = fsm->record.term,
	};
	a->host = fsm->record.owner;
	a->verb = WIRE_VERB_VERIFY;
	a->term = fsm->verify.term;
	a->order_id = fsm->verify.order_id;
}

/* Let the request wait for the answer to the order that was given. With --no-wait, only say so. */
static void join(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint64_t *op_id = fsm->verify.op_id;
	char text[VM_TEXT_MAX];

	if (s->in->no_wait) {
		(void)snprintf(text, sizeof(text),
			       "%s: it is being verified in term %" PRIu64 "; `holdfastctl vm show "
			       "%s` says how far it is, an event what it found",
			       fsm->config->name, fsm->record.term, fsm->config->name);
		reply(s, s->in->op_id, true, "accepted", text);
		return;
	}
	if (op_id[0])
		reply(s, op_id[0], false, "busy",
		      "too many requests wait for the same result; it goes on, and an event says "
		      "what it found");
	memmove(op_id, op_id + 1, (VM_VERIFY_WAITERS_MAX - 1) * sizeof(*op_id));
	op_id[VM_VERIFY_WAITERS_MAX - 1] = s->in->op_id;
}

void vm_on_verify(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	char text[VM_TEXT_MAX];

	if (fsm->record.state != VM_PROTECTED) {
		(void)snprintf(text, sizeof(text),
			       "%s is %s: there is a copy to compare only while it is PROTECTED",
			       fsm->config->name, vm_state_name(fsm->record.state));
		reply(s, s->in->op_id, false, "not-protected", text);
	} else if (fsm->move.state == VM_MOVE_ORDERED) {
		(void)snprintf(text, sizeof(text),
			       "%s is being moved; verify it once it is PROTECTED again",
			       fsm->config->name);
		reply(s, s->in->op_id, false, "busy", text);
	} else if (!owner->up || !owner->reported) {
		(void)snprintf(text, sizeof(text),
			       "the agent of %s is not connected, or has not reported this VM",
			       vm_host_name(fsm, fsm->record.owner));
		reply(s, s->in->op_id, false, "not-connected", text);
	} else {
		if (!fsm->verify.order_id)
			order(s);
		join(s);
	}
}

bool vm_verify_done(struct vm_step *s)
{
	static const char *const codes[] = {[WIRE_ORDER_OK] = "done",
					    [WIRE_ORDER_FAILED] = "differs",
					    [WIRE_ORDER_REFUSED] = "not-possible"};
	struct vm_fsm *fsm = s->fsm;
	bool ok = s->in->status == WIRE_ORDER_OK;
	char text[VM_TEXT_MAX];

	if (!fsm->verify.order_id || fsm->verify.order_id != s->in->order_id ||
	    s->in->host != fsm->record.owner)
		return false;
	(void)snprintf(text, sizeof(text), "%s is %s: %s", fsm->config->name,
		       ok ? "verified" : "not verified", vm_peer_text(s));
	vm_verify_ended(s, ok, codes[s->in->status], text);
	return true;
}
