/* drill_guest.h - looks whether the guest of a drill runs.
 *
 * Why: QEMU answers `cont` also if the guest stops a moment later, because it panics, its disk
 * fails, or its CPU meets an instruction that this host does not have. A vCPU has used some CPU
 * time then, so that alone proves little.
 *
 * Where: drill.c, after the start of the guest, and again at the drill's end. Threads: the
 * drill's. */
#ifndef STANDBY_DRILL_GUEST_H
#define STANDBY_DRILL_GUEST_H

#include <stdint.h>

#include "base/error.h"
#include "standby/qemu.h"
#include "vmm/vcpus.h"

/* Does the guest run? Wait until a vCPU has used CPU time after this call began, at most for
 * @timeout_ns, and ask QEMU before and after. @vcpus are those of @q. Nobody may be connected to
 * the monitor; the connection is closed again. Returns 0;
 * -EIO: QEMU has ended, or says that the guest does not run;
 * -ETIMEDOUT: no vCPU has used CPU time;
 * -ECANCELED: *q->cancel became true;
 * or an error of qmp_open() or qmp_execute().
 * On error except -ECANCELED *ret_error says why. */
int drill_guest_runs(struct qemu *q, struct vcpus *vcpus, uint64_t timeout_ns,
		     struct error *ret_error) __attribute__((warn_unused_result));

#endif
