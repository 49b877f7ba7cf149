#include "standby/drill_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <net/if.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

#define TAP_PREFIX   "hfr" /* the names that rehearse.c gives to taps begin like this */
#define RETRY_MS     100   /* interval between two attempts to connect */
#define CANCEL_MS    100   /* how often to check whether the drill is cancelled */
#define LOG_BYTES_MAX (32 << 20)
/* largest file that the script may write, because run_dir is small */
#define SCRIPT_FILE_MAX (16 << 20)
#define KILL_MS	     5000  /* how long to wait for a process that was killed */

int drill_world_enter(struct error *ret_error)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		return error_set(ret_error, -errno,
				 "a drill needs namespaces of its own (CAP_SYS_ADMIN): %m");
	/* mounts that are made here must not be visible outside */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_set(ret_error, -errno, "mounts cannot be made private: %m");
	return 0;
}

int drill_world_cover(const char *copy, const char *path, struct error *ret_error)
{
	if (mount(copy, path, NULL, MS_BIND, NULL) < 0)
		return error_set(ret_error, -errno, "%s cannot be laid over %s: %m", copy, path);
	return 0;
}

/* ---- the network */

static int link_up(int fd, const char *name)
{
	struct ifreq request = {0};

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	request.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int add_ports(int fd)
{
	struct if_nameindex *all = if_nameindex();
	struct ifreq request = {0};
	int r = all ? 0 : -errno;

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), DRILL_WORLD_BRIDGE);
	for (struct if_nameindex *i = all; r == 0 && i->if_index != 0; i++) {
		if (strncmp(i->if_name, TAP_PREFIX, strlen(TAP_PREFIX)) != 0)
			continue;
		request.ifr_ifindex = (int)i->if_index;
		r = ioctl(fd, SIOCBRADDIF, &request) < 0 ? -errno : link_up(fd, i->if_name);
	}
	if (all)
		if_freenameindex(all);
	return r;
}

/* Split a text such as "192.0.2.250/24" into address and mask. Returns 0 or -EINVAL. */
static int parse_address(const char *text, struct in_addr *ret_address, struct in_addr *ret_mask)
{
	char address[INET_ADDRSTRLEN];
	unsigned bits;
	char end;

	if (sscanf(text, "%15[0-9.]/%u%c", address, &bits, &end) != 2 || bits < 1 || bits > 32 ||
	    inet_pton(AF_INET, address, ret_address) != 1)
		return -EINVAL;
	ret_mask->s_addr = htonl(UINT32_MAX << (32 - bits));
	return 0;
}

static int set_address(int fd, unsigned long what, struct in_addr value)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = value};
	struct ifreq request = {0};

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), DRILL_WORLD_BRIDGE);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	return ioctl(fd, what, &request) < 0 ? -errno : 0;
}

int drill_world_connect(const char *address, struct error *ret_error)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct in_addr own = {0}, mask = {0};
	int r;

	if (*address && parse_address(address, &own, &mask) < 0)
		return error_set(ret_error, -EINVAL,
				 "drill_address %s is no IPv4 address with a prefix length, "
				 "such as 192.0.2.250/24", address);
	r = fd < 0 || ioctl(fd, SIOCBRADDBR, DRILL_WORLD_BRIDGE) < 0 ? -errno : 0;
	if (r == 0)
		r = add_ports(fd);
	if (r == 0 && *address)
		r = set_address(fd, SIOCSIFADDR, own);
	if (r == 0 && *address)
		r = set_address(fd, SIOCSIFNETMASK, mask);
	if (r == 0)
		r = link_up(fd, DRILL_WORLD_BRIDGE);
	return r < 0 ? error_set(ret_error, r, "the drill's bridge: %s", strerror(-r)) : 0;
}

/* ---- the probe */

static int parse_target(const char *text, struct sockaddr_in *ret)
{
	char address[INET_ADDRSTRLEN];
	unsigned port;
	char end;

	memset(ret, 0, sizeof(*ret));
	ret->sin_family = AF_INET;
	if (sscanf(text, "%15[0-9.]:%u%c", address, &port, &end) != 2 || port < 1 || port > 65535 ||
	    inet_pton(AF_INET, address, &ret->sin_addr) != 1)
		return -EINVAL;
	ret->sin_port = htons((uint16_t)port);
	return 0;
}

/* Try to connect once. Returns 0 if the connection was accepted. */
static int try_connect(const struct sockaddr_in *to, int timeout_ms)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	socklen_t size = sizeof(int);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&wait, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

