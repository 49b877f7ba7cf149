/* fsm_promoted.c - finds out whether a promoted guest serves its clients. When a host has carried
 * out PROMOTE, its guest runs, but perhaps the guest does not work.
 *
 * Nothing here gives orders or undoes the promotion. The result goes to the operator who waits for
 * `failover`, into an event, and into `vm show`.
 *
 *	                     a sign that the guest serves
 *       ORDER_DONE ──► WATCHED ───────────────────────────────────────────────────────────► SERVES
 *	                   │                                                                    ▲
 *	                   │ no sign within answer_within                                       │
 *	                   └──► SILENT: an alarm; probed one second in five ── a sign comes ────┘
 *
 * If the gateway can send probes to the guest, the only sign is an answer to a probe. An answer
 * shows that guest, host and network work. Every guest with an IPv4 address answers ARP.
 *
 * If the gateway cannot send probes, the sign is something that the host reports:
 * - A frame from the guest shows that the guest's network driver works. The host counts frames at
 *   the tap, without QEMU's own announcements.
 * - A vCPU's CPU time is a weak sign, because a guest that loops in a fault uses CPU time too. So
 *   CPU time counts only after answer_within has expired.
 * - If the host can report neither, its report that the guest runs counts at once. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"

/* In SILENT, probe for one second in every ASK_EVERY_S seconds. */
#define ASK_EVERY_S 5
/* A guest that was started from its disks has this much more time to answer, because it boots. */
#define BOOT_NS (120 * CLOCK_NS_PER_S)

static struct vm_promoted *watch_of(struct vm_fsm *fsm)
{
	return &fsm->protection.promoted;
}

void vm_promoted_report(struct vm_step *s)
{
	const struct vm_guest_report *said = &s->in->guest;

	if (!said->is_valid || said->term != s->fsm->record.term)
		return;
	watch_of(s->fsm)->said = *said;
	/* If this gateway does not watch the guest yet, the guest was promoted before this gateway
	 * started. The gateway does not know whether the guest serves, so begin to watch it. */
	if (s->fsm->record.state == VM_UNPROTECTED && watch_of(s->fsm)->state == VM_PROMOTED_NONE)
		vm_promoted_begin(s);
}

/* Write to @text (@size bytes) a human-readable description of what was seen of the guest. Returns
 * @text. */
static const char *describe(const struct vm_fsm *fsm, char *text, size_t size)
{
	const struct vm_promoted *w = &fsm->protection.promoted;
	const struct vm_guest_report *said = &w->said;
	int n = 0;

	text[0] = '\0';
	if (w->n_asked > 0)
		n = snprintf(text, size, "%" PRIu64 " of %" PRIu64 " probes answered",
			     w->n_answered, w->n_asked);
	else
		n = snprintf(text, size, "no address of it is probed");
	if (!said->is_valid)
		(void)text_put(text + n, size - (size_t)n, ", %s says nothing of it",
			       vm_host_name(fsm, fsm->record.owner));
	else
		(void)text_put(text + n, size - (size_t)n,
			       ", %s%" PRIu64 " frames from it, %" PRIu64
			       " ms of CPU time, QEMU says %s",
			       said->knows_frames ? "" : "its tap is not known, ", said->frames,
			       said->vcpu_us / 1000, said->was_running ? "running" : "not running");
	return text;
}

const char *vm_promoted_describe(const struct vm_fsm *fsm, char *text, size_t size)
{
	return describe(fsm, text, size);
}

