/* fsm_asked.c - handles operators' requests that an agent answers much later: `verify` compares all
 * of the standby's copy with the guest, `drill` starts that copy, isolated, and checks whether it
 * runs.
 *
 * Such an order can take hours, so the request is stored in `asked`, not in `op`. While it waits,
 * an operator can still fail over or unprotect. The state does not require this order (rule 6 of
 * fsm.h), so it is not given again. If the protection or the host's connection ends, the operator
 * is told and can ask again.
 *
 * If a second order were given, the agent would refuse it, or begin its work again. So while an
 * order is not answered, a further request for the same thing only waits for that answer too. The
 * state machine does not know when a connection of holdfastctl is closed. So if too many requests
 * wait, the oldest one gets a reply and stops waiting. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "vm/fsm_private.h"

static const struct kind {
	uint8_t verb;
	bool is_owners; /* true: the owner carries it out; false: the standby */
	const char *event;
	const char *need;    /* begins the refusal "... only while it is PROTECTED" */
	const char *doing;   /* completes "it is being ..." */
	const char *done, *not_done;
	const char *failed;  /* code of the reply after WIRE_ORDER_FAILED */
	const char *lost;    /* text if the host's connection ended */
	const char *aborted; /* text if the protection ended */
} kinds[VM_ASKED_N] = {
	[VM_ASKED_VERIFY] = {
		.verb = WIRE_VERB_VERIFY, .is_owners = true, .event = "verify",
		.need = "there is a copy to compare", .doing = "verified",
		.done = "is verified", .not_done = "is not verified", .failed = "differs",
		.lost = "the owner's agent lost its connection before it had compared all: ask "
			"again when it is connected",
		.aborted = "the protection ended before the standby's copy was compared whole; "
			   "`holdfastctl events` says why",
	},
	[VM_ASKED_DRILL] = {
		.verb = WIRE_VERB_DRILL, .is_owners = false, .event = "drill",
		.need = "there is a copy to try", .doing = "tried",
		.done = "passed its drill", .not_done = "did not pass its drill",
		.failed = "drill-failed",
		.lost = "the standby's agent lost its connection before the drill had ended: ask "
			"again when it is connected",
		.aborted = "the protection ended before the drill had ended; `holdfastctl events` "
			   "says why",
	},
};

static uint8_t host_of(const struct vm_fsm *fsm, const struct kind *kind)
{
	return kind->is_owners ? fsm->record.owner : vm_fsm_other(fsm);
}

static void reply(struct vm_step *s, uint64_t op_id, bool ok, const char *code, const char *text)
{
	struct vm_action *a = vm_act(s, VM_ACT_REPLY);

	a->op_id = op_id;
	a->ok = ok;
	a->code = code;
	(void)text_put(a->text, sizeof(a->text), "%s", text);
}

/* The order of kind @k, if one was given, has ended. Give an event, and reply to those who wait for
 * this order. */
static void ended(struct vm_step *s, enum vm_asked_kind k, bool ok, const char *code,
		  const char *text)
{
	struct vm_asked *asked = &s->fsm->asked[k];

	if (!asked->order_id)
		return;
	vm_event(s, kinds[k].event, "%s", text);
	for (size_t i = 0; i < VM_ASKED_WAITERS_MAX; i++)
		if (asked->op_id[i])
			reply(s, asked->op_id[i], ok, code, text);
	*asked = (struct vm_asked){0};
}

void vm_asked_protection_ended(struct vm_step *s)
{
	for (enum vm_asked_kind k = 0; k < VM_ASKED_N; k++)
		ended(s, k, false, "aborted", kinds[k].aborted);
}

void vm_asked_host_lost(struct vm_step *s, uint8_t host)
{
	for (enum vm_asked_kind k = 0; k < VM_ASKED_N; k++)
		if (host_of(s->fsm, &kinds[k]) == host)
			ended(s, k, false, "not-connected", kinds[k].lost);
}

