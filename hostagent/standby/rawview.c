#include "standby/rawview.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "standby/output.h"

#define DAEMON         "qemu-storage-daemon"
#define START_NS       (20 * CLOCK_NS_PER_S)
#define END_MS	       20000
#define POLL_MS        2 /* interval between two checks for the pid file */
#define CMDLINE_MAX    16384
#define LOG_MAX	       65536
#define LOG_CAUSE_BYTES 600

extern char **environ;

int rawview_init(struct rawview *view, const char *run_dir, const char *vm, const char *disk,
		 struct error *ret_error)
{
	/* no VM's name contains a dot, so each path belongs to one VM */
	int n = snprintf(view->log_path, sizeof(view->log_path), "%s/%s.%s.view.log", run_dir, vm,
			 disk);

	view->pid = 0;
	view->pidfd = -1;
	view->end_ms = END_MS;
	if (n < 0 || (size_t)n >= sizeof(view->log_path))
		return error_set(ret_error, -ENAMETOOLONG, "run_dir %s is too long", run_dir);
	/* ignore the results: both paths are shorter than log_path */
	(void)snprintf(view->pid_path, sizeof(view->pid_path), "%s/%s.%s.view.pid", run_dir, vm,
		       disk);
	(void)snprintf(view->file, sizeof(view->file), "%s/%s.%s.view", run_dir, vm, disk);
	return 0;
}

/* ---- the process */

static void forget(struct rawview *view)
{
	view->pidfd = fd_close(view->pidfd);
	view->pid = 0;
}

static bool wait_end(const struct rawview *view, int timeout_ms)
{
	struct pollfd p = {.fd = view->pidfd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) > 0;
}

/* Is @pid the daemon of this view? If so, the path of our pid file is one of its arguments. */
static bool is_ours(const struct rawview *view, pid_t pid)
{
	AUTO_FREE char *words = NULL;
	char path[64];
	size_t size;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	return fd_read_file(path, CMDLINE_MAX, &words, &size) == 0 &&
	       memmem(words, size, view->pid_path, strlen(view->pid_path) + 1) != NULL;
}

/* Find the daemon that the pid file names. Returns a pidfd, and *ret_pid is the daemon's pid; or -1
 * if there is none. */
static int find(const struct rawview *view, pid_t *ret_pid)
{
	AUTO_FREE char *text = NULL;
	size_t size;
	pid_t pid;
	int pidfd;

	if (fd_read_file(view->pid_path, 64, &text, &size) < 0)
		return -1;
	pid = (pid_t)strtol(text, NULL, 10);
	pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	/* If the pid has passed to another process before pidfd_open(), is_ours() sees that. */
	if (pidfd >= 0 && !is_ours(view, pid))
		pidfd = fd_close(pidfd);
	if (pidfd >= 0)
		*ret_pid = pid;
	return pidfd;
}

bool rawview_has_died(const struct rawview *view)
{
	return view->pid > 0 && wait_end(view, 0);
}

bool rawview_has_lost(const struct rawview *view)
{
	pid_t pid;
	int pidfd;

	if (access(view->pid_path, F_OK) < 0)
		return false;
	if (view->pid > 0)
		return rawview_has_died(view);
	pidfd = find(view, &pid);
	if (pidfd < 0)
		return true;
	fd_close(pidfd);
	return false;
}

void rawview_forget_loss(struct rawview *view)
{
	if (!rawview_has_lost(view))
		return;
	(void)unlink(view->pid_path); /* if this fails, rawview_open() reports an error */
	forget(view);
}

