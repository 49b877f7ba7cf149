#include "disk/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"

#define LABEL_BYTES 160u
#define STATUS_MAX  16384u
#define BACKLOG	    4
#define PLUGIN_ARG  3 /* index of the plugin's path in argv */

/* The child's descriptors. 0 is /dev/null; 1 and 2 are the pipe for its messages. */
enum child_fd {
	CHILD_SOCKET = 3, /* for the first socket, LISTEN_FDS prescribes 3 */
	CHILD_RING,
	CHILD_LIFELINE,
	CHILD_N_FDS,
};

struct disk_server {
	pid_t pid;
	int pidfd;
	int lifeline; /* end of a pipe that only the agent has; the child watches the other end */
	int log_read;	/* used by the logging thread only */
	bool has_thread;
	pthread_t thread;
	char label[LABEL_BYTES];
	char socket[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	bool has_socket; /* the socket's file exists */

	pthread_mutex_t lock;
	char line[DISK_SERVER_LINE_BYTES]; /* the child's last message; guarded by lock */
};

/* The steps of the child before nbdkit runs. step_texts says what it means if a step fails. */
enum step {
	STEP_FDS,
	STEP_USER,
	STEP_SOCKET,
	STEP_PLUGIN,
	STEP_EXEC,
};
static const char *const step_texts[] = {
	[STEP_FDS] = "its descriptors",
	[STEP_USER] = "cannot become QEMU's user",
	[STEP_SOCKET] = "QEMU's user cannot reach the socket; chmod 0711 the directories above it",
	[STEP_PLUGIN] = "QEMU's user cannot read the plugin; chmod 0644 it, 0755 its directories",
	[STEP_EXEC] = "cannot run nbdkit",
};

struct failure {
	int error; /* errno of the step that failed; 0: none has failed */
	enum step step;
};

/* All that the child needs, prepared before child_start(), because the child must not allocate
 * memory. */
struct child {
	const char *argv[8];
	uid_t uid;
	gid_t gid;
	bool drops_user; /* true if the child must become uid and gid */
	const char *path; /* path of the socket */
	int socket, ring, lifeline, log, error;
};

/* ---- QEMU's user */

/* Get a number from @status, the text of /proc/PID/status: the number with the index @field (from
 * 0) on the line that begins with @name. */
static bool status_field(const char *status, const char *name, int field, unsigned *ret)
{
	const char *at = strstr(status, name);
	unsigned long value = 0;
	char *end;

	if (!at)
		return false;
	at += strlen(name);
	do {
		value = strtoul(at, &end, 10);
		if (end == at)
			return false;
		at = end;
	} while (field-- > 0);
	*ret = (unsigned)value;
	return true;
}

static int find_user(pid_t qemu_pid, struct child *child, struct error *ret_error)
{
	AUTO_FREE char *status = NULL;
	unsigned uid, gid;
	char path[64];
	size_t size;
	int r;

	child->uid = geteuid();
	child->gid = getegid();
	if (qemu_pid == 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", qemu_pid);
	r = fd_read_file(path, STATUS_MAX, &status, &size);
	if (r < 0)
		return error_set(ret_error, r == -ENOENT ? -ESRCH : r,
				 "cannot find the user of QEMU: %s: %s", path, strerror(-r));
	/* The line has the real, effective, saved and file-system id. The last one (index 3)
	 * decides whether QEMU can open the socket. */
	if (!status_field(status, "\nUid:", 3, &uid) || !status_field(status, "\nGid:", 3, &gid))
		return error_set(ret_error, -ESRCH, "%s is not understood", path);
	child->drops_user = child->uid != uid;
	child->uid = uid;
	child->gid = gid;
	return 0;
}

/* ---- the socket */

static int open_socket(struct disk_server *s, const struct child *child, struct error *ret_error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int taken;

	if (fd < 0)
		return error_set(ret_error, -errno, "socket: %m");
	memcpy(address.sun_path, s->socket, sizeof(address.sun_path));
	/* remove the socket of an earlier agent; if this fails, bind() reports it */
	(void)unlink(s->socket);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(ret_error, -errno, "cannot make the socket %s: %m", s->socket);
	s->has_socket = true;
	/* Set mode and owner before listen(): until then nobody can connect. */
	if (chmod(s->socket, 0600) < 0 ||
	    (child->drops_user && chown(s->socket, child->uid, (gid_t)-1) < 0) ||
	    listen(fd, BACKLOG) < 0)
		return error_set(ret_error, -errno, "cannot open the socket %s for user %u: %m",
				 s->socket, child->uid);
	taken = fd;
	fd = -1;
	return taken;
}

/* ---- the child: between child_start() and exec() it may make only async-signal-safe calls. It
 * shares the agent's memory, and may change nothing there except struct child. */

/* Become QEMU's user for good. Calls the kernel directly: libc's functions would also try to change
 * the other threads of the process, which the child does not have. */
static bool drop_user(const struct child *child)
{
	return syscall(SYS_setgroups, 0, NULL) == 0 &&
	       syscall(SYS_setresgid, child->gid, child->gid, child->gid) == 0 &&
	       syscall(SYS_setresuid, child->uid, child->uid, child->uid) == 0;
}

/* Returns a copy of @fd with a number above those in enum child_fd. So the copy stays open while
 * the descriptors with those numbers are made. */
static int away(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, CHILD_N_FDS);
}

static bool place_fds(struct child *child)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int from[CHILD_N_FDS] = {away(null_fd),       away(child->log),  away(child->log),
				 away(child->socket), away(child->ring), away(child->lifeline)};

