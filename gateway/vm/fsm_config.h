/* fsm_config.h - the configuration of a VM's state machine, and the indices of the VM's hosts.
 *
 * It comes from the VM's file, and is apart from the machine (fsm.h) because the machine changes
 * none of it.
 *
 * Where: fsm.h includes this. vms.c and reloading.c fill struct vm_config in.
 *
 * Threads: the gateway's loop only.
 */
#ifndef VM_FSM_CONFIG_H
#define VM_FSM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "liveness/detector.h"
#include "liveness/liveness.h"
#include "wire/limits.h"

/* The indices of a VM's hosts. They follow from the VM's file, so a host keeps its index when the
 * roles change. Two hosts have a seat: the owner and the standby. If there is a third host, it has
 * no seat: it is the present spare. */
enum vm_host_index {
	VM_HOST_FIRST  = 0, /* `primary` in the VM's file */
	VM_HOST_SECOND = 1, /* `standby` in the VM's file */
	/* `spare` in the VM's file; if the file names no spare, the host's name is "" */
	VM_HOST_THIRD  = 2,
};

#define VM_HOSTS 3 /* the length of an array indexed by enum vm_host_index */

/* Configuration of one VM. It changes only when the VM's file is read again (reloading.h). Arrays
 * of hosts are indexed by enum vm_host_index. */
struct vm_config {
	char name[WIRE_NAME_MAX + 1];
	char host[VM_HOSTS][WIRE_NAME_MAX + 1];
	struct detector_config detector; /* limits for judging the primary */
	struct liveness_config liveness; /* limits for judging the standby's
					  * host, and for the shadow */
	/* The shadow is a detector that knows only beats. After a silence of this length the shadow
	 * reports that it would promote; 0: no shadow */
	uint64_t shadow_timeout_ns;
	uint64_t release_ns;	     /* how long after a LEASE the owner may
				      * release output; 0: give no leases */
	/* a standby that blocks commits for this long counts as lost, and the policy standby_lost
	 * applies */
	uint64_t standby_timeout_ns;
	/* how long the owner may hold output for a copy of the disks; then the policy standby_lost
	 * applies. See fsm_copy.c */
	uint64_t held_copy_max_ns;
	/* how long a promoted guest may take to answer before an alarm is given */
	uint64_t answer_within_ns;
	/* time limit for the owner to let go of the guest in a move; after that, the move is given
	 * up */
	uint64_t move_timeout_ns;
	uint64_t order_timeout_ns;   /* how long an order can go without progress before it fails */
	/* how long the host that is to keep the copy must have been unable to do so, before the
	 * spare takes its seat */
	uint64_t spare_after_ns;
	/* true: run the fence command before a promotion whose reason is the owner's silence */
	bool has_fence_command;
	/* true: if the fence command fails, do not promote; the operator decides */
	bool fence_required;
	/* The policy standby_lost. true: hold output until the standby is back. false: continue
	 * unprotected in a new term */
	bool standby_lost_hold;
	/* The policy reprotect. true: the gateway itself protects the guest again after a failover,
	 * or after a fault has ended the protection. false: an operator must ask */
	bool reprotect_auto;
	/* The policy cold_start. true: when the guest runs nowhere after a power failure, the
	 * gateway itself starts it from the newest disks. false: an operator must ask */
	bool cold_start_newest;
};

#endif
