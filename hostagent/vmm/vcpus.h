/* vcpus.h - how busy the guest's processors are.
 *
 * Why: a pause takes from the guest only what it would have run. The CPU time of QEMU's whole process
 * does not say that: its monitor thread reads our commands byte by byte (a third of all its CPU time at a
 * hundred epochs a second), and its main thread saves the device state. So the vCPU threads are asked,
 * each for itself: a guest of two with one busy is a busy guest.
 *
 * Source: `query-cpus-fast` for the threads, first field of /proc/PID/task/TID/schedstat (ns on a CPU;
 * exact while the thread does not run, else as of its last tick).
 * Where: the epoch engine. Threads: one at a time. vCPUs that come later are not seen.
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

/* Accepts NULL, returns NULL. */
struct vcpus *vcpus_close(struct vcpus *vcpus);

#endif
