/* Tests letgo.h. A process with much memory, which reads from a full pipe, is killed. The pipe's
 * writer must be able to continue before the kernel has freed all of that memory. */
#include "vmm/letgo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"

#define PIPE_BYTES   4096
#define MEMORY_BYTES ((size_t)384 << 20)
#define WAIT_MS	     20000
#define TRIES	     5

static char bytes[PIPE_BYTES];

static void *sit(void *arg)
{
	struct letgo *letgo;

	if (letgo_open(((const int *)arg)[0], &letgo) < 0)
		_exit(1);
	if (write(((const int *)arg)[1], "", 1) != 1) /* ready */
		_exit(1);
	for (;;)
		pause();
}

/* Act like the agent during a pause: the pipe is full, so QEMU's write blocks. */
static void be_agent(int pipe_read, int ready_fd) __attribute__((noreturn));
static void be_agent(int pipe_read, int ready_fd)
{
	int fds[2] = {pipe_read, ready_fd};
	pthread_t thread;
	void *memory;

	if (letgo_init(true) < 0)
		_exit(1);
	memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED || pthread_create(&thread, NULL, sit, fds) != 0)
		_exit(1);
	for (;;)
		pause();
}

/* Kill a process whose pipe is full. Returns true if the pipe was seen writable before the process
 * had ended completely. */
static bool goes_on_before_the_end(void)
{
	int pipe_fds[2], ready[2], pidfd;
	uint64_t killed_ns, writable_ns;
	bool is_before;
	struct pollfd p;
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(fcntl(pipe_fds[1], F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
	assert_int_equal(write(pipe_fds[1], bytes, sizeof(bytes)), PIPE_BYTES);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pipe_fds[1]);
		be_agent(pipe_fds[0], ready[1]);
	}
	close(pipe_fds[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	pidfd = pidfd_open(pid, 0);
	assert_true(pidfd >= 0);
	p = (struct pollfd){.fd = pipe_fds[1], .events = POLLOUT};
	/* The pipe is full, and the process does not empty it while it lives. */
	assert_int_equal(poll(&p, 1, 100), 0);
	killed_ns = clock_mono_ns();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	writable_ns = clock_mono_ns();
	/* The pipe was emptied, not closed, so QEMU's write succeeds. */
	assert_int_equal(p.revents, POLLOUT);
	p = (struct pollfd){.fd = pidfd, .events = POLLIN};
	is_before = poll(&p, 1, 0) == 0;
	assert_int_equal(write(pipe_fds[1], bytes, sizeof(bytes)), PIPE_BYTES);
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	printf("writable after %.1f ms, gone after %.1f ms\n",
	       (double)(writable_ns - killed_ns) / 1e6,
	       (double)(clock_mono_ns() - killed_ns) / 1e6);
	waitpid(pid, NULL, 0);
	close(pidfd);
	close(pipe_fds[1]);
	close(ready[0]);
	return is_before;
}

/* On a busy machine, this thread can look at the pipe only after the process has ended. So try
 * several times. */
static void a_writer_goes_on_before_the_memory_is_gone(void **state)
{
	int tries = 0;

	(void)state;
	while (!goes_on_before_the_end())
		assert_true(++tries < TRIES);
}

/* letgo_init() leaves no child process that must be waited for. After an exec, the agent's next
 * program would not know of it. */
static void it_is_nobodys_child(void **state)
{
	(void)state;
	assert_int_equal(letgo_init(true), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void closed_in_order_nothing_is_read(void **state)
{
	struct letgo *letgo;
	int pipe_fds[2];
	struct pollfd p;

	(void)state;
	assert_int_equal(letgo_init(true), 0);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(write(pipe_fds[1], bytes, 1), 1);
	for (int i = 0; i < 100; i++) { /* open and close repeatedly */
		assert_int_equal(letgo_open(pipe_fds[0], &letgo), 0);
		assert_null(letgo_close(letgo));
	}
	close(pipe_fds[0]);
	/* The pipe's write end gets POLLERR only when every read end is closed, also letgo's. */
	p = (struct pollfd){.fd = pipe_fds[1], .events = 0};
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(p.revents & POLLERR, POLLERR);
	close(pipe_fds[1]);
	assert_null(letgo_close(NULL));
}

static void without_the_process_it_is_refused(void **state)
{
	struct letgo *letgo;

	(void)state;
	assert_int_equal(letgo_open(0, &letgo), -ENOTCONN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_the_process_it_is_refused),
		cmocka_unit_test(a_writer_goes_on_before_the_memory_is_gone),
		cmocka_unit_test(it_is_nobodys_child),
		cmocka_unit_test(closed_in_order_nothing_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
