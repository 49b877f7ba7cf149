#include "standby/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "standby/output.h"
#include "supervision/progress.h"

AUTO_DEFINE(json_t *, json_decref)

#define KILL_TIMEOUT_NS	 (5 * CLOCK_NS_PER_S)
/* Longest wait for an answer, long enough for a busy host. If QEMU ends, its monitor is closed, so
 * the wait ends at once. */
#define QUERY_TIMEOUT_NS (10 * CLOCK_NS_PER_S)
/* how long qemu_find() waits for the monitor's greeting: short, because another client may be using
 * the monitor, which is no error there */
#define FIND_GREETING_NS CLOCK_NS_PER_S
/* how long other functions wait for the monitor's greeting: long, because no other client should be
 * using that monitor */
#define GREETING_NS	 (10 * CLOCK_NS_PER_S)
#define SOCKET_POLL_MS   5           /* interval between two attempts to connect to the monitor */
/* How long QEMU may take to exit after it has closed its monitor, or could not load a state. It is
 * worth waiting for, because only its log says why. A busy host needed more than 500 ms. */
#define EXIT_MS		 3000
#define LOG_CAUSE_BYTES	 600
#define LOG_BYTES_MAX	 (64 << 20) /* a larger log is not read */
#define CMDLINE_PROC_MAX (CMDLINE_BYTES_MAX * 2)

/* ---- init */

static int set_path(char path[QEMU_PATH_MAX], const char *run_dir, const char *vm, const char *role,
		    const char *suffix)
{
	if (snprintf(path, QEMU_PATH_MAX, "%s/%s.%s.%s", run_dir, vm, role, suffix) >=
	    QEMU_PATH_MAX)
		return -ENAMETOOLONG;
	return 0;
}

int qemu_init(struct qemu *q, const char *vm, const char *role, const char *run_dir,
	      const char *ram_path, struct error *ret_error)
{
	int r;

	memset(q, 0, sizeof(*q));
	q->pid = q->pidfd = -1;
	q->ram_path = ram_path;
	r = set_path(q->qmp_path, run_dir, vm, role, "qmp");
	if (r == 0)
		r = set_path(q->pid_path, run_dir, vm, role, "pid");
	if (r == 0)
		r = set_path(q->log_path, run_dir, vm, role, "log");
	if (r < 0)
		return error_set(ret_error, r,
				 "run_dir %s is too long for the path of a unix socket", run_dir);
	return r;
}

int qemu_set_command(struct qemu *q, const char *command, struct error *ret_error)
{
	struct cmdline c;
	int r = cmdline_parse(command, &c, ret_error);

	if (r < 0)
		return r;
	r = q->taps ? cmdline_check_taps(&c, q->taps, ret_error) : 0;
	if (r < 0) {
		cmdline_done(&c);
		return r;
	}
	r = cmdline_add_standby(&c, q->ram_path, q->qmp_path, q->pid_path);
	if (r < 0)
		(void)error_set(ret_error, r, "QEMU command: %s", strerror(-r));
	else
		r = !cmdline_is_same(&c, &q->cmdline);
	if (r <= 0) {
		cmdline_done(&c);
		return r;
	}
	cmdline_done(&q->cmdline);
	q->cmdline = c;
	return 1;
}

static void forget(struct qemu *q)
{
	q->qmp = qmp_close(q->qmp);
	q->pidfd = fd_close(q->pidfd);
	q->pid = -1;
	q->adopted = false;
}

void qemu_done(struct qemu *q)
{
	forget(q);
	vmm_description_done(&q->is);
	cmdline_done(&q->cmdline);
}

void qemu_release_monitor(struct qemu *q)
{
	q->qmp = qmp_close(q->qmp);
}

/* ---- the process */

/* Get the cause of QEMU's end from its log, as one line; "" if the log cannot be read. */
static void log_cause(const struct qemu *q, char *ret_text, size_t size)
{
	AUTO_FREE char *data = NULL;
	size_t n;

	*ret_text = '\0';
	if (fd_read_file(q->log_path, LOG_BYTES_MAX, &data, &n) == 0)
		output_cause(data, n, ret_text, size);
}

