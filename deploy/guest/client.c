/* client.c - hf-client: sends requests to the guest's service without a pause, over one TCP
 * connection, and judges every reply.
 *
 * It keeps --depth requests in flight. checker.h judges the replies; report.h records the latencies
 * and the longest silence of each phase. The client never reconnects, because a broken connection
 * is the failure that it must detect. deploy/demo, tests/e2e and tests/bench run it in the client's
 * network namespace. It has one thread.
 *
 * With --commands it obeys lines on stdin: `phase NAME`, `dirty PAGES BYTES`, `depth N`, `rate
 * PAGES_PER_S BYTES`, `stop`. SIGINT stops the client as `stop` does; SIGTERM stops it without
 * waiting for replies.
 *
 * The client prints each event on stdout as it happens, one per line: connected, phase, progress,
 * broken. Exit: 0 if the connection survived and every reply was right, 1 if not (the JSON says
 * what was wrong), 2 for wrong usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "guest/checker.h"
#include "guest/guest_proto.h"
#include "guest/report.h"

#define CONNECT_ATTEMPT_MS 1000 /* limit for one attempt: a booting guest answers no SYN */
#define CONNECT_PAUSE_MS   100
#define LINE_MAX_BYTES	   256

struct client {
	/* from the options */
	struct sockaddr_in address;
	uint64_t connect_timeout_ns, reply_timeout_ns, progress_ns,
		end_ns;	     /* progress_ns and end_ns are 0 if not used */
	uint64_t n_requests; /* stop after this many requests; 0: no limit */
	uint32_t window_pages, rate_pages_s;
	struct report_load load;
	const char *json_path, *first_phase;
	bool commands;

	/* while running */
	int fd, signal_fd;
	bool stopping;		 /* true: send no more requests, wait for those in flight */
	char error[128];	 /* why the connection was lost; empty if it was not */
	uint64_t waiting_since_ns; /* start of the current silence with requests in flight */
	uint64_t next_progress_ns;
	struct guest_request queued; /* a RATE request to send next; type 0 if there is none */
	uint8_t out[CHECKER_DEPTH_MAX * GUEST_REQUEST_SIZE];
	size_t n_out;
	uint8_t in[CHECKER_DEPTH_MAX * GUEST_REPLY_SIZE];
	size_t n_in;
	char line[LINE_MAX_BYTES];
	size_t n_line;
	struct checker checker;
	struct report report;
};

static void broken(struct client *c, const char *what, const char *why)
{
	snprintf(c->error, sizeof(c->error), "%s%s%s", what, *why ? ": " : "", why);
}

/* Try to connect once. Returns 0 or -errno. After 0, c->fd is connected and non-blocking. */
static int try_connect(struct client *c)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int on = 1, error = 0;
	socklen_t size = sizeof(error);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    (connect(fd, (struct sockaddr *)&c->address, sizeof(c->address)) < 0 &&
	     errno != EINPROGRESS)) {
		error = errno;
	} else if (poll(&p, 1, CONNECT_ATTEMPT_MS) <= 0) {
		error = ETIMEDOUT;
	} else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
		error = errno;
	}
	if (error) {
		fd_close(fd);
		return -error;
	}
	c->fd = fd;
	return 0;
}

/* Connect to the guest; retry until it answers or the time is up. No other function connects.
 * Returns 0; -EINTR: a signal came; otherwise -errno of the last attempt. */
static int connect_first(struct client *c)
{
	uint64_t deadline_ns = clock_mono_ns() + c->connect_timeout_ns;
	struct pollfd p = { .fd = c->signal_fd, .events = POLLIN };
	int r;

	for (;;) {
		r = try_connect(c);
		if (r == 0 || clock_mono_ns() >= deadline_ns)
			return r;
		if (poll(&p, 1, CONNECT_PAUSE_MS) > 0)
			return -EINTR;
	}
}

/* Exchange HELLO and its reply before the measurement starts. Returns 0; -EPROTO: the peer is not
 * our service; or another -errno. */
