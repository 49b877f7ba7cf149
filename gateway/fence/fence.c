#include "fence/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "loop/source.h"
#include "wire/limits.h"

/* if the callback could not handle a result, it is called again after this time */
#define RETRY_NS CLOCK_NS_PER_S

/* The script that /bin/sh runs. $0 is the log file, $1 the fence command. The script opens the log
 * file, because the gateway's loop must not wait for a stalled disk. If the log file cannot be
 * opened, the fence command's output is not logged. */
#define SHELL "if (umask 077; true >\"$0\"); then exec >\"$0\" 2>&1; fi; exec /bin/sh -c \"$1\""

struct run {
	/* the process's pidfd; -1: the process has ended, or was not started. Must stay the first
	 * member */
	struct source exit;
	bool in_use;
	bool killed; /* true if the gateway killed the command because its time had expired */
	bool has_ended, ok;
	pid_t pid;
	uint64_t term, timeout_ns, deadline_ns;
	uint64_t tell_ns; /* valid if has_ended: do not report the result before this time */
	char vm[WIRE_NAME_MAX + 1], host[WIRE_NAME_MAX + 1];
	char text[FENCE_TEXT_MAX];
};

struct fence {
	int epoll_fd;
	fence_ended_fn ended;
	void *arg;
	char log_dir[PATH_MAX - 128];
	struct run runs[FENCE_RUNS_MAX];
};

static const char *search_path(void)
{
	return getenv("PATH") ?: "/usr/sbin:/usr/bin:/sbin:/bin";
}

/* Returns true if the shell carries out @word itself, without a program. Words that exist as
 * programs too (`test`, `echo`) are not in the list, because find_program() finds them. */
static bool is_of_shell(const char *word)
{
	static const char *const words[] = {
		".", ":", "alias", "break", "case", "cd", "command", "continue", "eval", "exec",
		"exit", "export", "for", "getopts", "hash", "if", "local", "read", "readonly",
		"return", "set", "shift", "times", "trap", "type", "ulimit", "umask", "unalias",
		"unset", "until", "wait", "while"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i], word) == 0)
			return true;
	}
	return false;
}

/* Returns 0 if @path is a program, or if we have no permission to look there. */
static int find_program(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == EACCES ? 0 : -ENOENT;
	return S_ISREG(st.st_mode) && (st.st_mode & 0111) ? 0 : -ENOEXEC;
}

