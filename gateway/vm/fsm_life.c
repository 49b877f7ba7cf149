/* fsm_life.c - initialises a state machine. Also changes it outside of steps: leases, signs of
 * life, undoing a step. */
#include <string.h>

#include "base/clock.h"
#include "vm/fsm_private.h"

/* Intervals between ticks. TICK_PROTECTED_NS applies in PROTECTED. TICK_DOUBT_NS applies while the
 * detector is in doubt or a promotion is under way. TICK_NS applies at all other times. */
#define TICK_NS		  (50 * CLOCK_NS_PER_MS)
#define TICK_PROTECTED_NS (20 * CLOCK_NS_PER_MS)
#define TICK_DOUBT_NS	  (5 * CLOCK_NS_PER_MS)

/* Margin after the end of a lease. It covers clock drift, and frames that an agent releases just
 * after it has checked its lease. */
#define MUTE_MARGIN_NS (20 * CLOCK_NS_PER_MS)

void vm_fsm_init(struct vm_fsm *fsm, const struct vm_config *config, const struct vm_record *record,
		 uint64_t first_order_id, uint64_t now_ns)
{
	memset(fsm, 0, sizeof(*fsm));
	fsm->config = config;
	fsm->record = *record;
	fsm->next_order_id = first_order_id;
	fsm->entered_ns = fsm->stepped_ns = fsm->ticked_ns = fsm->protection.progress_ns = now_ns;
	/* The gateway does not know which epoch its previous run committed. So allow a promotion
	 * from any complete epoch. */
	fsm->promote_epoch = 1;
	for (int h = 0; h < VM_HOSTS; h++) {
		liveness_init(&fsm->host[h].live, &config->liveness, now_ns);
		fsm->host[h].fit_ns = now_ns;
	}
	for (int i = 0; i < VM_STREAMS; i++)
		fsm->stream[i].changed_ns = now_ns;
	vm_standby_begin(fsm, now_ns);
	/* the gateway's previous run may have granted a lease just before it ended */
	vm_fsm_granted(fsm, now_ns);
	/* The fence command may have run before the gateway's restart. Running it twice is
	 * allowed. */
	if (record->state == VM_PROMOTING && config->has_fence_command)
		fsm->fencing = VM_FENCING_UNSURE;
	/* The gateway's previous run may have ordered either host to run the guest. */
	for (int h = 0; h < VM_HOSTS; h++)
		fsm->may_run[h] = record->state == VM_PROMOTING || record->state == VM_FAILED;
	detector_init(&fsm->detector, false, now_ns);
	fsm->shadow_host = record->owner;
	vm_again_init(fsm, now_ns);
}

void vm_fsm_mute_after(struct vm_fsm *fsm, uint64_t now_ns, uint64_t release_ns)
{
	if (now_ns + release_ns + MUTE_MARGIN_NS > fsm->mute_ns)
		fsm->mute_ns = now_ns + release_ns + MUTE_MARGIN_NS;
}

void vm_fsm_granted(struct vm_fsm *fsm, uint64_t now_ns)
{
	/* Counting from now is safe: the owner counts its lease from the time when it sent the
	 * beat, so its lease ends earlier. */
	if (fsm->config->release_ns)
		vm_fsm_mute_after(fsm, now_ns, fsm->config->release_ns);
}

void vm_fsm_seen(struct vm_fsm *fsm, uint8_t host, uint64_t now_ns)
{
	liveness_seen(&fsm->host[host].live, &fsm->config->liveness, now_ns);
}

void vm_fsm_put_back(struct vm_fsm *fsm, const struct vm_fsm *before, uint64_t now_ns)
{
	struct detector judged = fsm->detector;

	*fsm = *before;
	/* Keep what the detector knows about the owner, which is still true. Otherwise each tick
	 * would give the detector's event again. */
	if (before->record.state == VM_PROTECTED)
		fsm->detector = judged;
	fsm->stepped_ns = fsm->ticked_ns = now_ns;
}

uint64_t vm_fsm_deadline_ns(const struct vm_fsm *fsm)
{
	uint64_t tick_ns = TICK_NS;

	if (fsm->record.state == VM_PROTECTED)
		tick_ns = detector_asks(&fsm->detector) ? TICK_DOUBT_NS : TICK_PROTECTED_NS;
	if (fsm->record.state == VM_PROMOTING ||
	    fsm->protection.promoted.state == VM_PROMOTED_WATCHED)
		tick_ns = TICK_DOUBT_NS;
	return fsm->ticked_ns + tick_ns;
}
