/* Tests stream.c on a socket pair against a scripted gateway: HELLO, incoming epochs,
 * acknowledgements, refusals, and the content of the next HELLO. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
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

static struct wire_tls_context *agent_context, *gateway_context;

/* A thread that accepts one stream, sends the bytes of `play`, and records the frames that come
 * back. */
struct gateway {
	int fd;
	struct wire_tls *tls;
	pthread_t thread;
	const uint8_t *play;
	size_t play_size;
	unsigned n_wanted; /* number of frames to wait for after playing */

	struct wire_header hello;
	struct wire_header got[8];
	struct wire_failure failure; /* content of a received STREAM_ERROR */
	uint32_t n_zero, n_hashes;   /* counts in the last HASHES received */
	uint64_t seed;
	unsigned n_got;
	uint8_t bytes[2 * WIRE_FRAME_MAX];
	size_t begin, end;
	uint64_t incarnation; /* the gateway's number; 0: the gateway sends none */
};

static void flush(struct gateway *g)
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

static void put(struct gateway *g, const uint8_t *data, size_t size)
{
	while (size > 0) {
		int r = wire_tls_write(g->tls, data, size);

		flush(g);
		if (r < 0 && r != -EAGAIN)
			return;
		if (r > 0) {
			data += r;
			size -= (size_t)r;
		}
	}
}

/* Receive one frame. Returns 0, or an error if the connection has ended. */
static int next(struct gateway *g, struct wire_frame *frame)
{
	for (;;) {
		const uint8_t *at = g->bytes + g->begin;
		int r = wire_frame_decode(&at, g->bytes + g->end, frame, NULL);
		uint8_t *p;
		size_t room;
		ssize_t n;

		g->begin = (size_t)(at - g->bytes);
		if (r != -EAGAIN)
			return r;
		r = wire_tls_read(g->tls, g->bytes + g->end, sizeof(g->bytes) - g->end);
		flush(g);
		if (r > 0)
			g->end += (size_t)r;
		if (r >= 0)
			continue;
		if (r != -EAGAIN)
			return r;
		p = wire_tls_input_reserve(g->tls, &room);
		n = recv(g->fd, p, room, 0);
		if (n <= 0)
			return -EPIPE;
		wire_tls_input_commit(g->tls, (size_t)n);
	}
}

static void *play(void *arg)
{
	struct wire_welcome welcome = {.version = WIRE_VERSION,
				       .features = WIRE_FEATURE_XRLE | WIRE_FEATURE_MACHINE,
				       .gateway = "gw"};
	struct wire_header h = {.type = WIRE_WELCOME};
	struct gateway *g = arg;
	uint8_t bytes[256];
	struct wire_hashes hashes;
	struct bytes_writer w;
	struct wire_frame frame;
	size_t size;

	if (next(g, &frame) < 0 || frame.h.type != WIRE_HELLO)
		return NULL;
	g->hello = frame.h;
	if (g->incarnation)
		welcome.features |= WIRE_FEATURE_INCARNATION;
	welcome.incarnation = g->incarnation;
	if (wire_frame_begin(bytes, sizeof(bytes), &w) < 0 ||
	    wire_welcome_encode(&welcome, &w) < 0 || wire_frame_finish(bytes, &w, &h, &size) < 0)
		return NULL;
	put(g, bytes, size);
	put(g, g->play, g->play_size);
	while (g->n_got < g->n_wanted && next(g, &frame) == 0) {
		if (frame.h.type == WIRE_STREAM_ERROR)
			(void)!wire_failure_decode(&frame, &g->failure, NULL);
		if (frame.h.type == WIRE_HASHES && wire_hashes_decode(&frame, &hashes, NULL) == 0) {
			g->n_zero = hashes.n_zero;
			g->n_hashes = hashes.n;
			g->seed = hashes.seed;
		}
		g->got[g->n_got++] = frame.h;
	}
	return NULL;
}

static int set_up_certs(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR); /* refusals are tested here, so do not log them */
	mint_two(&agent_context, &gateway_context);
	return 0;
}

static int tear_down_certs(void **state)
{
	(void)state;
	wire_tls_context_free(agent_context);
	wire_tls_context_free(gateway_context);
	return 0;
}

static int setup(void **state)
{
	struct bare_standby *x = malloc(sizeof(*x));

	assert_non_null(x);
	bare_standby_open(x);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	bare_standby_close(*state);
	free(*state);
	return 0;
}

