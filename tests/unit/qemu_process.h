/* qemu_process.h - plays a QEMU with its monitor in a separate process, so that its pid, its end
 * and its socket's credentials are those of a real process. The test and the process share a struct
 * qemu_shared. */
#ifndef TESTS_QEMU_PROCESS_H
#define TESTS_QEMU_PROCESS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor_peer.h"

/* What the process does when QMP tells it to quit. */
enum qemu_quit {
	QEMU_QUIT_ENDS,    /* it answers and ends */
	QEMU_QUIT_SILENT,  /* it ends and does not answer */
	QEMU_QUIT_REFUSES, /* it answers with an error */
	QEMU_QUIT_HANGS,   /* it answers and does not end */
};

/* Memory shared by the test and the process. */
struct qemu_shared {
	_Atomic bool runs; /* the guest runs */
	_Atomic int n_clients, n_quits;
	_Atomic int cont_at; /* the guest starts when client number cont_at connects; 0: never */
	_Atomic enum qemu_quit quit;
	_Atomic bool refuses_load; /* migrate-incoming fails; otherwise it never ends */
};

static inline struct qemu_shared *qemu_share(void)
{
	void *shared = mmap(NULL, sizeof(struct qemu_shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return shared == MAP_FAILED ? NULL : shared;
}

static inline void qemu_take_quit(struct qemu_shared *shared, int fd)
{
	enum qemu_quit quit = shared->quit;

	shared->n_quits++;
	if (quit == QEMU_QUIT_REFUSES)
		(void)monitor_say(fd, "{\"error\": {\"class\": \"GenericError\", "
				      "\"desc\": \"not now\"}}\r\n");
	else if (quit != QEMU_QUIT_SILENT)
		(void)monitor_say(fd, MONITOR_OK);
	if (quit == QEMU_QUIT_ENDS || quit == QEMU_QUIT_SILENT)
		_exit(0);
}

static inline void qemu_answer(struct qemu_shared *shared, int fd, const char *command)
{
	if (strstr(command, "\"quit\"")) {
		qemu_take_quit(shared, fd);
		return;
	}
	if (strstr(command, "\"stop\""))
		shared->runs = false;
	if (strstr(command, "\"cont\""))
		shared->runs = true;
	if (strstr(command, "query-block") || strstr(command, "qom-list"))
		(void)monitor_say(fd, "{\"return\": []}\r\n");
	else if (shared->refuses_load && strstr(command, "migrate-incoming"))
		(void)monitor_say(fd, "{\"error\": {\"class\": \"GenericError\", "
				      "\"desc\": \"another version\"}}\r\n");
	else if (strstr(command, "query-status"))
		(void)monitor_say(fd, shared->runs ? "{\"return\": {\"running\": true, "
						     "\"status\": \"running\"}}\r\n"
						   : "{\"return\": {\"running\": false, "
						     "\"status\": \"paused\"}}\r\n");
	else
		(void)monitor_say(fd, MONITOR_OK);
}

static inline void qemu_serve(struct qemu_shared *shared, int listener)
{
	char text[512];
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (++shared->n_clients == shared->cont_at)
			shared->runs = true;
		(void)monitor_say(fd, MONITOR_GREETING);
		while (monitor_hear(fd, text, sizeof(text)))
			qemu_answer(shared, fd, text);
		close(fd);
	}
	_exit(1);
}

/* Start the process, and wait until its monitor listens at @path. Returns its pid, or -1. */
static inline pid_t qemu_start_process(struct qemu_shared *shared, const char *path, bool runs)
{
	int pipe_fds[2], listener;
	bool listens;
	pid_t pid;
	char byte = 0;

	if (pipe(pipe_fds) < 0)
		return -1;
	shared->runs = runs;
	pid = fork();
	if (pid != 0) {
		close(pipe_fds[1]);
		listens = read(pipe_fds[0], &byte, 1) == 1;
		close(pipe_fds[0]);
		return listens ? pid : -1;
	}
	/* The kernel kills this process when the test ends, however it ends. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* the socket is made in this process, so that its credentials name this process */
	listener = monitor_listen(path);
	if (listener >= 0 && write(pipe_fds[1], &byte, 1) == 1)
		qemu_serve(shared, listener);
	_exit(1);
}

/* Returns true if the process has ended. */
static inline bool qemu_process_has_ended(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == pid;
}

/* Kill the process, unless it has ended, and reap it. */
static inline bool qemu_end_process(pid_t pid)
{
	return pid > 0 && kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid;
}

#endif
