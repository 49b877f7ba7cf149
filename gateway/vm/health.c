#include "vm/health.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vm/health_private.h"

/* The limit of events: TELL_BURST at once, then one in each TELL_NS. Grave words have a second
 * limit of the same size. */
#define TELL_BURST 8
#define TELL_NS	   (10 * CLOCK_NS_PER_S)

static const char *const names[HEALTH_N_WORDS] = {
	[HEALTH_COLD] = "COLD",
	[HEALTH_CONFLICT] = "CONFLICT",
	[HEALTH_JOURNAL] = "JOURNAL",
	[HEALTH_FAILED] = "FAILED",
	[HEALTH_NOT_SERVED] = "NOT-SERVED",
	[HEALTH_PROMOTING] = "PROMOTING",
	[HEALTH_UNPROTECTED] = "UNPROTECTED",
	[HEALTH_PREPARING] = "PREPARING",
	[HEALTH_SYNCING] = "SYNCING",
	[HEALTH_OWNER_SILENT] = "OWNER-SILENT",
	[HEALTH_PAUSED] = "PAUSED",
	[HEALTH_IN_DOUBT] = "IN-DOUBT",
	[HEALTH_NO_STANDBY] = "NO-STANDBY",
	[HEALTH_NO_FENCE] = "NO-FENCE",
	[HEALTH_RAM] = "RAM",
	[HEALTH_DISKS] = "DISKS",
	[HEALTH_NOT_HELD] = "NOT-HELD",
	[HEALTH_BEHIND] = "BEHIND",
	[HEALTH_NO_ROOM] = "NO-ROOM",
	[HEALTH_NO_WAY] = "NO-WAY",
	[HEALTH_SAFE] = "SAFE",
};

const char *health_word_name(enum health_word word)
{
	return (unsigned int)word < HEALTH_N_WORDS ? names[word] : "UNKNOWN";
}

bool health_word_is_grave(enum health_word word)
{
	return word <= HEALTH_NOT_SERVED || word == HEALTH_PAUSED;
}

bool health_name_is_grave(const char *name)
{
	for (size_t i = 0; i < HEALTH_N_WORDS; i++)
		if (strcmp(names[i], name) == 0)
			return health_word_is_grave((enum health_word)i);
	return false;
}

/* ---- the conditions */

static bool in_conflict(view_t *v)
{
	return vm_fsm_in_conflict(v->fsm);
}

static bool journal_is_late(view_t *v)
{
	return v->journal_waits_ns >= HEALTH_LATE_NS;
}

static bool journal_fails(view_t *v)
{
	return v->journal_error != 0;
}

static bool is_nowhere(view_t *v)
{
	return !v->fsm->cold.is_start && vm_cold_is_nowhere(v->fsm);
}

static bool start_was_given_up(view_t *v)
{
	return vm_lost_is_start(v->fsm);
}

static bool is_unheard(view_t *v)
{
	return vm_lost_unheard(v->fsm) != VM_HOSTS;
}

static bool has_failed(view_t *v)
{
	return is_in(v, VM_FAILED);
}

static bool shows_no_life(view_t *v)
{
	return is_in(v, VM_UNPROTECTED) &&
	       v->fsm->protection.promoted.state == VM_PROMOTED_SILENT;
}

static bool guest_is_gone(view_t *v)
{
	return is_in(v, VM_UNPROTECTED) && !is_silent(v, owner_of(v)) &&
	       owner(v)->verdict == WIRE_VERDICT_EXITED;
}

static bool copy_is_left(view_t *v)
{
	return vm_left_is_copy(v->fsm, v->now_ns);
}

static bool is_gone_but_copy(view_t *v)
{
	return guest_is_gone(v) && copy_is_left(v);
}

static bool is_unprotected_but_copy(view_t *v)
{
	return is_in(v, VM_UNPROTECTED) && copy_is_left(v);
}

static bool is_promoting(view_t *v)
{
	return is_in(v, VM_PROMOTING);
}

