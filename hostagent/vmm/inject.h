/* inject.h - creates a userfaultfd inside another process and gets a copy of the descriptor.
 *
 * Why: only a process itself can make a userfaultfd for its memory, and we do not change QEMU. So
 * we stop one of QEMU's threads with ptrace, make it run one userfaultfd(2), and resume it. This
 * takes well under a millisecond. pidfd_getfd(2) copies the descriptor to us.
 *
 *	SEIZE ─ INTERRUPT ─ save registers ─ userfaultfd ─ pidfd_getfd ─ close ─ restore ─ DETACH
 *
 * We use the main thread (tid == pid). If it was blocked in a system call, the kernel restarts that
 * call. If we die in the middle, the kernel detaches, and the thread continues with wrong
 * registers. So we do only two system calls in that time, with all signals blocked.
 *
 * Needs: ptrace rights over the process (root, or CAP_SYS_PTRACE). QEMU needs no right or setting:
 * any process may create a userfaultfd with the flag UFFD_USER_MODE_ONLY. Such a userfaultfd does
 * not report faults that the kernel's own writes cause. That does no harm: in WP_ASYNC mode the
 * kernel handles all faults itself.
 * Threads: any. Meanwhile no other code of ours must call waitpid() for the process. x86-64 only.
 */
#ifndef VMM_INJECT_H
#define VMM_INJECT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"

/* Create a userfaultfd in @pid. *ret_fd (CLOEXEC, non-blocking) belongs to the caller. Blocks for
 * up to @timeout_ns. The process is left as it was, even on error.
 * Returns 0;
 * -ESRCH: there is no such process;
 * -EPERM: we have no right to trace it; *ret_error says what is missing;
 * -EBUSY: the process is traced already; *ret_error names the tracer;
 * -ETIMEDOUT: the thread did not stop (uninterruptible sleep);
 * -ENOSYS: the kernel has no userfaultfd;
 * -ENOTSUP: the process has 32 bits or no vDSO;
 * other -errno of a step.
 * On error *ret_error has the text. */
int inject_userfaultfd(pid_t pid, uint64_t timeout_ns, int *ret_fd, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