static void record_end(struct qemu *q, const siginfo_t *info)
{
	char cause[LOG_CAUSE_BYTES + 1], how[64] = "ended";

	log_cause(q, cause, sizeof(cause));
	if (info->si_pid && info->si_code == CLD_EXITED)
		snprintf(how, sizeof(how), "exited with status %d", info->si_status);
	else if (info->si_pid)
		snprintf(how, sizeof(how), "was killed by signal %d", info->si_status);
	(void)error_set(&q->end.how, 0, "QEMU %s%s%s (log: %s)", how, *cause ? ": " : "", cause,
			q->log_path);
	q->end.signal = info->si_pid && info->si_code != CLD_EXITED ? info->si_status : 0;
	q->end.is_set = true;
}

/* Wait until QEMU has exited, for up to @timeout_ms. Returns true if it has. */
static bool wait_exit(const struct qemu *q, int timeout_ms)
{
	struct pollfd p = {.fd = q->pidfd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) > 0;
}

bool qemu_exited(struct qemu *q)
{
	siginfo_t info = {0};

	if (q->pid <= 0 || !wait_exit(q, 0))
		return q->end.is_set;
	/* Reap the process if it is our child. If it was adopted, this call fails, and init reaps
	 * the process. */
	(void)waitid(P_PIDFD, (id_t)q->pidfd, &info, WEXITED | WNOHANG);
	record_end(q, &info);
	forget(q);
	return true;
}

bool qemu_await_exit(struct qemu *q)
{
	if (q->pid > 0)
		(void)wait_exit(q, EXIT_MS);
	return qemu_exited(q);
}

bool qemu_died(struct qemu *q)
{
	return q->end.is_set || (q->qmp && qmp_is_lost(q->qmp) && qemu_await_exit(q));
}

