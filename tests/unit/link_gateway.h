/* link_gateway.h - plays a gateway for test_link.c: a thread follows a script at the other end of a
 * socket pair.
 *
 * set_up() makes the certificates of both ends, and tear_down() frees them. gateway_start() starts
 * the thread, whose script may block on the socket; gateway_stop() joins it.
 */
#ifndef TESTS_LINK_GATEWAY_H
#define TESTS_LINK_GATEWAY_H

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/fd.h"
#include "link/link.h"
#include "mint_certs.h"

static struct wire_tls_context *agent_context, *gateway_context;

static int set_up(void **state)
{
	(void)state;
	mint_two(&agent_context, &gateway_context);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	wire_tls_context_free(agent_context);
	wire_tls_context_free(gateway_context);
	return 0;
}

static uint64_t soon(void)
{
	return clock_mono_ns() + 10 * CLOCK_NS_PER_S;
}

/* ---- the scripted gateway: a thread with a blocking socket ---- */

struct gateway {
	int fd;
	struct wire_tls *tls;
	pthread_t thread;
	uint8_t bytes[4 * WIRE_FRAME_MAX];
	size_t n_bytes;
	void (*script)(struct gateway *g);
	struct wire_hello hello;     /* the HELLO received */
	struct wire_header hello_at; /* the HELLO's header */
	uint64_t n_payload_bytes;    /* sum over all PAGES frames received */
	uint64_t n_frames;
	int result;
};

static void gateway_flush(struct gateway *g)
{
	const uint8_t *p;
	size_t size;

	while ((p = wire_tls_output(g->tls, &size)), size > 0) {
		ssize_t n = send(g->fd, p, size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		wire_tls_output_consume(g->tls, (size_t)n);
	}
}

/* Receive one frame. Returns 0, or the error that ended the connection. */
static int gateway_frame(struct gateway *g, struct wire_frame *frame)
{
	static __thread size_t used; /* size of the previous frame, which is still in g->bytes */

	memmove(g->bytes, g->bytes + used, g->n_bytes - used);
	g->n_bytes -= used;
	used = 0;
	for (;;) {
		const uint8_t *at = g->bytes;
		int r = wire_frame_decode(&at, g->bytes + g->n_bytes, frame, NULL);
		uint8_t *p;
		size_t size;
		ssize_t n;

		if (r != -EAGAIN) {
			used = r == 0 ? (size_t)(at - g->bytes) : 0;
			return r;
		}
		r = wire_tls_read(g->tls, g->bytes + g->n_bytes, sizeof(g->bytes) - g->n_bytes);
		gateway_flush(g);
		if (r > 0) {
			g->n_bytes += (size_t)r;
			continue;
		}
		if (r != -EAGAIN)
			return r;
		p = wire_tls_input_reserve(g->tls, &size);
		n = recv(g->fd, p, size, 0);
		if (n <= 0)
			return -EPIPE;
		wire_tls_input_commit(g->tls, (size_t)n);
	}
}

static void gateway_send(struct gateway *g, const uint8_t *data, size_t size)
{
	while (size > 0) {
		int r = wire_tls_write(g->tls, data, size);

		if (r > 0) {
			data += r;
			size -= (size_t)r;
		}
		gateway_flush(g);
		if (r < 0 && r != -EAGAIN)
			return;
	}
}

static void gateway_send_empty(struct gateway *g, uint8_t type, uint64_t epoch)
{
	struct wire_header h = {.type = type, .epoch = epoch};
	uint8_t bytes[WIRE_HEADER_SIZE];

	if (wire_frame_seal(bytes, &h, NULL, 0) == 0)
		gateway_send(g, bytes, sizeof(bytes));
}

static int gateway_take_hello(struct gateway *g)
{
	struct wire_frame frame;
	int r = gateway_frame(g, &frame);

	g->hello_at = frame.h;
	return r == 0 ? wire_hello_decode(&frame, &g->hello, NULL) : r;
}

static void gateway_welcome_with(struct gateway *g, uint16_t version, uint64_t features)
{
	struct wire_welcome welcome = {.version = version, .features = features, .gateway = "gw"};
	struct wire_header h	    = {.type = WIRE_WELCOME};
	struct bytes_writer w;
	uint8_t buffer[256];
	size_t size;

	if (wire_frame_begin(buffer, sizeof(buffer), &w) == 0 &&
	    wire_welcome_encode(&welcome, &w) == 0 &&
	    wire_frame_finish(buffer, &w, &h, &size) == 0)
		gateway_send(g, buffer, size);
}

static void gateway_welcome(struct gateway *g, uint16_t version)
{
	gateway_welcome_with(g, version, WIRE_FEATURES);
}

static void *gateway_run(void *arg)
{
	struct gateway *g = arg;

	g->script(g);
	shutdown(g->fd, SHUT_RDWR);
	return NULL;
}

/* Run @script at the other end of a new link. */
static struct gateway *gateway_start(void (*script)(struct gateway *g), unsigned roles,
				     struct link **ret_link)
{
	struct gateway *g = calloc(1, sizeof(*g));
	int fds[2];

	assert_non_null(g);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(link_open_fd(fds[0], agent_context, 0, ret_link), 0);
	g->fd	  = fds[1];
	g->script = script;
	assert_int_equal(wire_tls_new(gateway_context, roles, 0, &g->tls), 0);
	assert_int_equal(pthread_create(&g->thread, NULL, gateway_run, g), 0);
	return g;
}

static void gateway_free(struct gateway *g)
{
	wire_tls_free(g->tls);
	fd_close(g->fd);
	free(g);
}

static void gateway_stop(struct gateway *g)
{
	pthread_join(g->thread, NULL);
	gateway_free(g);
}

#endif