static int say_hello(struct client *c)
{
	struct guest_request hello = { .type = GUEST_HELLO, .arg = c->window_pages };
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	uint8_t out[GUEST_REQUEST_SIZE], in[GUEST_REPLY_SIZE];
	struct guest_reply reply;
	size_t have = 0;
	ssize_t n;

	guest_request_encode(out, &hello);
	if (send(c->fd, out, sizeof(out), MSG_NOSIGNAL) != (ssize_t)sizeof(out))
		return -EIO;
	while (have < sizeof(in)) {
		if (poll(&p, 1, (int)(c->reply_timeout_ns / CLOCK_NS_PER_MS)) <= 0)
			return -ETIMEDOUT;
		n = recv(c->fd, in + have, sizeof(in) - have, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		have += (size_t)n;
	}
	if (guest_reply_decode(in, &reply) < 0 || reply.type != GUEST_HELLO)
		return -EPROTO;
	return 0;
}

/* Queue new requests until --depth are in flight. */
static void ask(struct client *c, uint64_t now_ns)
{
	struct guest_request request;

	while (!c->stopping && checker_in_flight(&c->checker) < c->load.depth &&
	       c->n_out + GUEST_REQUEST_SIZE <= sizeof(c->out)) {
		request = c->queued.type ? c->queued :
			(struct guest_request){ .type = GUEST_DIRTY, .n_pages = c->load.n_pages,
						.n_bytes = c->load.n_bytes };
		c->queued.type = 0;
		if (checker_in_flight(&c->checker) == 0)
			c->waiting_since_ns = now_ns;
		if (checker_ask(&c->checker, &request, now_ns) < 0)
			break;
		guest_request_encode(c->out + c->n_out, &request);
		c->n_out += GUEST_REQUEST_SIZE;
		if (c->n_requests && c->checker.n_sent >= c->n_requests)
			c->stopping = true;
	}
}

static void flush_out(struct client *c)
{
	ssize_t n;

	if (c->n_out == 0)
		return;
	n = send(c->fd, c->out, c->n_out, MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			broken(c, "sending failed", strerror(errno));
		return;
	}
	memmove(c->out, c->out + n, c->n_out - (size_t)n);
	c->n_out -= (size_t)n;
}

static void take_replies(struct client *c)
{
	struct guest_reply reply;
	uint64_t now_ns, latency_ns;
	size_t at;
	ssize_t n = recv(c->fd, c->in + c->n_in, sizeof(c->in) - c->n_in, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		broken(c, n < 0 ? "receiving failed" : "the guest closed the connection",
		       n < 0 ? strerror(errno) : "");
		return;
	}
	now_ns = clock_mono_ns();
	c->waiting_since_ns = now_ns;
	c->n_in += (size_t)n;
	for (at = 0; at + GUEST_REPLY_SIZE <= c->n_in; at += GUEST_REPLY_SIZE) {
		if (guest_reply_decode(c->in + at, &reply) < 0) {
			broken(c, "the guest sent something that is no reply", "");
			return;
		}
		if (checker_reply(&c->checker, &reply, now_ns, &latency_ns) == 0)
			report_reply(&c->report, latency_ns, now_ns);
	}
	memmove(c->in, c->in + at, c->n_in - at);
	c->n_in -= at;
}

static void do_command(struct client *c, const char *line)
{
	char name[REPORT_NAME_MAX + 1];
	unsigned int a, b;
	int r = 0;

	if (sscanf(line, "phase %31s", name) == 1)
		r = report_phase(&c->report, name, clock_mono_ns(), stdout);
	else if (sscanf(line, "dirty %u %u", &a, &b) == 2 && a <= c->window_pages &&
		 b >= GUEST_BYTES_MIN && b <= GUEST_BYTES_MAX)
		c->load = (struct report_load){.depth = c->load.depth, .n_pages = a, .n_bytes = b};
	else if (sscanf(line, "depth %u", &a) == 1 && a >= 1 && a <= CHECKER_DEPTH_MAX)
		c->load.depth = a;
	else if (sscanf(line, "rate %u %u", &a, &b) == 2 && a <= GUEST_RATE_MAX_PAGES &&
		 b >= GUEST_BYTES_MIN && b <= GUEST_BYTES_MAX)
		c->queued = (struct guest_request){ .type = GUEST_RATE, .n_bytes = b, .arg = a };
	else if (strcmp(line, "stop") == 0)
		c->stopping = true;
	else
		r = -EINVAL;
	if (r < 0)
		fprintf(stderr, "hf-client: bad command '%s': %s\n", line, strerror(-r));
}

/* Read stdin and carry out each command whose line is complete. If stdin ends, the client continues
 * without commands. */
static void take_commands(struct client *c)
{
	char *end;
	ssize_t n = read(STDIN_FILENO, c->line + c->n_line, sizeof(c->line) - 1 - c->n_line);

	if (n <= 0) {
		c->commands = n < 0 && (errno == EAGAIN || errno == EINTR);
		return;
	}
	c->n_line += (size_t)n;
	c->line[c->n_line] = '\0';
	while ((end = strchr(c->line, '\n'))) {
		*end = '\0';
		do_command(c, c->line);
		c->n_line -= (size_t)(end + 1 - c->line);
		memmove(c->line, end + 1, c->n_line + 1);
	}
	if (c->n_line == sizeof(c->line) - 1)
		c->n_line = 0; /* the line is longer than any command: discard it */
}

/* Returns the time of the earliest timed event. */
static uint64_t next_deadline(const struct client *c)
{
	uint64_t d = UINT64_MAX;

	if (checker_in_flight(&c->checker) > 0)
		d = c->waiting_since_ns + c->reply_timeout_ns;
	if (c->progress_ns && c->next_progress_ns < d)
		d = c->next_progress_ns;
	if (c->end_ns && !c->stopping && c->end_ns < d)
		d = c->end_ns;
	return d;
}

static void do_timers(struct client *c, uint64_t now_ns)
{
	if (c->end_ns && now_ns >= c->end_ns)
		c->stopping = true;
	if (c->progress_ns && now_ns >= c->next_progress_ns) {
		report_progress(&c->report, &c->checker, now_ns, stdout);
		c->next_progress_ns = now_ns + c->progress_ns;
	}
	if (checker_in_flight(&c->checker) > 0 &&
	    now_ns >= c->waiting_since_ns + c->reply_timeout_ns)
		broken(c, "no reply within the time limit", "");
}

/* Handle a signal. After SIGINT the client waits for replies to the requests in flight. After
 * SIGTERM it does not wait, because the network can be gone already. */
static void take_signal(struct client *c)
{
	struct signalfd_siginfo info;

	if (read(c->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	c->stopping = true;
	if (info.ssi_signo == SIGTERM && checker_in_flight(&c->checker) > 0)
		broken(c, "ended by SIGTERM", "");
}

static void run(struct client *c)
{
	struct pollfd p[3] = { { .fd = c->fd }, { .fd = c->signal_fd, .events = POLLIN },
			       { .fd = STDIN_FILENO, .events = POLLIN } };
	uint64_t now_ns = clock_mono_ns();

	while (!c->error[0]) {
		ask(c, now_ns);
		flush_out(c);
		if (c->stopping && checker_in_flight(&c->checker) == 0)
			return;
		p[0].events = (short)(POLLIN | (c->n_out ? POLLOUT : 0));
		p[2].fd = c->commands ? STDIN_FILENO : -1;
		if (poll(p, 3, clock_poll_ms(clock_mono_ns(), next_deadline(c))) < 0 &&
		    errno != EINTR)
			broken(c, "poll", strerror(errno));
		if (p[0].revents & (POLLIN | POLLERR | POLLHUP))
			take_replies(c);
		if (p[1].revents & POLLIN) {
			take_signal(c);
		}
		if (p[2].revents)
			take_commands(c);
		now_ns = clock_mono_ns();
		do_timers(c, now_ns);
	}
}

static int write_json(const struct client *c, uint64_t end_ns)
{
	bool to_stdout = !c->json_path || strcmp(c->json_path, "-") == 0;
	FILE *out = to_stdout ? stdout : fopen(c->json_path, "w");

	if (!out) {
		fprintf(stderr, "hf-client: %s: %s\n", c->json_path, strerror(errno));
		return -errno;
	}
	report_json(&c->report, &c->checker, &c->load, c->error[0] ? c->error : NULL, end_ns, out);
	if ((to_stdout ? fflush(out) : fclose(out)) != 0) {
		fprintf(stderr, "hf-client: writing the report failed: %s\n", strerror(errno));
		return -EIO;
	}
	return 0;
}

static _Noreturn void usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: hf-client --connect ADDRESS[:PORT] [options]\n"
		"  --depth N            requests under way at once (1)\n"
		"  --pages N            pages that each request dirties (4)\n"
		"  --bytes N            bytes written into each of them (64)\n"
		"  --window N           pages the requests rotate over (1024)\n"
		"  --rate N             set the guest's background dirty rate first, pages/s\n"
		"  --seconds N, --requests N   when to stop (default: on `stop` or a signal)\n"
		"  --commands           take commands on stdin: phase NAME, dirty PAGES BYTES, "
		"depth N,\n"
		"                       rate PAGES_PER_S BYTES, stop\n"
		"  --phase NAME         name of the first phase (run)\n"
		"  --progress-ms N      a line this often (500; 0 = none)\n"
		"  --connect-timeout-s N (60), --reply-timeout-s N (30)\n"
		"  --json FILE          the report; - or none: stdout\n");
	exit(status);
}

static uint64_t number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || v < min || v > max) {
		fprintf(stderr,
			"hf-client: --%s %s: want a number from %" PRIu64 " to %" PRIu64 "\n", name,
			text, min, max);
		exit(2);
	}
	return v;
}

