/* Tests link.c over a socket pair, against a scripted gateway in a second thread. No test waits for
 * time to pass. */
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
#include "link_gateway.h"
#include "mint_certs.h"

static struct wire_hello primary_hello(void)
{
	struct wire_hello hello;

	wire_hello_init(&hello, WIRE_KIND_STREAM, WIRE_VM_ROLE_PRIMARY, "web1");
	return hello;
}

/* ---- scripts and their tests ---- */

static void script_commits(struct gateway *g)
{
	struct wire_frame frame;

	g->result = gateway_take_hello(g);
	gateway_welcome(g, 1);
	gateway_send_empty(g, WIRE_RESUME, 3);
	for (uint64_t i = 4; i < 8; i++)
		gateway_send_empty(g, WIRE_COMMIT, i);
	while (gateway_frame(g, &frame) == 0)
		g->n_frames++;
}

static void handshake_and_frames(void **state)
{
	const struct wire_hello hello = primary_hello();
	struct wire_welcome welcome;
	struct wire_frame frame;
	struct link_stats stats;
	struct gateway *g;
	struct link *link;

	(void)state;
	g = gateway_start(script_commits, WIRE_PEER_HOST, &link);
	assert_true(link_events(link) & EPOLLOUT); /* the ClientHello waits to be sent */
	assert_null(link_peer(link));
	assert_int_equal(link_handshake(link, &hello, 7, 3, soon(), &welcome), 0);
	assert_string_equal(welcome.gateway, "gw");
	assert_string_equal(link_peer(link)->name, "gw");
	for (uint64_t epoch = 3; epoch < 8; epoch++) {
		assert_int_equal(link_await(link, soon(), &frame), 0);
		assert_int_equal(frame.h.type, epoch == 3 ? WIRE_RESUME : WIRE_COMMIT);
		assert_int_equal(frame.h.epoch, epoch);
	}
	assert_int_equal(link_await(link, clock_mono_ns(), &frame), -ETIMEDOUT);
	assert_int_equal(link_receive(link, &frame), -EAGAIN);
	assert_string_equal(link_error(link), "");
	link_get_stats(link, &stats);
	assert_int_equal(stats.frames_received, 6);
	assert_int_equal(stats.frames_sent, 1);
	link_free(link);
	pthread_join(g->thread, NULL);
	assert_int_equal(g->result, 0);
	assert_int_equal(g->hello_at.term, 7);
	assert_int_equal(g->hello_at.epoch, 3);
	assert_string_equal(g->hello.vm, "web1");
	wire_tls_free(g->tls);
	fd_close(g->fd);
	free(g);
}

static void gateway_refuse(struct gateway *g, uint64_t term)
{
	struct wire_failure failure = {.code = WIRE_REFUSED_STALE_TERM,
				       .text = "term 9 rules web1"};
	struct wire_header h	    = {.type = WIRE_REFUSED, .term = term};
	struct bytes_writer w;
	uint8_t buffer[256];
	size_t size;

	if (wire_frame_begin(buffer, sizeof(buffer), &w) == 0 &&
	    wire_failure_encode(&failure, &w) == 0 &&
	    wire_frame_finish(buffer, &w, &h, &size) == 0)
		gateway_send(g, buffer, size);
}

static void script_refuse(struct gateway *g)
{
	if (gateway_take_hello(g) == 0)
		gateway_refuse(g, 9);
}

/* Refuse an open session, as a gateway does when the peer's certificate is revoked. */
static void script_refuse_later(struct gateway *g)
{
	if (gateway_take_hello(g) == 0) {
		gateway_welcome(g, 1);
		gateway_refuse(g, 0);
	}
}

static void refusal_is_readable(void **state)
{
	const struct wire_hello hello = primary_hello();
	struct wire_welcome welcome;
	struct wire_frame frame;
	struct gateway *g;
	struct link *link;

	(void)state;
	g = gateway_start(script_refuse, WIRE_PEER_HOST, &link);
	assert_int_equal(link_handshake(link, &hello, 7, 0, soon(), &welcome), -EACCES);
	assert_string_equal(link_error(link), "gateway: refused: term 9 rules web1");
	assert_int_equal(link_refused_code(link), WIRE_REFUSED_STALE_TERM);
	/* Every later call fails with the same error. */
	assert_int_equal(link_receive(link, &frame), -EACCES);
	assert_int_equal(link_flush(link), -EACCES);
	assert_int_equal(link_wait(link, POLLIN, soon()), -EACCES);
	assert_int_equal(link_handshake(link, &hello, 7, 0, soon(), &welcome), -EACCES);
	link_free(link);
	gateway_stop(g);
}

