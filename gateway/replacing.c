#include "replacing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/program.h"

#define STARTS_NS (20 * CLOCK_NS_PER_S) /* time limit for the next program to get ready */
#define QUIET_NS  (10 * CLOCK_NS_PER_S) /* time limit for a next program's wait for GO */
#define ENDS_NS	  CLOCK_NS_PER_S	/* time limit for a next program to end by itself */
#define SERVES_NS (5 * CLOCK_NS_PER_S)	/* time limit for a next program to serve after GO */
#define LOOK_NS	  (10 * CLOCK_NS_PER_MS)
#define GOES_ON	  "this program goes on and is not replaced: "

extern char **environ;

static void ends(struct replacing *r, const char *why, uint64_t now_ns)
{
	r->next.fd = fd_close(r->next.fd); /* this also removes it from the epoll */
	r->phase = REPLACING_ENDS;
	r->why = why;
	r->look_ns = now_ns;
	r->give_up_ns = why ? now_ns : now_ns + ENDS_NS;
}

static void next_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	struct replacing *r = (struct replacing *)source;
	char byte = 0;

	(void)events;
	if (read(source->fd, &byte, 1) == 1 && byte == REPLACING_READY &&
	    r->phase == REPLACING_STARTS) {
		r->phase = REPLACING_WAITS;
		r->give_up_ns = now_ns + QUIET_NS;
		return;
	}
	ends(r, NULL, now_ns);
}

void replacing_init(struct replacing *r, const char *config_path, const char *state_dir,
		    int epoll_fd)
{
	*r = (struct replacing){.next = {.fd = -1, .ready = next_ready}, .epoll_fd = epoll_fd,
				.config_path = config_path, .state_dir = state_dir};
}

/* Start the next program with @fd as its REPLACING_FD. Returns 0 or -errno. */
static int spawn(struct replacing *r, int fd)
{
	char option[] = "--config", next_option[] = "--replaces";
	char *const argv[] = {(char *)(uintptr_t)program_path(), option,
			      (char *)(uintptr_t)r->config_path, next_option,
			      (char *)(uintptr_t)r->state_dir, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int result = child_attributes(&attr, 0);

	if (result < 0)
		return result;
	posix_spawn_file_actions_init(&files);
	result = posix_spawn_file_actions_adddup2(&files, fd, REPLACING_FD);
	if (result == 0) /* close all others: DPDK opens sockets without O_CLOEXEC */
		result = posix_spawn_file_actions_addclosefrom_np(&files, REPLACING_FD + 1);
	if (result == 0)
		result = posix_spawn(&r->pid, program_path(), &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	if (result != 0)
		r->pid = 0;
	return -result;
}

/* Check whether the next program would survive our end. Returns -EPERM if our supervisor would kill
 * it then, because the supervisor could not be told that the next program is the gateway. Otherwise
 * returns 0. */
static int check_supervisor(struct error *ret_error)
{
	if (getpid() == 1)
		return error_set(ret_error, -EPERM, "this is process 1, whose end ends all others: "
				 "restart the container");
	/* systemd sets INVOCATION_ID always, and NOTIFY_SOCKET if the unit asks for it */
	if (getenv("INVOCATION_ID") && !getenv("NOTIFY_SOCKET"))
		return error_set(ret_error, -EPERM, "systemd cannot be told who the main process "
				 "is: set NotifyAccess=main in the unit, and restart the gateway");
	return 0;
}

static int start(struct replacing *r, uint64_t now_ns, struct error *ret_error)
{
	int pair[2] = {-1, -1}, result = check_supervisor(ret_error);

	if (result < 0)
		return result;
	result = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
	if (result == 0)
		result = spawn(r, pair[1]);
	fd_close(pair[1]);
	if (result < 0) {
		fd_close(pair[0]);
		return error_set(ret_error, result, "%s cannot be run: %s", program_path(),
				 strerror(-result));
	}
	r->next.fd = pair[0];
	r->phase = REPLACING_STARTS;
	r->give_up_ns = now_ns + STARTS_NS;
	if (source_add(r->epoll_fd, &r->next, EPOLLIN) < 0)
		ends(r, "cannot be watched", now_ns);
	return 0;
}

void replacing_ask(struct replacing *r, uint64_t now_ns)
{
	struct error error;

	if (r->phase != REPLACING_IDLE)
		log_info("the next program, pid %d, is being started or ended already", r->pid);
	else if (start(r, now_ns, &error) < 0)
		log_error(GOES_ON "%s", error.text);
	else
		log_info("%s starts as pid %d, and takes over when it is ready", program_path(),
			 r->pid);
}

bool replacing_waits(const struct replacing *r)
{
	return r->phase == REPLACING_WAITS;
}

/* Log that the next program has ended with @status (of waitpid()). @outcome says what follows. */
static void tell_end(const struct replacing *r, const char *outcome, int status)
{
	char text[64];

	if (r->why)
		(void)snprintf(text, sizeof(text), "%s", r->why);
	else if (WIFEXITED(status))
		(void)snprintf(text, sizeof(text), "exit status %d; it said why above",
			       WEXITSTATUS(status));
	else
		(void)snprintf(text, sizeof(text), "ended by signal %d", WTERMSIG(status));
	log_error("%s%s (pid %d): %s; try `%s --config %s --check-config`", outcome,
		  program_path(), r->pid, text, program_path(), r->config_path);
}

void replacing_tick(struct replacing *r, uint64_t now_ns)
{
	int status = 0;

	if (now_ns < replacing_deadline_ns(r))
		return;
	if (r->phase == REPLACING_STARTS)
		ends(r, "not ready after 20 s", now_ns);
	if (r->phase == REPLACING_WAITS)
		ends(r, "a disk or a fence command does not end for 10 s", now_ns);
	if (now_ns >= r->give_up_ns)
		(void)kill(r->pid, SIGKILL); /* it has opened nothing yet, so this is safe */
	r->look_ns = now_ns + LOOK_NS;
	/* Use WNOHANG: even a killed process does not end while it waits for a disk. */
	if (waitpid(r->pid, &status, WNOHANG) == 0)
		return;
	tell_end(r, GOES_ON, status);
	r->phase = REPLACING_IDLE;
	r->pid = 0;
}

uint64_t replacing_deadline_ns(const struct replacing *r)
{
	switch (r->phase) {
	case REPLACING_STARTS:
	case REPLACING_WAITS:
		return r->give_up_ns;
	case REPLACING_ENDS:
		return r->look_ns;
	case REPLACING_IDLE:
		break;
	}
	return UINT64_MAX;
}

/* Tell systemd that @pid is the main process of our unit now. Does nothing if systemd expects no
 * such message. Source: sd_notify(3), whose protocol is one datagram. A library for that would
 * bring all of libsystemd into the gateway. */
static void tell_systemd(pid_t pid)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char text[32];
	size_t size = path ? strlen(path) : 0;
	int fd, n;

	if (size < 2 || size >= sizeof(at.sun_path))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	memcpy(at.sun_path, path, size);
	if (*path == '@') /* an abstract name */
		at.sun_path[0] = '\0';
	n = snprintf(text, sizeof(text), "MAINPID=%d", pid);
	if (sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&at,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)) < 0)
		log_warn("systemd does not learn that pid %d is the gateway now: it will end that "
			 "process and start another one: %s", pid, strerror(errno));
	fd_close(fd);
}

