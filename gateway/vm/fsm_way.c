/* fsm_way.c - handles what each host reports about the path between the guest and its clients.
 *
 * If clients cannot reach the standby's tap, they could not reach the guest after a failover. If
 * held frames cannot leave the primary, the guest serves nobody. Each host says in its REPORT what
 * blocks the path on that host (key `way`; no key: the path is free). What follows if the path is
 * blocked:
 *
 *       state       blocked at     what follows
 *       PREPARING   the standby    The standby does not count as ready. PROTECT waits for at most
 *                                  twice order_timeout.
 *       SYNCING     the owner      Nothing is committed. After standby_timeout protection ends.
 *                                  Clients can then reach the guest, unprotected.
 *       PROTECTED   the owner      The VM becomes SYNCING. If the guest ends or its host falls
 *                                  silent after that, the VM becomes PROTECTED again. The standby
 *                                  can then be promoted, because it has all committed epochs.
 *       PROTECTED   the standby    Only an event is given. If the primary fails, the standby is
 *                                  promoted although its path is blocked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"

static bool is_owner(const struct vm_step *s)
{
	return s->in->host == s->fsm->record.owner;
}

static void way_lost(struct vm_step *s, const struct vm_host *host)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, s->in->host);

	if (is_owner(s) && fsm->record.state == VM_PROTECTED)
		vm_set_state(s, VM_SYNCING, fsm->record.owner, false, "%s: %s", name,
			     host->way_text);
	else
		vm_event(s, "way", "%s: %s", name, host->way_text);
}

static void way_found(struct vm_step *s)
{
	vm_event(s, "way", "%s: nothing keeps clients from the guest any more",
		 vm_host_name(s->fsm, s->in->host));
	/* Now commit the epochs that became complete while the path was blocked. */
	if (is_owner(s) && s->fsm->record.state == VM_SYNCING &&
	    s->fsm->stream[VM_STREAM_STANDBY].up)
		vm_epoch_complete(s, s->fsm->protection.complete);
}

void vm_on_way(struct vm_step *s, struct vm_host *host)
{
	struct vm_fsm *fsm = s->fsm;
	const char *word = s->in->way ? s->in->way : "";
	const char *text = s->in->text && s->in->text[0] ? s->in->text : word;
	bool was = host->way[0], is = word[0];
	bool in_use = fsm->record.state == VM_PREPARING || fsm->record.state == VM_SYNCING ||
		      fsm->record.state == VM_PROTECTED;

	if (in_use && s->in->n_mended > host->n_mended)
		vm_event(s, "way",
			 "%s: the device by which held frames leave was taken away or broken, and "
			 "made anew",
			 vm_host_name(fsm, s->in->host));
	host->n_mended = s->in->n_mended;
	(void)text_put(host->way, sizeof(host->way), "%s", word);
	(void)text_put(host->way_text, sizeof(host->way_text), "%s", is ? text : "");
	if (was == is && !(is && is_owner(s) && fsm->record.state == VM_PROTECTED &&
			   s->in->verdict == WIRE_VERDICT_NONE))
		return;
	host->way_lost_ns = s->now_ns;
	if (in_use && is)
		way_lost(s, host);
	else if (in_use)
		way_found(s);
}

const char *vm_way_obstacle(const struct vm_fsm *fsm, uint8_t host)
{
	return fsm->host[host].way[0] ? fsm->host[host].way_text : NULL;
}

bool vm_way_is_no_matter(struct vm_step *s, const char *why)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_protection *p = &fsm->protection;

	if (fsm->record.state != VM_SYNCING || !fsm->host[fsm->record.owner].way[0] ||
	    !p->held_from || p->committed < p->held_from || p->complete < p->committed)
		return false;
	vm_set_state(s, VM_PROTECTED, fsm->record.owner, false,
		     "%s %s, and %s holds all that was committed",
		     vm_host_name(fsm, fsm->record.owner), why,
		     vm_host_name(fsm, vm_fsm_other(fsm)));
	return true;
}

void vm_judge_way(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	char reason[VM_TEXT_MAX];

	if (liveness_judge(&owner->live, &fsm->config->liveness, s->now_ns) != LIVENESS_ALIVE &&
	    vm_way_is_no_matter(s, "is silent"))
		return;
	if (!owner->way[0] || s->now_ns - owner->way_lost_ns < fsm->config->standby_timeout_ns)
		return;
	(void)text_put(reason, sizeof(reason), "%s: %s, for %" PRIu64 " ms",
		       vm_host_name(fsm, fsm->record.owner), TEXT_SHORT(200, owner->way_text),
		       (s->now_ns - owner->way_lost_ns) / CLOCK_NS_PER_MS);
	vm_end_protection(s, reason);
	vm_finish_op(s, false, "no-way", "%s", reason);
}