/* Refuse an open session and close the connection at once. */
static void script_refuse_and_close(struct gateway *g)
{
	script_refuse_later(g);
	(void)shutdown(g->fd, SHUT_RDWR);
}

/* If a send fails because the peer has closed the connection, the error is still the refusal that
 * the peer sent before. */
static void refusal_is_read_when_a_send_fails(void **state)
{
	const struct wire_hello hello = primary_hello();
	const struct wire_header ack = {.type = WIRE_EPOCH_ACK, .epoch = 1};
	struct wire_welcome welcome;
	struct gateway *g;
	struct link *link;

	(void)state;
	g = gateway_start(script_refuse_and_close, WIRE_PEER_HOST, &link);
	assert_int_equal(link_handshake(link, &hello, 7, 0, soon(), &welcome), 0);
	pthread_join(g->thread, NULL);
	assert_int_equal(link_send(link, &ack, NULL, 0), -EACCES);
	assert_string_equal(link_error(link), "gateway: refused: term 9 rules web1");
	assert_int_equal(link_refused_code(link), WIRE_REFUSED_STALE_TERM);
	link_free(link);
	gateway_free(g);
}

static void script_listen(struct gateway *g)
{
	struct wire_frame frame;

	g->result = gateway_frame(g, &frame);
}

/* The gateway rejects certificates of hosts. The link's error must show the gateway's TLS alert,
 * not only EPIPE. */
static void wrong_role_is_readable(void **state)
{
	const struct wire_hello hello = primary_hello();
	struct wire_welcome welcome;
	struct gateway *g;
	struct link *link;

	(void)state;
	g = gateway_start(script_listen, WIRE_PEER_OPERATOR, &link);
	assert_int_equal(link_handshake(link, &hello, 7, 0, soon(), &welcome), -EPROTO);
	assert_non_null(strstr(link_error(link), "our role or name has no business there"));
	link_free(link);
	gateway_stop(g);
}

static void script_close(struct gateway *g)
{
	(void)g;
}

static void script_bad_frames(struct gateway *g)
{
	if (gateway_take_hello(g) == 0) {
		gateway_welcome(g, 1);
		/* a primary must never get this type from a gateway */
		gateway_send_empty(g, WIRE_EPOCH_ACK, 1);
	}
}

static void script_bad_checksum(struct gateway *g)
{
	struct wire_header h = {.type = WIRE_COMMIT};
	uint8_t bytes[WIRE_HEADER_SIZE];

	if (gateway_take_hello(g) == 0 && wire_frame_seal(bytes, &h, NULL, 0) == 0) {
		gateway_welcome(g, 1);
		bytes[20] ^= 1;
		gateway_send(g, bytes, sizeof(bytes));
	}
}

static void script_bad_version(struct gateway *g)
{
	if (gateway_take_hello(g) == 0)
		gateway_welcome(g, 2);
}

static void script_unknown_feature(struct gateway *g)
{
	if (gateway_take_hello(g) == 0)
		gateway_welcome_with(g, 1, WIRE_FEATURES | UINT64_C(1) << 40);
}