static void set_address(struct client *c, char *text)
{
	char *colon = strchr(text, ':');

	c->address.sin_family = AF_INET;
	c->address.sin_port = htons(GUEST_PORT_DEFAULT);
	if (colon) {
		*colon = '\0';
		c->address.sin_port = htons((uint16_t)number("connect", colon + 1, 1, 65535));
	}
	if (inet_pton(AF_INET, text, &c->address.sin_addr) != 1) {
		fprintf(stderr, "hf-client: --connect %s: not an IPv4 address\n", text);
		exit(2);
	}
}

static void set_option(struct client *c, const char *name, char *value)
{
	if (strcmp(name, "connect") == 0)
		set_address(c, value);
	else if (strcmp(name, "depth") == 0)
		c->load.depth = (uint32_t)number(name, value, 1, CHECKER_DEPTH_MAX);
	else if (strcmp(name, "pages") == 0)
		c->load.n_pages = (uint32_t)number(name, value, 0, GUEST_WINDOW_MAX_PAGES);
	else if (strcmp(name, "bytes") == 0)
		c->load.n_bytes = (uint32_t)number(name, value, GUEST_BYTES_MIN, GUEST_BYTES_MAX);
	else if (strcmp(name, "window") == 0)
		c->window_pages = (uint32_t)number(name, value, GUEST_WINDOW_MIN_PAGES,
						   GUEST_WINDOW_MAX_PAGES);
	else if (strcmp(name, "rate") == 0)
		c->rate_pages_s = (uint32_t)number(name, value, 1, GUEST_RATE_MAX_PAGES);
	else if (strcmp(name, "seconds") == 0)
		c->end_ns = number(name, value, 1, 1000000) * CLOCK_NS_PER_S;
	else if (strcmp(name, "requests") == 0)
		c->n_requests = number(name, value, 1, UINT64_MAX);
	else if (strcmp(name, "progress-ms") == 0)
		c->progress_ns = number(name, value, 0, 1000000) * CLOCK_NS_PER_MS;
	else if (strcmp(name, "connect-timeout-s") == 0)
		c->connect_timeout_ns = number(name, value, 1, 100000) * CLOCK_NS_PER_S;
	else if (strcmp(name, "reply-timeout-s") == 0)
		c->reply_timeout_ns = number(name, value, 1, 100000) * CLOCK_NS_PER_S;
	else if (strcmp(name, "phase") == 0)
		c->first_phase = value;
	else if (strcmp(name, "json") == 0)
		c->json_path = value;
	else if (strcmp(name, "commands") == 0)
		c->commands = true;
	else
		usage(strcmp(name, "help") ? 2 : 0);
}