static bool is_unprotected_unheard(view_t *v)
{
	return is_in(v, VM_UNPROTECTED) && is_silent(v, owner_of(v));
}

static bool is_suspended(view_t *v)
{
	return is_in(v, VM_UNPROTECTED) && v->fsm->again.when == VM_AGAIN_COVERED;
}

static bool is_kept_off(view_t *v)
{
	return is_in(v, VM_UNPROTECTED) && v->fsm->is_barred[standby_of(v)] &&
	       !vm_fsm_has_spare(v->fsm) && v->fsm->again.when == VM_AGAIN_SOON;
}

static bool is_soon_again(view_t *v)
{
	return is_in(v, VM_UNPROTECTED) && v->fsm->again.when == VM_AGAIN_SOON;
}

static bool is_unprotected(view_t *v)
{
	return is_in(v, VM_UNPROTECTED);
}

static bool misses_a_host(view_t *v)
{
	return is_silent(v, owner_of(v)) || is_silent(v, standby_of(v));
}

static bool prepares_unheard(view_t *v)
{
	return is_in(v, VM_PREPARING) && misses_a_host(v);
}

static bool syncs_unheard(view_t *v)
{
	return is_in(v, VM_SYNCING) && misses_a_host(v);
}

/* Is this a further attempt that may fail like the last one (again.is_repeat)? During such an
 * attempt the word stays UNPROTECTED. */
static bool is_trying_again(view_t *v)
{
	return is_in(v, VM_PREPARING) && v->fsm->again.is_repeat;
}

static bool is_preparing(view_t *v)
{
	return is_in(v, VM_PREPARING);
}

static bool output_cannot_leave(view_t *v)
{
	return is_in(v, VM_SYNCING) && vm_way_obstacle(v->fsm, owner_of(v));
}

static bool is_syncing(view_t *v)
{
	return is_in(v, VM_SYNCING);
}

/* This catches any state that no earlier row has: such a state must never be judged SAFE. */
static bool is_not_protected(view_t *v)
{
	return !is_in(v, VM_PROTECTED);
}

static bool both_are_silent(view_t *v)
{
	return is_silent(v, owner_of(v)) && is_silent(v, standby_of(v));
}

static bool owner_is_silent(view_t *v)
{
	return is_silent(v, owner_of(v));
}

static bool is_in_doubt(view_t *v)
{
	const struct detector *d = &v->fsm->detector;

	return d->state == DETECTOR_DEGRADED || d->state == DETECTOR_FAILED ||
	       (d->state == DETECTOR_SUSPECT && d->clock_ns - d->doubt_ns >= HEALTH_LATE_NS);
}

static bool standby_is_silent(view_t *v)
{
	return is_silent(v, standby_of(v));
}

static bool standby_is_not_ready(view_t *v)
{
	return standby(v)->agent_state != WIRE_STATE_STANDBY_READY ||
	       standby(v)->term != v->fsm->record.term;
}

static bool standby_takes_nothing(view_t *v)
{
	return !v->fsm->stream[VM_STREAM_STANDBY].up || v->fsm->protection.standby.n_breaks > 0;
}

static bool standby_lacks_epochs(view_t *v)
{
	const struct vm_protection *p = &v->fsm->protection;

	return p->complete == 0 || p->complete < p->committed;
}

static bool is_paused(view_t *v)
{
	return owner(v)->verdict == WIRE_VERDICT_PAUSED;
}

static bool ram_failed(view_t *v)
{
	return owner_signs(v)->has_ram_failed;
}

static bool ram_differs(view_t *v)
{
	return owner_signs(v)->is_ram_differing;
}

static bool verify_failed(view_t *v)
{
	return owner_signs(v)->has_verify_failed;
}

static bool disks_differ(view_t *v)
{
	return owner_signs(v)->is_differing;
}

static bool disks_are_apart(view_t *v)
{
	return owner_signs(v)->has_disks && !owner_signs(v)->is_in_step;
}

