/* vcpus.h - measures how busy the guest's vCPUs are, and stops them from outside.
 *
 * Why: a pause costs an idle guest little, so we need to know how busy the guest is. The CPU time
 * of QEMU's whole process does not show that: its main thread saves the device state, and its
 * monitor thread reads our commands byte by byte. At a hundred epochs a second, the monitor thread
 * uses a third of the CPU time. So we measure each vCPU thread by itself. A guest is busy if any of
 * its vCPUs is busy.
 *
 * Source: `query-cpus-fast` names the threads. The first field of /proc/PID/task/TID/schedstat is a
 * thread's time on a CPU in ns. It is exact while the thread does not run, otherwise as of the last
 * timer tick.
 *
 * Stopping: the engine slows down a guest that writes faster than the link can carry
 * (epoch/throttle.h). QEMU can do this only during a migration, and `stop` would stop the guest's
 * clock too. So we stop the vCPU threads with ptrace (SEIZE, INTERRUPT) and resume them (DETACH).
 * We neither read nor change anything in these threads, and to the guest this looks like a busy
 * host. If the tracing thread ends, the kernel resumes the vCPUs. While a stopped vCPU thread holds
 * QEMU's big lock, QEMU's monitor does not answer. So resume all vCPUs before you send QEMU a
 * command. docs/decisions/0020-throttle.md lists the alternatives.
 *
 *	RUNS ──vcpus_stop──► ASKED ──(kernel, 10 microseconds later)──► STOPPED
 *	 ▲                     └─ -EAGAIN ─┐                                │
 *	 └─────────────vcpus_resume────────┴────────────────────────────────┘
 *
 * Where: the epoch engine. Threads: one at a time; stop and resume from the same thread, since a
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

/* Find QEMU's vCPU threads. Returns 0 (the caller closes *ret); -EPROTO if QEMU answered something
 * we do not understand; or an error of qmp_execute(), or of open() on a thread's file. *ret_error
 * has the text. */
int vcpus_open(struct qmp *q, pid_t pid, struct vcpus **ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns the CPU time that the busiest vCPU has used since the last call (at the first call: since
 * vcpus_open()). Returns 0 if the threads are gone, and UINT64_MAX (unknown) if @vcpus is NULL. */
uint64_t vcpus_busy_ns(struct vcpus *vcpus);

/* Ask all vCPUs to stop; they do so some microseconds after this returns. Never blocks. Returns 0,
 * also if some vCPUs have ended or are stopped already; -EPERM if a debugger traces one of them or
 * we have no right to trace; or another -errno. After an error some vCPUs may be stopped: call
 * vcpus_resume(). */
int vcpus_stop(struct vcpus *vcpus) __attribute__((warn_unused_result));

/* Resume all vCPUs. Never blocks. Returns 0 if all vCPUs run or have ended. Returns -EAGAIN if a
 * vCPU still waits in the kernel and has not stopped as asked. It will stop later, so call this
 * again soon. */
int vcpus_resume(struct vcpus *vcpus) __attribute__((warn_unused_result));

/* Free @vcpus. Call this only while no vCPU is stopped by vcpus_stop(). Accepts NULL, returns
 * NULL. */
struct vcpus *vcpus_close(struct vcpus *vcpus);

#endif