	child->error = away(child->error);
	for (int i = 0; i < CHILD_N_FDS; i++) {
		if (from[i] < 0 || dup2(from[i], i) < 0) /* dup2() clears close-on-exec */
			return false;
	}
	return true;
}

/* Write "LISTEN_PID=" and our process id to @at. */
static void print_pid(char *at)
{
	static const char name[] = "LISTEN_PID=";
	char digits[16];
	size_t n = 0;

	memcpy(at, name, sizeof(name) - 1);
	at += sizeof(name) - 1;
	for (pid_t pid = getpid(); pid > 0; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	while (n > 0)
		*at++ = digits[--n];
	*at = '\0';
}

/* Run nbdkit. Returns only on failure: the step that failed, with errno set. */
static enum step exec_nbdkit(struct child *child, char *const *environment)
{
	if (!place_fds(child))
		return STEP_FDS;
	if (child->drops_user && !drop_user(child))
		return STEP_USER;
	/* Check now, as QEMU's user, that what QEMU and nbdkit must open later can be opened.
	 * Otherwise an error would be noticed much later. */
	if (access(child->path, R_OK | W_OK) < 0)
		return STEP_SOCKET;
	if (access(child->argv[PLUGIN_ARG], R_OK) < 0)
		return STEP_PLUGIN;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		execve(child->argv[0], (char *const *)child->argv, environment);
	return STEP_EXEC;
}

static void run_child(void *arg) __attribute__((noreturn));

static void run_child(void *arg)
{
	struct child *child = arg;
	char listen_pid[40], listen_fds[] = "LISTEN_FDS=1";
	char *environment[] = {listen_pid, listen_fds, NULL};
	struct failure failure;

	print_pid(listen_pid);
	/* Begin a new session, so that a ^C at the terminal reaches only the agent. The agent then
	 * ends this process. */
	(void)setsid();
	child_signals();
	failure.step = exec_nbdkit(child, environment);
	failure.error = errno;
	/* if even this fails, just exit */
	(void)!write(child->error, &failure, sizeof(failure));
	_exit(127);
}

/* Start the child, and wait until it runs nbdkit or has failed. Returns 0, and *ret_failure says
 * whether and why the child has failed; -errno if the child could not be started or watched. */
static int spawn(struct disk_server *s, struct child *child, struct failure *ret_failure)
{
	int fds[2];
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child->error = fds[1];
	/* The guest is stopped while its disks' servers start, so this must not take long. */
	s->pid = child_start(run_child, child);
	fd_close(fds[1]);
	if (s->pid < 0) {
		fd_close(fds[0]);
		return s->pid;
	}
	do
		n = read(fds[0], ret_failure, sizeof(*ret_failure));
	while (n < 0 && errno == EINTR);
	fd_close(fds[0]);
	if (n != (ssize_t)sizeof(*ret_failure))
		ret_failure->error = 0;
	s->pidfd = pidfd_open(s->pid, 0);
	return s->pidfd < 0 ? -errno : 0;
}

/* ---- the child's messages */

static void take_line(struct disk_server *s, const char *line)
{
	if (line[0] == '\0')
		return;
	log_debug("%s %s", s->label, line);
	pthread_mutex_lock(&s->lock);
	(void)snprintf(s->line, sizeof(s->line), "%s", line);
	pthread_mutex_unlock(&s->lock);
}

/* Log the child's messages line by line until the child has ended. */
static void *log_messages(void *arg)
{
	struct disk_server *s = arg;
	char line[DISK_SERVER_LINE_BYTES], data[512];
	size_t used = 0;
	ssize_t n;

	while ((n = read(s->log_read, data, sizeof(data))) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		for (ssize_t i = 0; i < n; i++) {
			bool is_end = data[i] == '\n';

			/* Drop the rest of a line that is too long. */
			if (!is_end && used < sizeof(line) - 1)
				line[used++] = (data[i] & 0x7f) < 0x20 ? ' ' : data[i];
			if (!is_end)
				continue;
			line[used] = '\0';
			take_line(s, line);
			used = 0;
		}
	}
	line[used] = '\0';
	take_line(s, line);
	return NULL;
}

void disk_server_last_line(struct disk_server *s, char *ret_line, size_t size)
{
	pthread_mutex_lock(&s->lock);
	(void)snprintf(ret_line, size, "%s", s->line);
	pthread_mutex_unlock(&s->lock);
}

/* ---- start and stop */

/* Find nbdkit and the plugin. */
static int find_programs(const struct disk_server_config *config, struct child *child,
			 struct error *ret_error)
{
	const char *nbdkit = config->nbdkit ? config->nbdkit : DISK_SERVER_NBDKIT;
	const char *plugin = config->plugin ? config->plugin : getenv(DISK_SERVER_PLUGIN_ENV);

	if (!plugin)
		plugin = DISK_SERVER_PLUGIN;
	/* Refuse a relative path: its meaning would depend on the current directory. */
	if (nbdkit[0] != '/' || plugin[0] != '/')
		return error_set(ret_error, -ENOENT, "%s: name it by an absolute path",
				 nbdkit[0] != '/' ? nbdkit : plugin);
	if (access(nbdkit, X_OK) < 0)
		return error_set(ret_error, -errno,
				 "cannot run %s: %m; install nbdkit to replicate disks", nbdkit);
	if (access(plugin, R_OK) < 0)
		return error_set(ret_error, -errno,
				 "cannot read nbdkit's plugin %s: %m; the agent's installation "
				 "brings it",
				 plugin);
	child->argv[0] = nbdkit;
	child->argv[1] = "--foreground";
	child->argv[2] = "--log=stderr";
	child->argv[PLUGIN_ARG] = plugin;
	return 0;
}

/* Make the pipes and the child. */
static int start_child(struct disk_server *s, struct child *child, struct error *ret_error)
{
	AUTO_CLOSE int log_write = -1, lifeline_read = -1;
	struct failure failure;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(ret_error, -errno, "pipe: %m");
	s->log_read = fds[0];
	log_write = fds[1];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(ret_error, -errno, "pipe: %m");
	lifeline_read = fds[0];
	s->lifeline = fds[1];
	child->log = log_write;
	child->lifeline = lifeline_read;
	r = spawn(s, child, &failure);
	if (r < 0)
		return error_set(ret_error, r, "cannot start %s: %s", child->argv[0],
				 strerror(-r));
	if (failure.error)
		return error_set(ret_error, -failure.error, "%s with %s for user %u at %s: %s: %s",
				 child->argv[0], child->argv[PLUGIN_ARG], child->uid, s->socket,
				 step_texts[failure.step], strerror(failure.error));
	return 0;
}

static int start(struct disk_server *s, const struct disk_server_config *config,
		 struct error *ret_error)
{
	char ring_word[32], lifeline_word[32];
	struct child child = {.ring = config->ring_fd};
	AUTO_CLOSE int socket_fd = -1;
	int r = find_programs(config, &child, ret_error);

	if (r == 0)
		r = find_user(config->qemu_pid, &child, ret_error);
	if (r == 0)
		r = socket_fd = open_socket(s, &child, ret_error);
	if (r < 0)
		return r;
	child.socket = socket_fd;
	child.path = s->socket;
	(void)snprintf(ring_word, sizeof(ring_word), "ring=%d", CHILD_RING);
	(void)snprintf(lifeline_word, sizeof(lifeline_word), "lifeline=%d", CHILD_LIFELINE);
	child.argv[4] = ring_word;
	child.argv[5] = lifeline_word;
	r = start_child(s, &child, ret_error);
	if (r < 0)
		return r;
	r = pthread_create(&s->thread, NULL, log_messages, s);
	if (r > 0)
		return error_set(ret_error, -r, "a thread for %s: %s", s->label, strerror(r));
	s->has_thread = true;
	return 0;
}

int disk_server_start(const struct disk_server_config *config, struct disk_server **ret,
		      struct error *ret_error)
{
	struct disk_server *s;
	int r;

	if (strlen(config->socket) >= sizeof(s->socket))
		return error_set(ret_error, -ENAMETOOLONG,
				 "%s: too long for the path of a unix socket; shorten run_dir",
				 config->socket);
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(ret_error, -ENOMEM, "no memory for a disk's server");
	s->pid = s->pidfd = s->lifeline = s->log_read = -1;
	(void)pthread_mutex_init(&s->lock, NULL); /* cannot fail on Linux */
	(void)snprintf(s->label, sizeof(s->label), "%s", config->label);
	(void)snprintf(s->socket, sizeof(s->socket), "%s", config->socket);
	r = start(s, config, ret_error);
	if (r < 0) {
		disk_server_stop(s);
		return r;
	}
	log_debug("%s server pid %d at %s", s->label, (int)s->pid, s->socket);
	*ret = s;
	return 0;
}

void disk_server_hand_on(struct disk_server *s, pid_t *ret_pid, int *ret_lifeline, int *ret_log)
{
	*ret_pid = s->pid;
	*ret_lifeline = s->lifeline;
	*ret_log = s->log_read;
	fd_close(s->pidfd);
	if (s->has_thread)
		(void)pthread_detach(s->thread); /* the thread reads until exec ends it */
}

/* Set up *s, except s->thread, for the running server @pid. */
static int find_server(struct disk_server *s, pid_t pid, struct error *ret_error)
{
	siginfo_t info = {0};

	s->pidfd = pidfd_open(pid, 0);
	/* The server is our child. If the pid belongs to another process now, waitid() fails. */
	if (s->pidfd < 0 || waitid(P_PIDFD, (id_t)s->pidfd, &info,
				   WEXITED | WNOHANG | WNOWAIT) < 0)
		return error_set(ret_error, -ESRCH, "%s its server (pid %d) is gone", s->label,
				 (int)pid);
	s->pid = pid;
	return 0;
}

int disk_server_resume(const struct disk_server_config *config, pid_t pid, int lifeline, int log,
		       struct disk_server **ret, struct error *ret_error)
{
	struct disk_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_set(ret_error, -ENOMEM, "no memory for a disk's server");
	(void)pthread_mutex_init(&s->lock, NULL); /* cannot fail on Linux */
	(void)snprintf(s->label, sizeof(s->label), "%s", config->label);
	(void)snprintf(s->socket, sizeof(s->socket), "%s", config->socket);
	s->pid = s->pidfd = -1;
	s->lifeline = lifeline;
	s->log_read = log;
	r = find_server(s, pid, ret_error);
	if (r == 0) {
		r = -pthread_create(&s->thread, NULL, log_messages, s);
		if (r < 0)
			(void)error_set(ret_error, r, "a thread for %s: %s", s->label,
					strerror(-r));
	}
	if (r < 0) {
		fd_close(s->pidfd);
		free(s);
		return r;
	}
	s->has_thread = s->has_socket = true;
	*ret = s;
	return 0;
}

int disk_server_fd(const struct disk_server *s)
{
	return s->pidfd;
}

struct disk_server *disk_server_stop(struct disk_server *s)
{
	if (!s)
		return NULL;
	if (s->has_socket)
		/* ignore an error: nobody can use the socket any more */
		(void)unlink(s->socket);
	if (s->pid > 0) {
		/* safe: the pid cannot be used again before the child is reaped */
		(void)kill(s->pid, SIGKILL);
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (s->has_thread)
		(void)pthread_join(s->thread, NULL);
	fd_close(s->pidfd);
	fd_close(s->lifeline);
	fd_close(s->log_read);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