static void epoch(struct bare_standby *x, bool full, uint8_t value)
{
	uint8_t page[WIRE_PAGE_SIZE], reference[WIRE_PAGE_SIZE] = {0};
	uint8_t blob[WIRE_PAGE_SIZE] = {value}, old[WIRE_PAGE_SIZE] = {0};

	memset(page, value, sizeof(page));
	feed_begin(&x->feed, full);
	feed_page(&x->feed, 3, page, reference, false);
	feed_blob(&x->feed, blob, 100, old, false);
	feed_end(&x->feed);
}

/* Connect the standby to a gateway that sends the frames of x->feed and waits for @n_wanted
 * answers. Run the standby until it has sent these answers or its link is gone. */
static struct gateway *converse_with(struct bare_standby *x, unsigned n_wanted,
				     uint64_t incarnation)
{
	struct gateway *g = calloc(1, sizeof(*g));
	uint64_t deadline_ns = clock_mono_ns() + 10 * CLOCK_NS_PER_S;
	struct link *link;
	int fds[2];

	assert_non_null(g);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	g->fd = fds[1];
	g->play = x->feed.bytes;
	g->play_size = x->feed.size;
	g->n_wanted = n_wanted;
	g->incarnation = incarnation;
	assert_int_equal(wire_tls_new(gateway_context, WIRE_PEER_HOST, 0, &g->tls), 0);
	assert_int_equal(pthread_create(&g->thread, NULL, play, g), 0);
	assert_int_equal(link_open_fd(fds[0], agent_context, 0, &link), 0);
	standby_stream_use(&x->sb, link);
	while (x->sb.link) {
		struct link_stats stats;

		while (standby_stream_run(&x->sb))
			;
		if (!x->sb.link)
			break;
		link_get_stats(x->sb.link, &stats);
		if (stats.frames_sent >= n_wanted + 1u) /* all answers and the HELLO were sent */
			break;
		(void)!link_wait(x->sb.link, POLLIN, deadline_ns);
		assert_true(clock_mono_ns() < deadline_ns);
	}
	pthread_join(g->thread, NULL);
	return g;
}

static struct gateway *converse(struct bare_standby *x, unsigned n_wanted)
{
	return converse_with(x, n_wanted, 0);
}

static void over(struct gateway *g)
{
	wire_tls_free(g->tls);
	fd_close(g->fd);
	free(g);
}

static void test_epochs_are_acknowledged(void **state)
{
	struct bare_standby *x = *state;
	struct gateway *g;

	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	epoch(x, true, 0x11);
	epoch(x, false, 0x22);
	epoch(x, false, 0x33);
	g = converse(x, 3);
	assert_int_equal(g->hello.term, BARE_STANDBY_TERM);
	assert_int_equal(g->hello.epoch, 0);
	assert_int_equal(g->n_got, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(g->got[i].type, WIRE_EPOCH_ACK);
		assert_int_equal(g->got[i].term, BARE_STANDBY_TERM);
		assert_int_equal(g->got[i].epoch, i + 1);
		assert_int_equal(g->got[i].generation, x->feed.generation);
	}
	assert_int_equal(x->sb.state, STANDBY_STATE_READY);
	assert_int_equal(x->sb.rf.meta.applied_epoch, 3);
	assert_int_equal(ramfile_page(&x->sb.rf, 3)[0], 0x33);
	standby_stream_close(&x->sb);
	over(g);
	/* A standby whose QEMU has ended is not ready, whatever epochs it takes. */
	x->sb.want_qemu = true;
	x->sb.qemu.pid = 0;
	standby_set_warm(&x->sb);
	assert_int_equal(x->sb.state, STANDBY_STATE_STARTING);
	x->sb.want_qemu = false;
	/* The next HELLO says after which epoch to continue. The restarted stream may use any
	 * generation. */
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	epoch(x, false, 0x44);
	g = converse(x, 1);
	assert_int_equal(g->hello.epoch, 3);
	assert_int_equal(g->got[0].epoch, 4);
	over(g);
}

/* Append a request for the hashes of all pages, as if from a stream of @generation. */
static void ask(struct bare_standby *x, uint32_t generation)
{
	const struct wire_hashes_want want = {.seed = generation, .n = 100};
	struct wire_header h = {.type = WIRE_HASHES_WANT, .term = BARE_STANDBY_TERM,
				.generation = generation};
	uint8_t payload[64];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};

	assert_int_equal(wire_hashes_want_encode(&want, &w), 0);
	feed_frame(&x->feed, &h, payload, (size_t)(w.at - payload));
}