/* Note that the guest serves. @how is the sign that shows it, such as "it answered ARP". */
static void serves(struct vm_step *s, const char *how)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_promoted *w = watch_of(fsm);
	uint64_t after_ms = (s->now_ns - w->since_ns) / CLOCK_NS_PER_MS;
	const char *name = vm_host_name(fsm, fsm->record.owner);

	if (w->state == VM_PROMOTED_SILENT || fsm->op.command != VM_COMMAND_FAILOVER)
		vm_event(s, "promotion", "%s on %s serves: %s %" PRIu64 " ms after the promotion",
			 fsm->config->name, name, how, after_ms);
	w->state = VM_PROMOTED_SERVES;
	if (fsm->op.command == VM_COMMAND_MOVE)
		vm_move_reply(s, true, how);
	if (fsm->op.command == VM_COMMAND_FAILOVER)
		vm_finish_op(s, true, "done",
			     "%s runs %s in term %" PRIu64 ", %s %" PRIu64 " ms after", name,
			     fsm->config->name, fsm->record.term, how, after_ms);
}

static void is_silent(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_promoted *w = watch_of(fsm);
	const char *name = vm_host_name(fsm, fsm->record.owner);
	char seen[VM_TEXT_MAX], text[VM_TEXT_MAX];

	w->state = VM_PROMOTED_SILENT;
	(void)text_put(text, sizeof(text),
		       "%s was promoted in term %" PRIu64 ", but for %" PRIu64
		       " ms nothing shows that %s serves: %s; look at its console",
		       name, fsm->record.term, (s->now_ns - w->since_ns) / CLOCK_NS_PER_MS,
		       fsm->config->name, TEXT_SHORT(120, describe(fsm, seen, sizeof(seen))));
	vm_event(s, "promotion", "alarm: %s", TEXT_SHORT(300, text));
	if (fsm->op.command == VM_COMMAND_MOVE)
		vm_move_reply(s, false, text);
	if (fsm->op.command == VM_COMMAND_FAILOVER)
		vm_finish_op(s, false, "no-answer", "%s", text);
}

void vm_promoted_begin(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_promoted *w = watch_of(fsm);

	w->state = VM_PROMOTED_WATCHED;
	w->since_ns = s->now_ns;
	w->n_asked = w->n_answered = 0;
	w->has_base = w->is_boot = false;
}

/* Take from the tick's evidence how many probes were sent to the guest and how many it answered. */
static void count(struct vm_step *s)
{
	struct vm_promoted *w = watch_of(s->fsm);
	const struct detector_evidence *e = s->in->evidence;

	if (!e)
		return;
	if (!w->has_base) {
		w->base = e->guest;
		w->has_base = true;
	}
	w->n_asked = e->guest.sent - w->base.sent;
	w->n_answered = e->guest.answered - w->base.answered;
}

void vm_promoted_tick(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_promoted *w = watch_of(fsm);
	const struct vm_guest_report *said = &w->said;
	bool late;

	if (w->state != VM_PROMOTED_WATCHED && w->state != VM_PROMOTED_SILENT)
		return;
	count(s);
	late = w->state == VM_PROMOTED_SILENT ||
	       s->now_ns - w->since_ns >=
		       fsm->config->answer_within_ns + (w->is_boot ? BOOT_NS : 0);
	if (w->n_answered > 0)
		serves(s, s->in->guest_answers ? s->in->guest_answers : "it answered");
	else if (!s->in->asks_guest && said->is_valid && said->frames > 0)
		serves(s, "it sent frames");
	else if (!s->in->asks_guest && !said->is_valid)
		serves(s,
		       "nobody can see whether it serves (no guest_address is set): its host said "
		       "that it runs");
	else if (!s->in->asks_guest && late && said->was_running && said->vcpu_us > 0)
		serves(s,
		       "its vCPUs run; more cannot be seen without guest_address and guest_mac:");
	else if (w->state == VM_PROMOTED_WATCHED && late)
		is_silent(s);
}

bool vm_promoted_asks(const struct vm_fsm *fsm, uint64_t now_ns)
{
	const struct vm_promoted *w = &fsm->protection.promoted;

	if (fsm->record.state != VM_UNPROTECTED)
		return false;
	return w->state == VM_PROMOTED_WATCHED ||
	       (w->state == VM_PROMOTED_SILENT &&
		(now_ns - w->since_ns) / CLOCK_NS_PER_S % ASK_EVERY_S == 0);
}
