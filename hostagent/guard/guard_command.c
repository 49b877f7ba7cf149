#include "guard/guard_command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "config/agent_config.h"
#include "guard/guard.h"

#define DEFAULT_CONFIG "/etc/holdfast/agent.ini"
#define DEFAULT_LIMIT_S 60
#define LIMIT_S_MAX	3600
/* how long to wait beyond the limit: the gateway ends the drain at the limit, and then reports
 * that */
#define GRACE_NS	(2 * CLOCK_NS_PER_S)

struct options {
	const char *config;
	unsigned long limit_s;
	bool at_shutdown;
};

static void print_help(FILE *out)
{
	fprintf(out,
		"usage: holdfast-agent shutdown-guard [--config FILE] [--limit SECONDS] "
		"[--at-shutdown]\n\n"
		"Has this host drained, because it goes down: its guests are moved to their other\n"
		"hosts. Waits for the end of that. After its next boot the host is taken back.\n\n"
		"  --config FILE    the agent's configuration (default " DEFAULT_CONFIG ")\n"
		"  --limit SECONDS  how long that may take, 1 to 3600 (default 60)\n"
		"  --at-shutdown    do nothing unless systemd is shutting this host down\n"
		"  --help           this text\n\n"
		"exit status: 0 the host is empty, 1 guests or copies are left there,\n"
		"or a VM that the gateway does not look after may run there, 2 usage\n");
}

/* Parse the options. Returns 0; 1 if the program can end (the help was printed); -EINVAL if the
 * usage is wrong. */
static int parse(int argc, char **argv, struct options *ret_options)
{
	static const struct option table[] = {
		{"config", required_argument, NULL, 'c'}, {"limit", required_argument, NULL, 'l'},
		{"at-shutdown", no_argument, NULL, 's'},  {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct options options = {.config = DEFAULT_CONFIG, .limit_s = DEFAULT_LIMIT_S};
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 'c':
			options.config = optarg;
			break;
		case 'l':
			options.limit_s = strtoul(optarg, &end, 10);
			if (*end || end == optarg || *optarg == '-' || options.limit_s < 1 ||
			    options.limit_s > LIMIT_S_MAX) {
				fprintf(stderr, "--limit takes 1 to %d seconds, not %s\n",
					LIMIT_S_MAX, optarg);
				return -EINVAL;
			}
			break;
		case 's':
			options.at_shutdown = true;
			break;
		case 'h':
			print_help(stdout);
			return 1;
		default:
			return -EINVAL;
		}
	}
	if (optind != argc) {
		fprintf(stderr, "shutdown-guard: unexpected argument '%s'; see --help\n",
			argv[optind]);
		return -EINVAL;
	}
	*ret_options = options;
	return 0;
}

/* Run `systemctl is-system-running` with @fd as its standard output. Returns the pid or -errno. */
static pid_t ask_systemd(int fd)
{
	char *const argv[] = {"systemctl", "is-system-running", NULL};
	posix_spawn_file_actions_t files;
	pid_t pid;
	int r = posix_spawn_file_actions_init(&files);

	if (r != 0)
		return -r;
	r = posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	return r == 0 ? pid : -r;
}

/* Is the whole host going down? Returns false if only this unit is being stopped. If systemd does
 * not answer, returns true: a drain that is not needed is better than guests that die. */
static bool is_shutdown(void)
{
	char word[32];
	size_t size = 0;
	ssize_t n = 1;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return true;
	pid = ask_systemd(fds[1]);
	fd_close(fds[1]);
	while (pid > 0 && n > 0 && size < sizeof(word) - 1) {
		n = read(fds[0], word + size, sizeof(word) - 1 - size);
		size += n > 0 ? (size_t)n : 0;
	}
	word[size] = '\0';
	fd_close(fds[0]);
	if (pid > 0)
		/* ignore the exit status: it is 0 only if the word is "running" */
		(void)waitpid(pid, NULL, 0);
	return size == 0 || strncmp(word, "stopping", strlen("stopping")) == 0;
}

static int connect_agent(const char *run_dir)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int r = guard_path(run_dir, sa.sun_path, sizeof(sa.sun_path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (r == 0 && fd < 0)
		r = -errno;
	if (r == 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		r = -errno;
	if (r == 0)
		return fd;
	fd_close(fd);
	fprintf(stderr, "shutdown-guard: %s/guard.sock: %s; guests that run here are not moved: is "
		"holdfast-agent running?\n", run_dir, strerror(-r));
	return r;
}

/* Print one line of the agent. Returns our exit status if this was the last line, else -1. */
static int take_line(const char *line)
{
	unsigned int state, n_left;
	int at = 0;

	if (sscanf(line, "state %u %u %n", &state, &n_left, &at) < 2 || at == 0) {
		fprintf(stderr, "shutdown-guard: the agent says something unexpected: %s\n", line);
		return 1;
	}
	printf("%s\n", line + at);
	(void)fflush(stdout); /* ignore an error: the reader may be gone */
	if (state == WIRE_DRAIN_RUNS)
		return -1;
	return state == WIRE_DRAIN_DONE && n_left == 0 ? 0 : 1;
}

/* Read the agent's lines until the last one, or until @deadline_ns. Returns our exit status. */
static int wait_for_end(int fd, uint64_t deadline_ns)
{
	char in[2 * GUARD_LINE_MAX + 1];
	size_t n_in = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char *newline;
		ssize_t n;

		if (poll(&p, 1, clock_poll_ms(clock_mono_ns(), deadline_ns)) == 0) {
			fprintf(stderr, "shutdown-guard: the time is over, guests or copies may "
				"be left\n");
			return 1;
		}
		n = recv(fd, in + n_in, sizeof(in) - 1 - n_in, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0) {
			fprintf(stderr,
				"shutdown-guard: the agent has ended, guests or copies may be "
				"left\n");
			return 1;
		}
		n_in += (size_t)n;
		in[n_in] = '\0';
		/* handle each whole line, and keep what follows it */
		while ((newline = strchr(in, '\n')) != NULL) {
			int status;

			*newline = '\0';
			status = take_line(in);
			if (status >= 0)
				return status;
			n_in -= (size_t)(newline + 1 - in);
			memmove(in, newline + 1, n_in + 1);
		}
		if (n_in == sizeof(in) - 1)
			n_in = 0; /* drop it: no line of the agent is this long */
	}
}

int guard_command(int argc, char **argv)
{
	struct options options;
	struct agent_config config;
	struct error error;
	char request[32];
	uint64_t deadline_ns;
	int fd, r = parse(argc, argv, &options);

	if (r != 0)
		return r < 0 ? 2 : 0;
	if (options.at_shutdown && !is_shutdown()) {
		printf("this host does not go down: it is not drained\n");
		return 0;
	}
	r = agent_config_load(options.config, &config, &error);
	if (r < 0) {
		fprintf(stderr, "shutdown-guard: %s\n", error.text);
		return 1;
	}
	deadline_ns = clock_mono_ns() + options.limit_s * CLOCK_NS_PER_S + GRACE_NS;
	fd = connect_agent(config.run_dir);
	agent_config_done(&config);
	if (fd < 0)
		return 1;
	(void)snprintf(request, sizeof(request), "down %lu\n", options.limit_s);
	r = fd_write_all(fd, request, strlen(request));
	if (r == 0)
		r = wait_for_end(fd, deadline_ns);
	fd_close(fd);
	return r < 0 ? 1 : r;
}
