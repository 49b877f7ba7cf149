/* redis_load.c - puts a closed-loop load on a redis server and measures latencies.
 *
 * usage: redis_load --connect ADDRESS:PORT [--op get|set|mix] [--connections N] [--depth D]
 *                   [--seconds N] [--keys K] [--bytes B] [--fill]
 *
 * Each of N connections sends a batch of D commands at once, waits for all D replies, and sends the
 * next batch. Latency is the time from just before a batch is sent until its last reply has
 * arrived. Each command uses a random key out of K. Each SET writes a new value of B random letters
 * and digits; a general compressor saves 25 % of its bytes. `mix` is half GET, half SET. With
 * --fill the program only sets every key once and then ends.
 *
 * If a reply is of the wrong kind or late by more than 20 s, the program ends with exit status 1.
 * Replies in the first WARM_NS nanoseconds are not counted. The program has one thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hist.h"

#define CONNECTIONS_MAX 64u
#define DEPTH_MAX	128u
#define VALUE_MAX	1024u
#define COMMAND_MAX	(VALUE_MAX + 128u)
#define WARM_NS		UINT64_C(300000000)
#define SILENCE_MS	20000
#define CONNECT_NS	(20 * CLOCK_NS_PER_S)

enum op { OP_GET, OP_SET, OP_MIX };

struct options {
	struct sockaddr_in server;
	enum op op;
	unsigned n_connections, depth, seconds, n_keys, value_size;
	bool is_fill;
};

struct connection {
	int fd;
	uint64_t sent_ns;		/* when the last batch was sent */
	unsigned n_sent, n_replies;	/* commands in the batch, and replies so far */
	bool is_get[DEPTH_MAX];		/* for each command of the batch: GET or SET? */
	size_t n_in;			/* bytes in @in */
	char in[DEPTH_MAX * COMMAND_MAX];
};

struct load {
	const struct options *options;
	struct connection connections[CONNECTIONS_MAX];
	struct hist latency_ns;
	uint64_t n_replies; /* replies so far, without those in the first WARM_NS */
	uint64_t counted_from_ns;
	uint64_t random;
	unsigned next_key; /* with --fill: the key to set next */
};

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "redis_load: %s: %s\n", what, why);
	exit(1);
}

/* Returns the next random number (xorshift64*). */
static uint64_t next_random(struct load *load)
{
	load->random ^= load->random >> 12;
	load->random ^= load->random << 25;
	load->random ^= load->random >> 27;
	return load->random * UINT64_C(2685821657736338717);
}

static void random_text(struct load *load, char *out, unsigned size)
{
	static const char letters[64] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
	uint64_t bits = 0;

	for (unsigned i = 0; i < size; i++, bits >>= 6) {
		if (i % 10 == 0)
			bits = next_random(load);
		out[i] = letters[bits & 63];
	}
}

/* Connect to the server; retries, because the server may still be starting. */
static int connect_to(const struct sockaddr_in *server)
{
	uint64_t deadline_ns = clock_mono_ns() + CONNECT_NS;
	struct timespec pause = {.tv_nsec = 100000000};
	int fd, on = 1;

	for (;;) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			die("socket", strerror(errno));
		if (connect(fd, (const struct sockaddr *)server, sizeof(*server)) == 0)
			break;
		close(fd);
		if (clock_mono_ns() > deadline_ns)
			die("connect", strerror(errno));
		nanosleep(&pause, NULL);
	}
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		die("TCP_NODELAY", strerror(errno));
	return fd;
}

/* Write one command to @out. Returns its size. */
static size_t put_command(struct load *load, bool is_get, char *out)
{
	const struct options *o = load->options;
	unsigned key = o->is_fill ? load->next_key++ : (unsigned)(next_random(load) % o->n_keys);
	size_t size;

	if (is_get)
		return (size_t)sprintf(out, "*2\r\n$3\r\nGET\r\n$12\r\nkey:%08u\r\n", key);
	size = (size_t)sprintf(out, "*3\r\n$3\r\nSET\r\n$12\r\nkey:%08u\r\n$%u\r\n", key,
			       o->value_size);
	random_text(load, out + size, o->value_size);
	size += o->value_size;
	memcpy(out + size, "\r\n", 2);
	return size + 2;
}

