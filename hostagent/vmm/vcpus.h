/* vcpus.h - measures how busy the guest's vCPUs are, and stops them from outside.
 *
 * Why: a pause costs an idle guest little, so we must know how busy the guest is. The CPU time of
 * QEMU's whole process does not show this. It includes the main thread, which saves the device
 * state, and the monitor thread, which reads our commands. At a hundred epochs a second, the
 * monitor thread uses a third of the CPU time. So we measure each vCPU thread by itself. If any
 * vCPU is busy, the guest is busy.
 *
 * Source: `query-cpus-fast` names the threads. The first field of /proc/PID/task/TID/schedstat is a
 * thread's time on a CPU in ns. For a thread that does not run the field is exact. For a running
 * thread it shows the time at the last timer tick.
 *
 * Stopping: if a guest writes faster than the link can carry, the engine slows the guest down
 * (epoch/throttle.h). QEMU can do this only during a migration, and `stop` would stop the guest's
 * clock too. So we stop the vCPU threads with ptrace (SEIZE, INTERRUPT) and resume them (DETACH).
 * We neither read nor change anything in these threads. To the guest this looks like a busy host.
 * If the tracing thread ends, the kernel resumes the vCPUs. While a stopped vCPU thread has QEMU's
 * big lock, QEMU's monitor does not answer. So resume all vCPUs before you send QEMU a command.
 * docs/decisions/0020-throttle.md lists the alternatives.
 *
 *	RUNS ──vcpus_stop──► ASKED ──(kernel, 10 microseconds later)──► STOPPED
 *	 ▲                     └─ -EAGAIN ─┐                                │
 *	 └─────────────vcpus_resume────────┴────────────────────────────────┘
 *
 * Where: the epoch engine. Threads: one at a time. Stop and resume from the same thread, because a
 * trace belongs to a thread. vCPUs that are added after vcpus_open() are neither measured nor
 * stopped.
 */
#ifndef VMM_VCPUS_H
#define VMM_VCPUS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

struct vcpus;

/* Find QEMU's vCPU threads. Returns 0 (the caller closes *ret);
 * -EPROTO: we do not understand QEMU's answer;
 * or an error of qmp_execute(), or of open() on a thread's file.
 * On error *ret_error has the text. */
int vcpus_open(struct qmp *q, pid_t pid, struct vcpus **ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns the CPU time that the busiest vCPU has used since the last call (at the first call: since
 * vcpus_open()). Returns 0 if the threads are gone, and UINT64_MAX (unknown) if @vcpus is NULL. */
uint64_t vcpus_busy_ns(struct vcpus *vcpus);

/* Ask all vCPUs to stop. They stop some microseconds after this returns. Never blocks. Returns 0,
 * also if some vCPUs have ended or are stopped already;
 * -EPERM: a debugger traces a vCPU, or we have no right to trace;
 * other -errno.
 * After an error some vCPUs can be stopped: call vcpus_resume(). */
int vcpus_stop(struct vcpus *vcpus) __attribute__((warn_unused_result));

/* Resume all vCPUs. Never blocks. Returns 0 if all vCPUs run or have ended. Returns -EAGAIN if a
 * vCPU still waits in the kernel: it was asked to stop, and will stop later. Call this again
 * soon. */
int vcpus_resume(struct vcpus *vcpus) __attribute__((warn_unused_result));

/* Free @vcpus. Call this only while no vCPU is stopped by vcpus_stop(). Accepts NULL, returns
 * NULL. */
struct vcpus *vcpus_close(struct vcpus *vcpus);

#endif
