/* stack_echo.c - runs port, stack and idler as the gateway's loop does, with three TCP services:
 *
 *	port 7   echo     sends back what it gets; slows the sender down if it cannot send
 *	port 9   sink     reads and discards; answers FIN with FIN
 *	port 19  source   sends until the peer closes
 *
 * usage: stack_echo DEVICE ADDRESS/PREFIX
 * Prints "ready MAC" when it can serve. On SIGTERM or SIGINT it prints its counters as name=value
 * lines and ends. Used by test_stack_*; not part of the product.
 */
#include <inttypes.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "port/idler.h"
#include "port/port.h"
#include "stack/stack.h"

#define BURST	      32
#define PENDING_BYTES (256 * 1024) /* at least the receive window */
#define SOURCE_BYTES  16384

/* One echo connection, with the bytes that it must still send back. (A ring buffer would be faster,
 * but this is only a test.) */
struct echo {
	struct stack_conn *conn;
	size_t n_pending;
	bool has_ended;
	char pending[PENDING_BYTES];
};

static int transmit(void *port, const struct iovec *pieces, size_t n_pieces)
{
	return port_transmit(port, pieces, n_pieces);
}

/* ---- echo ---- */

static void *echo_accepted(void *app, struct stack_conn *conn, const struct stack_peer *peer)
{
	struct echo *echo = malloc(sizeof(*echo));

	(void)app;
	(void)peer;
	if (!echo)
		return NULL;
	echo->conn = conn;
	echo->n_pending = 0;
	echo->has_ended = false;
	stack_conn_set_user_timeout(conn, 20000);
	return echo;
}

static void echo_writable(void *arg)
{
	struct echo *echo = arg;
	size_t n = stack_conn_write(echo->conn, echo->pending, echo->n_pending);

	echo->n_pending -= n;
	memmove(echo->pending, echo->pending + n, echo->n_pending);
	stack_conn_consumed(echo->conn, n);
	if (echo->has_ended && echo->n_pending == 0) {
		stack_conn_close(echo->conn);
		free(echo);
	}
}

static void echo_received(void *arg, const void *data, size_t size)
{
	struct echo *echo = arg;
	size_t n = echo->n_pending ? 0 : stack_conn_write(echo->conn, data, size);

	stack_conn_consumed(echo->conn, n);
	if (size - n > PENDING_BYTES - echo->n_pending) { /* the peer ignored the window */
		log_error("echo: %zu bytes over the window", size - n);
		abort();
	}
	memcpy(echo->pending + echo->n_pending, (const char *)data + n, size - n);
	echo->n_pending += size - n;
}

static void echo_ended(void *arg)
{
	struct echo *echo = arg;

	echo->has_ended = true;
	if (echo->n_pending == 0)
		echo_writable(echo);
}

static void echo_closed(void *arg, int reason)
{
	log_debug("echo: closed: %s", strerror(-reason));
	free(arg);
}

static const struct stack_events echo_events = {
	echo_accepted, echo_received, echo_writable, echo_ended, echo_closed,
};

/* ---- sink and source: the argument of their callbacks is the connection itself ---- */

static void *conn_accepted(void *app, struct stack_conn *conn, const struct stack_peer *peer)
{
	(void)app;
	(void)peer;
	return conn;
}

