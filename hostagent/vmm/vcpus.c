#include "vmm/vcpus.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/error.h"

#define TIMEOUT_NS (5 * CLOCK_NS_PER_S)
/* The maximum number of vCPUs: more than QEMU's largest machines have. */
#define VCPUS_MAX  1024u

struct vcpu {
	pid_t tid; /* thread id; 0 if an earlier vCPU in the array has the same thread */
	bool is_traced; /* the thread was asked to stop, or has stopped */
	int schedstat;
	uint64_t run_ns; /* the thread's CPU time when it was last read */
};

struct vcpus {
	uint32_t n;
	struct vcpu vcpu[];
};

static uint64_t read_run_ns(const struct vcpu *vcpu)
{
	char text[96];
	ssize_t n = pread(vcpu->schedstat, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return vcpu->run_ns; /* the thread has ended and uses no more time */
	text[n] = '\0';
	return strtoull(text, NULL, 10);
}

static int open_one(struct vcpu *vcpu, pid_t pid, const json_t *cpu, struct error *ret_error)
{
	const json_t *thread = json_object_get(cpu, "thread-id");
	char path[64];

	vcpu->schedstat = -1;
	if (!json_is_integer(thread))
		return error_set(ret_error, -EPROTO, "query-cpus-fast names no thread of a vCPU");
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%" PRId64 "/schedstat", (int)pid,
		       (int64_t)json_integer_value(thread));
	vcpu->schedstat = open(path, O_RDONLY | O_CLOEXEC);
	if (vcpu->schedstat < 0)
		return error_set(ret_error, -errno, "%s: %m", path);
	vcpu->run_ns = read_run_ns(vcpu);
	vcpu->tid = (pid_t)json_integer_value(thread);
	return 0;
}

/* If an earlier vCPU in the array has the same thread, set the tid of the vCPU at index @at to 0: a
 * thread can be traced only once. (TCG without multi-threading runs all vCPUs in one thread.) */
static void forget_repeated(struct vcpus *vcpus, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (vcpus->vcpu[i].tid == vcpus->vcpu[at].tid)
			vcpus->vcpu[at].tid = 0;
}

int vcpus_open(struct qmp *q, pid_t pid, struct vcpus **ret, struct error *ret_error)
{
	struct vcpus *vcpus;
	json_t *answer;
	size_t n;
	int r = qmp_execute(q, "query-cpus-fast", NULL, TIMEOUT_NS, &answer);

	if (r < 0)
		return error_set(ret_error, r, "query-cpus-fast: %s",
				 *qmp_error(q) ? qmp_error(q) : strerror(-r));
	n = json_array_size(answer);
	if (n == 0 || n > VCPUS_MAX) {
		json_decref(answer);
		return error_set(ret_error, -EPROTO, "query-cpus-fast names %zu vCPUs", n);
	}
	vcpus = calloc(1, sizeof(*vcpus) + n * sizeof(vcpus->vcpu[0]));
	if (!vcpus) {
		json_decref(answer);
		return error_set(ret_error, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < n && r == 0; i++) {
		r = open_one(&vcpus->vcpu[i], pid, json_array_get(answer, i), ret_error);
		vcpus->n++;
		if (r == 0)
			forget_repeated(vcpus, (uint32_t)i);
	}
	json_decref(answer);
	if (r < 0) {
		vcpus_close(vcpus);
		return r;
	}
	*ret = vcpus;
	return 0;
}

uint64_t vcpus_busy_ns(struct vcpus *vcpus)
{
	uint64_t busiest_ns = 0;

	if (!vcpus)
		return UINT64_MAX;
	for (uint32_t i = 0; i < vcpus->n; i++) {
		struct vcpu *vcpu = &vcpus->vcpu[i];
		uint64_t run_ns = read_run_ns(vcpu), busy_ns = run_ns - vcpu->run_ns;

		vcpu->run_ns = run_ns;
		if (busy_ns > busiest_ns)
			busiest_ns = busy_ns;
	}
	return busiest_ns;
}

int vcpus_stop(struct vcpus *vcpus)
{
	for (uint32_t i = 0; i < vcpus->n; i++) {
		struct vcpu *vcpu = &vcpus->vcpu[i];

		if (vcpu->tid == 0 || vcpu->is_traced)
			continue;
		if (ptrace(PTRACE_SEIZE, vcpu->tid, NULL, NULL) < 0) {
			if (errno == ESRCH)
				continue;
			return -errno;
		}
		vcpu->is_traced = true;
		if (ptrace(PTRACE_INTERRUPT, vcpu->tid, NULL, NULL) < 0 && errno != ESRCH)
			return -errno;
	}
	return 0;
}

/* Resume a vCPU that is traced. Returns true if it runs again, or its thread is gone. */
static bool resume(const struct vcpu *vcpu)
{
	int status;
	long signal;
	pid_t r;

	do
		r = waitpid(vcpu->tid, &status, __WALL | WNOHANG);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return false;
	if (r < 0 || !WIFSTOPPED(status))
		return true;
	/* If the thread has stopped because of a signal that arrived before our request, deliver
	 * this signal now. */
	signal = status >> 16 == 0 ? WSTOPSIG(status) : 0;
	/* Fails only if the thread was killed while it was stopped. */
	(void)ptrace(PTRACE_DETACH, vcpu->tid, NULL, (void *)signal);
	return true;
}

int vcpus_resume(struct vcpus *vcpus)
{
	int r = 0;

	for (uint32_t i = 0; i < vcpus->n; i++) {
		struct vcpu *vcpu = &vcpus->vcpu[i];

		if (vcpu->is_traced && resume(vcpu))
			vcpu->is_traced = false;
		if (vcpu->is_traced)
			r = -EAGAIN;
	}
	return r;
}

struct vcpus *vcpus_close(struct vcpus *vcpus)
{
	if (!vcpus)
		return NULL;
	for (uint32_t i = 0; i < vcpus->n; i++)
		fd_close(vcpus->vcpu[i].schedstat);
	free(vcpus);
	return NULL;
}
