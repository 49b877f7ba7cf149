/* Tests the connection of two agents without a gateway, over loopback. Covers the server's first
 * steps, a claim and its vote, and the stream. The standby (beta) has no QEMU and runs on a thread;
 * the test plays the primary (alpha). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "supervision/gateway_view.h"
#include "bare_standby.h"
#include "mint_certs.h"
#include "peer/agree.h"
#include "peer/claim.h"
#include "peer/server.h"

#define TERM BARE_STANDBY_TERM

static char *certs;
static struct wire_tls_context *alpha, *beta_client, *beta, *gateway;
static char ip[INET_ADDRSTRLEN]; /* beta's address, which no other process uses */
static struct sockaddr_in here;

/* ---- beta */

static struct bare_standby x;
static struct standby *const sb = &x.sb;
static struct gateway_view view;
static struct peer_server *server;
static struct error error;
static pthread_t thread;
static _Atomic bool must_stop;

static uint64_t soon(void)
{
	return clock_mono_ns() + 10 * CLOCK_NS_PER_S;
}

/* The standby's loop, like the one in standby.c, but without QEMU. */
static void *keep(void *arg)
{
	(void)arg;
	while (!atomic_load(&must_stop)) {
		struct pollfd fds[] = {
			{.fd = sb->wake_fd, .events = POLLIN},
			{.fd = sb->peer.link ? link_fd(sb->peer.link) : -1, .events = POLLIN},
			{.fd = sb->link ? link_fd(sb->link) : -1, .events = POLLIN},
		};
		uint64_t count;

		(void)poll(fds, 3, 100);
		if (fds[0].revents)
			(void)!read(sb->wake_fd, &count, sizeof(count));
		standby_peer_take(sb);
		standby_peer_run(sb);
		while (standby_stream_run(sb))
			;
	}
	return NULL;
}

/* Accept exactly the offers that hostagent/vm/vm_peer.c accepts. */
static uint16_t take(void *arg, const struct peer_offer *offer, struct error *ret_error)
{
	(void)arg;
	if (strcmp(offer->host, "alpha") != 0 || strcmp(offer->vm, "web1") != 0)
		return error_set(ret_error, WIRE_REFUSED_IDENTITY, "not the other host of that VM");
	standby_take_peer(sb, offer->link, offer->term, offer->version, offer->features);
	return 0;
}

static void start(void)
{
	const struct peer_server_config config = {.ip_be32 = here.sin_addr.s_addr,
						  .port = ntohs(here.sin_port),
						  .tls = beta, .take = take,
						  .hello_ns = 2 * CLOCK_NS_PER_S};

	atomic_store(&must_stop, false);
	assert_int_equal(pthread_create(&thread, NULL, keep, NULL), 0);
	assert_int_equal(peer_server_open(&config, &server), 0);
}

static void stop(void)
{
	uint64_t one = 1;

	server = peer_server_close(server);
	atomic_store(&must_stop, true);
	(void)!write(sb->wake_fd, &one, sizeof(one));
	pthread_join(thread, NULL);
}

/* Set up beta with epoch 2 of TERM. It has not heard from a gateway for a long time, and its VM
 * file allows the direct path. */
static int setup(void **state)
{
	(void)state;
	bare_standby_open(&x);
	bare_standby_hold(&x, 2);
	atomic_store(&view.seen_ns, 1);
	sb->config.host = "beta";
	sb->config.view = &view;
	sb->config.gateway_lost = AGREE_DIRECT;
	sb->config.gateway_lost_ns = CLOCK_NS_PER_S;
	sb->state = STANDBY_STATE_READY;
	start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (server)
		stop();
	bare_standby_close(&x);
	return 0;
}

/* ---- alpha */

static struct link_config to_beta(void)
{
	return (struct link_config){.address = ip, .port = ntohs(here.sin_port), .tls = alpha,
				    .peer_name = "beta"};
}

static int claim(uint64_t term, uint8_t mode, uint64_t epoch)
{
	const struct link_config config = to_beta();
	const struct claim c = {.vm = "web1", .term = term, .epoch = epoch, .mode = mode};

	return claim_term(&config, &c, soon(), &error);
}

