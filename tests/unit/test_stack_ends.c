/* test_stack_ends.c - tests how long the stack keeps connections that have ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "stack/stack.h"

#include "ip_frames.h"

#define N_ENDED	   200
#define FIRST_PORT 2000

static struct stack *stack;
static struct stack_conn *newest;
static struct {
	uint8_t frame[1514]; /* the last frame sent */
	size_t n_frames;
	int n_closed;
} seen;
static uint32_t our_fin[N_ENDED + 1]; /* sequence number of our FIN, per connection */

static int output(void *arg, const struct iovec *pieces, size_t n_pieces)
{
	size_t size = 0;

	(void)arg;
	for (size_t i = 0; i < n_pieces; i++) {
		assert_true(size + pieces[i].iov_len <= sizeof(seen.frame));
		memcpy(seen.frame + size, pieces[i].iov_base, pieces[i].iov_len);
		size += pieces[i].iov_len;
	}
	seen.n_frames++;
	return 0;
}

static void *accepted(void *app, struct stack_conn *conn, const struct stack_peer *peer)
{
	(void)peer;
	newest = conn;
	return app;
}

static void received(void *arg, const void *data, size_t size)
{
	(void)arg;
	(void)data;
	(void)size;
}

static void nothing(void *arg)
{
	(void)arg;
}

static void closed(void *arg, int reason)
{
	(void)arg;
	(void)reason;
	seen.n_closed++;
}

static const struct stack_events events = {accepted, received, nothing, nothing, closed};

static void not_ours(void *handle)
{
	(void)handle;
}

/* Feed one segment of connection @i. Returns the flags of the answer, or 0 if there was no
 * answer. */
static uint8_t say(unsigned int i, uint32_t seq, uint32_t ack, uint8_t flags)
{
	static uint8_t frame[54];

	seen.n_frames = 0;
	stack_input(stack, frame,
		    put_tcp(frame, (uint16_t)(FIRST_PORT + i), 7, seq, ack, flags, "", 0), not_ours,
		    NULL);
	stack_poll(stack, clock_mono_ns());
	return seen.n_frames > 0 ? seen.frame[47] : 0;
}

static int setup(void **state)
{
	static const struct stack_config config = {
		.address = "198.18.77.1/24", .mac = {2, 0, 0, 0, 0, 1}, .n_connections_max = 8,
	};
	static uint8_t arp[ARP_BYTES];

	(void)state;
	memset(&seen, 0, sizeof(seen));
	if (stack_open(&config, output, NULL, &stack) || stack_listen(stack, 7, &events, &seen))
		return -1;
	put_arp_request(arp);
	stack_input(stack, arp, sizeof(arp), not_ours, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stack_close(stack);
	return 0;
}

static void establish(unsigned int i)
{
	assert_int_equal(say(i, 1000, 0, SYN), SYN | ACK);
	our_fin[i] = bytes_get_be32(seen.frame + 38) + 1;
	newest = NULL;
	(void)say(i, 1001, our_fin[i], ACK);
	assert_non_null(newest);
}

/* We close first and the peer agrees: lwIP keeps the connection in TIME_WAIT. */
static void end_in_time_wait(unsigned int i)
{
	establish(i);
	stack_conn_close(newest);
	stack_poll(stack, clock_mono_ns());
	assert_int_equal(seen.frame[47] & (FIN | RST), FIN);
	assert_int_equal(say(i, 1001, our_fin[i] + 1, FIN | ACK), ACK);
}

/* lwIP walks all connections in TIME_WAIT for each SYN, so only a few may stay there. */
static void test_few_stay_in_time_wait(void **state)
{
	unsigned int n_kept = 0;

	(void)state;
	for (unsigned int i = 0; i < N_ENDED; i++)
		end_in_time_wait(i);
	establish(N_ENDED); /* each SYN enforces the limit */
	for (unsigned int i = 1; i < N_ENDED; i++) {
		/* The peer sends its FIN again, as if our acknowledgement was lost. A connection
		 * that was kept acknowledges the FIN again. The others answer with a reset, which
		 * is harmless: all their data has arrived. */
		uint8_t answer = say(i, 1001, our_fin[i] + 1, FIN | ACK);

		assert_true(answer == ACK || (answer & RST));
		n_kept += answer == ACK;
		assert_true(i < N_ENDED - 8 || answer == ACK); /* the newest connections stay */
	}
	assert_true(n_kept <= STACK_TIME_WAIT_MAX);
	establish(0); /* an old connection does not block its port */
	assert_int_equal(seen.n_closed, 0);
}

/* A peer may reuse the port of a connection that has just ended. Otherwise the peer's connect()
 * would hang. */
static void test_port_is_used_again(void **state)
{
	struct stack_counters counters;

	(void)state;
	end_in_time_wait(0);
	end_in_time_wait(1);
	establish(0);
	/* the other connection stays: its FIN, sent again, is acknowledged */
	assert_int_equal(say(1, 1001, our_fin[1] + 1, FIN | ACK), ACK);
	stack_get_counters(stack, &counters);
	assert_int_equal(counters.time_wait_reopened, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_port_is_used_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_few_stay_in_time_wait, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