static void send_batch(struct load *load, struct connection *c)
{
	static char out[DEPTH_MAX * COMMAND_MAX];
	const struct options *o = load->options;
	size_t size = 0, sent = 0;

	c->n_sent = o->is_fill && o->n_keys - load->next_key < o->depth ? o->n_keys - load->next_key
									: o->depth;
	c->n_replies = 0;
	for (unsigned i = 0; i < c->n_sent; i++) {
		c->is_get[i] = o->op == OP_GET || (o->op == OP_MIX && next_random(load) >> 63);
		size += put_command(load, c->is_get[i], out + size);
	}
	c->sent_ns = clock_mono_ns();
	while (sent < size) {
		ssize_t n = send(c->fd, out + sent, size - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			die("send", strerror(errno));
		sent += n > 0 ? (size_t)n : 0;
	}
}

/* Returns the size of the reply at the start of @in, or 0 if it is not complete yet. Ends the
 * program if the reply is of a wrong kind. */
static size_t reply_size(const struct options *o, const char *in, size_t size, bool is_get)
{
	const char *end = memchr(in, '\n', size);
	char head[16];
	size_t want;

	if (!end)
		return 0;
	if (!is_get) {
		if (end - in != 4 || memcmp(in, "+OK\r", 4) != 0)
			die("SET", "the server answered something else than OK");
		return 5;
	}
	want = (size_t)sprintf(head, "$%u\r\n", o->value_size);
	if ((size_t)(end - in) + 1 != want || memcmp(in, head, want) != 0)
		die("GET", "the server answered no value, or one of another size");
	want += o->value_size + 2;
	return size >= want ? want : 0;
}

static void receive(struct load *load, struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->n_in, sizeof(c->in) - c->n_in, 0);
	size_t at = 0, size;

	if (n <= 0)
		die("receive", n < 0 ? strerror(errno) : "the server closed the connection");
	c->n_in += (size_t)n;
	while (c->n_replies < c->n_sent) {
		size = reply_size(load->options, c->in + at, c->n_in - at, c->is_get[c->n_replies]);
		if (!size)
			break;
		at += size;
		c->n_replies++;
	}
	memmove(c->in, c->in + at, c->n_in - at);
	c->n_in -= at;
}

/* Count a batch whose replies have all arrived. */
static void finish(struct load *load, const struct connection *c, uint64_t now_ns)
{
	if (c->sent_ns < load->counted_from_ns)
		return;
	hist_record(&load->latency_ns, now_ns - c->sent_ns);
	load->n_replies += c->n_sent;
}

/* Returns true if another batch should be sent. */
static bool goes_on(const struct load *load, uint64_t until_ns, uint64_t now_ns)
{
	return load->options->is_fill ? load->next_key < load->options->n_keys : now_ns < until_ns;
}

static void run(struct load *load, uint64_t until_ns)
{
	struct pollfd polled[CONNECTIONS_MAX];
	unsigned n = load->options->n_connections, n_busy = 0;
	uint64_t now_ns;

	for (unsigned i = 0; i < n; i++) {
		polled[i] = (struct pollfd){.fd = load->connections[i].fd, .events = POLLIN};
		if (goes_on(load, until_ns, clock_mono_ns())) {
			send_batch(load, &load->connections[i]);
			n_busy++;
		}
	}
	while (n_busy > 0) {
		if (poll(polled, n, SILENCE_MS) <= 0)
			die("poll", "no reply for 20 s");
		for (unsigned i = 0; i < n; i++) {
			struct connection *c = &load->connections[i];

			if (!polled[i].revents)
				continue;
			receive(load, c);
			if (c->n_replies < c->n_sent)
				continue;
			now_ns = clock_mono_ns();
			finish(load, c, now_ns);
			if (goes_on(load, until_ns, now_ns))
				send_batch(load, c);
			else
				n_busy--;
		}
	}
}

