#include "vmm/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/error.h"
#include "vmm/letgo.h"

#define COMMAND_TIMEOUT_NS (2 * CLOCK_NS_PER_S)
#define FIRST_CAPACITY	   ((size_t)256 << 10)
/* No event tells us that QEMU sleeps in its write, so we must poll. The guest is stopped during
 * this time, and a sleep of ours can end 0.1 ms late. So for the first SPIN_NS we only yield the
 * core between polls. After that we sleep for NAP_NS between polls. */
#define SPIN_NS		   CLOCK_NS_PER_MS
#define NAP_NS		   (50 * CLOCK_NS_PER_US)
/* While we wait for an event or an answer of QEMU: how often we check whether QEMU sleeps in a
 * write. (If QEMU sleeps, no event or answer comes.) */
#define DOUBT_NS	   CLOCK_NS_PER_MS
#define PIECES_MAX	   64u /* maximum number of elements that QEMU puts into an iovec
				* (MAX_IOV_SIZE) */

struct gate {
	struct qmp *qmp; /* borrowed */
	pid_t pid;	 /* QEMU's process */
	/* the two ends of the pipe. QEMU has a copy of pipe_write, through which it opens the pipe
	 * for each save */
	int pipe_read, pipe_write;
	ino_t inode;		   /* inode number of the pipe */
	int syscall_fd;		   /* descriptor of /proc/PID/syscall */
	/* id of the fdset that has QEMU's copy of pipe_write; -1 before QEMU has a copy */
	int64_t fdset_id;
	char *command;		   /* the save command, rendered */
	size_t max_bytes;
	size_t last_size; /* size of the last blob; 0 if there was none yet */
	/* the process that releases QEMU if we die; it has a copy of pipe_read. NULL: none */
	struct letgo *letgo;
	bool is_guarded;  /* true once gate_guard() was called */
	bool is_filled;	  /* the pipe holds nothing but filler, and no save runs */

	/* State of the current save. */
	bool is_running;
	bool has_filler;   /* the pipe still holds the filler */
	/* how many bytes the pipe will contain when QEMU is held in its next write */
	size_t in_pipe;
	/* number of blob bytes that QEMU has written into the pipe so far (some may still be in
	 * it). The next write starts at this byte of the blob */
	size_t passed;
	/* size of the write that holds QEMU; 0 if QEMU is not known to be held */
	size_t write_size;

	uint8_t *data; /* the part of the blob that was read so far */
	size_t size;   /* size of that part */
	size_t capacity;
	uint8_t scratch[GATE_PIECE_BYTES]; /* for writing and reading the filler */
};

/* --- set-up */

/* Read the number at index @field (from 0) after @name in @status, the text of /proc/PID/status.
 * @base has the same meaning as for strtoull(). */
static bool status_value(const char *status, const char *name, int base, int field,
			 unsigned long long *ret)
{
	const char *at = strstr(status, name);
	char *end;

	if (!at)
		return false;
	at += strlen(name);
	do {
		*ret = strtoull(at, &end, base);
		if (end == at)
			return false;
		at = end;
	} while (field-- > 0);
	return true;
}

/* Find QEMU's user, who must own the pipe. Refuse a QEMU that does not ignore SIGPIPE: if we die,
 * the kernel would send QEMU this signal, and QEMU would die too. (All known versions of QEMU
 * ignore SIGPIPE.) */
static int look_at_process(pid_t pid, uid_t *ret_uid, struct error *ret_error)
{
	AUTO_FREE char *status = NULL;
	unsigned long long uid, ignored;
	char path[64];
	size_t size;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	r = fd_read_file(path, 16384, &status, &size);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", path, strerror(-r));
	/* The fields are the real, effective, saved and file-system user ids; we need the
	 * file-system user id. */
	if (!status_value(status, "\nUid:", 10, 3, &uid) ||
	    !status_value(status, "\nSigIgn:", 16, 0, &ignored))
		return error_set(ret_error, -ENOTSUP, "%s is not understood", path);
	if (!(ignored >> (SIGPIPE - 1) & 1))
		return error_set(ret_error, -ENOTSUP, "process %d does not ignore SIGPIPE", pid);
	*ret_uid = (uid_t)uid;
	return 0;
}

