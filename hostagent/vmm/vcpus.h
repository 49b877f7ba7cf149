/* vcpus.h - how busy the guest's processors are, and letting them stand still from outside.
 *
 * Why: a pause takes from the guest only what it would have run. The CPU time of QEMU's whole process
 * does not say that: its monitor thread reads our commands byte by byte (a third of all its CPU time at a
 * hundred epochs a second), and its main thread saves the device state. So the vCPU threads are asked,
 * each for itself: a guest of two with one busy is a busy guest.
 *
 * Source: `query-cpus-fast` for the threads, first field of /proc/PID/task/TID/schedstat (ns on a CPU;
 * exact while the thread does not run, else as of its last tick).
 *
 * Standing still: a guest that writes faster than the link carries is slowed down (epoch/throttle.h). QEMU
 * has no order for that outside of a migration; `stop` would stop the guest's clock too. So its vCPU
 * threads are stopped by ptrace (SEIZE, INTERRUPT) and let go (DETACH); nothing in them is read or changed.
 * To the guest that is a busy host. If the tracing thread ends the kernel lets them go on. One may be
 * stopped while it holds QEMU's big lock, so QEMU's monitor may not answer meanwhile: let all go on before
 * QEMU is asked for anything. docs/decisions/0020-throttle.md has what else there was.
 *
 *	RUNS ──vcpus_stop──► ASKED ──(kernel, some 10 us later)──► STOPPED
 *	 ▲                     └─ -EAGAIN ─┐                           │
 *	 └─────────────vcpus_resume────────┴───────────────────────────┘
 *
 * Where: the epoch engine. Threads: one at a time; stop, resume and what is between them by the same one,
 * since a trace belongs to a thread. vCPUs that come later are not seen.
 */
#ifndef VMM_VCPUS_H
#define VMM_VCPUS_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/page_range.h"
#include "vmm/qmp.h"

struct vcpus;

/* 0, *ret to be closed by the caller; -EPROTO: QEMU answered something we do not understand; errors of
 * qmp_execute(), and of open() on a thread's file. *ret_error has the text. */
int vcpus_open(struct qmp *q, pid_t pid, struct vcpus **ret, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));

/* The CPU time that the busiest vCPU has taken since the last call (since vcpus_open() the first time).
 * 0 when the threads are gone. NULL: UINT64_MAX, for it is not known. */
uint64_t vcpus_busy_ns(struct vcpus *vcpus);

/* Let all stand still, from some microseconds after this returns. Never blocks. 0, also when some have
 * ended or stand still already; -EPERM: a debugger holds one, or we may not trace; other -errno. On
 * error some may stand still: vcpus_resume(). */
int vcpus_stop(struct vcpus *vcpus) __attribute__((warn_unused_result));

/* Let all go on. Never blocks. 0: they do, or have ended; -EAGAIN: one has not come to its stop yet (it
 * waits in the kernel) and will stop there, so call again soon. */
int vcpus_resume(struct vcpus *vcpus) __attribute__((warn_unused_result));

/* Accepts NULL, returns NULL. None may stand still. */
struct vcpus *vcpus_close(struct vcpus *vcpus);

#endif