static int connect_as(const struct link_config *config, uint64_t term, struct link **ret_link)
{
	struct wire_welcome welcome;
	struct wire_hello hello;

	assert_int_equal(link_open(config, ret_link), 0);
	wire_hello_init(&hello, WIRE_KIND_PEER, WIRE_VM_ROLE_PRIMARY, "web1");
	return link_handshake(*ret_link, &hello, term, 0, soon(), &welcome);
}

/* Receive the next frame. Returns 0, or -errno if the connection has ended. */
static int next(struct link *link, struct wire_frame *frame)
{
	int r = link_await(link, soon(), frame);

	assert_int_not_equal(r, -ETIMEDOUT);
	return r;
}

static void send_beat(struct link *link, uint64_t term, uint64_t mono_ns)
{
	const struct wire_header h = {.type = WIRE_BEAT, .term = term};
	uint8_t payload[8];
	struct iovec piece = {payload, 8};

	bytes_put_be64(payload, mono_ns);
	assert_int_equal(link_send(link, &h, &piece, 1), 0);
}

static void send_epoch(struct link *link, uint64_t term, uint32_t generation)
{
	uint8_t page[WIRE_PAGE_SIZE] = {0x44}, zero[WIRE_PAGE_SIZE] = {0};
	uint8_t blob[WIRE_PAGE_SIZE] = {0x44};
	struct wire_frame frame;
	const uint8_t *at;

	feed_clear(&x.feed);
	x.feed.term = term;
	x.feed.generation = generation;
	x.feed.epoch = 2;
	feed_geometry(&x.feed);
	feed_machine(&x.feed, NULL);
	feed_begin(&x.feed, true);
	feed_page(&x.feed, 3, page, zero, false);
	feed_blob(&x.feed, blob, 100, zero, false);
	feed_end(&x.feed);
	for (at = x.feed.bytes; at < x.feed.bytes + x.feed.size;) {
		assert_int_equal(wire_frame_decode(&at, x.feed.bytes + x.feed.size, &frame, NULL),
				 0);
		assert_int_equal(link_send_frame(link, wire_frame_start(&frame),
						 wire_frame_size(&frame)), 0);
	}
}

/* ---- tests */

static void test_vote_direct(void **state)
{
	struct standby_command stop_order = {.order = STANDBY_ORDER_STOP, .purge = true};

	(void)state;
	assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 2), 0);
	/* the claim is repeated, as if the answer had been lost */
	assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 2), 0);
	stop();
	assert_int_equal(sb->n_votes, 1);
	/* The vote is on disk with the copy. Promotions with an older term are no longer
	 * allowed. */
	bare_standby_reopen(&x);
	assert_int_equal(sb->rf.meta.term, TERM + 1);
	assert_int_equal(sb->rf.meta.vote, RAMFILE_VOTE_DIRECT);
	assert_int_equal(sb->rf.meta.applied_epoch, 2);
	assert_int_equal(promote_check(&sb->log, TERM, 1, &error), -ESTALE);
	assert_int_equal(promote_check(&sb->log, TERM + 1, 1, &error), -ESTALE);
	assert_int_equal(promote_check(&sb->log, TERM + 2, 2, &error), 0);
	/* The primary relies on this host, so a STANDBY_STOP of the voted term is refused. */
	stop_order.term = TERM + 1;
	standby_carry_out(sb, &stop_order);
	assert_int_equal(stop_order.result, -ESTALE);
	assert_int_equal(sb->rf.meta.applied_epoch, 2);
	stop_order.term = TERM + 2;
	standby_carry_out(sb, &stop_order);
	assert_int_equal(stop_order.result, 0);
}

static void test_vote_unprotected(void **state)
{
	(void)state;
	sb->config.gateway_lost = AGREE_UNPROTECTED;
	sb->qemu.pid = 0;
	assert_int_equal(claim(TERM, WIRE_CLAIM_UNPROTECTED, 9), 0);
	stop();
	assert_int_equal(sb->rf.meta.term, TERM + 1);
	assert_int_equal(sb->rf.meta.vote, RAMFILE_VOTE_UNPROTECTED);
	assert_int_equal(sb->rf.meta.applied_epoch, 0);
	assert_false(sb->want_stream || sb->want_qemu);
	/* After this vote the copy is out of date: it must not be promoted in any term. */
	assert_int_equal(promote_check(&sb->log, TERM + 2, 1, &error), -ENODATA);
}

