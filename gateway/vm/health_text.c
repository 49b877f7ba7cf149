/* health_text.c - writes the texts of a judgement about a VM's health. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"
#include "vm/health_private.h"

#define MIB (UINT64_C(1) << 20)
#define LEFT_S_MAX (99 * UINT64_C(3600)) /* if more time is left, this value is shown */

static void say_age(view_t *v, uint8_t h, char *text, size_t size)
{
	if (v->reported_ns[h] == 0)
		(void)text_put(text, size, " yet");
	else
		(void)text_put(text, size, " for %" PRIu64 " ms",
			       age_ns(v, v->reported_ns[h]) / CLOCK_NS_PER_MS);
}

static void say_behind(const char *what, char *text, size_t size)
{
	(void)text_put(text, size, "%s%s", what && *what ? ": " : "", what ? what : "");
}

static void say_vm(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%s", v->fsm->config->name);
}

static void say_owner(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%s", vm_host_name(v->fsm, owner_of(v)));
}

static void say_standby(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%s", vm_host_name(v->fsm, standby_of(v)));
}

static void say_owner_age(view_t *v, char *text, size_t size)
{
	say_age(v, owner_of(v), text, size);
}

static void say_standby_age(view_t *v, char *text, size_t size)
{
	say_age(v, standby_of(v), text, size);
}

static void say_silent_host(view_t *v, char *text, size_t size)
{
	uint8_t h = is_silent(v, owner_of(v)) ? owner_of(v) : standby_of(v);
	char age[64];

	say_age(v, h, age, sizeof(age));
	(void)text_put(text, size, "%s was not heard%s", vm_host_name(v->fsm, h), age);
}

static void say_owner_text(view_t *v, char *text, size_t size)
{
	say_behind(v->text[owner_of(v)], text, size);
}

static void say_standby_text(view_t *v, char *text, size_t size)
{
	say_behind(v->text[standby_of(v)], text, size);
}

static void say_owner_step(view_t *v, char *text, size_t size)
{
	const char *step = owner(v)->work.step;

	(void)text_put(text, size, "%s%s", *step ? "; so far it " : "", step);
}

static void say_standby_step(view_t *v, char *text, size_t size)
{
	const char *step = standby(v)->work.step;

	(void)text_put(text, size, "%s%s", *step ? "; so far it " : "", step);
}

static void say_owner_way(view_t *v, char *text, size_t size)
{
	say_behind(vm_way_obstacle(v->fsm, owner_of(v)), text, size);
}

static void say_standby_way(view_t *v, char *text, size_t size)
{
	say_behind(vm_way_obstacle(v->fsm, standby_of(v)), text, size);
}

static void say_owner_state(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%s", wire_state_name(owner(v)->agent_state));
}

static void say_standby_state(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%s", wire_state_name(standby(v)->agent_state));
}

static void say_owner_term(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%" PRIu64, owner(v)->term);
}

static void say_standby_term(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%" PRIu64, standby(v)->term);
}

static void say_promoted(view_t *v, char *text, size_t size)
{
	(void)vm_promoted_describe(v->fsm, text, size);
}

static void say_evidence(view_t *v, char *text, size_t size)
{
	(void)detector_describe(&v->fsm->detector, text, size);
}

static void say_fault(view_t *v, char *text, size_t size)
{
	(void)vm_standby_fault(v->fsm, text, size);
}

static void say_waits(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%" PRIu64,
		       vm_standby_waits_ns(v->fsm, v->now_ns) / CLOCK_NS_PER_MS);
}

static void say_unacknowledged(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%" PRIu64, unacknowledged_ns(v) / CLOCK_NS_PER_MS);
}

static void say_committed(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%" PRIu64,
		       age_ns(v, v->fsm->protection.committed_ns) / CLOCK_NS_PER_MS);
}

static void say_journal(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%" PRIu64, v->journal_waits_ns / CLOCK_NS_PER_MS);
}

static void say_verify_why(view_t *v, char *text, size_t size)
{
	say_behind(owner_signs(v)->verify_why, text, size);
}

static void say_ram_why(view_t *v, char *text, size_t size)
{
	say_behind(owner_signs(v)->ram_why, text, size);
}

static void say_room_free(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%" PRIu64, standby_signs(v)->room_free_bytes / MIB);
}

static void say_room_needed(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%" PRIu64,
		       standby_signs(v)->room_needed_bytes / MIB);
}

/* Write how far the copy has come, such as " 42 %, 00:31 left". */
static void say_progress(view_t *v, char *text, size_t size)
{
	const struct health_signs *signs = owner_signs(v);
	uint64_t left_s = signs->left_s < LEFT_S_MAX ? signs->left_s : LEFT_S_MAX;
	int n = 0;

	if (size > 0)
		text[0] = '\0';
	if (signs->copy_percent <= 100)
		n = snprintf(text, size, " %u %%", signs->copy_percent);
	if (n <= 0 || (size_t)n >= size || !signs->knows_left)
		return;
	if (left_s < 3600)
		(void)text_put(text + n, size - (size_t)n, ", %02u:%02u left",
			       (unsigned int)left_s / 60, (unsigned int)left_s % 60);
	else
		(void)text_put(text + n, size - (size_t)n, ", %02u:%02u:%02u left",
			       (unsigned int)left_s / 3600, (unsigned int)left_s / 60 % 60,
			       (unsigned int)left_s % 60);
}

