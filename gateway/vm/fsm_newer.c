/* fsm_newer.c - handles reports of a term above the journal's (docs/wire-format.md 6.4). There are
 * two possible reasons: the two hosts agreed on the term without this gateway, or the journal was
 * lost or is an old copy.
 *
 * The gateway adopts the reported term if two voices agree on the owner (see `agreements`). If only
 * one host reports it, a conflict begins (vm_fsm_in_conflict). In a conflict this gateway begins no
 * term and orders nothing. The conflict ends when two voices agree, when the reporting host reports
 * an older term again, or when an operator names the owner. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"

/* What a host says about itself in the reported term. */
enum word {
	WORD_NONE, /* the host has not reported */
	WORD_OLDER, /* the host is still in an older term */
	WORD_HOLDS,
	WORD_RUNS,
	WORD_STANDS_BY,
	WORD_IDLE,
	WORD_FENCED,
	WORD_OTHER, /* any other report; fits no agreement */
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
	if (host->agent_state == WIRE_STATE_FENCED)
		return WORD_FENCED;
	return host->agent_state == WIRE_STATE_IDLE ? WORD_IDLE : WORD_OTHER;
}

/* Each row is one way in which two voices agree on an owner. `owner` is what the future owner says
 * about itself. `other` is what the second host says about itself. If `votes` is false, the two
 * voices are the two hosts. If `votes` is true, the two voices are the second host and this
 * gateway, which votes for the owner in its journal.
 *
 * The gateway has a vote only if the journal says SYNCING or PROTECTED, and only for the journal's
 * term plus one. Without the gateway, the hosts can begin such a term only if the standby votes for
 * it. No host becomes the owner by its own word alone. */
static const struct {
	enum word owner, other;
	bool votes;
	/* the state to enter. If it is PROTECTED or SYNCING, the row applies only while the VM is
	 * in one of these two states */
	enum vm_state to;
	const char *text;
} agreements[] = {
	{WORD_HOLDS, WORD_STANDS_BY, false, VM_PROTECTED, "protected by"},
	{WORD_RUNS, WORD_IDLE, false, VM_UNPROTECTED, "unprotected, without"},
	{WORD_RUNS, WORD_FENCED, false, VM_UNPROTECTED, "unprotected, without"},
	/* The standby voted for the new term. The standby's voice and the gateway's are enough:
	 * perhaps the owner is gone, or has never received the vote. */
	{WORD_NONE, WORD_STANDS_BY, true, VM_PROTECTED, "protected by"},
	{WORD_OLDER, WORD_STANDS_BY, true, VM_PROTECTED, "protected by"},
	/* The standby voted that the owner continues alone, and discarded its own copy. The owner
	 * has not got this vote and still waits for commits. So protect the guest again. */
	{WORD_OLDER, WORD_IDLE, true, VM_SYNCING, "protected anew by"},
};

/* Enter state @to, in exactly the reported term. */
static void enter(struct vm_step *s, enum vm_state to, uint8_t owner, const char *reason)
{
	struct vm_fsm *fsm = s->fsm;
	uint64_t term = s->in->term;

	fsm->record.term = term - 1;
	fsm->term_seen = 0;
	s->may_resolve = true;
	vm_set_state(s, to, owner, true, "%s", reason);
	fsm->term_seen = term;
}

static void adopt_agreement(struct vm_step *s, size_t row, uint8_t owner)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t other = vm_fsm_beside(fsm, owner);
	enum vm_state to = agreements[row].to;
	char reason[VM_TEXT_MAX];

	if (to == VM_PROTECTED && fsm->host[other].epoch == 0)
		to = VM_SYNCING;
	(void)text_put(reason, sizeof(reason),
		       "%s and %s agreed on term %" PRIu64
		       " without this gateway: adopted, %s goes on "
		       "%s %s",
		       vm_host_name(fsm, owner), vm_host_name(fsm, other), s->in->term,
		       vm_host_name(fsm, owner), agreements[row].text, vm_host_name(fsm, other));
	enter(s, to, owner, reason);
	vm_finish_op(s, false, "term-changed", "%s", reason);
	fsm->release_due = fsm->stop_due = fsm->fence_due = false;
	if (to == VM_UNPROTECTED)
		return;
	/* The standby may have given the owner a lease just now, so promote no host before that
	 * lease has expired. */
	if (fsm->config->release_ns)
		vm_fsm_mute_after(fsm, s->now_ns, WIRE_DIRECT_LEASE_MS * CLOCK_NS_PER_MS);
	fsm->protection.complete = fsm->host[other].epoch;
	if (agreements[row].owner == WORD_HOLDS)
		fsm->protection.committed = fsm->host[owner].epoch;
}