static void test_no(void **state)
{
	(void)state;
	gateway_view_seen(&view, clock_mono_ns() + 1000 * CLOCK_NS_PER_S);
	assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 2), -EACCES);
	assert_non_null(strstr(error.text, "heard of the gateway"));
	atomic_store(&view.seen_ns, 1);
	assert_int_equal(claim(TERM - 1, WIRE_CLAIM_DIRECT, 2), -EACCES);
	assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 3), -EACCES);
	assert_int_equal(claim(TERM, WIRE_CLAIM_UNPROTECTED, 2), -EACCES);
	stop();
	assert_int_equal(sb->rf.meta.term, TERM);
	assert_int_equal(sb->n_votes, 0);
}

static void test_direct_stream(void **state)
{
	const struct link_config config = to_beta();
	struct wire_lease lease;
	struct wire_frame frame;
	struct link *link;

	(void)state;
	assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 2), 0);
	assert_int_equal(connect_as(&config, TERM + 1, &link), 0);
	send_beat(link, TERM + 1, 77);
	assert_int_equal(next(link, &frame), 0);
	assert_int_equal(frame.h.type, WIRE_RESUME);
	assert_int_equal(frame.h.term, TERM + 1);
	assert_int_equal(frame.h.epoch, 2);
	send_epoch(link, TERM + 1, frame.h.generation);
	assert_int_equal(next(link, &frame), 0);
	assert_int_equal(wire_lease_decode(&frame, &lease, NULL), 0);
	assert_int_equal(lease.beat_ns, 77);
	assert_int_equal(lease.lease_ms, AGREE_LEASE_MS);
	assert_int_equal(lease.release_ms, AGREE_RELEASE_MS);
	assert_int_equal(frame.h.term, TERM + 1);
	assert_int_equal(next(link, &frame), 0);
	assert_int_equal(frame.h.type, WIRE_EPOCH_ACK);
	assert_int_equal(frame.h.epoch, 3);
	assert_int_equal(frame.h.term, TERM + 1);
	link_free(link);
	/* The primary reconnects, and beta tells it after which epoch to continue. Then the primary
	 * claims the next term. */
	assert_int_equal(connect_as(&config, TERM + 1, &link), 0);
	send_beat(link, TERM + 1, 78);
	assert_int_equal(next(link, &frame), 0);
	assert_int_equal(frame.h.epoch, 3);
	link_free(link);
	assert_int_equal(claim(TERM + 1, WIRE_CLAIM_DIRECT, 3), 0);
	stop();
	/* Beta may run the guest only when its last grant no longer lets the primary release
	 * output. */
	standby_await_mute(sb);
	assert_true(clock_mono_ns() >= sb->granted_ns + AGREE_RELEASE_MS * CLOCK_NS_PER_MS);
	assert_int_equal(sb->rf.meta.term, TERM + 2);
	assert_int_equal(sb->rf.meta.applied_epoch, 3);
	assert_int_equal(ramfile_page(&sb->rf, 3)[0], 0x44);
}

/* Beta must refuse a stream for which it did not vote, and a stream of another term. After beta has
 * accepted a promotion, it must refuse every stream. */
static void test_no_stream(void **state)
{
	const struct link_config config = to_beta();
	struct wire_frame frame;
	struct link *link;

	(void)state;
	for (int i = 0; i < 4; i++) {
		uint64_t term = TERM;

		if (i > 0 && i < 3)
			term = TERM + (uint64_t)i;
		if (i == 1)
			assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 2), 0);
		if (i == 3) {
			term = TERM + 1;
			sb->promise_term = TERM + 2;
		}
		assert_int_equal(connect_as(&config, term, &link), 0);
		send_beat(link, term, 1);
		if (i == 1) {
			assert_int_equal(next(link, &frame), 0);
			assert_int_equal(frame.h.type, WIRE_RESUME);
		} else {
			assert_int_equal(next(link, &frame), -EPIPE);
		}
		link_free(link);
	}
}