/* Wait until the next program serves. Returns
 *      0           the next program serves
 *      -EPIPE      the next program has ended, or does not serve in time
 *      -ECANCELED  a signal asks us to end */
static int await_service(const struct replacing *r, int signal_fd, bool *ret_reload)
{
	struct pollfd fds[] = {{.fd = r->next.fd, .events = POLLIN},
			       {.fd = signal_fd, .events = POLLIN}};
	uint64_t now_ns = clock_mono_ns(), until_ns = now_ns + SERVES_NS;
	char byte = 0;

	for (; now_ns < until_ns; now_ns = clock_mono_ns()) {
		(void)poll(fds, 2, clock_poll_ms(now_ns, until_ns));
		if (fds[0].revents)
			return read(r->next.fd, &byte, 1) == 1 && byte == REPLACING_SERVES
				       ? 0 : -EPIPE;
		if (replacing_is_ended(signal_fd, ret_reload))
			return -ECANCELED;
	}
	log_error("the next program, pid %d, does not serve after 5 s: it is ended", r->pid);
	return -EPIPE;
}

/* End the next program. It may be the gateway already, so first ask it to end, and kill it only
 * after ENDS_NS. */
static void end_gently(const struct replacing *r)
{
	uint64_t until_ns = clock_mono_ns() + ENDS_NS;

	(void)kill(r->pid, SIGTERM);
	while (clock_mono_ns() < until_ns) {
		if (waitpid(r->pid, NULL, WNOHANG) != 0)
			return;
		(void)poll(NULL, 0, 1);
	}
	(void)kill(r->pid, SIGKILL);
}

int replacing_go(struct replacing *r, bool may_go, int signal_fd, uint64_t since_ns)
{
	uint8_t go[REPLACING_GO_BYTES] = {REPLACING_GO};
	int result = -ECANCELED, status = 0;
	bool reload = false;

	if (r->pid <= 0)
		return 0;
	bytes_put_be64(go + 1, since_ns);
	if (r->phase == REPLACING_WAITS && may_go && !replacing_is_ended(signal_fd, &reload))
		result = fd_write_all(r->next.fd, go, sizeof(go)) < 0 ? -EPIPE :
			 await_service(r, signal_fd, &reload);
	r->next.fd = fd_close(r->next.fd);
	if (result == 0) {
		tell_systemd(r->pid);
		if (reload) /* we took a SIGHUP that is meant for the gateway: pass it on */
			(void)kill(r->pid, SIGHUP);
		return 0;
	}
	if (result == -ECANCELED) {
		end_gently(r);
		return 0;
	}
	(void)kill(r->pid, SIGKILL);
	/* Wait until the next program is gone, because until then it has the lock of state_dir.
	 * This takes long if it waits for a disk. */
	(void)waitpid(r->pid, &status, 0);
	r->why = NULL;
	tell_end(r, "this program starts again: ", status);
	return -EPIPE;
}

void replacing_start_again(const char *config_path)
{
	char option[] = "--config";
	char *argv[] = {(char *)(uintptr_t)program_path(), option, (char *)(uintptr_t)config_path,
			NULL};

	/* Let the exec close all other descriptors: DPDK keeps its memory in some without
	 * O_CLOEXEC. */
	(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	(void)execveat(program_fd(), "", argv, environ, AT_EMPTY_PATH);
	log_error("this program cannot start again: %s", strerror(errno));
}
