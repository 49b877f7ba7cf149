/* service.c - hf-service: the program that runs inside the test guest.
 *
 * hf-service counts TCP requests and dirties memory in a way that the client can check
 * (guest_proto.h, guest_model.h). The counts are in guest memory only, so a bad failover loses
 * them. A background writer dirties pages at a given rate, as other programs in a guest would.
 * deploy/guest/init starts hf-service with options from the kernel command line. hf-service is
 * linked statically and uses only libc. It does not know that the guest is replicated.
 *
 * With --group it is also a member of a multicast group (groups.h).
 *
 * Threads: one per connection, which owns the connection's window; one per group; and one
 * background writer, which owns its arena. They share the atomics and the rate, which rate_lock
 * guards.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "guest/groups.h"
#include "guest/guest_model.h"
#include "guest/guest_proto.h"

#define BATCH_RECORDS	    256 /* requests read or replies written per system call */
#define BACKGROUND_PAGES    2048 /* size of the background writer's arena: 8 MiB */
/* interval at which the background writer wakes, if its rate is not 0: 10 ms */
#define BACKGROUND_TICK_NS  10000000
#define BACKGROUND_TICKS_S  100

static _Atomic uint64_t total_requests;
static _Atomic uint32_t background_torn;  /* set once, never cleared */
static _Atomic uint32_t n_connections;
static pthread_mutex_t rate_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the rate */
static pthread_cond_t rate_changed = PTHREAD_COND_INITIALIZER;
static uint64_t rate_pages_s;
static uint32_t rate_bytes = 64;