static void test_who(void **state)
{
	struct link_config config = to_beta();
	struct wire_welcome welcome;
	struct wire_hello hello;
	struct link *link;

	(void)state;
	config.peer_name = "gamma"; /* alpha expects gamma, but beta answers */
	assert_int_equal(connect_as(&config, TERM, &link), -EPERM);
	link_free(link);
	config.peer_name = NULL; /* an agent's certificate, but a gateway is expected */
	assert_int_equal(connect_as(&config, TERM, &link), -EPROTO);
	link_free(link);
	config = to_beta();
	config.tls = beta_client; /* beta's own certificate, not that of the VM's other host */
	assert_int_equal(connect_as(&config, TERM, &link), -EACCES);
	assert_int_equal(link_refused_code(link), WIRE_REFUSED_IDENTITY);
	link_free(link);
	config.tls = gateway; /* a gateway's certificate, not a host's */
	assert_true(connect_as(&config, TERM, &link) < 0);
	link_free(link);
	config.tls = alpha; /* sends a HELLO that is meant for a gateway */
	assert_int_equal(link_open(&config, &link), 0);
	wire_hello_init(&hello, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, "");
	assert_int_equal(link_handshake(link, &hello, 0, 0, soon(), &welcome), -EACCES);
	assert_int_equal(link_refused_code(link), WIRE_REFUSED_PROTOCOL);
	link_free(link);
	assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 2), 0);
}

/* Silent connections must not block a claim: it succeeds while the server has room for one more
 * connection, and again when the server has closed the silent ones. */
static void test_silent_connections(void **state)
{
	int fds[PEER_CONNECTIONS_MAX];
	char byte;

	(void)state;
	for (size_t i = 0; i < PEER_CONNECTIONS_MAX; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&here, sizeof(here)), 0);
		if (i + 2 == PEER_CONNECTIONS_MAX)
			assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 2), 0);
	}
	for (size_t i = 0; i < PEER_CONNECTIONS_MAX; i++) {
		assert_true(read(fds[i], &byte, 1) <= 0); /* the server has closed it */
		fd_close(fds[i]);
	}
	assert_int_equal(claim(TERM, WIRE_CLAIM_DIRECT, 2), 0);
}

/* Choose an address for beta in 127.64.0.0/10 by this process's id, and a free port of that
 * address. */
static void find_address(void)
{
	socklen_t size = sizeof(here);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	here.sin_family = AF_INET;
	here.sin_addr.s_addr = htonl(UINT32_C(0x7f400000) | ((uint32_t)getpid() & 0x3fffff));
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&here, &size) < 0 ||
	    !inet_ntop(AF_INET, &here.sin_addr, ip, sizeof(ip)))
		abort();
	fd_close(fd);
}

static int set_up_certs(void **state)
{
	struct mint_ca *ca = mint_ca_new("test CA");

	(void)state;
	log_set_level(LOG_LEVEL_ERROR); /* refusals are tested here, so do not log them */
	certs = mint_dir_new();
	mint_ca_write(ca, certs, "ca");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/alpha"}, certs, "alpha");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/beta"}, certs, "beta");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, certs, "gw");
	mint_ca_free(ca);
	alpha = mint_context(certs, "ca", "alpha", WIRE_TLS_CLIENT);
	beta_client = mint_context(certs, "ca", "beta", WIRE_TLS_CLIENT);
	gateway = mint_context(certs, "ca", "gw", WIRE_TLS_CLIENT);
	beta = mint_context(certs, "ca", "beta", WIRE_TLS_SERVER);
	find_address();
	return 0;
}

static int tear_down_certs(void **state)
{
	(void)state;
	wire_tls_context_free(alpha);
	wire_tls_context_free(beta_client);
	wire_tls_context_free(gateway);
	wire_tls_context_free(beta);
	mint_dir_remove(certs);
	return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_vote_direct), TEST(test_vote_unprotected), TEST(test_no),
		TEST(test_direct_stream), TEST(test_no_stream), TEST(test_who),
		TEST(test_silent_connections),
	};

	return cmocka_run_group_tests_name("peer", tests, set_up_certs, tear_down_certs);
}