/* The standby gives the hashes of its pages as they are after all epochs that came before the
 * request. */
static void test_hashes_are_given(void **state)
{
	struct bare_standby *x = *state;
	struct gateway *g;

	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	ask(x, x->feed.generation); /* no layout is known yet: an empty answer */
	g = converse(x, 1);
	assert_int_equal(g->got[0].type, WIRE_HASHES);
	assert_int_equal(g->got[0].generation, x->feed.generation);
	assert_int_equal(g->n_zero + g->n_hashes, 0);
	assert_false(x->sb.log.check.may_keep);
	standby_stream_close(&x->sb);
	over(g);

	feed_clear(&x->feed);
	x->feed.generation++;
	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	epoch(x, true, 0x11);
	ask(x, x->feed.generation - 1); /* an old request from the gateway's buffer: no answer */
	ask(x, x->feed.generation);
	g = converse(x, 2);
	assert_int_equal(g->got[0].type, WIRE_EPOCH_ACK);
	assert_int_equal(g->got[1].type, WIRE_HASHES);
	assert_int_equal(g->seed, x->feed.generation);
	assert_int_equal(g->n_zero, 3);
	assert_int_equal(g->n_hashes, BARE_STANDBY_RAM_PAGES + BARE_STANDBY_ROM_PAGES - 3);
	assert_true(x->sb.log.check.may_keep);
	standby_stream_close(&x->sb);
	over(g);

	/* KEEP is allowed only in the generation in which the hashes were given. */
	feed_clear(&x->feed);
	x->feed.generation++;
	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	feed_begin(&x->feed, true);
	feed_record(&x->feed, WIRE_CLASS_KEEP, 3, NULL, 0);
	feed_blob(&x->feed, (const uint8_t *)"x", 1, (uint8_t[WIRE_PAGE_SIZE]){0}, false);
	feed_end(&x->feed);
	g = converse(x, 1);
	assert_int_equal(g->got[0].type, WIRE_STREAM_ERROR);
	over(g);
	feed_clear(&x->feed);
	x->feed.generation++;
	x->feed.epoch--;
	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	ask(x, x->feed.generation);
	feed_begin(&x->feed, true);
	feed_record(&x->feed, WIRE_CLASS_KEEP, 3, NULL, 0);
	feed_blob(&x->feed, (const uint8_t *)"x", 1, (uint8_t[WIRE_PAGE_SIZE]){0}, false);
	feed_end(&x->feed);
	g = converse(x, 2);
	assert_int_equal(g->got[1].type, WIRE_EPOCH_ACK);
	assert_int_equal(ramfile_page(&x->sb.rf, 3)[0], 0x11);
	over(g);
}

static void test_half_an_epoch_is_forgotten(void **state)
{
	struct bare_standby *x = *state;
	struct gateway *g;

	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	epoch(x, true, 0x11);
	feed_begin(&x->feed, false);
	feed_record(&x->feed, WIRE_CLASS_ZERO, 3, NULL, 0);
	feed_blob(&x->feed, (const uint8_t *)"x", 1, (uint8_t[WIRE_PAGE_SIZE]){0}, false);
	g = converse(x, 1);
	over(g); /* the gateway is gone */
	while (x->sb.link) {
		while (standby_stream_run(&x->sb))
			;
		if (x->sb.link)
			(void)!link_wait(x->sb.link, POLLIN, clock_mono_ns() + CLOCK_NS_PER_S);
	}
	assert_true(x->sb.link_backoff.next_ns > 0);
	assert_int_equal(epochlog_complete(&x->sb.log), 1);
	assert_int_equal(ramfile_page(&x->sb.rf, 3)[0], 0x11);
	assert_int_equal(x->sb.log.stats.epochs_discarded, 1);
}

static void test_refusal_is_told(void **state)
{
	struct bare_standby *x = *state;
	struct gateway *g;

	strcpy(x->feed.geometry.machine, "pc-q35-7.2");
	feed_geometry(&x->feed);
	g = converse(x, 1);
	assert_int_equal(g->got[0].type, WIRE_STREAM_ERROR);
	assert_int_equal(g->failure.code, WIRE_STREAM_ERROR_GEOMETRY);
	assert_non_null(strstr(g->failure.text, "primary pc-q35-7.2, standby pc-i440fx-7.2"));
	assert_null(x->sb.link);
	assert_non_null(strstr(x->sb.text, "pc-q35-7.2"));
	over(g);
}