static void script_plaintext(struct gateway *g)
{
	(void)!write(g->fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

static void broken_gateways(void **state)
{
	static const struct {
		void (*script)(struct gateway *g);
		int handshake, receive;
		const char *words;
	} rows[] = {
		{script_close, -EPIPE, 0, "closed the connection during the TLS handshake"},
		{script_plaintext, -EPROTO, 0, "does not speak TLS"},
		{script_bad_version, -EPROTO, 0, "chose wire version 2"},
		{script_unknown_feature, -EPROTO, 0, "chose a feature that was not offered"},
		{script_refuse_later, 0, -EACCES, "refused: term 9 rules web1"},
		{script_bad_frames, 0, -EPROTO, "sent EPOCH_ACK, which has no place"},
		{script_bad_checksum, 0, -EBADMSG, "COMMIT frame: checksum"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct wire_hello hello = primary_hello();
		struct wire_welcome welcome;
		struct wire_frame frame;
		struct gateway *g;
		struct link *link;
		int r;

		g = gateway_start(rows[i].script, WIRE_PEER_HOST, &link);
		r = link_handshake(link, &hello, 1, 0, soon(), &welcome);
		/* timing decides which of these two errors comes */
		if (r == -ECONNRESET || r == -EPIPE)
			r = -EPIPE;
		assert_int_equal(r, rows[i].handshake);
		if (r == 0) {
			r = link_await(link, soon(), &frame);
			assert_int_equal(r, rows[i].receive);
		}
		if (r != -EPIPE && !strstr(link_error(link), rows[i].words))
			fail_msg("row %zu: %s", i, link_error(link));
		assert_true(strlen(link_error(link)) > 0);
		link_free(link);
		gateway_stop(g);
	}
}

/* A second socket pair. script_count_pages() reads nothing until the test closes its end,
 * gate[1]. */
static int gate[2];

static void script_count_pages(struct gateway *g)
{
	struct wire_frame frame;
	uint8_t byte;

	if (gateway_take_hello(g) < 0)
		return;
	gateway_welcome(g, 1);
	(void)!read(gate[0], &byte, 1);
	while (gateway_frame(g, &frame) == 0) {
		for (uint32_t i = 0; i < frame.h.payload_size; i++) {
			if (frame.payload[i] != (uint8_t)(frame.h.seq + i))
				g->result = -EBADMSG;
		}
		if (frame.h.seq != g->n_frames)
			g->result = -EPROTO;
		g->n_frames++;
		g->n_payload_bytes += frame.h.payload_size;
	}
}

static void queue_is_bounded_and_drains(void **state)
{
	static uint8_t payload[WIRE_PAYLOAD_MAX];
	const struct wire_hello hello = primary_hello();
	struct wire_header h = {.type = WIRE_PAGES};
	struct iovec pieces[3];
	struct wire_welcome welcome;
	struct link_backlog backlog;
	struct link_stats stats;
	uint64_t n_bytes = 0;
	struct gateway *g;
	struct link *link;
	int r = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate), 0);
	g = gateway_start(script_count_pages, WIRE_PEER_HOST, &link);
	assert_int_equal(link_handshake(link, &hello, 1, 0, soon(), &welcome), 0);
	for (uint32_t seq = 0; seq < 60; seq++) {
		size_t size = seq % 2 ? WIRE_PAYLOAD_MAX : seq * 37;

		for (size_t i = 0; i < size; i++)
			payload[i] = (uint8_t)(seq + i);
		pieces[0] = (struct iovec){payload, size / 3};
		pieces[1] = (struct iovec){NULL, 0};
		pieces[2] = (struct iovec){payload + size / 3, size - size / 3};
		h.seq	  = seq;
		n_bytes += size;
		while ((r = link_send(link, &h, pieces, 3)) == -EAGAIN) {
			struct wire_frame frame;

			/* The gateway's script does not read yet, so the link stays full, however
			 * long the test waits. */
			if (gate[1] >= 0) {
				assert_true(link_events(link) & EPOLLOUT);
				assert_int_equal(link_wait(link, POLLOUT, clock_mono_ns()),
						 -ETIMEDOUT);
				assert_int_equal(link_receive(link, &frame), -EAGAIN);
				link_get_backlog(link, &backlog);
				link_get_stats(link, &stats);
				assert_true(backlog.waiting_bytes > 0);
				assert_true(backlog.drained_bytes <= stats.bytes_sent);
				gate[1] = fd_close(gate[1]);
			}
			assert_int_equal(link_wait(link, POLLOUT, soon()), POLLOUT);
		}
		assert_int_equal(r, 0);
	}
	assert_int_equal(gate[1], -1); /* the limit was reached */
	while ((r = link_flush(link)) == -EAGAIN)
		assert_true(poll(&(struct pollfd){.fd = link_fd(link), .events = POLLOUT}, 1, -1) ==
			    1);
	assert_int_equal(r, 0);
	link_get_stats(link, &stats);
	assert_int_equal(stats.frames_sent, 61);
	assert_true(stats.send_full > 0);
	link_free(link);
	pthread_join(g->thread, NULL);
	assert_int_equal(g->result, 0);
	assert_int_equal(g->n_frames, 60);
	assert_true(g->n_payload_bytes == n_bytes);
	wire_tls_free(g->tls);
	fd_close(g->fd);
	fd_close(gate[0]);
	free(g);
}

static void script_large(struct gateway *g)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	struct wire_header h = {.type = WIRE_PAGES};
	struct bytes_writer w;
	size_t size;

	if (gateway_take_hello(g) < 0)
		return;
	gateway_welcome(g, 1);
	for (uint32_t seq = 0; seq < 20; seq++) {
		size_t n = seq % 3 == 1 ? 5 : WIRE_PAYLOAD_MAX - seq;
		uint8_t *p;

		h.seq = seq;
		if (wire_frame_begin(frame, sizeof(frame), &w) < 0)
			return;
		p = bytes_reserve(&w, n);
		for (size_t i = 0; p && i < n; i++)
			p[i] = (uint8_t)(seq * 3 + i);
		if (wire_frame_finish(frame, &w, &h, &size) == 0)
			gateway_send(g, frame, size);
	}
}