int fence_check(const char *command, struct error *ret_error)
{
	const char *first = command + strspn(command, " \t");
	size_t size = strcspn(first, " \t");
	size_t n_plain = strspn(first, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789_./+-:,@%");
	char word[256], path[PATH_MAX];
	int r;

	if (n_plain < size || size == 0 || size >= sizeof(word))
		return 0;
	memcpy(word, first, size);
	word[size] = '\0';
	if (strchr(word, '/')) {
		r = find_program(word);
		return r == 0 ? 0
			      : error_set(ret_error, -ENOENT, "%s %s", word,
					  r == -ENOENT ? "does not exist" : "is no program");
	}
	if (is_of_shell(word))
		return 0;
	for (const char *at = search_path(), *next; at; at = next) {
		size = strcspn(at, ":");
		next = at[size] ? at + size + 1 : NULL;
		(void)snprintf(path, sizeof(path), "%.*s/%s", (int)size, at, word);
		if (find_program(path) == 0)
			return 0;
	}
	return error_set(ret_error, -ENOENT, "%s is in no directory of PATH", word);
}

int fence_open(int epoll_fd, const char *log_dir, fence_ended_fn ended, void *arg,
	       struct fence **ret_fence)
{
	struct fence *fence = calloc(1, sizeof(*fence));

	if (!fence)
		return -ENOMEM;
	fence->epoll_fd = epoll_fd;
	fence->ended = ended;
	fence->arg = arg;
	if (snprintf(fence->log_dir, sizeof(fence->log_dir), "%s", log_dir) >=
	    (int)sizeof(fence->log_dir)) {
		free(fence);
		return -ENAMETOOLONG;
	}
	*ret_fence = fence;
	return 0;
}

static void log_path(const struct fence *fence, const char *vm, char path[PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%s/fence-%s.log", fence->log_dir, vm);
}

static void reap(struct run *run)
{
	int status;

	fd_close(run->exit.fd); /* this also removes the pidfd from the epoll */
	run->exit.fd = -1;
	if (waitpid(run->pid, &status, 0) != run->pid)
		status = -1;
	run->has_ended = true;
	run->ok = !run->killed && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (run->killed)
		(void)snprintf(run->text, sizeof(run->text), "killed after %" PRIu64 " ms",
			       run->timeout_ns / CLOCK_NS_PER_MS);
	else if (WIFEXITED(status))
		(void)snprintf(run->text, sizeof(run->text), "exit status %d", WEXITSTATUS(status));
	else
		(void)snprintf(run->text, sizeof(run->text), "ended by signal %d",
			       WTERMSIG(status));
}

static void exit_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	(void)events;
	(void)now_ns;
	reap((struct run *)source);
}

void fence_close(struct fence *fence)
{
	if (!fence)
		return;
	for (size_t i = 0; i < FENCE_RUNS_MAX; i++) {
		struct run *run = &fence->runs[i];

		if (!run->in_use || run->has_ended)
			continue;
		(void)kill(-run->pid, SIGKILL); /* fails only if the process has ended already */
		reap(run);
	}
	free(fence);
}

/* Start @command in a shell, with its output going to the log file, and set run->pid. Returns 0 or
 * -errno. */
static int spawn(struct fence *fence, const char *command, struct run *run)
{
	char vm[WIRE_NAME_MAX + 16], host[WIRE_NAME_MAX + 16], term[40], path_var[PATH_MAX],
		log[PATH_MAX];
	char *const argv[] = {
		(char *)"sh", (char *)"-c", (char *)SHELL, log, (char *)(uintptr_t)command, NULL};
	char *const envp[] = {vm, host, term, path_var, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int r;

	(void)snprintf(vm, sizeof(vm), "HOLDFAST_VM=%s", run->vm);
	(void)snprintf(host, sizeof(host), "HOLDFAST_HOST=%s", run->host);
	(void)snprintf(term, sizeof(term), "HOLDFAST_TERM=%" PRIu64, run->term);
	(void)snprintf(path_var, sizeof(path_var), "PATH=%s", search_path());
	log_path(fence, run->vm, log);
	r = child_attributes(&attr, POSIX_SPAWN_SETPGROUP);
	if (r < 0)
		return r;
	posix_spawn_file_actions_init(&files);
	r = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, 1, 2);
	if (r == 0) /* also close what a library opened without O_CLOEXEC */
		r = posix_spawn_file_actions_addclosefrom_np(&files, 3);
	if (r == 0)
		r = posix_spawn(&run->pid, "/bin/sh", &files, &attr, argv, envp);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

static int watch(struct fence *fence, struct run *run)
{
	int r;

	run->exit.fd = pidfd_open(run->pid, 0);
	if (run->exit.fd < 0)
		return -errno;
	run->exit.ready = exit_ready;
	r = source_add(fence->epoll_fd, &run->exit, EPOLLIN);
	if (r < 0) {
		fd_close(run->exit.fd);
		run->exit.fd = -1;
	}
	return r;
}

static struct run *free_run(struct fence *fence)
{
	for (size_t i = 0; i < FENCE_RUNS_MAX; i++) {
		if (!fence->runs[i].in_use)
			return &fence->runs[i];
	}
	return NULL;
}

void fence_start(struct fence *fence, const char *command, const char *vm, const char *host,
		 uint64_t term, uint64_t timeout_ns, uint64_t now_ns)
{
	struct run *run = free_run(fence);
	int r;

	if (!run) { /* should never happen, because there are as many runs as VMs */
		log_error("vm=%s host=%s no room for another fence command", vm, host);
		return;
	}
	*run = (struct run){.exit.fd = -1, .in_use = true, .term = term, .timeout_ns = timeout_ns,
			    .deadline_ns = now_ns + timeout_ns};
	(void)snprintf(run->vm, sizeof(run->vm), "%s", vm);
	(void)snprintf(run->host, sizeof(run->host), "%s", host);
	r = spawn(fence, command, run);
	if (r == 0) {
		r = watch(fence, run);
		if (r < 0) {
			(void)kill(-run->pid, SIGKILL);
			(void)waitpid(run->pid, NULL, 0);
		}
	}
	if (r < 0) {
		run->has_ended = true;
		(void)snprintf(run->text, sizeof(run->text), "cannot be started: %s", strerror(-r));
	}
}

/* Append the log's last line to the text that says how the command ended. */
static void add_last_words(const struct fence *fence, struct run *run)
{
	char path[PATH_MAX], tail[512];
	size_t used = strlen(run->text);
	char *line;
	ssize_t n;
	off_t size;
	int fd;

	log_path(fence, run->vm, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return;
	size = lseek(fd, 0, SEEK_END);
	n = pread(fd, tail, sizeof(tail) - 1, size > 511 ? size - 511 : 0);
	fd_close(fd);
	while (n > 0 && (unsigned char)tail[n - 1] <= ' ')
		n--;
	if (n <= 0)
		return;
	tail[n] = '\0';
	line = strrchr(tail, '\n') ? strrchr(tail, '\n') + 1 : tail;
	/* The line goes into an event, which is plain text: replace all other characters. */
	for (char *c = line; *c; c++) {
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	(void)snprintf(run->text + used, sizeof(run->text) - used, ": %s", line);
}

void fence_poll(struct fence *fence, uint64_t now_ns)
{
	for (size_t i = 0; i < FENCE_RUNS_MAX; i++) {
		struct run *run = &fence->runs[i];

		if (!run->in_use)
			continue;
		if (!run->has_ended && !run->killed && now_ns >= run->deadline_ns) {
			run->killed = true; /* the pidfd will report when the process has ended */
			run->deadline_ns = UINT64_MAX;
			(void)kill(-run->pid, SIGKILL);
		}
		if (!run->has_ended || now_ns < run->tell_ns)
			continue;
		if (run->tell_ns == 0)
			add_last_words(fence, run);
		run->tell_ns = now_ns + RETRY_NS;
		if (fence->ended(fence->arg, run->vm, run->host, run->term, run->ok, run->text) ==
		    0)
			run->in_use = false;
	}
}

uint64_t fence_deadline_ns(const struct fence *fence)
{
	uint64_t deadline_ns = UINT64_MAX;

	for (size_t i = 0; i < FENCE_RUNS_MAX; i++) {
		const struct run *run = &fence->runs[i];

		uint64_t at_ns = run->has_ended ? run->tell_ns : run->deadline_ns;

		if (run->in_use && at_ns < deadline_ns)
			deadline_ns = at_ns;
	}
	return deadline_ns;
}