static void parse_options(struct client *c, int argc, char **argv)
{
	static const struct option options[] = {
		{"connect", 1, NULL, 0},
		{"depth", 1, NULL, 0},
		{"pages", 1, NULL, 0},
		{"bytes", 1, NULL, 0},
		{"window", 1, NULL, 0},
		{"rate", 1, NULL, 0},
		{"seconds", 1, NULL, 0},
		{"requests", 1, NULL, 0},
		{"progress-ms", 1, NULL, 0},
		{"connect-timeout-s", 1, NULL, 0},
		{"reply-timeout-s", 1, NULL, 0},
		{"phase", 1, NULL, 0},
		{"json", 1, NULL, 0},
		{"commands", 0, NULL, 0},
		{"help", 0, NULL, 0},
		{0},
	};
	int o, index;

	while ((o = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (o != 0)
			usage(2);
		set_option(c, options[index].name, optarg);
	}
	if (optind != argc || !c->address.sin_family)
		usage(2);
	if (c->load.n_pages > c->window_pages) {
		fprintf(stderr, "hf-client: --pages %u is more than --window %u\n", c->load.n_pages,
			c->window_pages);
		exit(2);
	}
}

/* Connect, agree on the window with the service, and start the clocks. Returns 0, or -1 after
 * printing the error. */
static int start(struct client *c)
{
	char address[INET_ADDRSTRLEN];
	uint64_t now_ns;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	inet_ntop(AF_INET, &c->address.sin_addr, address, sizeof(address));
	r = c->signal_fd < 0 ? -errno : connect_first(c);
	if (r == 0)
		r = say_hello(c);
	if (r == 0)
		r = checker_init(&c->checker, c->window_pages);
	if (r < 0) {
		fprintf(stderr, "hf-client: %s:%u: %s\n", address, ntohs(c->address.sin_port),
			strerror(-r));
		return -1;
	}
	if (c->rate_pages_s)
		c->queued = (struct guest_request){ .type = GUEST_RATE, .n_bytes = c->load.n_bytes,
						    .arg = c->rate_pages_s };
	now_ns = clock_mono_ns();
	c->next_progress_ns = now_ns + c->progress_ns;
	c->end_ns = c->end_ns ? now_ns + c->end_ns : 0;
	report_begin(&c->report, c->first_phase, now_ns);
	printf("connected address=%s mono_ns=%" PRIu64 "\n", address, now_ns);
	return 0;
}

int main(int argc, char **argv)
{
	static struct client c = {
		.load = { .depth = 1, .n_pages = 4, .n_bytes = 64 }, .window_pages = 1024,
		.connect_timeout_ns = 60 * CLOCK_NS_PER_S, .reply_timeout_ns = 30 * CLOCK_NS_PER_S,
		.progress_ns = 500 * CLOCK_NS_PER_MS, .first_phase = "run", .fd = -1,
	};
	bool good;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse_options(&c, argc, argv);
	if (start(&c) < 0)
		return 1;
	run(&c);
	if (c.error[0])
		printf("broken mono_ns=%" PRIu64 " unanswered=%" PRIu64 " error=\"%s\"\n",
		       clock_mono_ns(), checker_unanswered(&c.checker), c.error);
	good = !c.error[0] && checker_clean(&c.checker) && checker_unanswered(&c.checker) == 0;
	if (write_json(&c, clock_mono_ns()) < 0)
		good = false;
	checker_done(&c.checker);
	fd_close(c.fd);
	fd_close(c.signal_fd);
	return good ? 0 : 1;
}