static void large_frames_arrive(void **state)
{
	struct wire_hello hello;
	struct wire_welcome welcome;
	struct wire_frame frame;
	struct gateway *g;
	struct link *link;
	int r;

	(void)state;
	wire_hello_init(&hello, WIRE_KIND_STREAM, WIRE_VM_ROLE_STANDBY, "web1");
	g = gateway_start(script_large, WIRE_PEER_HOST, &link);
	assert_int_equal(link_handshake(link, &hello, 1, 0, soon(), &welcome), 0);
	for (uint32_t seq = 0; seq < 20; seq++) {
		assert_int_equal(link_await(link, soon(), &frame), 0);
		assert_int_equal(frame.h.seq, seq);
		for (uint32_t i = 0; i < frame.h.payload_size; i++)
			assert_int_equal(frame.payload[i], (uint8_t)(seq * 3 + i));
	}
	r = link_await(link, soon(), &frame);
	assert_true(r == -EPIPE || r == -ECONNRESET);
	link_free(link);
	gateway_stop(g);
}

static void misuse_is_refused(void **state)
{
	const struct wire_hello bad = {.kind = 9};
	struct link_config config   = {.address = "localhost", .port = 1, .tls = agent_context};
	struct wire_header h	    = {.type = WIRE_COMMIT, .flags = 1};
	struct wire_welcome welcome;
	struct link *link;
	int fds[2];

	(void)state;
	assert_int_equal(link_open(&config, &link), -EINVAL);
	config.address = "127.0.0.1";
	config.port    = 0;
	assert_int_equal(link_open(&config, &link), -EINVAL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(link_open_fd(fds[0], agent_context, 0, &link), 0);
	assert_int_equal(link_handshake(link, &bad, 0, 0, soon(), &welcome), -EINVAL);
	assert_int_equal(link_send(link, &h, NULL, 0), -EINVAL);
	assert_int_equal(link_send_frame(link, NULL, WIRE_FRAME_MAX + 1), -EINVAL);
	h.flags = 0;
	/* the TLS handshake is not complete */
	assert_int_equal(link_send(link, &h, NULL, 0), -EAGAIN);
	{
		const struct wire_hello hello = primary_hello();

		/* The gateway's script sends nothing. */
		assert_int_equal(link_handshake(link, &hello, 0, 0, clock_mono_ns(), &welcome),
				 -ETIMEDOUT);
		assert_string_equal(link_error(link), "gateway: no answer in time");
	}
	assert_null(link_free(link));
	assert_null(link_free(NULL));
	fd_close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshake_and_frames),
		cmocka_unit_test(refusal_is_readable),
		cmocka_unit_test(refusal_is_read_when_a_send_fails),
		cmocka_unit_test(wrong_role_is_readable),
		cmocka_unit_test(broken_gateways),
		cmocka_unit_test(queue_is_bounded_and_drains),
		cmocka_unit_test(large_frames_arrive),
		cmocka_unit_test(misuse_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
