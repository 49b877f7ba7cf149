#include "peer/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#define BACKLOG	   16
/* how long to accept no connection after accept(2) has failed */
#define REST_NS    (100 * CLOCK_NS_PER_MS)
#define WHERE_SIZE 32

struct pending {
	struct link *link; /* NULL: this slot is free */
	char where[WHERE_SIZE];
	uint64_t deadline_ns;
};

struct peer_server {
	struct peer_server_config config;
	int listen_fd;
	int wake_fd; /* eventfd, written after must_stop was set */
	_Atomic bool must_stop;
	uint64_t listen_at_ns; /* do not accept connections before this time */
	struct pending pending[PEER_CONNECTIONS_MAX];
	pthread_t thread;
};

static void drop(struct pending *p, const char *why)
{
	log_limited(LOG_LEVEL_WARN, "peer=%s refused: %s", p->where, why);
	p->link = link_free(p->link);
}

static void refuse(struct pending *p, uint16_t code, const char *text)
{
	const struct wire_header header = {.type = WIRE_REFUSED};
	struct wire_failure failure = {.code = code};
	uint8_t payload[WIRE_TEXT_MAX + 16];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct iovec piece = {.iov_base = payload};

	wire_text_format(failure.text, "%s", text);
	if (wire_failure_encode(&failure, &w) == 0) {
		piece.iov_len = (size_t)(w.at - payload);
		/* ignore an error: the link is closed next */
		(void)!link_send(p->link, &header, &piece, 1);
	}
	drop(p, text);
}

static void on_hello(struct peer_server *s, struct pending *p, const struct wire_frame *frame)
{
	char error_text[WIRE_ERROR_TEXT_SIZE];
	struct error why = {""};
	struct peer_offer offer = {.link = p->link, .term = frame->h.term};
	struct wire_hello hello;
	struct wire_error error;
	uint16_t code;

	if (wire_hello_decode(frame, &hello, &error) < 0) {
		refuse(p, WIRE_REFUSED_PROTOCOL,
		       wire_error_text(&error, error_text, sizeof(error_text)));
		return;
	}
	if (hello.kind != WIRE_KIND_PEER) {
		refuse(p, WIRE_REFUSED_PROTOCOL, "this is an agent, not a gateway");
		return;
	}
	if (wire_hello_negotiate(&hello, &offer.version, &offer.features, &code, &why) < 0) {
		refuse(p, code, why.text);
		return;
	}
	strcpy(offer.host, link_peer(p->link)->name);
	strcpy(offer.vm, hello.vm);
	link_set_sender(p->link, WIRE_SENDER_PEER_PRIMARY);
	code = s->config.take(s->config.arg, &offer, &why);
	if (code)
		refuse(p, code, why.text);
	else
		p->link = NULL;
}

static void serve(struct peer_server *s, struct pending *p, uint64_t now_ns)
{
	struct wire_frame frame;
	int r = link_receive(p->link, &frame);

	if (r == 0)
		on_hello(s, p, &frame);
	else if (r != -EAGAIN)
		drop(p, link_error(p->link));
	else if (now_ns >= p->deadline_ns)
		drop(p, "no HELLO in time");
}

static void accept_one(struct peer_server *s, uint64_t now_ns)
{
	struct sockaddr_in from = {0};
	socklen_t size = sizeof(from);
	int fd = accept4(s->listen_fd, (struct sockaddr *)&from, &size,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);
	char address[INET_ADDRSTRLEN] = "?";
	struct pending *p = NULL;
	int r = -EBUSY;

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			s->listen_at_ns = now_ns + REST_NS;
		return;
	}
	(void)inet_ntop(AF_INET, &from.sin_addr, address, sizeof(address));
	for (size_t i = 0; i < PEER_CONNECTIONS_MAX && !p; i++)
		p = s->pending[i].link ? NULL : &s->pending[i];
	if (p) {
		snprintf(p->where, sizeof(p->where), "%s:%u", address, ntohs(from.sin_port));
		p->deadline_ns = now_ns + s->config.hello_ns;
		r = link_accept_fd(fd, s->config.tls, p->where, &p->link);
	}
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "peer=%s refused: %s", address,
			    r == -EBUSY ? "too many connections" : strerror(-r));
		fd_close(fd);
	}
}

/* Fill @fds: [0] wake_fd, [1] listen_fd, then one entry for each slot. Returns the time at which to
 * wake up. */
static uint64_t prepare(const struct peer_server *s, struct pollfd *fds, uint64_t now_ns)
{
	uint64_t at_ns = UINT64_MAX;
	bool listens = now_ns >= s->listen_at_ns;

	fds[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = listens ? s->listen_fd : -1, .events = POLLIN};
	if (!listens)
		at_ns = s->listen_at_ns;
	for (size_t i = 0; i < PEER_CONNECTIONS_MAX; i++) {
		const struct pending *p = &s->pending[i];

		fds[2 + i] = (struct pollfd){.fd = p->link ? link_fd(p->link) : -1,
					     .events = p->link ? (short)link_events(p->link) : 0};
		if (p->link && p->deadline_ns < at_ns)
			at_ns = p->deadline_ns;
	}
	return at_ns;
}

static void *run(void *arg)
{
	struct peer_server *s = arg;
	struct pollfd fds[2 + PEER_CONNECTIONS_MAX];

	while (!atomic_load(&s->must_stop)) {
		uint64_t now_ns = clock_mono_ns(), at_ns = prepare(s, fds, now_ns);

		/* Ignore an error: the calls below get it too. */
		(void)poll(fds, 2 + PEER_CONNECTIONS_MAX, clock_poll_ms(now_ns, at_ns));
		now_ns = clock_mono_ns();
		for (size_t i = 0; i < PEER_CONNECTIONS_MAX; i++) {
			struct pending *p = &s->pending[i];

			if (p->link && (fds[2 + i].revents || now_ns >= p->deadline_ns))
				serve(s, p, now_ns);
		}
		if (fds[1].revents)
			accept_one(s, now_ns);
	}
	for (size_t i = 0; i < PEER_CONNECTIONS_MAX; i++)
		link_free(s->pending[i].link);
	return NULL;
}

static int listen_at(uint32_t ip_be32, uint16_t port)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = ip_be32};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, r = 0;

	if (fd < 0)
		return -errno;
	/* SO_REUSEADDR: a restarted agent can bind although old connections are still in
	 * TIME_WAIT. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		fd_close(fd);
	return r < 0 ? r : fd;
}

int peer_server_open(const struct peer_server_config *config, struct peer_server **ret_server)
{
	struct peer_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	if (!s->config.hello_ns)
		s->config.hello_ns = PEER_HELLO_NS;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->listen_fd = listen_at(config->ip_be32, config->port);
	r = s->wake_fd < 0 ? -errno : s->listen_fd < 0 ? s->listen_fd : 0;
	if (r == 0)
		r = -pthread_create(&s->thread, NULL, run, s);
	if (r < 0) {
		fd_close(s->wake_fd);
		fd_close(s->listen_fd);
		free(s);
		return r;
	}
	*ret_server = s;
	return 0;
}

struct peer_server *peer_server_close(struct peer_server *s)
{
	uint64_t one = 1;

	if (!s)
		return NULL;
	atomic_store(&s->must_stop, true);
	(void)!write(s->wake_fd, &one, sizeof(one)); /* the counter cannot be full */
	pthread_join(s->thread, NULL);
	fd_close(s->wake_fd);
	fd_close(s->listen_fd);
	free(s);
	return NULL;
}