static void order(struct vm_step *s, enum vm_asked_kind k)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_action *a = vm_act(s, VM_ACT_ORDER);

	fsm->asked[k] = (struct vm_asked){.order_id = fsm->next_order_id++,
					  .since_ns = s->now_ns};
	a->host = host_of(fsm, &kinds[k]);
	a->verb = kinds[k].verb;
	a->term = fsm->record.term;
	a->order_id = fsm->asked[k].order_id;
}

/* Let the request wait for the answer to the order that was given. If the request says no_wait,
 * only reply that the order is being carried out. */
static void join(struct vm_step *s, enum vm_asked_kind k)
{
	struct vm_fsm *fsm = s->fsm;
	uint64_t *op_id = fsm->asked[k].op_id;
	char text[VM_TEXT_MAX];

	if (s->in->no_wait) {
		(void)text_put(text, sizeof(text),
			       "%s: it is being %s in term %" PRIu64 "; `holdfastctl vm show "
			       "%s` says how far it is, an event what it found",
			       fsm->config->name, kinds[k].doing, fsm->record.term,
			       fsm->config->name);
		reply(s, s->in->op_id, true, "accepted", text);
		return;
	}
	if (op_id[0])
		reply(s, op_id[0], false, "busy",
		      "too many requests wait for the same result; it goes on, and an event says "
		      "what it found");
	memmove(op_id, op_id + 1, (VM_ASKED_WAITERS_MAX - 1) * sizeof(*op_id));
	op_id[VM_ASKED_WAITERS_MAX - 1] = s->in->op_id;
}

void vm_on_asked(struct vm_step *s, enum vm_asked_kind k)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t host = host_of(fsm, &kinds[k]);
	char text[VM_TEXT_MAX];

	if (fsm->record.state != VM_PROTECTED) {
		(void)text_put(text, sizeof(text),
			       "%s is %s: %s only while it is PROTECTED; `holdfastctl protect %s`",
			       fsm->config->name, vm_state_name(fsm->record.state), kinds[k].need,
			       fsm->config->name);
		reply(s, s->in->op_id, false, "not-protected", text);
	} else if (fsm->move.state == VM_MOVE_ORDERED) {
		(void)text_put(text, sizeof(text),
			       "%s is being moved; ask again once it is PROTECTED again",
			       fsm->config->name);
		reply(s, s->in->op_id, false, "busy", text);
	} else if (!fsm->host[host].up || !fsm->host[host].reported) {
		(void)text_put(text, sizeof(text),
			       "the agent of %s is not connected, or has not reported this VM; is "
			       "holdfast-agent running there, with a file for this VM?",
			       vm_host_name(fsm, host));
		reply(s, s->in->op_id, false, "not-connected", text);
	} else {
		if (!fsm->asked[k].order_id)
			order(s, k);
		join(s, k);
	}
}

static bool is_done(struct vm_step *s, enum vm_asked_kind k)
{
	const char *const codes[] = {[WIRE_ORDER_OK] = "done",
				     [WIRE_ORDER_FAILED] = kinds[k].failed,
				     [WIRE_ORDER_REFUSED] = "not-possible"};
	struct vm_fsm *fsm = s->fsm;
	bool ok = s->in->status == WIRE_ORDER_OK;
	char text[VM_TEXT_MAX];

	if (!fsm->asked[k].order_id || fsm->asked[k].order_id != s->in->order_id ||
	    s->in->host != host_of(fsm, &kinds[k]))
		return false;
	(void)text_put(text, sizeof(text), "%s %s: %s", fsm->config->name,
		       ok ? kinds[k].done : kinds[k].not_done, vm_peer_text(s));
	ended(s, k, ok, codes[s->in->status], text);
	return true;
}

bool vm_asked_done(struct vm_step *s)
{
	for (enum vm_asked_kind k = 0; k < VM_ASKED_N; k++)
		if (is_done(s, k))
			return true;
	return false;
}
