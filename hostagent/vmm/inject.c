#include "vmm/inject.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/error.h"
#include "vmm/uapi.h"

#define VDSO_BYTES_MAX	 ((size_t)256 << 10)
#define USER_CS_64	 0x33
#define KERNEL_SIGSET_SIZE 8u
#define SYSCALL_STOP	 (SIGTRAP | 0x80) /* stop signal of a system call with
					   * PTRACE_O_TRACESYSGOOD */
/* How many times the tracer polls before it begins to sleep between polls. A stop usually arrives
 * within some microseconds. */
#define YIELDS_BEFORE_NAP 64

/* The state of one injection. It lives on the stack of inject_userfaultfd(); the tracer thread uses
 * it. */
struct injection {
	pid_t pid;
	/* time by which the thread must have stopped. The wait for the end of our system call has
	 * no limit */
	uint64_t deadline_ns;
	int pidfd;
	/* the process has a seccomp filter, which can kill it because of our call */
	bool has_seccomp;
	uint64_t syscall_at;  /* address of a `syscall` instruction in the process's vDSO */
	struct user_regs_struct saved_regs;
	uint64_t saved_sigmask;
	int result; /* 0 or -errno */
	int fd;	    /* the userfaultfd, valid when result is 0 */
	struct error *error;
};

static long trace(int request, pid_t pid, uintptr_t address, uintptr_t data)
{
	return ptrace(request, pid, (void *)address, (void *)data) < 0 ? -errno : 0;
}

/* Returns the number after "KEY:" in /proc/PID/status, or 0. */
static long status_number(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	return at ? strtol(at + strlen(key), NULL, 10) : 0;
}

static int check_status(struct injection *in)
{
	AUTO_FREE char *status = NULL;
	char path[64];
	size_t size;
	long tracer;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", in->pid);
	if (fd_read_file(path, 64 << 10, &status, &size) < 0)
		return error_set(in->error, -ESRCH, "process %d does not exist", in->pid);
	tracer = status_number(status, "\nTracerPid:");
	if (tracer != 0)
		return error_set(in->error, -EBUSY,
				 "process %d is traced by process %ld (a debugger or strace?): end"
				 " that first", in->pid, tracer);
	in->has_seccomp = status_number(status, "\nSeccomp:") != 0;
	return 0;
}

/* Find the process's vDSO. */
static int find_vdso(struct injection *in, uint64_t *ret_start, size_t *ret_size)
{
	AUTO_FREE char *line = NULL;
	size_t capacity = 0;
	char path[64];
	uint64_t start, end;
	int r = -ENOTSUP;
	FILE *maps;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", in->pid);
	maps = fopen(path, "re");
	if (!maps)
		return error_set(in->error, -errno, "cannot read %s: %m (run the agent as root)",
				 path);
	while (r < 0 && getline(&line, &capacity, maps) > 0)
		if (strstr(line, "[vdso]") &&
		    sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 && end > start &&
		    end - start <= VDSO_BYTES_MAX)
			r = 0;
	(void)fclose(maps);
	if (r < 0)
		return error_set(in->error, r, "process %d has no vDSO to run a call from",
				 in->pid);
	*ret_start = start;
	*ret_size = (size_t)(end - start);
	return 0;
}

static int find_syscall(struct injection *in)
{
	static const uint8_t instruction[] = {0x0f, 0x05};
	AUTO_FREE uint8_t *code = NULL;
	struct iovec local, remote;
	uint64_t start = 0;
	size_t size = 0;
	const uint8_t *at;
	int r = find_vdso(in, &start, &size);

	if (r < 0)
		return r;
	code = malloc(size);
	if (!code)
		return error_set(in->error, -ENOMEM, "out of memory");
	local = (struct iovec){code, size};
	remote = (struct iovec){(void *)start, size};
	if (process_vm_readv(in->pid, &local, 1, &remote, 1, 0) != (ssize_t)size)
		return error_set(in->error, errno == EPERM ? -EPERM : -ENOTSUP,
				 "cannot read the vDSO of process %d: %m (run the agent as root or"
				 " with CAP_SYS_PTRACE)", in->pid);
	at = memmem(code, size, instruction, sizeof(instruction));
	if (!at)
		return error_set(in->error, -ENOTSUP, "no syscall instruction in the vDSO of %d",
				 in->pid);
	in->syscall_at = start + (uint64_t)(at - code);
	return 0;
}

/* Wait for a trace stop. The kernel has no wait with a timeout for this, and this module must not
 * use SIGCHLD, which is the whole agent's. So poll: first without sleeping, then with short sleeps.
 * @deadline_ns: UINT64_MAX means no limit. */