/* Does row @row of `agreements` apply, with @owner as the owner? */
static bool fits(const struct vm_step *s, size_t row, uint8_t owner)
{
	const struct vm_fsm *fsm = s->fsm;
	bool protects = fsm->record.state == VM_SYNCING || fsm->record.state == VM_PROTECTED;

	if (agreements[row].to != VM_UNPROTECTED && !protects)
		return false;
	/* if the journal, or its newest line, is lost, that line may have given the spare a seat;
	 * so the spare must report that it is in no newer term */
	if (!agreements[row].votes && (fsm->record.term == 0 || fsm->record.in_doubt) &&
	    vm_fsm_has_spare(fsm) && !vm_spare_is_not_past(fsm, s->in->term))
		return false;
	/* a row that needs this gateway's vote does not apply where the gateway has no vote */
	if (agreements[row].votes &&
	    (fsm->record.in_doubt || owner != fsm->record.owner ||
	     s->in->term != fsm->record.term + 1))
		return false;
	return agreements[row].owner == word_of(&fsm->host[owner], s->in->term) &&
	       agreements[row].other ==
		       word_of(&fsm->host[vm_fsm_beside(fsm, owner)], s->in->term);
}

/* Do both hosts report that they have agreed, in the journal's own term, that @owner keeps the
 * guest? They can agree without the gateway. */
static bool hosts_agree_on(const struct vm_fsm *fsm, uint8_t owner)
{
	for (size_t i = 0; i < sizeof(agreements) / sizeof(agreements[0]); i++) {
		if (!agreements[i].votes &&
		    agreements[i].owner == word_of(&fsm->host[owner], fsm->record.term) &&
		    agreements[i].other == word_of(&fsm->host[vm_fsm_beside(fsm, owner)],
						   fsm->record.term))
			return true;
	}
	return false;
}

bool vm_settle_failed(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t to = vm_fsm_other(fsm);
	bool is_unwanted = (fsm->give_back_due && fsm->give_back_is_operators) ||
			   (s->in->kind == VM_IN_COMMAND &&
			    s->in->command == VM_COMMAND_UNPROTECT);
	bool is_move = fsm->move.state == VM_MOVE_PROMOTING && !is_unwanted;
	/* If the old owner still holds output, protect the guest again. But if an operator waits
	 * for an unprotected guest, do not. */
	bool holds = vm_agent_holds(fsm->host[to].agent_state) && !is_unwanted;

	if (fsm->record.state != VM_FAILED || vm_fsm_in_conflict(fsm) || !hosts_agree_on(fsm, to))
		return false;
	if (is_unwanted)
		vm_again_forget(fsm);
	vm_set_state(s, VM_UNPROTECTED, to, true,
		     "%s did not promote because both hosts had agreed on %s in that term; the "
		     "guest stays there%s",
		     vm_host_name(fsm, fsm->record.owner), vm_host_name(fsm, to),
		     holds ? ", and is protected again" : "");
	fsm->release_due = fsm->stop_due = true;
	/* If the old owner holds no output, do not protect the guest again, because the hosts have
	 * agreed that the guest runs unprotected. */
	if (holds)
		vm_again_plan(fsm, VM_AGAIN_SOON, "kept the guest protected without this gateway",
			      s->now_ns);
	else if (is_move)
		vm_move_given_back(s);
	return true;
}

/* If two voices agree on an owner, follow their agreement and return true. Otherwise, return
 * false. */
static bool find_agreement(struct vm_step *s)
{
	/* If the spare's report is in conflict with the journal, that must be settled before any
	 * agreement counts. */
	if (s->fsm->host[vm_fsm_spare(s->fsm)].conflict)
		return false;
	for (size_t i = 0; i < sizeof(agreements) / sizeof(agreements[0]); i++) {
		for (uint8_t owner = 0; owner < VM_HOSTS; owner++) {
			if (owner == vm_fsm_spare(s->fsm) || !fits(s, i, owner))
				continue;
			adopt_agreement(s, i, owner);
			return true;
		}
	}
	return false;
}

static void begin_conflict(struct vm_step *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void begin_conflict(struct vm_step *s, const char *format, ...)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_host *host = &fsm->host[s->in->host];
	char text[VM_TEXT_MAX];
	va_list args;

	if (host->conflict)
		return;
	host->conflict = true;
	va_start(args, format);
	(void)text_vput(text, sizeof(text), format, args);
	va_end(args);
	vm_event(s, "conflict", "%s", text);
	fsm->give_back_due = false;
	vm_finish_op(s, false, "conflict", "%s", text);
}

/* Do both hosts with a seat report the same as the journal, in the journal's term? */
static bool seats_confirm(const struct vm_fsm *fsm)
{
	const struct vm_record *record = &fsm->record;
	enum word owner = word_of(&fsm->host[record->owner], record->term);
	enum word other = word_of(&fsm->host[vm_fsm_other(fsm)], record->term);

	if (record->term == 0)
		return false;
	if (record->state == VM_SYNCING || record->state == VM_PROTECTED)
		return owner == WORD_HOLDS && other == WORD_STANDS_BY;
	return record->state == VM_UNPROTECTED && owner == WORD_RUNS &&
	       (other == WORD_IDLE || other == WORD_FENCED);
}