int qemu_kill(struct qemu *q)
{
	uint64_t deadline_ns = clock_mono_ns() + KILL_TIMEOUT_NS;

	if (q->pid <= 0)
		return 0;
	if (pidfd_send_signal(q->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return -errno;
	if (!wait_exit(q, clock_poll_ms(clock_mono_ns(), deadline_ns)))
		return -ETIMEDOUT;
	(void)qemu_exited(q); /* returns true, because QEMU has exited */
	/* Remove the pid file: a killed QEMU cannot do so. */
	(void)unlink(q->pid_path);
	return 0;
}

/* What the child needs. */
struct child {
	char **words; /* argv */
	bool dies_first; /* if memory runs out, the kernel ends this process first */
	int log_fd, error_fd;
};

/* Runs in the child (base/child.h), so it may make only async-signal-safe calls. */
static void run_child(void *arg) __attribute__((noreturn));

static void run_child(void *arg)
{
	const struct child *child = arg;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int error;

	(void)setsid();
	if (child->dies_first)
		child_dies_first();
	child_signals();
	/* Do not log stdout: with -nographic it is the guest's console, whose output has no
	 * limit. */
	if (null_fd >= 0 && dup2(null_fd, 0) >= 0 && dup2(null_fd, 1) >= 0 &&
	    dup2(child->log_fd, 2) >= 0)
		execvp(child->words[0], child->words);
	error = errno;
	(void)!write(child->error_fd, &error, sizeof(error)); /* if even this fails, just exit */
	_exit(127);
}

/* Returns the command without `-incoming defer`; NULL if there is no memory. The caller frees the
 * array (not the words). */
static char **boot_words(const struct cmdline *c)
{
	char **words = calloc(c->n_words + 1, sizeof(*words));

	for (size_t i = 0, n = 0; words && i < c->n_words; i++) {
		if (strcmp(c->words[i], "-incoming") == 0)
			i++;
		else
			words[n++] = c->words[i];
	}
	return words;
}

static int spawn(struct qemu *q, struct error *ret_error)
{
	AUTO_FREE char **own_words = q->boots ? boot_words(&q->cmdline) : NULL;
	AUTO_CLOSE int log_fd =
		open(q->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	struct child child = {.words = own_words ? own_words : q->cmdline.words,
			      .dies_first = q->cancel != NULL, .log_fd = log_fd};
	int pipe_fds[2], error = 0;
	pid_t pid;
	ssize_t n;

	if (log_fd < 0)
		return error_set(ret_error, -errno, "cannot write %s: %m", q->log_path);
	if (q->boots && !own_words)
		return -ENOMEM;
	(void)unlink(q->qmp_path); /* we would only be refused at an old socket */
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	child.error_fd = pipe_fds[1];
	pid = child_start(run_child, &child);
	fd_close(pipe_fds[1]);
	if (pid < 0) {
		fd_close(pipe_fds[0]);
		return pid;
	}
	q->pid = pid;
	q->pidfd = pidfd_open(pid, 0);
	q->end = (struct qemu_end){0};
	/* wait until the child runs QEMU or has failed */
	do
		n = read(pipe_fds[0], &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	fd_close(pipe_fds[0]);
	if (n == sizeof(error) || q->pidfd < 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		forget(q);
		return error_set(ret_error, error ? -error : -ESRCH, "cannot run %s: %s",
				 q->cmdline.words[0], strerror(error));
	}
	return 0;
}

/* ---- the monitor */

/* Wait for the monitor's socket, and connect. Returns 0; -EIO: QEMU has exited; other errors of
 * qemu_start(). No other client should be using the monitor of a standby's QEMU. */
static int wait_monitor(struct qemu *q, unsigned timeout_ms, struct error *ret_error)
{
	uint64_t deadline_ns = clock_mono_ns() + timeout_ms * CLOCK_NS_PER_MS, now_ns;
	int r;

	for (;;) {
		now_ns = clock_mono_ns();
		r = now_ns < deadline_ns ? qmp_open(q->qmp_path, deadline_ns - now_ns, &q->qmp)
					 : -ETIMEDOUT;
		if (r == -EBUSY) /* QEMU sent no greeting in time */
			r = -ETIMEDOUT;
		if (r != -ENOENT && r != -ECONNREFUSED)
			break;
		if (q->cancel && *q->cancel)
			return -ECANCELED;
		if (wait_exit(q, SOCKET_POLL_MS))
			break;
	}
	/* A QEMU that does not accept its command line exits, which closes the monitor. Wait for
	 * the exit. */
	if (r < 0 && r != -ETIMEDOUT && qemu_await_exit(q))
		return -EIO;
	if (r == -ETIMEDOUT)
		(void)error_set(ret_error, r,
				"QEMU was started, but its monitor %s did not answer within %u ms: "
				"this host is overloaded, or QEMU hangs (log: %s)",
				q->qmp_path, timeout_ms, q->log_path);
	else if (r < 0)
		return error_set(ret_error, r, "QEMU's monitor %s: %s", q->qmp_path,
				 qmp_open_error(r));
	return r;
}

/* Get QEMU's run state: "inmigrate", "running", "paused", ... */
static int run_status(struct qemu *q, char *ret_status, size_t size)
{
	AUTO(json_decref) json_t *answer = NULL;
	const char *status;
	int r = qmp_execute(q->qmp, "query-status", NULL, QUERY_TIMEOUT_NS, &answer);

	if (r < 0)
		return r;
	status = json_string_value(json_object_get(answer, "status"));
	if (!status)
		return -EPROTO;
	snprintf(ret_status, size, "%s", status);
	return 0;
}

void qemu_describe(const struct vmm_info *info, struct wire_geometry *ret_geometry)
{
	struct wire_geometry *g = ret_geometry;

	memset(g, 0, sizeof(*g));
	snprintf(g->machine, sizeof(g->machine), "%s", info->machine);
	snprintf(g->qemu_version, sizeof(g->qemu_version), "%s", info->qemu_version);
	g->n_vcpus = (uint16_t)info->n_vcpus;
	g->ram_bytes = info->ram_bytes;
	g->n_nics = (uint8_t)info->n_nics;
	for (uint32_t i = 0; i < info->n_nics; i++)
		memcpy(g->nics[i], info->nics[i].mac, sizeof(g->nics[i]));
	g->n_blocks = (uint16_t)info->n_blocks;
	for (uint32_t i = 0; i < info->n_blocks; i++) {
		struct wire_block *b = &g->blocks[i];

		snprintf(b->name, sizeof(b->name), "%s", info->blocks[i].name);
		b->kind = info->blocks[i].kind == VMM_BLOCK_RAM ? WIRE_BLOCK_RAM : WIRE_BLOCK_OTHER;
		b->size_bytes = info->blocks[i].size_bytes;
	}
}
_Static_assert(VMM_NICS_MAX <= WIRE_NICS_MAX && VMM_BLOCKS_MAX <= WIRE_BLOCKS_MAX,
	       "qemu_describe()");

/* Ask QEMU now for all that a promotion will need. Make it send the events that report the end of
 * the migration. */
static int prepare(struct qemu *q, struct error *ret_error)
{
	struct vmm_description is = {0};
	struct error error;
	int r;

	/* With late-block-activate, QEMU opens the images for writing only at `cont`. A rehearsal,
	 * which ends before `cont`, must not open them for writing. */
	r = qmp_execute(q->qmp, "migrate-set-capabilities",
			json_pack("{s:[{s:s, s:b}, {s:s, s:b}]}", "capabilities", "capability",
				  "events", "state", 1, "capability", "late-block-activate",
				  "state", (int)q->is_rehearsal),
			QUERY_TIMEOUT_NS, NULL);
	if (r < 0)
		return error_set(ret_error, r, "QEMU: migrate-set-capabilities: %s",
				 qmp_error(q->qmp));
	r = vmm_inspect(q->qmp, &q->info, &error);
	if (r == 0 && !q->is_rehearsal)
		r = vmm_describe(q->qmp, &is, &error);
	if (r < 0)
		return error_set(ret_error, r, "the [standby] command: %s", error.text);
	qemu_describe(&q->info, &q->geometry);
	q->is_other_machine |=
		q->is.machine.n_items > 0 && !vmm_machine_is_same(&q->is.machine, &is.machine);
	vmm_description_done(&q->is);
	q->is = is;
	return 0;
}

/* ---- adoption */

static pid_t read_pidfile(const struct qemu *q)
{
	AUTO_FREE char *text = NULL;
	size_t size;

	if (fd_read_file(q->pid_path, 64, &text, &size) < 0)
		return -1;
	return (pid_t)strtol(text, NULL, 10);
}

/* Was @pid started with exactly our arguments? (The pid may belong to another process by now.) */
static bool has_our_words(const struct qemu *q, pid_t pid)
{
	AUTO_FREE char *data = NULL;
	size_t size, at = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if (fd_read_file(path, CMDLINE_PROC_MAX, &data, &size) < 0)
		return false;
	for (size_t i = 0; i < q->cmdline.n_words; i++) {
		size_t n = strlen(q->cmdline.words[i]) + 1;

		if (n > size - at || memcmp(data + at, q->cmdline.words[i], n) != 0)
			return false;
		at += n;
	}
	return at == size;
}

/* Is @pid a standby's QEMU of this VM, perhaps with another command line? If so, one of its
 * arguments has the path of our monitor's socket. */
static bool has_our_monitor(const struct qemu *q, pid_t pid)
{
	AUTO_FREE char *data = NULL;
	char path[64], want[QEMU_PATH_MAX + 8];
	size_t size;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	snprintf(want, sizeof(want), "unix:%s,", q->qmp_path);
	if (fd_read_file(path, CMDLINE_PROC_MAX, &data, &size) < 0)
		return false;
	return memmem(data, size, want, strlen(want)) != NULL;
}

/* Find the process that the pid file names, and take it into *q if it is a standby's QEMU of this
 * VM. Returns 0 or -ESRCH. */
static int grab(struct qemu *q)
{
	pid_t pid = read_pidfile(q);
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;

	if (pidfd < 0)
		return -ESRCH;
	/* The pidfd was opened before this check. So if the pid belongs to another process by now,
	 * the pidfd refers to a dead one, which is noticed below. */
	if (!has_our_monitor(q, pid)) {
		fd_close(pidfd);
		return -ESRCH;
	}
	q->pid = pid;
	q->pidfd = pidfd;
	q->adopted = true;
	if (wait_exit(q, 0)) {
		forget(q);
		return -ESRCH;
	}
	q->end = (struct qemu_end){0};
	return 0;
}

int qemu_find(struct qemu *q)
{
	if (q->pid > 0)
		return 0;
	if (grab(q) < 0) {
		if (!q->end.is_set)
			q->end = (struct qemu_end){.is_set = true, .how = {"its QEMU is gone"}};
		return -ESRCH;
	}
	/* Not an error: the epoch engine may be using the monitor, and the caller needs only the
	 * process. */
	(void)!qmp_open(q->qmp_path, FIND_GREETING_NS, &q->qmp);
	return 0;
}

bool qemu_is_left(struct qemu *q)
{
	if (q->pid > 0)
		return true;
	if (grab(q) < 0)
		return false;
	forget(q);
	return true;
}

/* Look for a QEMU that an earlier agent left. If @wanted, and that QEMU waits like a warm QEMU,
 * adopt it. Otherwise end it, unless a guest runs in it. Returns 1 if it was adopted; 0 if there is
 * no QEMU any more; -EBUSY if a guest runs in it. */
static int adopt(struct qemu *q, bool wanted, struct error *ret_error)
{
	char status[32] = "";
	int r;

	if (grab(q) < 0)
		return 0;
	r = qmp_open(q->qmp_path, GREETING_NS, &q->qmp);
	if (r == 0)
		r = run_status(q, status, sizeof(status));
	if (r == -EBUSY || strcmp(status, "running") == 0) {
		(void)error_set(ret_error, r,
				"QEMU pid %d at %s runs a guest that this standby's state_dir "
				"knows nothing of (was it emptied?); end that guest first",
				(int)q->pid, q->qmp_path);
		forget(q);
		return -EBUSY;
	}
	if (wanted && r == 0 && strcmp(status, "inmigrate") == 0 && has_our_words(q, q->pid) &&
	    prepare(q, ret_error) == 0)
		return 1;
	if (qemu_kill(q) < 0)
		/* another QEMU will then fail to start, and say that the pid file is locked */
		forget(q);
	return 0;
}

int qemu_spawn(struct qemu *q, struct error *ret_error)
{
	int r;

	ret_error->text[0] = '\0';
	if (q->pid > 0 && q->qmp)
		return 0;
	if (q->cmdline.n_words == 0)
		return error_set(ret_error, -EINVAL, "there is no QEMU command");
	/* Never adopt the QEMU of an earlier rehearsal: since it mapped the RAM file, this file may
	 * have been replaced. */
	r = adopt(q, !q->boots && !q->is_rehearsal, ret_error);
	if (r != 0)
		return r < 0 ? r : 0;
	ret_error->text[0] = '\0';
	r = spawn(q, ret_error);
	if (r < 0 && !ret_error->text[0])
		return error_set(ret_error, r, "cannot start QEMU: %s", strerror(-r));
	return r;
}

int qemu_await(struct qemu *q, unsigned timeout_ms, struct error *ret_error)
{
	int r;

	ret_error->text[0] = '\0';
	if (q->qmp)
		return 0; /* qemu_spawn() has adopted a warm QEMU */
	progress_watch(q->progress, "started QEMU", q->pid);
	r = wait_monitor(q, timeout_ms, ret_error);
	if (r == 0)
		r = prepare(q, ret_error);
	if (r < 0 && qemu_died(q)) {
		*ret_error = q->end.how;
		r = -EIO;
	}
	progress_begin(q->progress, "has", r == 0 ? "QEMU ready" : "a QEMU that did not start", 0);
	if (r < 0 && q->pid > 0 && qemu_kill(q) < 0)
		forget(q); /* ignore this error: the one in r matters more */
	return r;
}

int qemu_start(struct qemu *q, unsigned timeout_ms, struct error *ret_error)
{
	int r = qemu_spawn(q, ret_error);

	return r < 0 ? r : qemu_await(q, timeout_ms, ret_error);
}

int qemu_end(struct qemu *q, struct error *ret_error)
{
	int r;

	if (q->pid <= 0)
		return adopt(q, false, ret_error);
	r = qemu_kill(q);
	if (r < 0)
		return error_set(ret_error, r, "QEMU pid %d does not end: %s", (int)q->pid,
				 strerror(-r));
	return r;
}