static int wait_status(pid_t pid, uint64_t deadline_ns, int *ret_status)
{
	const struct timespec nap = {.tv_nsec = 20000};

	for (unsigned int n_tries = 0;; n_tries++) {
		pid_t r = waitpid(pid, ret_status, __WALL | WNOHANG);

		if (r == pid)
			return 0;
		if (r < 0 && errno != EINTR)
			return errno == ECHILD ? -ESRCH : -errno;
		if (clock_mono_ns() >= deadline_ns)
			return -ETIMEDOUT;
		if (n_tries < YIELDS_BEFORE_NAP)
			(void)sched_yield();
		else
			(void)nanosleep(&nap, NULL);
	}
}

/* Wait for the stop that we asked for. @event: PTRACE_EVENT_STOP, or 0 for the entry or exit of a
 * system call. If a signal stops the thread first, pass the signal on and continue the thread with
 * @request. */
static int wait_stop(pid_t pid, int event, int request, uint64_t deadline_ns)
{
	for (;;) {
		int status, r = wait_status(pid, deadline_ns, &status);
		int signal;

		if (r < 0)
			return r;
		if (!WIFSTOPPED(status))
			return -ESRCH;
		signal = WSTOPSIG(status);
		if (status >> 16 == event && (event != 0 || signal == SYSCALL_STOP))
			return 0;
		/* Only a signal-delivery stop has a signal to pass on. */
		if (status >> 16 != 0 || signal == SYSCALL_STOP)
			signal = 0;
		r = (int)trace(request, pid, 0, (uintptr_t)signal);
		if (r < 0)
			return r;
	}
}

/* Run one system call in the stopped thread; afterwards the thread is at the call's exit. */
static int remote_call(const struct injection *in, long number, uint64_t argument,
		       int64_t *ret_value)
{
	struct user_regs_struct regs = in->saved_regs;
	int r;

	regs.rip = in->syscall_at;
	regs.rax = (uint64_t)number;
	/* this value means "not in a system call"; the kernel then restarts no system call */
	regs.orig_rax = UINT64_MAX;
	regs.rdi = argument;
	r = (int)trace(PTRACE_SETREGS, in->pid, 0, (uintptr_t)&regs);
	for (int i = 0; r == 0 && i < 2; i++) { /* run to the call's entry, then to its exit */
		r = (int)trace(PTRACE_SYSCALL, in->pid, 0, 0);
		if (r == 0)
			r = wait_stop(in->pid, 0, PTRACE_SYSCALL, UINT64_MAX);
	}
	if (r == 0)
		r = (int)trace(PTRACE_GETREGS, in->pid, 0, (uintptr_t)&regs);
	if (r == 0)
		*ret_value = (int64_t)regs.rax;
	return r;
}

static int fetch_fd(struct injection *in)
{
	int64_t remote_fd = 0, closed = 0;
	int r = remote_call(in, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY,
			    &remote_fd);
	int close_r;

	if (r < 0)
		return error_set(in->error, r, "process %d was lost while traced", in->pid);
	if (remote_fd < 0)
		return error_set(in->error, (int)remote_fd, "userfaultfd in process %d: %s%s",
				 in->pid, strerror((int)-remote_fd),
				 remote_fd == -ENOSYS ? " (kernel without CONFIG_USERFAULTFD)"
						      : "");
	in->fd = (int)syscall(SYS_pidfd_getfd, in->pidfd, (int)remote_fd, 0);
	r = in->fd < 0 ? -errno : 0;
	/* Close QEMU's own descriptor. If it stayed open, QEMU's memory would stay protected after
	 * the agent's death. */
	close_r = remote_call(in, SYS_close, (uint64_t)remote_fd, &closed);
	if (r == 0 && close_r < 0)
		r = close_r;
	if (r < 0) {
		in->fd = fd_close(in->fd);
		return error_set(in->error, r,
				 "cannot take the userfaultfd over from process %d: %s", in->pid,
				 strerror(-r));
	}
	return 0;
}

/* Restore the registers. If our stop interrupted a system call of the thread, the kernel must
 * restart that call. The kernel does so only after a stop caused by PTRACE_INTERRUPT. Now the
 * thread is stopped at the exit of our own system call. So first cause a stop with
 * PTRACE_INTERRUPT. */