static int make_pipe(struct gate *g, uid_t uid, struct error *ret_error)
{
	struct stat st;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_set(ret_error, -errno, "pipe: %m");
	g->pipe_read = fds[0];
	g->pipe_write = fds[1];
	/* QEMU opens the pipe by its name in /proc/self/fd. The kernel then checks QEMU's right to
	 * write, so QEMU's user must own the pipe. */
	if (fcntl(g->pipe_write, F_SETPIPE_SZ, (int)GATE_PIECE_BYTES) != (int)GATE_PIECE_BYTES ||
	    fstat(g->pipe_write, &st) < 0 || fchown(g->pipe_write, uid, (gid_t)-1) < 0)
		return error_set(ret_error, -ENOTSUP, "a pipe of %u bytes for user %u: %m",
				 GATE_PIECE_BYTES, uid);
	g->inode = st.st_ino;
	return 0;
}

static int open_syscall(struct gate *g, struct error *ret_error)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", g->pid);
	g->syscall_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (g->syscall_fd < 0)
		return error_set(ret_error, -ENOTSUP, "%s: %m", path);
	return 0;
}

static int hand_over(struct gate *g, struct error *ret_error)
{
	json_t *answer = NULL;
	json_int_t fd = -1, id = -1;
	char path[64];
	int r = qmp_send_with_fd(g->qmp, "add-fd", json_pack("{s:s}", "opaque", GATE_OPAQUE),
				 g->pipe_write);

	if (r == 0)
		r = qmp_wait(g->qmp, COMMAND_TIMEOUT_NS, &answer);
	if (r < 0)
		return error_set(ret_error, r, "add-fd: %s", qmp_error(g->qmp));
	if (json_unpack(answer, "{s:I, s:I}", "fdset-id", &id, "fd", &fd) == 0)
		g->fdset_id = id;
	json_decref(answer);
	if (g->fdset_id < 0 || fd < 0)
		return error_set(ret_error, -EPROTO, "add-fd: an answer without fdset-id and fd");
	/* Do not use /dev/fdset: QEMU truncates a file that it opens by such a name, and a pipe
	 * cannot be truncated. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%" PRId64, (int64_t)fd);
	g->command = qmp_render("xen-save-devices-state",
				json_pack("{s:s, s:b}", "filename", path, "live", 0));
	return g->command ? 0 : error_set(ret_error, -ENOMEM, "out of memory");
}

/* Try one save before anything depends on the gate. */
static int try_it(struct gate *g, struct error *ret_error)
{
	const uint8_t *blob;
	size_t size;
	int r = gate_arm(g);

	if (r == 0)
		r = gate_stop(g, COMMAND_TIMEOUT_NS);
	if (r == 0)
		r = gate_wait_end(g, COMMAND_TIMEOUT_NS);
	if (r == 0)
		do
			r = gate_finish(g, COMMAND_TIMEOUT_NS, &blob, &size);
		while (r == 1);
	/* -ECANCELED is not a failure here: all writes had the full size, so the last one could not
	 * be recognised. The next save recognises it by the size of this blob */
	if (r == 0 || r == -ECANCELED)
		return 0;
	(void)error_set(ret_error, r, "a save through a pipe: %s",
			r == -EREMOTEIO ? qmp_error(g->qmp) : strerror(-r));
	gate_abandon(g, COMMAND_TIMEOUT_NS);
	return r == -EREMOTEIO ? -ENOTSUP : r;
}

int gate_open(struct qmp *q, pid_t pid, size_t max_bytes, struct gate **ret_gate,
	      struct error *ret_error)
{
	struct gate *g = calloc(1, sizeof(*g));
	uid_t uid = 0;
	int r;

	if (!g)
		return error_set(ret_error, -ENOMEM, "out of memory");
	g->qmp = q;
	g->pid = pid;
	g->pipe_read = g->pipe_write = g->syscall_fd = -1;
	g->fdset_id = -1;
	g->max_bytes = max_bytes;
	g->capacity = FIRST_CAPACITY < max_bytes ? FIRST_CAPACITY : max_bytes;
	g->data = malloc(g->capacity);
	r = g->data ? look_at_process(pid, &uid, ret_error)
		    : error_set(ret_error, -ENOMEM, "out of memory");
	if (r == 0)
		r = make_pipe(g, uid, ret_error);
	if (r == 0)
		r = open_syscall(g, ret_error);
	if (r == 0)
		r = hand_over(g, ret_error);
	if (r == 0)
		r = try_it(g, ret_error);
	if (r < 0) {
		gate_close(g);
		return r;
	}
	*ret_gate = g;
	return 0;
}

void gate_guard(struct gate *g)
{
	int r;

	if (g->is_guarded)
		return;
	g->is_guarded = true;
	r = letgo_open(g->pipe_read, &g->letgo);
	if (r < 0)
		log_debug("pid=%d an agent that dies in a pause lets it go later, ignoring: %s",
			  g->pid, strerror(-r));
}

struct gate *gate_close(struct gate *g)
{
	if (!g)
		return NULL;
	/* Close the pipe before any command: QEMU cannot answer while it sleeps in a write to the
	 * pipe. */
	letgo_close(g->letgo);
	fd_close(g->pipe_read);
	fd_close(g->pipe_write);
	if (g->is_running)
		(void)!qmp_wait(g->qmp, COMMAND_TIMEOUT_NS, NULL); /* the save fails as intended */
	/* An error is ignored: QEMU's copy of the descriptor then stays open until the monitor is
	 * closed. */
	if (g->fdset_id >= 0 &&
	    qmp_execute(g->qmp, "remove-fd",
			json_pack("{s:I}", "fdset-id", (json_int_t)g->fdset_id), COMMAND_TIMEOUT_NS,
			NULL) < 0)
		log_debug("remove-fd: %s, ignoring", qmp_error(g->qmp));
	fd_close(g->syscall_fd);
	free(g->command);
	free(g->data);
	free(g);
	return NULL;
}

struct gate *gate_leave(struct gate *g)
{
	if (g)
		g->fdset_id = -1;
	return gate_close(g);
}

int64_t gate_fdset_id(const struct gate *g)
{
	return g->fdset_id;
}

/* --- one save */

int gate_arm(struct gate *g)
{
	if (!g->is_filled) {
		memset(g->scratch, 0, sizeof(g->scratch));
		if (write(g->pipe_write, g->scratch, sizeof(g->scratch)) !=
		    (ssize_t)sizeof(g->scratch))
			return -EIO;
		g->is_filled = true;
	}
	return qmp_arm(g->qmp, g->command);
}

/* Returns the number of bytes in the pipe, or -errno. */
static int bytes_in_pipe(const struct gate *g)
{
	int n;

	return ioctl(g->pipe_read, FIONREAD, &n) < 0 ? -errno : n;
}

/* Returns true if QEMU's descriptor @fd is our pipe. */
static bool is_our_pipe(const struct gate *g, unsigned long fd)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%lu", g->pid, fd);
	return stat(path, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_ino == g->inode;
}

/* Returns the total size of the iovec at @address in QEMU's memory, or -errno. */
static int64_t vector_size(const struct gate *g, unsigned long address, unsigned long n_pieces)
{
	struct iovec pieces[PIECES_MAX];
	struct iovec local = {pieces, n_pieces * sizeof(pieces[0])};
	struct iovec remote = {(void *)address, n_pieces * sizeof(pieces[0])};
	int64_t size = 0;

	if (n_pieces > PIECES_MAX)
		return -ENOTSUP;
	if (process_vm_readv(g->pid, &local, 1, &remote, 1, 0) != (ssize_t)local.iov_len)
		return -EFAULT;
	for (unsigned long i = 0; i < n_pieces; i++)
		size += (int64_t)pieces[i].iov_len;
	return size;
}

/* If QEMU's main thread sleeps in a write to our pipe, returns the size of that write. Returns 0 if
 * it does not, or -errno. */
static int64_t sleeping_write(const struct gate *g)
{
	unsigned long fd, address, count;
	char text[256];
	long number;
	ssize_t n = pread(g->syscall_fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	/* The text is "running", or the number and arguments of the system call in which the thread
	 * sleeps. */
	if (sscanf(text, "%ld %lx %lx %lx", &number, &fd, &address, &count) != 4 ||
	    (number != SYS_writev && number != SYS_write) || !is_our_pipe(g, fd))
		return 0;
	return number == SYS_write ? (int64_t)count : vector_size(g, address, count);
}

/* Check whether QEMU is held in its next write. While a write holds QEMU, none of its bytes are in
 * the pipe. Returns 1 and sets write_size if QEMU is held; 0 if it is not held yet; or -errno. */
static int look(struct gate *g)
{
	int64_t size;
	int n = bytes_in_pipe(g);

	/* The pipe does not contain all bytes of the previous write yet, so QEMU may still be in
	 * that write. */
	if (n < 0 || (size_t)n < g->in_pipe)
		return n < 0 ? n : 0;
	size = sleeping_write(g);
	if (size <= 0)
		return (int)size;
	n = bytes_in_pipe(g);
	if (n < 0)
		return n;
	/* The pipe contains an unexpected number of bytes. So we do not know at which byte of the
	 * blob the write starts. */
	if ((size_t)n != g->in_pipe || size > (int64_t)GATE_PIECE_BYTES)
		return -EPROTO;
	g->write_size = (size_t)size;
	return 1;
}

/* Make room for @more bytes of the blob and some spare room, so that the buffer rarely has to
 * grow. */
static int make_room(struct gate *g, size_t more)
{
	size_t capacity = g->size + more;
	uint8_t *data;

	if (capacity <= g->capacity)
		return 0;
	if (capacity > g->max_bytes)
		return -EFBIG;
	capacity = capacity + capacity / 2 < g->max_bytes ? capacity + capacity / 2 : g->max_bytes;
	data = realloc(g->data, capacity);
	if (!data)
		return -ENOMEM;
	g->data = data;
	g->capacity = capacity;
	return 0;
}

/* Empty the pipe: drop the filler, or append the bytes of the blob to g->data. QEMU must be held,
 * or must have answered. */
static int take(struct gate *g)
{
	uint8_t *to = g->scratch;
	size_t left = g->in_pipe;

	if (!g->has_filler) {
		int r = make_room(g, left);

		if (r < 0)
			return r;
		to = g->data + g->size;
		g->size += left;
	}
	while (left > 0) {
		ssize_t n = read(g->pipe_read, to, left);

		if (n <= 0)
			return n < 0 && errno != EAGAIN ? -errno : -EPROTO;
		to += n;
		left -= (size_t)n;
	}
	return 0;
}

/* Empty the pipe, so that it has room for the whole write that holds QEMU. */
static int pass(struct gate *g)
{
	int r = take(g);

	if (r < 0)
		return r;
	g->has_filler = false;
	g->in_pipe = g->write_size;
	g->passed += g->write_size;
	g->write_size = 0;
	return 0;
}

static bool looks_like_the_last(const struct gate *g)
{
	return g->write_size < GATE_PIECE_BYTES || g->passed + g->write_size == g->last_size;
}

int gate_advance(struct gate *g)
{
	int r = g->write_size > 0 ? 1 : look(g);

	if (r <= 0 || looks_like_the_last(g))
		return r;
	return pass(g);
}

/* Finish a save: read QEMU's answer, which has arrived, and the rest of the blob. Returns 0 or the
 * error in the answer. */
static int conclude(struct gate *g)
{
	int n, r = qmp_wait(g->qmp, 0, NULL);

	g->is_running = false;
	if (r < 0)
		return r;
	n = bytes_in_pipe(g);
	if (n < 0 || g->has_filler)
		return n < 0 ? n : -EPROTO;
	g->in_pipe = (size_t)n;
	r = take(g);
	g->last_size = g->size;
	return r;
}

int gate_stop(struct gate *g, uint64_t timeout_ns)
{
	uint64_t deadline_ns = clock_mono_ns() + timeout_ns;
	int r = gate_arm(g);

	if (r == 0)
		r = qmp_send_rendered(g->qmp, g->command, NULL);
	if (r < 0)
		return r;
	g->is_filled = false;
	g->is_running = g->has_filler = true;
	g->in_pipe = GATE_PIECE_BYTES;
	g->passed = g->write_size = g->size = 0;
	do {
		r = qmp_wait_event(g->qmp, "STOP", DOUBT_NS);
		if (r == 1) {
			r = conclude(g);
			return r < 0 ? r : -EPROTO;
		}
		/* No STOP event has come yet. QEMU sends none if somebody else had stopped the
		 * guest before. So also check whether QEMU is held in its first write: QEMU makes
		 * this write only while the guest is stopped. */
		if (r == -ETIMEDOUT)
			r = look(g);
		else
			return r;
	} while (r == 0 && clock_mono_ns() < deadline_ns);
	return r == 0 ? -ETIMEDOUT : r < 0 ? r : 0;
}

int gate_wait_end(struct gate *g, uint64_t timeout_ns)
{
	uint64_t start_ns = clock_mono_ns(), spent_ns = 0;
	int r;

	while ((r = gate_advance(g)) == 0) {
		r = qmp_wait_event(g->qmp, NULL, spent_ns < SPIN_NS ? 0 : NAP_NS);
		if (r == 1) {
			r = conclude(g);
			return r < 0 ? r : -ECANCELED;
		}
		if (r != -ETIMEDOUT)
			return r;
		spent_ns = clock_mono_ns() - start_ns;
		if (spent_ns >= timeout_ns)
			return -ETIMEDOUT;
		(void)sched_yield(); /* never fails on Linux */
	}
	return r < 0 ? r : 0;
}

int gate_finish(struct gate *g, uint64_t timeout_ns, const uint8_t **ret_blob, size_t *ret_size)
{
	uint64_t deadline_ns = clock_mono_ns() + timeout_ns;
	int r = pass(g);

	if (r < 0)
		return r;
	while ((r = qmp_wait_event(g->qmp, NULL, DOUBT_NS)) != 1) {
		if (r != -ETIMEDOUT)
			return r;
		r = look(g);
		if (r != 0)
			return r;
		if (clock_mono_ns() >= deadline_ns)
			return -ETIMEDOUT;
	}
	r = conclude(g);
	if (r < 0)
		return r;
	if (g->size != g->passed)
		return -ECANCELED;
	*ret_blob = g->data;
	*ret_size = g->size;
	return 0;
}

void gate_abandon(struct gate *g, uint64_t timeout_ns)
{
	uint64_t deadline_ns = clock_mono_ns() + timeout_ns;

	while (g->is_running && clock_mono_ns() < deadline_ns) {
		int r;

		while (read(g->pipe_read, g->scratch, sizeof(g->scratch)) > 0)
			;
		r = qmp_wait_event(g->qmp, NULL, NAP_NS);
		if (r == 1) {
			g->is_running = false;
			(void)!qmp_wait(g->qmp, 0, NULL); /* the caller already has an error */
		} else if (r != -ETIMEDOUT) {
			break;
		}
	}
	/* close the reading end: QEMU's write then fails, and QEMU resumes the guest */
	if (g->is_running) {
		g->letgo = letgo_close(g->letgo);
		g->pipe_read = fd_close(g->pipe_read);
	}
}