static bool owner_is_not_protected(view_t *v)
{
	return owner(v)->agent_state != WIRE_STATE_PROTECTED ||
	       owner(v)->term != v->fsm->record.term;
}

static bool holding_is_unknown(view_t *v)
{
	return !owner_signs(v)->knows_holding || !owner_signs(v)->knows_direct;
}

static bool disks_are_unknown(view_t *v)
{
	const struct health_signs *signs = owner_signs(v);

	/* If the owner is not PROTECTED in this term, or does not say whether output is held, a
	 * later row of `rows` says so instead. */
	if (owner_is_not_protected(v) || holding_is_unknown(v))
		return false;
	return !signs->knows_disks ||
	       (signs->has_disks && (!signs->knows_verify || !signs->knows_differing));
}

static bool is_direct(view_t *v)
{
	return owner_signs(v)->is_direct;
}

static bool output_passes(view_t *v)
{
	const struct vm_relay *relay = v->relay;

	return !owner_signs(v)->is_holding ||
	       (relay->term == v->fsm->record.term && relay->unheld_epoch > 0 &&
		relay->unheld_epoch >= v->fsm->protection.complete);
}

static bool standby_is_late(view_t *v)
{
	return vm_standby_waits_ns(v->fsm, v->now_ns) >= HEALTH_LATE_NS;
}

static bool is_unacknowledged(view_t *v)
{
	return unacknowledged_ns(v) >= HEALTH_LATE_NS;
}

static bool was_never_committed(view_t *v)
{
	return v->fsm->protection.committed_ns == 0;
}

static bool commits_are_late(view_t *v)
{
	return age_ns(v, v->fsm->protection.committed_ns) >=
	       HEALTH_COMMIT_NS + 2 * owner_signs(v)->interval_ns;
}

static bool has_no_room(view_t *v)
{
	const struct health_signs *signs = standby_signs(v);

	return signs->room_free_bytes < signs->room_needed_bytes;
}

static bool room_is_unknown(view_t *v)
{
	const struct health_signs *signs = standby_signs(v);

	return !signs->knows_room_free || !signs->knows_room_needed;
}

/* With fence_required = no, a failover goes on without the fence, so a fault of the command does
 * not count. */
static bool has_no_fence(view_t *v)
{
	return v->fence_fault[0] && v->fsm->config->fence_required;
}

static bool has_no_way(view_t *v)
{
	return vm_way_obstacle(v->fsm, standby_of(v)) != NULL;
}

static bool always(view_t *v)
{
	(void)v;
	return true;
}

/* ---- the rows */

/* Text of rows that apply because the agent's report lacks a key. */
#define UNSAID   "it is not SAFE until its report says so: is its agent as new as this gateway?"

/* Text of rows for a protection that has begun while a host is silent. */
#define GIVEN_UP                                                                                   \
	"the protection is given up if that host stays away; is holdfast-agent running there?"

/* Texts of rows for a copy that may be all that is left of the guest. */
#define LEFT                                                                                       \
	"{owner} does not say that it has the guest, and {standby} has an older copy of it"
#define LEFT_NEXT                                                                                  \
	"bring {owner} back; or, if it is off for certain, `holdfastctl failover {vm} --lose` "    \
	"goes on from that copy. It is not given up by itself"

