/* drill_guest.h - checks whether the guest of a drill runs.
 *
 * Why: QEMU's answer to `cont` proves little. The guest can stop a moment later: it can panic, its
 * disk can fail, or its CPU can meet an instruction that this host lacks. That a vCPU has used some
 * CPU time proves little too: a guest that stops so early has also used some.
 *
 * Where: drill.c, after the start of the guest, and again at the drill's end. Threads: the
 * drill's. */
#ifndef STANDBY_DRILL_GUEST_H
#define STANDBY_DRILL_GUEST_H

#include <stdint.h>

#include "base/error.h"
#include "standby/qemu.h"
#include "vmm/vcpus.h"

/* Check whether the guest runs: ask QEMU, wait for up to @timeout_ns until a vCPU has used CPU time
 * since then, and ask QEMU again. @vcpus are those of @q. No other client may use the monitor,
 * which this function opens and closes. Returns 0 if the guest runs;
 * -EIO: QEMU has ended, or says that the guest does not run;
 * -ETIMEDOUT: no vCPU has used CPU time;
 * -ECANCELED: *q->cancel became true;
 * other -errno: an error of qmp_open() or qmp_execute().
 * On error except -ECANCELED *ret_error says why. */
int drill_guest_runs(struct qemu *q, struct vcpus *vcpus, uint64_t timeout_ns,
		     struct error *ret_error) __attribute__((warn_unused_result));

#endif