/* Unmount the view. A daemon that was killed leaves it mounted. */
static void unmount(const struct rawview *view)
{
	while (umount2(view->file, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
}

/* Get the cause of the daemon's end from its messages, as one line. */
static void log_cause(const struct rawview *view, char text[LOG_CAUSE_BYTES + 1])
{
	AUTO_FREE char *data = NULL;
	size_t size;

	*text = '\0';
	if (fd_read_file(view->log_path, LOG_MAX, &data, &size) == 0)
		output_cause(data, size, text, LOG_CAUSE_BYTES + 1);
}

/* Make the daemon write all its data to the image's disk. The daemon also does this when it ends,
 * but then it ignores errors. Returns 1; 0 if the daemon has ended, or its view is not mounted
 * here; or -errno. */
static int flush(const struct rawview *view)
{
	AUTO_CLOSE int fd = -1;
	struct statfs fs;
	int r = 1;

	if (rawview_has_died(view))
		return 0;
	fd = open(view->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		r = -errno;
	else if (fs.f_type != FUSE_SUPER_MAGIC)
		r = 0;
	else if (fdatasync(fd) < 0)
		r = -errno;
	return r < 0 && rawview_has_died(view) ? 0 : r;
}

/* Kill a daemon that has written all its data. Returns true if it has ended. */
static bool kill_whole(const struct rawview *view)
{
	(void)pidfd_send_signal(view->pidfd, SIGKILL, NULL, 0);
	return wait_end(view, view->end_ms);
}

int rawview_end(struct rawview *view, bool is_whole, struct error *ret_error)
{
	char cause[LOG_CAUSE_BYTES + 1];
	siginfo_t info = {0};
	int flushed;

	if (view->pid <= 0)
		return 0;
	flushed = is_whole ? 1 : flush(view);
	/* If the daemon could not flush, kill it: it then leaves its pid file, which proves the
	 * loss, also to the next agent. Ignore an error: it means that the daemon has ended. */
	(void)pidfd_send_signal(view->pidfd, flushed < 0 ? SIGKILL : SIGTERM, NULL, 0);
	if (!wait_end(view, view->end_ms) && (flushed <= 0 || !kill_whole(view)))
		return error_set(ret_error, -ETIMEDOUT,
				 DAEMON " (pid %d) does not end: is the image's disk too slow?",
				 (int)view->pid);
	/* Reap the process if it is our child. If an earlier agent has started it, init reaps
	 * it. */
	(void)waitid(P_PIDFD, (id_t)view->pidfd, &info, WEXITED | WNOHANG);
	forget(view);
	unmount(view);
	if (access(view->pid_path, F_OK) < 0)
		return 0;
	/* the daemon was killed: if it had flushed before, nothing is lost */
	if (flushed > 0 && unlink(view->pid_path) == 0) {
		log_warn(DAEMON " (%s) did not end in order, ignoring: the image has all",
			 view->pid_path);
		return 0;
	}
	if (flushed < 0)
		return error_set(ret_error, -EIO,
				 DAEMON " cannot write its metadata to the image, so writes are "
					"lost: %s",
				 strerror(-flushed));
	log_cause(view, cause);
	return error_set(ret_error, -EIO,
			 DAEMON " was killed; what it had not written to the image is lost%s%s",
			 *cause ? ": " : "", cause);
}

/* ---- start */

/* Copy @path to @to, with each comma doubled: QEMU separates settings by commas. */
static void put_path(char *to, const char *path)
{
	while (*path) {
		if (*path == ',')
			*to++ = ',';
		*to++ = *path++;
	}
	*to = '\0';
}

static int spawn(struct rawview *view, char *const *argv)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int r = child_attributes(&attributes, POSIX_SPAWN_SETSID);

	if (r < 0)
		return r;
	posix_spawn_file_actions_init(&files);
	if ((r = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)) == 0 &&
	    (r = posix_spawn_file_actions_addopen(&files, 2, view->log_path,
						  O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600)) ==
		    0 &&
	    (r = posix_spawn_file_actions_adddup2(&files, 2, 1)) == 0)
		r = posix_spawnp(&view->pid, DAEMON, &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	if (r != 0)
		view->pid = 0;
	return -r;
}

/* End a daemon that is not ready yet, and so cannot have written anything. */
static void give_up(struct rawview *view)
{
	siginfo_t info = {0};

	/* it is our child, so the pid cannot belong to another process */
	(void)kill(view->pid, SIGKILL);
	(void)waitid(P_PID, (id_t)view->pid, &info, WEXITED);
	forget(view);
	unmount(view);
	(void)unlink(view->pid_path); /* ignore an error: the file may not exist */
}

/* Wait until the daemon has written its pid file. By then the view is mounted. */
static int wait_ready(struct rawview *view, struct error *ret_error)
{
	uint64_t deadline_ns = clock_mono_ns() + START_NS;
	char cause[LOG_CAUSE_BYTES + 1];
	struct stat st;

	while (stat(view->pid_path, &st) < 0 || st.st_size == 0) {
		if (wait_end(view, POLL_MS)) {
			log_cause(view, cause);
			return error_set(ret_error, -EIO, "%s",
					 *cause ? cause : DAEMON " ended without a reason");
		}
		if (clock_mono_ns() > deadline_ns)
			return error_set(ret_error, -ETIMEDOUT,
					 DAEMON " was not ready within %u s",
					 (unsigned)(START_NS / CLOCK_NS_PER_S));
	}
	return 0;
}

static int start(struct rawview *view, const char *image, struct error *ret_error)
{
	AUTO_FREE char *node = NULL, *export = NULL, *path = malloc(2 * strlen(image) + 1);
	char file[2 * RAWVIEW_PATH_MAX];
	struct stat st;
	int r;

	if (!path)
		return error_set(ret_error, -ENOMEM, "out of memory");
	put_path(path, image);
	put_path(file, view->file);
	if (asprintf(&node, "driver=qcow2,node-name=image,file.driver=%s,file.filename=%s",
		     stat(image, &st) == 0 && S_ISBLK(st.st_mode) ? "host_device" : "file",
		     path) < 0)
		node = NULL; /* asprintf() has left `node` undefined */
	if (asprintf(&export,
		     "type=fuse,id=image,node-name=image,mountpoint=%s,writable=on,allow-other=off",
		     file) < 0)
		export = NULL;
	if (!node || !export)
		return error_set(ret_error, -ENOMEM, "out of memory");
	char *argv[] = {DAEMON, "--blockdev", node,           "--export",
			export, "--pidfile",  view->pid_path, NULL};
	r = spawn(view, argv);
	if (r < 0)
		return error_set(ret_error, r,
				 "cannot run " DAEMON ": %s (package qemu-system-common)",
				 strerror(-r));
	view->pidfd = pidfd_open(view->pid, 0);
	r = view->pidfd < 0 ? error_set(ret_error, -errno, "pidfd_open: %m")
			    : wait_ready(view, ret_error);
	if (r < 0)
		give_up(view);
	return r;
}

/* Make the file on which the view will be mounted. */
static int make_mountpoint(const struct rawview *view, struct error *ret_error)
{
	AUTO_CLOSE int fd = -1;

	unmount(view);
	fd = open(view->file, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? error_set(ret_error, -errno, "cannot make %s: %m", view->file) : 0;
}

int rawview_end_earlier(struct rawview *view, struct error *ret_error)
{
	int r;

	if (view->pid <= 0 && !rawview_has_lost(view))
		view->pidfd = find(view, &view->pid);
	r = view->pid > 0 ? rawview_end(view, false, ret_error) : 0;
	if (r == -ETIMEDOUT)
		return r;
	if (access(view->pid_path, F_OK) == 0)
		return error_set(ret_error, -EUCLEAN,
				 DAEMON " ended earlier without writing what it had: the disk must "
					"be copied anew");
	return 0;
}

int rawview_open(struct rawview *view, const char *image, struct error *ret_error)
{
	struct error ignored;
	int r = rawview_end_earlier(view, ret_error), fd;

	if (r == 0)
		r = make_mountpoint(view, ret_error);
	if (r == 0)
		r = start(view, image, ret_error);
	if (r < 0)
		return r;
	/* O_DIRECT: the daemon's own reads and writes fill the page cache already. */
	fd = open(view->file, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	r = error_set(ret_error, -errno, "cannot open %s: %m", view->file);
	(void)!rawview_end(view, true, &ignored); /* true: nothing was written */
	return r;
}