int drill_world_probe(const char *target, uint64_t timeout_ns, const _Atomic bool *cancel,
		      uint64_t *ret_ms, struct error *ret_error)
{
	uint64_t begin_ns = clock_mono_ns();
	struct sockaddr_in to;
	int r;

	if (parse_target(target, &to) < 0)
		return error_set(ret_error, -EINVAL,
				 "drill_probe %s is no IPv4 address with a port, such as "
				 "192.0.2.7:5432", target);
	while ((r = try_connect(&to, RETRY_MS)) < 0) {
		if (*cancel)
			return -ECANCELED;
		if (clock_mono_ns() - begin_ns > timeout_ns)
			return error_set(ret_error, -ETIMEDOUT,
					 "%s does not answer in %" PRIu64 " ms: %s", target,
					 timeout_ns / CLOCK_NS_PER_MS, strerror(-r));
		if (r != -ETIMEDOUT)
			/* the connection was refused at once: wait before the next try */
			(void)poll(NULL, 0, RETRY_MS);
	}
	*ret_ms = (clock_mono_ns() - begin_ns) / CLOCK_NS_PER_MS;
	return 0;
}

/* ---- the script */

struct script {
	char *const *argv, *const *envp;
	int log_fd;
};

/* Runs in the child (base/child.h), so it may make only async-signal-safe calls. */
static void run_child(void *arg) __attribute__((noreturn));

static void run_child(void *arg)
{
	const struct rlimit file_max = {SCRIPT_FILE_MAX, SCRIPT_FILE_MAX};
	const struct script *script = arg;
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)setsid();
	child_dies_first();
	/* kill this process when the drill's thread ends, and so also when the agent is killed; the
	 * kernel then ends all other processes of the pid namespace */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setrlimit(RLIMIT_FSIZE, &file_max);
	child_signals();
	/* what is written beyond file_max is lost, but the script goes on */
	(void)signal(SIGXFSZ, SIG_IGN);
	if (null_fd >= 0 && dup2(null_fd, 0) >= 0 && dup2(script->log_fd, 1) >= 0 &&
	    dup2(script->log_fd, 2) >= 0)
		execve(script->argv[0], script->argv, script->envp);
	_exit(127);
}

/* Get the last line of the log that is not empty. */
static void last_line(const char *log_path, char *ret_line, size_t size)
{
	AUTO_FREE char *text = NULL;
	size_t n;
	char *at;

	*ret_line = '\0';
	if (fd_read_file(log_path, LOG_BYTES_MAX, &text, &n) < 0)
		return;
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	at = strrchr(text, '\n');
	(void)snprintf(ret_line, size, "%s", at ? at + 1 : text);
}

/* Wait until the process has ended. Returns 0 if it has; an error if it must be killed. */
static int wait_script(int pidfd, uint64_t timeout_ns, const _Atomic bool *cancel)
{
	uint64_t deadline_ns = clock_mono_ns() + timeout_ns;
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	while (poll(&ended, 1, CANCEL_MS) <= 0) {
		if (*cancel)
			return -ECANCELED;
		if (clock_mono_ns() > deadline_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

int drill_world_script(const char *script, const char *vm, const char *qmp_path,
		       const char *log_path, uint64_t timeout_ns, const _Atomic bool *cancel,
		       struct error *ret_error)
{
	AUTO_CLOSE int log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char vm_var[96], qmp_var[160], path_var[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", line[300];
	char bridge_var[] = "HOLDFAST_BRIDGE=" DRILL_WORLD_BRIDGE;
	char *argv[] = {(char *)(uintptr_t)script, NULL};
	char *envp[] = {vm_var, qmp_var, bridge_var, path_var, NULL};
	struct script child = {argv, envp, log_fd};
	AUTO_CLOSE int pidfd = -1;
	int status = 0, r;
	pid_t pid;

	if (log_fd < 0)
		return error_set(ret_error, -errno, "%s: %m", log_path);
	(void)snprintf(vm_var, sizeof(vm_var), "HOLDFAST_VM=%s", vm);
	(void)snprintf(qmp_var, sizeof(qmp_var), "HOLDFAST_QMP=%s", qmp_path);
	/* The script is the first process of a pid namespace. So when the script ends, the kernel
	 * ends all processes that the script has left in the background. They would keep the second
	 * copy's memory in use. */
	if (unshare(CLONE_NEWPID) < 0)
		return error_set(ret_error, -errno, "drill_script: no pid namespace: %m");
	pid = child_start(run_child, &child);
	if (pid < 0)
		return error_set(ret_error, pid, "%s: %s", script, strerror(-pid));
	pidfd = pidfd_open(pid, 0);
	r = pidfd < 0 ? -errno : wait_script(pidfd, timeout_ns, cancel);
	(void)kill(pid, SIGKILL); /* has no effect if the script has ended */
	if (pidfd >= 0 && poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, KILL_MS) > 0)
		(void)waitpid(pid, &status, 0);
	last_line(log_path, line, sizeof(line));
	if (r == -ETIMEDOUT)
		return error_set(ret_error, r,
				 "drill_script %s was killed after %" PRIu64 " ms: %s",
				 script, timeout_ns / CLOCK_NS_PER_MS, line);
	if (r < 0)
		return error_set(ret_error, r, "drill_script %s: %s", script, strerror(-r));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return error_set(ret_error, -EBADE, "drill_script %s ends with status %d%s: %s", script,
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
			 WIFEXITED(status) ? "" : " (a signal)", line);
}