static void say_again(view_t *v, char *text, size_t size)
{
	(void)vm_again_describe(v->fsm, v->now_ns, text, size);
}

static void say_last_attempt(view_t *v, char *text, size_t size)
{
	const char *why = vm_again_last_failure(v->fsm, standby_of(v));

	(void)text_put(text, size, "%s%s", why ? "; the last attempt: " : "", why ? why : "");
}

static void say_cold(view_t *v, char *text, size_t size)
{
	(void)vm_cold_describe(v->fsm, text, size);
}

static void say_torn(view_t *v, char *text, size_t size)
{
	uint8_t h = standby_of(v);

	if (size > 0)
		text[0] = '\0';
	if (vm_cold_is_torn(v->fsm, h))
		(void)text_put(text, size, "; the disks on %s are an unfinished copy",
			       vm_host_name(v->fsm, h));
}

static void say_lost(view_t *v, char *text, size_t size)
{
	(void)vm_lost_advice(v->fsm, text, size);
}

/* Write what happens next if the owner has failed. */
static void say_promotes(view_t *v, char *text, size_t size)
{
	const struct vm_fsm *fsm = v->fsm;
	const char *why = vm_promotion_obstacle(fsm, 2 * fsm->config->liveness.beat_timeout_ns,
						v->now_ns);
	const char *name = vm_host_name(fsm, standby_of(v));

	if (why)
		(void)text_put(text, size, "%s is not promoted: %s", name, why);
	else
		(void)text_put(text, size, "%s is promoted once it is certain that %s has failed",
			       name, vm_host_name(fsm, owner_of(v)));
}

/* Write what happens next if nothing can be committed. */
static void say_policy(view_t *v, char *text, size_t size)
{
	const struct vm_config *config = v->fsm->config;
	unsigned int left_s =
		(unsigned int)(vm_standby_left_ns(v->fsm, v->now_ns) / CLOCK_NS_PER_S);

	if (vm_copy_is_last(v->fsm))
		(void)text_put(text, size,
			       "%s, so its copy is kept, and %s is promoted as soon as it can be",
			       v->fsm->host[owner_of(v)].verdict == WIRE_VERDICT_EXITED
				       ? "the owner's guest has ended"
				       : "the owner's agent has not found the guest yet",
			       vm_host_name(v->fsm, standby_of(v)));
	else if (config->standby_lost_hold)
		(void)text_put(text, size,
			       "standby_lost = hold: clients wait until it takes epochs again; "
			       "`holdfastctl unprotect %s` lets the guest go on without a copy",
			       config->name);
	else
		(void)text_put(text, size,
			       "standby_lost = unprotected: if nothing is committed, the guest "
			       "goes on without a copy, %02u:%02u left", left_s / 60, left_s % 60);
}

static void say_journal_error(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%s", strerror(v->journal_error));
}

static void say_fence(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%s", v->fence_fault);
}

static void say_unheard(view_t *v, char *text, size_t size)
{
	(void)text_put(text, size, "%s", vm_host_name(v->fsm, vm_lost_unheard(v->fsm)));
}

static const struct {
	const char *name;
	void (*say)(view_t *v, char *text, size_t size);
} parts[] = {
	{"vm", say_vm},
	{"owner", say_owner},
	{"standby", say_standby},
	{"owner-age", say_owner_age},
	{"standby-age", say_standby_age},
	{"silent-host", say_silent_host},
	{"owner-text", say_owner_text},
	{"standby-text", say_standby_text},
	{"owner-step", say_owner_step},
	{"standby-step", say_standby_step},
	{"owner-way", say_owner_way},
	{"standby-way", say_standby_way},
	{"owner-state", say_owner_state},
	{"standby-state", say_standby_state},
	{"owner-term", say_owner_term},
	{"standby-term", say_standby_term},
	{"promoted", say_promoted},
	{"evidence", say_evidence},
	{"fault", say_fault},
	{"waits", say_waits},
	{"unacknowledged", say_unacknowledged},
	{"committed", say_committed},
	{"journal", say_journal},
	{"verify-why", say_verify_why},
	{"ram-why", say_ram_why},
	{"room-free", say_room_free},
	{"room-needed", say_room_needed},
	{"progress", say_progress},
	{"again", say_again},
	{"last-attempt", say_last_attempt},
	{"cold", say_cold},
	{"torn", say_torn},
	{"lost", say_lost},
	{"journal-error", say_journal_error},
	{"fence", say_fence},
	{"unheard", say_unheard},
	{"promotes", say_promotes},
	{"policy", say_policy},
};

/* Returns the index in `parts` of the name that begins at @at and ends before a closing brace; -1:
 * there is none. */
static int find_part(const char *at)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t n = strlen(parts[i].name);

		if (strncmp(at, parts[i].name, n) == 0 && at[n] == '}')
			return (int)i;
	}
	return -1;
}

void health_expand(view_t *v, const char *template, char *text, size_t size)
{
	size_t n = 0;

	while (*template && n + 1 < size) {
		int i = *template == '{' ? find_part(template + 1) : -1;

		if (i < 0) {
			text[n++] = *template++;
			continue;
		}
		text[n] = '\0';
		parts[i].say(v, text + n, size - n);
		n += strlen(text + n);
		template += strlen(parts[i].name) + 2;
	}
	text[n] = '\0';
}