static int restore(struct injection *in)
{
	int r = (int)trace(PTRACE_INTERRUPT, in->pid, 0, 0);

	if (r == 0)
		r = (int)trace(PTRACE_CONT, in->pid, 0, 0);
	if (r == 0)
		r = wait_stop(in->pid, PTRACE_EVENT_STOP, PTRACE_CONT, UINT64_MAX);
	if (r == 0)
		r = (int)trace(PTRACE_SETREGS, in->pid, 0, (uintptr_t)&in->saved_regs);
	if (r == 0)
		r = (int)trace(PTRACE_SETSIGMASK, in->pid, KERNEL_SIGSET_SIZE,
			       (uintptr_t)&in->saved_sigmask);
	if (r < 0)
		return error_set(in->error, r, "process %d was lost while traced", in->pid);
	return 0;
}

/* Make the userfaultfd while the thread is stopped, then restore the thread. */
static int run_stopped(struct injection *in)
{
	uint64_t all_signals = UINT64_MAX;
	int r = (int)trace(PTRACE_GETREGS, in->pid, 0, (uintptr_t)&in->saved_regs);
	int restore_r;

	if (r == 0)
		r = (int)trace(PTRACE_GETSIGMASK, in->pid, KERNEL_SIGSET_SIZE,
			       (uintptr_t)&in->saved_sigmask);
	if (r < 0)
		return error_set(in->error, r, "cannot read the registers of process %d", in->pid);
	if (in->saved_regs.cs != USER_CS_64)
		return error_set(in->error, -ENOTSUP, "process %d is not a 64-bit program",
				 in->pid);
	r = (int)trace(PTRACE_SETSIGMASK, in->pid, KERNEL_SIGSET_SIZE, (uintptr_t)&all_signals);
	if (r < 0)
		return error_set(in->error, r, "cannot block the signals of process %d", in->pid);
	r = fetch_fd(in);
	restore_r = restore(in);
	if (r == 0 && restore_r < 0) {
		in->fd = fd_close(in->fd);
		r = restore_r;
	}
	return r;
}

static int seize(struct injection *in)
{
	uintptr_t options = PTRACE_O_TRACESYSGOOD;
	int r;

	if (in->has_seccomp)
		options |= PTRACE_O_SUSPEND_SECCOMP;
	r = (int)trace(PTRACE_SEIZE, in->pid, 0, options);
	if (r == 0)
		r = (int)trace(PTRACE_INTERRUPT, in->pid, 0, 0);
	if (r == -ESRCH)
		return error_set(in->error, r, "process %d has ended", in->pid);
	if (r < 0 && in->has_seccomp)
		return error_set(
			in->error, -EPERM,
			"process %d runs under a seccomp filter that could kill it for our"
			" call, and the filter cannot be suspended: run the agent with"
			" CAP_SYS_ADMIN on a kernel with CONFIG_CHECKPOINT_RESTORE, or start"
			" QEMU with -sandbox off",
			in->pid);
	if (r < 0)
		return error_set(in->error, r == -EIO ? -EPERM : r,
				 "cannot trace process %d: %s (run the agent as root or with"
				 " CAP_SYS_PTRACE; kernel.yama.ptrace_scope must be under 3)",
				 in->pid, strerror(-r));
	r = wait_stop(in->pid, PTRACE_EVENT_STOP, PTRACE_CONT, in->deadline_ns);
	if (r == -ETIMEDOUT)
		return error_set(
			in->error, r,
			"process %d did not stop in time (its main thread waits in the kernel"
			" for a disk or a file server?)",
			in->pid);
	if (r < 0)
		return error_set(in->error, r, "process %d ended while it was stopped", in->pid);
	return 0;
}

/* Runs the injection in a new thread. When that tracing thread ends, the kernel ends the trace,
 * even of a thread that never stopped. */
static void *tracer_thread(void *arg)
{
	struct injection *in = arg;

	in->result = seize(in);
	if (in->result < 0)
		return NULL;
	in->result = run_stopped(in);
	(void)trace(PTRACE_DETACH, in->pid, 0, 0); /* fails only if the process is gone */
	return NULL;
}

int inject_userfaultfd(pid_t pid, uint64_t timeout_ns, int *ret_fd, struct error *ret_error)
{
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct injection in = {
		.pid = pid,
		.deadline_ns = clock_mono_ns() + timeout_ns,
		.pidfd = pidfd,
		.fd = -1,
		.error = ret_error,
	};
	pthread_t thread;
	int r;

	if (pidfd < 0)
		return error_set(ret_error, -errno, "process %d: %m", pid);
	r = check_status(&in);
	if (r == 0)
		r = find_syscall(&in);
	if (r < 0)
		return r;
	r = pthread_create(&thread, NULL, tracer_thread, &in);
	if (r != 0)
		return error_set(ret_error, -r, "cannot start a thread: %s", strerror(r));
	(void)pthread_join(thread, NULL); /* cannot fail for a thread that we created */
	if (in.result == 0)
		*ret_fd = in.fd;
	return in.result;
}