/* One connection. Its thread owns it. */
struct connection {
	int fd;
	uint8_t *window;	/* the mapped pages; NULL before HELLO */
	uint32_t window_pages;	/* valid if @window is not NULL */
	/* valid if @window is not NULL: the page that the next DIRTY writes first */
	uint32_t next_page;
	uint64_t count;		/* requests answered */
	uint64_t last_seq;
	uint64_t checksum;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Map @n_pages pages and touch each of them. Later writes then dirty only these pages, and no page
 * tables. Returns NULL if there is no memory. */
static uint8_t *map_pages(uint32_t n_pages)
{
	uint8_t *p = mmap(NULL, (size_t)n_pages * GUEST_PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int do_hello(struct connection *c, const struct guest_request *request)
{
	if (c->window || request->seq != 0 || request->arg < GUEST_WINDOW_MIN_PAGES ||
	    request->arg > GUEST_WINDOW_MAX_PAGES)
		return -EPROTO;
	c->window = map_pages((uint32_t)request->arg);
	if (!c->window)
		return -ENOMEM;
	c->window_pages = (uint32_t)request->arg;
	return 0;
}

static int do_dirty(struct connection *c, const struct guest_request *request, bool *ret_torn)
{
	uint8_t *page;
	uint32_t i;

	if (request->n_pages > c->window_pages || request->n_bytes < GUEST_BYTES_MIN ||
	    request->n_bytes > GUEST_BYTES_MAX)
		return -EPROTO;
	for (i = 0; i < request->n_pages; i++) {
		page = c->window + (size_t)c->next_page * GUEST_PAGE_SIZE;
		c->checksum = guest_checksum_add(c->checksum, guest_page_read(page, ret_torn));
		guest_page_write(page, guest_seed(request->seq, i), request->n_bytes);
		c->next_page = (c->next_page + 1) % c->window_pages;
	}
	return 0;
}

static int do_rate(const struct guest_request *request)
{
	if (request->arg > GUEST_RATE_MAX_PAGES || request->n_bytes < GUEST_BYTES_MIN ||
	    request->n_bytes > GUEST_BYTES_MAX)
		return -EPROTO;
	pthread_mutex_lock(&rate_lock);
	rate_pages_s = request->arg;
	rate_bytes = request->n_bytes;
	pthread_cond_signal(&rate_changed);
	pthread_mutex_unlock(&rate_lock);
	return 0;
}

/* Carry out one request and fill *ret_reply. Returns 0; -EPROTO if @bytes is no valid request of
 * this protocol; -ENOMEM. */
static int handle(struct connection *c, const uint8_t *bytes, struct guest_reply *ret_reply)
{
	struct guest_request request;
	bool torn = false;
	uint32_t flags = 0;
	int r = guest_request_decode(bytes, &request);

	if (r < 0)
		return r;
	if (request.type == GUEST_HELLO) {
		r = do_hello(c, &request);
	} else if (!c->window) {
		r = -EPROTO;
	} else {
		if (request.seq != c->last_seq + 1)
			flags |= GUEST_FLAG_SEQUENCE;
		c->last_seq = request.seq;
		c->count++;
		r = request.type == GUEST_DIRTY ? do_dirty(c, &request, &torn) :
		    request.type == GUEST_RATE	? do_rate(&request) : -EPROTO;
	}
	if (r < 0)
		return r;
	flags |= torn ? GUEST_FLAG_TORN : 0;
	flags |= atomic_load(&background_torn) ? GUEST_FLAG_BACKGROUND : 0;
	*ret_reply = (struct guest_reply){.type = request.type,
					  .seq = request.seq,
					  .count = c->count,
					  .checksum = c->checksum,
					  .flags = flags,
					  .n_pages = request.n_pages,
					  .guest_ns = now_ns(),
					  .total = atomic_fetch_add(&total_requests, 1) + 1};
	return 0;
}

static int send_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Serve the connection until the peer closes it. Returns 0 if the peer closed it between two
 * requests. Returns -errno in any other case. */
static int serve(struct connection *c)
{
	uint8_t in[BATCH_RECORDS * GUEST_REQUEST_SIZE], out[BATCH_RECORDS * GUEST_REPLY_SIZE];
	size_t have = 0, at, n_out;
	struct guest_reply reply;
	ssize_t n;
	int r;

	for (;;) {
		n = recv(c->fd, in + have, sizeof(in) - have, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : have ? -EPIPE : 0;
		have += (size_t)n;
		for (at = 0, n_out = 0; at + GUEST_REQUEST_SIZE <= have; at += GUEST_REQUEST_SIZE) {
			r = handle(c, in + at, &reply);
			if (r < 0)
				return r;
			guest_reply_encode(out + n_out, &reply);
			n_out += GUEST_REPLY_SIZE;
		}
		memmove(in, in + at, have - at);
		have -= at;
		r = send_all(c->fd, out, n_out);
		if (r < 0)
			return r;
	}
}

static void *connection_main(void *arg)
{
	struct connection *c = arg;
	int r = serve(c);

	printf("hf-service: connection ended after %" PRIu64 " requests: %s\n", c->count,
	       r ? strerror(-r) : "closed by the client");
	close(c->fd);
	if (c->window)
		munmap(c->window, (size_t)c->window_pages * GUEST_PAGE_SIZE);
	free(c);
	atomic_fetch_sub(&n_connections, 1);
	return NULL;
}

/* The background writer's thread: writes the arena's pages one after another, at the given rate.
 * Before it writes a page, it checks the page's old content. */
static void *background_main(void *arg)
{
	uint8_t *arena = arg;
	uint64_t written = 0, credit = 0;
	struct timespec tick = { .tv_nsec = BACKGROUND_TICK_NS };
	uint32_t n_bytes;
	uint8_t *page;
	bool torn = false;

	for (;;) {
		pthread_mutex_lock(&rate_lock);
		while (rate_pages_s == 0)
			pthread_cond_wait(&rate_changed, &rate_lock);
		credit += rate_pages_s;
		n_bytes = rate_bytes;
		pthread_mutex_unlock(&rate_lock);
		for (; credit >= BACKGROUND_TICKS_S; credit -= BACKGROUND_TICKS_S, written++) {
			page = arena + written % BACKGROUND_PAGES * GUEST_PAGE_SIZE;
			(void)guest_page_read(page, &torn); /* the seed does not matter here */
			guest_page_write(page, guest_seed(written, 0), n_bytes);
		}
		if (torn)
			atomic_store(&background_torn, 1);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
	}
	return NULL;
}

static int start_thread(void *(*func)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	r = pthread_create(&thread, &attr, func, arg);
	pthread_attr_destroy(&attr);
	return -r;
}

static void accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct connection *c;
	int on = 1;

	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c || atomic_load(&n_connections) >= GUEST_CONNECTIONS_MAX) {
		printf("hf-service: connection refused: %s\n", c ? "too many" : "no memory");
		free(c);
		close(fd);
		return;
	}
	/* a failure is ignored, because TCP_NODELAY only makes replies faster */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->fd = fd;
	atomic_fetch_add(&n_connections, 1);
	if (start_thread(connection_main, c) < 0) {
		atomic_fetch_sub(&n_connections, 1);
		close(fd);
		free(c);
	}
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		return -errno;
	return fd;
}

/* Convert @text, the value of option @name, to a number. Exits with a message if the number is not
 * in @min .. @max. */
static uint64_t number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || v < min || v > max) {
		fprintf(stderr,
			"hf-service: --%s %s: want a number from %" PRIu64 " to %" PRIu64 "\n",
			name, text, min, max);
		exit(2);
	}
	return v;
}

/* Join the multicast group @text and serve it. Exits with a message if that is not possible. */
static void start_group(const char *text)
{
	int fd = group_join(text), r = fd;

	if (r >= 0)
		r = start_thread(group_serve, (void *)(intptr_t)fd);
	if (r >= 0)
		return;
	fprintf(stderr, "hf-service: --group %s: %s\n", text, strerror(-r));
	exit(1);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "rate", required_argument, NULL, 'r' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "group", required_argument, NULL, 'g' },
		{ 0 },
	};
	uint16_t port = GUEST_PORT_DEFAULT;
	uint8_t *arena;
	int o, listener;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'p')
			port = (uint16_t)number("port", optarg, 1, 65535);
		else if (o == 'r')
			rate_pages_s = number("rate", optarg, 0, GUEST_RATE_MAX_PAGES);
		else if (o == 'b')
			rate_bytes =
				(uint32_t)number("bytes", optarg, GUEST_BYTES_MIN, GUEST_BYTES_MAX);
		else if (o == 'g')
			start_group(optarg);
		else
			return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	arena = map_pages(BACKGROUND_PAGES);
	listener = listen_on(port);
	if (!arena || listener < 0 || start_thread(background_main, arena) < 0) {
		fprintf(stderr, "hf-service: cannot start: %s\n",
			listener < 0 ? strerror(-listener) : "no memory");
		return 1;
	}
	printf("hf-service: ready port=%u rate_pages_s=%" PRIu64 "\n", port, rate_pages_s);
	for (;;)
		accept_one(listener);
}