/* The first row that applies is the judgement. health_expand() replaces {NAME}. */
static const struct row {
	enum health_word word;
	bool (*applies)(view_t *v);
	const char *missing, *next;
} rows[] = {
	{HEALTH_COLD, is_nowhere, "the guest runs nowhere, and no host has a copy of its memory",
	 "{cold}"},
	{HEALTH_CONFLICT, in_conflict,
	 "who owns the guest is not clear: a host reports a newer term, or the journal is damaged",
	 "it ends when both hosts agree; `holdfastctl events` says why: if hosts obey a younger "
	 "gateway, stop that one or `takeover`, else `holdfastctl owner {vm} HOST` ends it"},
	{HEALTH_JOURNAL, journal_is_late,
	 "the disk of the gateway's state_dir has not answered for {journal} ms",
	 "nothing is ordered or committed until it does"},
	{HEALTH_JOURNAL, journal_fails,
	 "the gateway's state_dir cannot be written: {journal-error}",
	 "nothing can be recorded, so there is no promotion either, until it can: free space "
	 "there, or mount it for writing"},
	{HEALTH_FAILED, start_was_given_up,
	 "{owner} was to start the guest from its disks, and nothing says that it runs", "{lost}"},
	{HEALTH_FAILED, is_unheard, "{owner} was to take over, and could not",
	 "{unheard} is not connected, and may have the guest or a copy of its memory: bring it "
	 "back"},
	{HEALTH_FAILED, has_failed, "{owner} was to take over, and could not",
	 "`holdfastctl failover {vm}` tries again, `unprotect {vm}` gives the guest back; "
	 "`events` says why"},
	{HEALTH_NOT_SERVED, shows_no_life,
	 "{owner} was promoted, and nothing shows that its guest serves: {promoted}",
	 "it is probed now and then; look at the guest's console on {owner}"},
	{HEALTH_NOT_SERVED, is_gone_but_copy, LEFT, LEFT_NEXT},
	{HEALTH_NOT_SERVED, guest_is_gone, "the guest of {owner} is gone{owner-text}",
	 "start the guest, then `holdfastctl protect {vm}`"},
	{HEALTH_PROMOTING, is_promoting, "{owner} takes over{owner-step}",
	 "the guest runs on {owner}, unprotected"},
	{HEALTH_UNPROTECTED, is_unprotected_but_copy, LEFT, LEFT_NEXT},
	{HEALTH_UNPROTECTED, is_unprotected_unheard,
	 "no copy is kept, and {owner} was not heard{owner-age}{torn}",
	 "is holdfast-agent running on {owner}?"},
	{HEALTH_UNPROTECTED, is_suspended,
	 "the protection is suspended; `holdfastctl events` says why",
	 "{again}"},
	{HEALTH_UNPROTECTED, is_kept_off, "no copy is kept: {standby} is drained",
	 "it is protected again by itself after `holdfastctl undrain {standby}`"},
	{HEALTH_UNPROTECTED, is_soon_again, "no copy is kept{last-attempt}", "{again}"},
	{HEALTH_UNPROTECTED, is_unprotected, "no copy is kept",
	 "nothing by itself; `holdfastctl protect {vm}`"},
	{HEALTH_PREPARING, prepares_unheard, "{silent-host}, so no copy begins", GIVEN_UP},
	{HEALTH_SYNCING, copy_is_left, LEFT, LEFT_NEXT},
	{HEALTH_SYNCING, syncs_unheard, "{silent-host}, so the copy gets no further", GIVEN_UP},
	{HEALTH_UNPROTECTED, is_trying_again, "no copy is kept{last-attempt}",
	 "it is tried again now: {standby} gets ready{standby-step}"},
	{HEALTH_PREPARING, is_preparing, "{standby} gets ready{standby-step}{standby-way}",
	 "the first copy follows by itself"},
	{HEALTH_SYNCING, output_cannot_leave, "held output cannot leave{owner-way}",
	 "the protection ends at standby_timeout_ms, if it still cannot"},
	{HEALTH_SYNCING, is_syncing,
	 "{standby} has no whole copy for which output was held{owner-step}",
	 "syncing{progress}; then it is protected by itself"},
	{HEALTH_UNPROTECTED, is_not_protected, "its state is unknown", "this is a bug; report it"},

	/* All rows below are for a VM that is PROTECTED. */
	{HEALTH_OWNER_SILENT, both_are_silent,
	 "{owner} was not heard{owner-age}, {standby} not{standby-age}; is this gateway cut off?",
	 "nothing is promoted while both are silent"},
	{HEALTH_OWNER_SILENT, owner_is_silent,
	 "{owner} was not heard{owner-age}, so its guest is not known", "{promotes}"},
	{HEALTH_PAUSED, is_paused, "somebody else paused the guest on {owner}{owner-text}",
	 "it is replicated again once it runs"},
	{HEALTH_IN_DOUBT, is_in_doubt, "{owner} may have failed: {evidence}", "{promotes}"},
	{HEALTH_NO_STANDBY, standby_is_silent, "{standby} was not heard{standby-age}", "{policy}"},
	{HEALTH_NO_STANDBY, standby_is_not_ready,
	 "{standby} could not take over: its agent is {standby-state} in term {standby-term}"
	 "{standby-text}",
	 "its agent tries to get ready again by itself"},
	{HEALTH_NO_STANDBY, standby_takes_nothing, "{standby}: {fault}", "{policy}"},
	{HEALTH_NO_STANDBY, standby_lacks_epochs,
	 "{standby} lacks epochs that were committed", "a whole copy follows by itself"},
	{HEALTH_NO_FENCE, has_no_fence, "{fence}",
	 "correct it in the VM's file at this gateway, then `systemctl reload holdfast-gateway`"},
	{HEALTH_RAM, ram_failed, "{standby}'s copy of RAM could not be put right{ram-why}",
	 "nothing by itself: look at the memory of {standby}; `holdfastctl verify {vm}` compares "
	 "again, `unprotect {vm}` and `protect {vm}` copy all again"},
	{HEALTH_RAM, ram_differs,
	 "a page of {standby}'s copy of RAM differed, and not all pages were compared since",
	 "it is sent again, and the verification goes on"},
	{HEALTH_DISKS, verify_failed, "the verification of {standby}'s disks failed{verify-why}",
	 "nothing by itself: look at the storage of {standby}, then `holdfastctl unprotect {vm}` "
	 "and `protect {vm}` copy all again"},
	{HEALTH_DISKS, disks_differ,
	 "a block of {standby}'s disks differed, and not all blocks were compared since",
	 "it is sent again, and the verification goes on"},
	{HEALTH_DISKS, disks_are_apart, "the disks are not in step{owner-text}",
	 "they are copied again{progress}; output is held meanwhile"},
	{HEALTH_DISKS, disks_are_unknown,
	 "{owner} does not say whether the disks are in step and verified", UNSAID},
	{HEALTH_NOT_HELD, is_direct, "{owner} streams to {standby} without this gateway",
	 "it comes back to this gateway by itself"},
	{HEALTH_NOT_HELD, owner_is_not_protected,
	 "{owner}'s agent is {owner-state} in term {owner-term}{owner-text}",
	 "its agent gets there again by itself{owner-step}"},
	{HEALTH_NOT_HELD, holding_is_unknown, "{owner} does not say whether output is held",
	 UNSAID},
	{HEALTH_NOT_HELD, output_passes, "{owner} lets output leave before its commit",
	 "output is held from the next epoch on"},
	{HEALTH_BEHIND, standby_is_late,
	 "{standby} lets nothing be committed for {waits} ms, output is held: {fault}", "{policy}"},
	{HEALTH_BEHIND, is_unacknowledged,
	 "{standby} has not acknowledged an epoch for {unacknowledged} ms", "{policy}"},
	{HEALTH_BEHIND, was_never_committed,
	 "no epoch was committed since this gateway's start", "the next epoch is committed"},
	{HEALTH_BEHIND, commits_are_late, "no epoch was committed for {committed} ms",
	 "{owner} is judged by what it does next"},
	{HEALTH_NO_ROOM, room_is_unknown,
	 "{standby} does not say how much is free in its state_dir, and how much it may need",
	 UNSAID},
	{HEALTH_NO_ROOM, has_no_room,
	 "{standby} has {room-free} MiB free in its state_dir, a full copy may need {room-needed} "
	 "MiB",
	 "ordinary epochs are taken, a copy would be refused: free space, or enlarge that tmpfs"},
	{HEALTH_NO_WAY, has_no_way, "clients would not reach the guest on {standby}{standby-way}",
	 "a failover still happens if {owner} fails; look at the tap's bridge on {standby}"},
	{HEALTH_SAFE, always, "", "a failover loses nothing"},
};