static void test_stale_term_is_refused(void **state)
{
	struct bare_standby *x = *state;
	struct gateway *g;

	x->feed.term--;
	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	epoch(x, true, 0x11);
	g = converse(x, 1);
	assert_int_equal(g->got[0].type, WIRE_STREAM_ERROR);
	assert_int_equal(g->failure.code, WIRE_STREAM_ERROR_TERM);
	assert_int_equal(epochlog_complete(&x->sb.log), 0);
	over(g);
}

/* If @sends, the primary sends the list of its machine's parts, with the CPU @value (NULL: an empty
 * list). Then it sends its first epoch. The standby must refuse with @code and a message that
 * contains @says. */
static void expect_refused(struct bare_standby *x, bool sends, const char *value, uint16_t code,
			   const char *says)
{
	struct gateway *g;

	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	if (sends)
		feed_machine(&x->feed, value);
	epoch(x, true, 0x11);
	g = converse(x, 1);
	assert_int_equal(g->got[0].type, WIRE_STREAM_ERROR);
	assert_int_equal(g->failure.code, code);
	if (!strstr(g->failure.text, says))
		fail_msg("'%s' is not in: %s", says, g->failure.text);
	assert_null(x->sb.link);
	assert_int_equal(epochlog_complete(&x->sb.log), 0);
	over(g);
}

static void test_another_machine_is_refused(void **state)
{
	struct bare_standby *x = *state;
	struct gateway *g;

	x->sb.config.command_file = "/etc/holdfast/vms/web1.command";
	x->sb.config.host = "beta";
	assert_int_equal(vmm_machine_add(&x->sb.qemu.is.machine, "CPU 0", "qemu64"), 0);
	expect_refused(x, true, "Nehalem", WIRE_STREAM_ERROR_GEOMETRY,
		       "CPU 0: Nehalem on the primary, qemu64 on the standby");
	expect_refused(
		x, true, "Nehalem", WIRE_STREAM_ERROR_GEOMETRY,
		"correct /etc/holdfast/vms/web1.command on beta: the guests are built differently");
	expect_refused(x, true, NULL, WIRE_STREAM_ERROR_GEOMETRY,
		       "CPU 0: nothing on the primary, qemu64 on the standby");
	expect_refused(x, false, NULL, WIRE_STREAM_ERROR_GEOMETRY, "does not say what its machine");
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	feed_machine(&x->feed, "qemu64");
	epoch(x, true, 0x11);
	g = converse(x, 1);
	assert_int_equal(g->got[0].type, WIRE_EPOCH_ACK);
	standby_stream_close(&x->sb);
	over(g);
	vmm_machine_done(&x->sb.qemu.is.machine);
}

/* A host accepts a stream only from the gateway that it obeys. */
static void test_another_gateway_is_refused(void **state)
{
	static const uint64_t others[] = {999, 1001, 0}; /* older, younger, without a number */
	struct bare_standby *x = *state;
	static struct gateway_view view;
	struct gateway *g;

	atomic_init(&view.seen_ns, 0);
	atomic_init(&view.obeyed, 0);
	gateway_view_obey(&view, 1000);
	x->sb.config.view = &view;
	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	epoch(x, true, 0x11);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		g = converse_with(x, 1, others[i]);
		assert_null(x->sb.link);
		assert_int_equal(g->n_got, 0);
		assert_int_equal(epochlog_complete(&x->sb.log), 0);
		/* the stranger's frames are no sign of life of our gateway */
		assert_int_equal(atomic_load(&view.seen_ns), 0);
		over(g);
	}
	g = converse_with(x, 1, 1000);
	assert_int_equal(g->n_got, 1);
	assert_int_equal(epochlog_complete(&x->sb.log), 1);
	over(g);
	/* The agent has since obeyed a younger gateway on its control connection. So it no longer
	 * accepts frames of the old gateway. */
	gateway_view_obey(&view, 2000);
	assert_non_null(x->sb.link);
	while (standby_stream_run(&x->sb))
		;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	feed_machine(&x->feed, NULL);
	epoch(x, false, 0x22);
	g = converse_with(x, 1, 1000);
	assert_null(x->sb.link);
	assert_int_equal(epochlog_complete(&x->sb.log), 1);
	over(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_epochs_are_acknowledged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hashes_are_given, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_an_epoch_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_machine_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusal_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale_term_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_gateway_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, set_up_certs, tear_down_certs);
}