/* Does the report come from the spare, in a term newer than the journal's, although both hosts with
 * a seat confirm the journal? The spare cannot have entered such a term together with the owner. So
 * its role file is from an earlier life of this VM, or damaged. In this case the spare gets no
 * order, and the next term is above the spare's term, but the VM is not in conflict. */
static bool spare_is_no_matter(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_host *spare = &fsm->host[s->in->host];
	bool is_in_range = s->in->term - fsm->record.term <= WIRE_TERM_JUMP_MAX;

	if (s->in->host != vm_fsm_spare(fsm) || (is_in_range && !seats_confirm(fsm)))
		return false;
	spare->conflict = false;
	if (spare->told_term == s->in->term)
		return true;
	spare->told_term = s->in->term;
	vm_event(s, "supervision",
		 "%s, which has no seat, reports %s in term %" PRIu64 ", newer than the journal's "
		 "%" PRIu64 ": its role file is %s. It cannot take a seat %s",
		 vm_host_name(fsm, s->in->host), wire_state_name(s->in->agent_state), s->in->term,
		 fsm->record.term,
		 is_in_range ? "of another time" : "damaged",
		 is_in_range ? "before the next term" : "before that file is removed");
	return true;
}

void vm_on_newer_term(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, s->in->host);
	bool is_spare = s->in->host == vm_fsm_spare(fsm);
	char voice[VM_TEXT_MAX / 2];

	if (spare_is_no_matter(s)) {
		if (s->in->term > fsm->term_seen &&
		    s->in->term - fsm->record.term <= WIRE_TERM_JUMP_MAX)
			fsm->term_seen = s->in->term;
		return;
	}
	/* Terms cannot have grown this far, so the report is wrong. It must not raise term_seen,
	 * because all new terms must be above term_seen. */
	if (s->in->term - fsm->record.term > WIRE_TERM_JUMP_MAX) {
		begin_conflict(
			s,
			"%s reports term %" PRIu64 ", out of range above the journal's %" PRIu64
			": refused; is the role file of %s in its role_dir damaged? Nothing is "
			"ordered meanwhile",
			name, s->in->term, fsm->record.term, fsm->config->name);
		return;
	}
	if (s->in->term > fsm->term_seen)
		fsm->term_seen = s->in->term;
	if (find_agreement(s))
		return;
	(void)text_put(voice, sizeof(voice), "%s does",
		       is_spare ? "the journal, which gives it no seat,"
				: vm_host_name(fsm, vm_fsm_beside(fsm, s->in->host)));
	begin_conflict(
		s,
		"%s reports %s in term %" PRIu64 ", newer than the journal's %" PRIu64
		", and %s not confirm it: was state_dir lost or restored? Nothing is ordered "
		"until `holdfastctl owner %s HOST` names the host whose guest is the right one",
		name, wire_state_name(s->in->agent_state), s->in->term, fsm->record.term,
		voice, fsm->config->name);
}

bool vm_on_claim_of_spare(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_host *host = &fsm->host[s->in->host];

	if (s->in->host != vm_fsm_spare(fsm) || host->term != fsm->record.term ||
	    fsm->record.term == 0 ||
	    (!vm_agent_holds(host->agent_state) && !vm_agent_stands_by(host->agent_state) &&
	     host->agent_state != WIRE_STATE_RUNNING &&
	     host->agent_state != WIRE_STATE_PROMOTING))
		return false;
	begin_conflict(s,
		       "%s reports %s in term %" PRIu64 ", the journal's own, in which it has no "
		       "seat: was state_dir restored, or were hosts exchanged in the VM's file? "
		       "Nothing is ordered until `holdfastctl owner %s HOST` names the host whose "
		       "guest is the right one",
		       vm_host_name(fsm, s->in->host), wire_state_name(host->agent_state),
		       host->term, fsm->config->name);
	return true;
}

void vm_on_obeys_another(struct vm_step *s)
{
	begin_conflict(s, "%s obeys a gateway that was started after this one, which may give it "
		       "terms: no term begins here and nothing is ordered until it reports to this "
		       "one again; stop the gateway that is too many, and if this one is to stay, "
		       "`holdfastctl takeover`",
		       vm_host_name(s->fsm, s->in->host));
}

void vm_confirm_record(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_record *record = &fsm->record;

	/* The unreadable line may have given the spare a seat. So the doubt ends only if the spare
	 * reports that it is in no newer term. */
	if (!record->in_doubt || !seats_confirm(fsm) ||
	    (vm_fsm_has_spare(fsm) && !vm_spare_is_not_past(fsm, record->term)))
		return;
	fsm->record.in_doubt = false;
	vm_journal_record(s);
	vm_event(s, "conflict",
		 "over: both hosts are in term %" PRIu64 ", the last one of the journal that "
		 "can be read, and say that %s owns the guest",
		 record->term, vm_host_name(fsm, record->owner));
}