static void sink_received(void *arg, const void *data, size_t size)
{
	(void)data;
	stack_conn_consumed(arg, size);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void conn_ended(void *arg)
{
	stack_conn_close(arg);
}

static void conn_closed(void *arg, int reason)
{
	(void)arg;
	log_debug("closed: %s", strerror(-reason));
}

static void source_writable(void *arg)
{
	static const char zeros[SOURCE_BYTES];

	while (stack_conn_write(arg, zeros, sizeof(zeros)) == sizeof(zeros))
		;
}

static void *source_accepted(void *app, struct stack_conn *conn, const struct stack_peer *peer)
{
	(void)app;
	(void)peer;
	source_writable(conn);
	return conn;
}

static const struct stack_events sink_events = {
	conn_accepted, sink_received, nothing, conn_ended, conn_closed,
};
static const struct stack_events source_events = {
	source_accepted, sink_received, source_writable, conn_ended, conn_closed,
};

/* ---- loop ---- */

static bool turn(struct port *port, struct stack *stack, uint64_t now_ns)
{
	struct port_frame frames[BURST];
	size_t n = port_receive(port, frames, BURST), i;

	for (i = 0; i < n; i++)
		stack_input(stack, frames[i].data, frames[i].size, port_frame_free,
			    frames[i].handle);
	stack_poll(stack, now_ns);
	port_flush(port);
	return n > 0;
}

/* Wait for a frame, a signal or the next timer. Returns the number of ready descriptors. */
static int wait_for_work(struct port *port, int epoll_fd, bool sleep, bool *ret_stop)
{
	uint64_t timeout_ns = sleep ? stack_next_timeout_ns() : 0;
	struct timespec timeout;
	struct epoll_event events[4];
	int n, i;

	if (sleep && port_arm(port))
		timeout_ns = 0;
	if (timeout_ns > CLOCK_NS_PER_S)
		timeout_ns = CLOCK_NS_PER_S;
	timeout.tv_sec = (time_t)(timeout_ns / CLOCK_NS_PER_S);
	timeout.tv_nsec = (long)(timeout_ns % CLOCK_NS_PER_S);
	n = epoll_pwait2(epoll_fd, events, 4, &timeout, NULL);
	if (sleep)
		port_disarm(port);
	for (i = 0; i < n; i++)
		*ret_stop |= events[i].data.fd != port_wait_fd(port);
	return n;
}

static void run(struct port *port, struct stack *stack, int epoll_fd)
{
	struct idler idler;
	bool stop = false;

	idler_init(&idler, &IDLER_LIMITS_DEFAULT, clock_mono_ns());
	while (!stop) {
		uint64_t now_ns = clock_mono_ns();
		int n;

		switch (idler_turn(&idler, now_ns, turn(port, stack, now_ns))) {
		case IDLER_AGAIN:
			break;
		case IDLER_CHECK:
			(void)wait_for_work(port, epoll_fd, false, &stop);
			break;
		case IDLER_SLEEP:
			n = wait_for_work(port, epoll_fd, true, &stop);
			idler_woke(&idler, clock_mono_ns(), n > 0);
			break;
		}
	}
}

static void print_counters(struct port *port, struct stack *stack)
{
	struct port_counters p;
	struct stack_counters s;
	size_t i;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "rx_frames", (port_get_counters(port, &p), stack_get_counters(stack, &s),
				p.rx_frames) },
		{ "rx_bytes", p.rx_bytes },
		{ "rx_dropped", p.rx_dropped },
		{ "rx_missed", p.rx_missed },
		{ "rx_no_buffer", p.rx_no_buffer },
		{ "tx_frames", p.tx_frames },
		{ "tx_dropped", p.tx_dropped },
		{ "tx_no_buffer", p.tx_no_buffer },
		{ "wakes", p.wakes },
		{ "drop_runt", s.drop_runt },
		{ "drop_ethertype", s.drop_ethertype },
		{ "drop_not_ours", s.drop_not_ours },
		{ "drop_malformed", s.drop_malformed },
		{ "drop_fragment", s.drop_fragment },
		{ "drop_spoofed", s.drop_spoofed },
		{ "drop_protocol", s.drop_protocol },
		{ "hint_partial_csum", s.hint_partial_csum },
		{ "half_open_evicted", s.half_open_evicted },
		{ "lingering_evicted", s.lingering_evicted },
		{ "time_wait_reopened", s.time_wait_reopened },
		{ "drop_no_holder", s.drop_no_holder },
		{ "out_of_order_pruned", s.out_of_order_pruned },
		{ "accepted", s.accepted },
		{ "refused", s.refused },
		{ "closed_reset", s.closed_reset },
		{ "closed_timeout", s.closed_timeout },
		{ "n_connections", s.n_connections },
		{ "n_frames_held", s.n_frames_held },
		{ "output_failed", s.output_failed },
	};

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		printf("%s=%" PRIu64 "\n", rows[i].name, rows[i].value);
}

static int make_epoll(struct port *port)
{
	struct epoll_event event = { .events = EPOLLIN };
	sigset_t signals;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), signal_fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	event.data.fd = signal_fd;
	if (epoll_fd < 0 || signal_fd < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &event))
		return -errno;
	event.data.fd = port_wait_fd(port);
	if (event.data.fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event))
		return -errno;
	return epoll_fd;
}

int main(int argc, char **argv)
{
	struct port_config port_config = { 0 };
	struct stack_config stack_config = { 0 };
	struct error error = {""};
	struct stack *stack;
	struct port *port;
	int epoll_fd;

	if (argc != 3) {
		fprintf(stderr, "usage: stack_echo DEVICE ADDRESS/PREFIX\n");
		return 2;
	}
	if (log_init())
		return 2;
	port_config.device = argv[1];
	if (port_open(&port_config, &port, &error)) {
		fprintf(stderr, "stack_echo: %s\n", error.text);
		return 77; /* the driver is missing: 77 makes the test count as skipped */
	}
	stack_config.address = argv[2];
	memcpy(stack_config.mac, port_mac(port), sizeof(stack_config.mac));
	if (stack_open(&stack_config, transmit, port, &stack) ||
	    stack_listen(stack, 7, &echo_events, NULL) ||
	    stack_listen(stack, 9, &sink_events, NULL) ||
	    stack_listen(stack, 19, &source_events, NULL)) {
		fprintf(stderr, "stack_echo: the stack does not start\n");
		return 1;
	}
	epoll_fd = make_epoll(port);
	if (epoll_fd < 0 || port_wait_fd(port) < 0) {
		fprintf(stderr, "stack_echo: nothing to sleep on\n");
		return 1;
	}
	printf("ready %02x:%02x:%02x:%02x:%02x:%02x\n", port_mac(port)[0], port_mac(port)[1],
	       port_mac(port)[2], port_mac(port)[3], port_mac(port)[4], port_mac(port)[5]);
	fflush(stdout);
	run(port, stack, epoll_fd);
	print_counters(port, stack);
	stack_close(stack);
	port_close(port);
	return 0;
}
