#include "vmm/letgo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

/* the longest wait for more bytes. The wait usually ends earlier: QEMU closes its end of the pipe
 * when the agent's monitor connection is gone */
#define DRAIN_MS    10000
#define DRAIN_BYTES 32768
#define STACK_BYTES 65536

/* A page of memory that the agent and the releasing process share. */
struct page {
	pthread_mutex_t mutex;
};

struct letgo {
	struct page *page;
	pthread_t owner;
};

static int server_fd = -1; /* the agent's end of the socket */
static struct {
	pthread_mutex_t lock;
	/* id of the process that letgo_init() forked; 0: none, or the process has ended and was
	 * reaped */
	pid_t pid;
} start = {PTHREAD_MUTEX_INITIALIZER, 0};

/* ---- the process */

struct waiter {
	struct page *page;
	int pipe_read;
};

static void drain(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	static char nowhere[DRAIN_BYTES]; /* all threads write to it, and no thread reads it */

	while (poll(&p, 1, DRAIN_MS) > 0) {
		ssize_t n = read(fd, nowhere, sizeof(nowhere));

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return;
	}
}

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;

	if (pthread_mutex_lock(&w->page->mutex) == EOWNERDEAD)
		drain(w->pipe_read);
	fd_close(w->pipe_read);
	munmap(w->page, sizeof(*w->page));
	free(w);
	return NULL;
}

/* Start a thread that waits for the agent's death. @fds were received from the agent: the pipe's
 * reading end and the shared page. */
static void start_waiter(const int fds[2])
{
	struct waiter *w = malloc(sizeof(*w));
	pthread_attr_t attr;
	pthread_t thread;

	if (w) {
		w->pipe_read = fds[0];
		w->page =
			mmap(NULL, sizeof(*w->page), PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	}
	fd_close(fds[1]);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (!w || w->page == MAP_FAILED || pthread_create(&thread, &attr, waiter_main, w) != 0) {
		fd_close(fds[0]);
		free(w);
	}
	pthread_attr_destroy(&attr);
}

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(2 * sizeof(int))];
};

static void server_main(int fd) __attribute__((noreturn));

static void server_main(int fd)
{
	sigset_t all;

	/* block all signals: a signal to the agent's process group must not end this process */
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, NULL);
	(void)prctl(PR_SET_NAME, "holdfast-letgo");
	for (;;) {
		union control control;
		char byte;
		struct iovec iov = {&byte, 1};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				     .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		int fds[2];

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (msg.msg_controllen < CMSG_LEN(sizeof(fds)))
			continue;
		memcpy(fds, CMSG_DATA(&control.header), sizeof(fds));
		start_waiter(fds);
	}
	pthread_exit(NULL); /* the process ends when its last waiter has ended */
}

/* ---- the agent's side */

/* Runs in the process that letgo_init() forked: starts the releasing process, and ends. So the
 * releasing process is not a child of the agent, and the agent's next program need not reap it. */
static void start_server(int fd) __attribute__((noreturn));
static void start_server(int fd)
{
	pid_t pid = fork();

	if (pid != 0)
		_exit(pid < 0 ? 1 : 0);
	/* The agent may have descriptors from its previous program: this process must keep none of
	 * them open. */
	if (dup2(fd, STDERR_FILENO + 1) < 0 || close_range(STDERR_FILENO + 2, ~0U, 0) < 0)
		_exit(1);
	server_main(STDERR_FILENO + 1);
}

/* Wait for the end of the process that letgo_init() has forked. */
static void finish_start(void)
{
	int status = 0;

	pthread_mutex_lock(&start.lock);
	if (start.pid > 0) {
		while (waitpid(start.pid, &status, 0) < 0 && errno == EINTR)
			;
		if (status != 0)
			server_fd = fd_close(server_fd);
		start.pid = 0;
	}
	pthread_mutex_unlock(&start.lock);
}

int letgo_init(bool may_wait)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		fd_close(fds[0]);
		fd_close(fds[1]);
		return -errno;
	}
	if (pid == 0)
		start_server(fds[1]);
	fd_close(fds[1]);
	server_fd = fds[0];
	start.pid = pid;
	if (may_wait)
		finish_start();
	return server_fd < 0 ? -EAGAIN : 0;
}

static int send_fds(int pipe_read, int page_fd)
{
	int fds[2] = {pipe_read, page_fd};
	char byte = 0;
	struct iovec iov = {&byte, 1};
	union control control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			     .msg_controllen = sizeof(control)};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
	return sendmsg(server_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int new_page(struct letgo *l, int *ret_fd)
{
	pthread_mutexattr_t attr;
	int r, fd = memfd_create("holdfast-letgo", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)sizeof(*l->page)) < 0) {
		r = -errno;
		fd_close(fd);
		return r;
	}
	l->page = mmap(NULL, sizeof(*l->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (l->page == MAP_FAILED) {
		r = -errno;
		fd_close(fd);
		return r;
	}
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&l->page->mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	pthread_mutex_lock(&l->page->mutex); /* cannot block: no other thread knows the mutex yet */
	l->owner = pthread_self();
	*ret_fd = fd;
	return 0;
}

int letgo_open(int pipe_read, struct letgo **ret_letgo)
{
	struct letgo *l;
	int fd = -1, r;

	finish_start();
	if (server_fd < 0)
		return -ENOTCONN;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	r = new_page(l, &fd);
	if (r < 0) {
		free(l);
		return r;
	}
	r = send_fds(pipe_read, fd);
	fd_close(fd);
	if (r < 0) {
		letgo_close(l);
		return r;
	}
	*ret_letgo = l;
	return 0;
}

struct letgo *letgo_close(struct letgo *letgo)
{
	if (!letgo)
		return NULL;
	/* If the calling thread has locked the mutex, unlock it: this also removes the mutex from
	 * the thread's list of robust mutexes. If not, the mutex's owner has ended, and the kernel
	 * has marked the mutex already. */
	if (pthread_equal(letgo->owner, pthread_self()))
		pthread_mutex_unlock(&letgo->page->mutex);
	munmap(letgo->page, sizeof(*letgo->page));
	free(letgo);
	return NULL;
}
