/* vm_end_private.h - ends the QEMU of a guest that was fenced here and is kept stopped, so that
 * this host can be the standby.
 * Why: after a failover the old owner's QEMU still occupies the guest's tap, images and RAM.
 * Without this module, an operator would have to end that QEMU by hand before the VM has two hosts
 * again. But a guest that was ended is gone for good, so this host decides as little as possible.
 * It ends a QEMU only for an order STANDBY_START whose term is newer than that of the fence. The
 * gateway gives this order only after the new owner has reported that it has the guest, or when an
 * operator orders `protect`.
 *
 *	fenced, guest stopped ──► STANDBY_START of a newer term
 *	    │ the guest was moved away         as in the last row, under any policy
 *	    │ `fenced_guest` = keep            refused as long as the QEMU exists
 *	    │ the guest runs, or has run since refused: an intruder; it is stopped
 *	    │ not the QEMU that was fenced     refused: an intruder (vm_fenced_private.h)
 *	    │ `fenced_guest_keep_s` not over   refused: kept so that somebody can look at it
 *	    └ otherwise                        send `quit`, wait for QEMU's end, stand by
 *
 * `fenced_guest_keep_s` counts wall time since NAME.role in role_dir was written. So a restart of
 * the agent does not prolong this time. If this host's clock is set back, the guest is kept for
 * longer. If the role is recorded again in a newer term, the time begins again.
 *
 * FENCE itself ends a guest that was promoted here (standby_fence()), whatever the policy is. In
 * one case such a guest still exists later: if this host could not stand by when it was fenced, its
 * agent only stopped the guest. Then the rules above apply to this guest too. If they allow its
 * end, standby_fence() ends it.
 *
 * Threads: the VM's worker.
 */
#ifndef VM_END_PRIVATE_H
#define VM_END_PRIVATE_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

#define VM_END_TIMEOUT_NS (20 * CLOCK_NS_PER_S) /* a large guest's memory takes seconds to free */

struct vm;

/* Called for STANDBY_START of @term, before this host's role changes. If the role is FENCED and the
 * guest that was fenced here is still there, end this guest: under the policy `end` if the rules
 * above allow it, or under any policy if it was moved away. Waits up to @timeout_ns for the
 * process's end; QEMU's monitor can block this call for 25 s more.
 * Returns 0 if there is nothing to end, or it has ended, or the policy is `keep`;
 * -EBUSY: the guest is kept (see above), or its monitor does not answer;
 * -ETIMEDOUT: QEMU took `quit` and has not ended, or the guest could not be stopped;
 * other errors of the monitor.
 * On error *ret_error says why, and what the operator can do. */
int vm_end_fenced(struct vm *vm, uint64_t term, uint64_t timeout_ns, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
