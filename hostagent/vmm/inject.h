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
 * registers. So we do as little as possible in that time (two system calls), and block all signals
 * during it.
 *
 * Needs: ptrace rights over the process (root, or CAP_SYS_PTRACE). QEMU's own process needs no
 * right or setting: a userfaultfd with the flag UFFD_USER_MODE_ONLY is always allowed. With this
 * flag, faults that the kernel's own writes cause are not reported. That does no harm here: in
 * WP_ASYNC mode the kernel handles all faults itself.
 * Threads: any. Other code of ours must not call waitpid() for the process meanwhile. x86-64 only.
 */
#ifndef VMM_INJECT_H
#define VMM_INJECT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"

/* Create a userfaultfd in @pid. *ret_fd (CLOEXEC, non-blocking) then belongs to the caller. Blocks
 * up to @timeout_ns. The process is left as it was, even on error.
 * Returns 0; -ESRCH if there is no such process; -EPERM if we have no right to trace it (*ret_error
 * says what is missing); -EBUSY if the process is traced already (*ret_error names the tracer);
 * -ETIMEDOUT if the thread did not stop (uninterruptible sleep); -ENOSYS if the kernel has no
 * userfaultfd; -ENOTSUP if the process has 32 bits or no vDSO; or another -errno of one of the
 * steps. *ret_error has the text. */
int inject_userfaultfd(pid_t pid, uint64_t timeout_ns, int *ret_fd, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
