/* Reports of a term above the journal's: what two hosts agreed on without this gateway, or a journal that was
 * lost. docs/wire-format.md 6.4. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "vm/fsm_priv.h"

/* What a host says of itself in that term. */
enum word {
	WORD_NONE, /* it has not spoken */
	WORD_OLDER, /* it is still in an older one */
	WORD_HOLDS,
	WORD_RUNS,
	WORD_STANDS_BY,
	WORD_IDLE,
	WORD_OTHER, /* what fits no agreement */
};

static enum word word_of(const struct vm_host *host, uint64_t term)
{
	if (!host->up || !host->reported)
		return WORD_NONE;
	if (host->term < term)
		return WORD_OLDER;
	if (host->term > term)
		return WORD_OTHER;
	if (vm_agent_holds(host->agent_state))
		return WORD_HOLDS;
	if (vm_agent_stands_by(host->agent_state))
		return WORD_STANDS_BY;
	if (host->agent_state == WIRE_STATE_RUNNING)
		return WORD_RUNS;
	return host->agent_state == WIRE_STATE_IDLE ? WORD_IDLE : WORD_OTHER;
}

/* Of a VM that the journal has SYNCING or PROTECTED. The owner stays who it was in each of them: nobody
 * becomes an owner by saying so. */
static const struct {
	enum word owner, other;
	enum vm_state to;
	const char *text;
} agreements[] = {
	{WORD_HOLDS, WORD_STANDS_BY, VM_PROTECTED, "protected by"},
	/* The vote is the standby's: it knows, and with the gateway that is two of three. The owner may be
	 * gone by now, or never have heard the answer. */
	{WORD_NONE, WORD_STANDS_BY, VM_PROTECTED, "protected by"},
	{WORD_OLDER, WORD_STANDS_BY, VM_PROTECTED, "protected by"},
	/* The standby gave up its copy, and the owner never heard that it might go on alone. */
	{WORD_OLDER, WORD_IDLE, VM_SYNCING, "protected anew by"},
	{WORD_RUNS, WORD_IDLE, VM_UNPROTECTED, "unprotected, without"},
};

/* Exactly the reported term. */
static void enter(struct vm_step *s, enum vm_state to, uint8_t owner, const char *reason)
{
	struct vm_fsm *fsm = s->fsm;
	uint64_t term = s->in->term;

	fsm->record.term = term - 1;
	fsm->term_seen = 0;
	vm_set_state(s, to, owner, true, "%s", reason);
	fsm->term_seen = term;
}

static void adopt_agreement(struct vm_step *s, size_t row)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t owner = fsm->record.owner, other = vm_fsm_other(fsm);
	enum vm_state to = agreements[row].to;
	char reason[VM_TEXT_MAX];

	if (to == VM_PROTECTED && fsm->host[other].epoch == 0)
		to = VM_SYNCING;
	(void)snprintf(reason, sizeof(reason),
		       "%s and %s agreed on term %" PRIu64 " without this gateway: adopted, %s goes on "
		       "%s %s",
		       vm_host_name(fsm, owner), vm_host_name(fsm, other), s->in->term,
		       vm_host_name(fsm, owner), agreements[row].text, vm_host_name(fsm, other));
	enter(s, to, owner, reason);
	vm_finish_op(s, false, "term-changed", "%s", reason);
	if (to == VM_UNPROTECTED) {
		fsm->release_due = fsm->stop_due = fsm->fence_due = false;
		return;
	}
	/* The standby may have given the owner a lease a moment ago: nobody is promoted while it lasts. */
	if (fsm->config->release_ns)
		vm_fsm_mute_after(fsm, s->now_ns, WIRE_DIRECT_LEASE_MS * CLOCK_NS_PER_MS);
	fsm->protection.complete = fsm->host[other].epoch;
	if (agreements[row].owner == WORD_HOLDS)
		fsm->protection.committed = fsm->host[owner].epoch;
}

/* True: the journal follows what the hosts agreed on. */
static bool find_agreement(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	enum word owner = word_of(&fsm->host[fsm->record.owner], s->in->term);
	enum word other = word_of(&fsm->host[vm_fsm_other(fsm)], s->in->term);

	if (fsm->record.state != VM_SYNCING && fsm->record.state != VM_PROTECTED)
		return false;
	for (size_t i = 0; i < sizeof(agreements) / sizeof(agreements[0]); i++) {
		if (agreements[i].owner == owner && agreements[i].other == other) {
			adopt_agreement(s, i);
			return true;
		}
	}
	return false;
}

void vm_on_newer_term(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_host *host = &fsm->host[s->in->host];
	const char *name = vm_host_name(fsm, s->in->host);
	char reason[VM_TEXT_MAX];

	if (s->in->term > fsm->term_seen)
		fsm->term_seen = s->in->term;
	if (fsm->record.state == VM_UNPROTECTED && !fsm->op.id &&
	    s->in->agent_state == WIRE_STATE_RUNNING) {
		/* It runs the guest in a term in which nobody but a gateway can have said so. */
		(void)snprintf(reason, sizeof(reason),
			       "%s runs the guest in term %" PRIu64
			       ", newer than the journal: adopted (was state_dir lost or restored?)",
			       name, s->in->term);
		enter(s, VM_UNPROTECTED, s->in->host, reason);
		return;
	}
	if (find_agreement(s))
		return;
	if (!host->conflict)
		vm_event(s, "conflict",
			 "%s reports %s in term %" PRIu64 ", newer than the journal's %" PRIu64
			 ", and %s does not confirm it: was state_dir lost or restored? "
			 "`holdfastctl unprotect %s` begins a new term with owner %s",
			 name, wire_state_name(s->in->agent_state), s->in->term, fsm->record.term,
			 vm_host_name(fsm, (uint8_t)(1 - s->in->host)), fsm->config->name,
			 vm_host_name(fsm, fsm->record.owner));
	host->conflict = true;
}