static unsigned number(const char *name, unsigned min, unsigned max)
{
	char *end;
	unsigned long value = strtoul(optarg, &end, 10);

	if (*end || end == optarg || value < min || value > max) {
		fprintf(stderr, "redis_load: --%s %s: want a number from %u to %u\n", name, optarg,
			min, max);
		exit(2);
	}
	return (unsigned)value;
}

static void parse_address(struct options *options)
{
	char *colon = strchr(optarg, ':');

	if (colon) {
		*colon = '\0';
		options->server = (struct sockaddr_in){
			.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
	}
	if (!colon || inet_pton(AF_INET, optarg, &options->server.sin_addr) != 1) {
		fprintf(stderr, "redis_load: --connect: want ADDRESS:PORT\n");
		exit(2);
	}
}

static void parse_op(struct options *options)
{
	static const char *const names[] = {[OP_GET] = "get", [OP_SET] = "set", [OP_MIX] = "mix"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(optarg, names[i]) == 0) {
			options->op = (enum op)i;
			return;
		}
	}
	fprintf(stderr, "redis_load: --op %s: want get, set or mix\n", optarg);
	exit(2);
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {{"connect", required_argument, NULL, 'a'},
					      {"op", required_argument, NULL, 'o'},
					      {"connections", required_argument, NULL, 'n'},
					      {"depth", required_argument, NULL, 'd'},
					      {"seconds", required_argument, NULL, 's'},
					      {"keys", required_argument, NULL, 'k'},
					      {"bytes", required_argument, NULL, 'b'},
					      {"fill", no_argument, NULL, 'f'},
					      {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'a': parse_address(options); break;
		case 'o': parse_op(options); break;
		case 'n': options->n_connections = number("connections", 1, CONNECTIONS_MAX); break;
		case 'd': options->depth = number("depth", 1, DEPTH_MAX); break;
		case 's': options->seconds = number("seconds", 1, 86400); break;
		case 'k': options->n_keys = number("keys", 1, 10000000); break;
		case 'b': options->value_size = number("bytes", 1, VALUE_MAX); break;
		case 'f': options->is_fill = true; break;
		default: exit(2);
		}
	}
	if (optind != argc || !options->server.sin_port) {
		fprintf(stderr, "redis_load: --connect ADDRESS:PORT is needed\n");
		exit(2);
	}
	if (options->is_fill)
		options->op = OP_SET;
}

int main(int argc, char **argv)
{
	static struct options options = {.op = OP_GET,
					 .n_connections = 1,
					 .depth = 1,
					 .seconds = 3,
					 .n_keys = 20000,
					 .value_size = 64};
	static struct load load;
	uint64_t start_ns, took_ns;

	parse(argc, argv, &options);
	load.options = &options;
	start_ns = clock_mono_ns();
	load.random = start_ns | 1;
	for (unsigned i = 0; i < options.n_connections; i++)
		load.connections[i].fd = connect_to(&options.server);
	start_ns = clock_mono_ns();
	load.counted_from_ns = start_ns + (options.is_fill ? 0 : WARM_NS);
	run(&load, load.counted_from_ns + options.seconds * CLOCK_NS_PER_S);
	took_ns = clock_mono_ns() - load.counted_from_ns;
	printf("{\"replies\": %" PRIu64 ", \"seconds\": %.3f, \"per_s\": %.1f, \"p50_ms\": %.3f, "
	       "\"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
	       load.n_replies, (double)took_ns / 1e9,
	       (double)load.n_replies * 1e9 / (double)took_ns,
	       (double)hist_quantile(&load.latency_ns, 0.5) / 1e6,
	       (double)hist_quantile(&load.latency_ns, 0.99) / 1e6,
	       (double)hist_max(&load.latency_ns) / 1e6);
	return 0;
}