/* ---- judging */

void health_judge(const struct health_view *view, struct health *ret_health)
{
	const struct row *row = rows;

	while (!row->applies(view))
		row++;
	ret_health->word = row->word;
	ret_health->since_ns = view->now_ns;
	health_expand(view, row->missing, ret_health->missing, sizeof(ret_health->missing));
	health_expand(view, row->next, ret_health->next, sizeof(ret_health->next));
}

void health_look(const struct health_watch *watch, const struct health_view *view,
		 struct health *ret_health)
{
	const struct health *shown = &watch->shown;
	bool is_settled = watch->clear_ns > 0 &&
			  view->now_ns - watch->clear_ns >= HEALTH_SETTLE_NS;

	health_judge(view, ret_health);
	if (watch->is_begun && ret_health->word == shown->word) {
		ret_health->since_ns = shown->since_ns;
	} else if (watch->is_begun && ret_health->word == HEALTH_SAFE && !is_settled) {
		*ret_health = *shown;
		(void)snprintf(ret_health->next, sizeof(ret_health->next),
			       "it is over; SAFE as soon as that has lasted for a second");
	}
}

/* Returns the judgement that the next event must report, or NULL if there is nothing to report. A
 * grave word that a limit has kept back comes first. */
static const struct health *to_tell(struct health_watch *watch)
{
	const struct health *now = &watch->shown;

	if (health_word_is_grave(now->word) && now->word != watch->told.word &&
	    (!watch->is_late || now->word <= watch->late.word)) {
		watch->late = *now;
		watch->is_late = true;
	}
	if (watch->is_late)
		return &watch->late;
	return now->word != watch->told.word ? now : NULL;
}

static bool may_tell(struct health_watch *watch, enum health_word word, uint64_t now_ns)
{
	if (health_word_is_grave(word) &&
	    rate_pass(&watch->grave_rate, TELL_NS, TELL_BURST, now_ns))
		return true;
	return rate_pass(&watch->rate, TELL_NS, TELL_BURST, now_ns);
}

/* Is the present word FAILED, because of a failure that no event has reported yet? */
static bool is_new_failure(const struct health_watch *watch, view_t *v)
{
	return watch->shown.word == HEALTH_FAILED && v->fsm->entered_ns != watch->failed_ns;
}

bool health_watch(struct health_watch *watch, const struct health_view *view,
		  enum health_word *ret_from)
{
	enum health_word before = watch->shown.word;
	const struct health *tell;
	struct health now;
	bool is_first = !watch->is_begun;

	health_judge(view, &now);
	if (now.word != HEALTH_SAFE)
		watch->clear_ns = 0;
	else if (watch->clear_ns == 0)
		watch->clear_ns = view->now_ns;
	health_look(watch, view, &now);
	if (!watch->is_begun)
		watch->told = now;
	else if (now.word != watch->shown.word)
		watch->n_changes++;
	watch->is_begun = true;
	watch->shown = now;
	if (is_new_failure(watch, view)) {
		watch->failed_ns = view->fsm->entered_ns;
		if (!is_first) {
			/* between two failures the VM was PROMOTING, perhaps too briefly for
			 * health_watch() to see it */
			*ret_from = before == HEALTH_FAILED ? HEALTH_PROMOTING : before;
			watch->told = now;
			watch->is_late &= watch->late.word != HEALTH_FAILED;
			return true;
		}
	}
	tell = to_tell(watch);
	if (!tell || !may_tell(watch, tell->word, view->now_ns))
		return false;
	*ret_from = watch->told.word;
	watch->told = *tell;
	watch->is_late = false;
	return true;
}
