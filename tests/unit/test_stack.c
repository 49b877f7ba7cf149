/* Tests the stack with hand-made frames: its answers, byte by byte, and its events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "stack/stack.h"

#include "exact.h"
#include "ip_frames.h"

#define PEER_PORT 4000

/* Frames that the stack sent, oldest first, and the connection's events as the test saw them. */
static struct {
	uint8_t frames[64][1514];
	size_t sizes[64];
	size_t n_frames;
	size_t n_freed; /* input frames that the stack has released */
	size_t n_input;
	struct stack_conn *conn;
	char received[4096];
	size_t n_received;
	int n_accepted, n_ended, n_closed, reason;
	bool refuse, abort_in_received, close_in_received;
} seen;

static struct stack *stack;
static uint32_t peer_seq, our_seq; /* the next sequence number of each side */

static int output(void *arg, const struct iovec *pieces, size_t n_pieces)
{
	size_t i, size = 0;

	(void)arg;
	assert_true(seen.n_frames < 64);
	for (i = 0; i < n_pieces; i++) {
		assert_true(size + pieces[i].iov_len <= 1514);
		memcpy(seen.frames[seen.n_frames] + size, pieces[i].iov_base, pieces[i].iov_len);
		size += pieces[i].iov_len;
	}
	seen.sizes[seen.n_frames++] = size;
	return 0;
}

static void *accepted(void *app, struct stack_conn *conn, const struct stack_peer *peer)
{
	assert_ptr_equal(app, &seen);
	assert_string_equal(peer->text, "198.18.77.2:4000");
	seen.n_accepted++;
	seen.conn = conn;
	return seen.refuse ? NULL : &seen;
}

static void received(void *arg, const void *data, size_t size)
{
	assert_ptr_equal(arg, &seen);
	assert_true(seen.n_received + size <= sizeof(seen.received));
	memcpy(seen.received + seen.n_received, data, size);
	seen.n_received += size;
	if (seen.abort_in_received)
		stack_conn_abort(seen.conn);
	if (seen.close_in_received)
		stack_conn_close(seen.conn);
}

static void writable(void *arg)
{
	(void)arg;
}

static void ended(void *arg)
{
	assert_ptr_equal(arg, &seen);
	seen.n_ended++;
}

static void closed(void *arg, int reason)
{
	assert_ptr_equal(arg, &seen);
	seen.n_closed++;
	seen.reason = reason;
	/* this must do no harm, although the connection has already ended */
	stack_conn_abort(seen.conn);
}

static const struct stack_events events = { accepted, received, writable, ended, closed };

static void free_frame(void *handle)
{
	free(handle);
	seen.n_freed++;
}

static void input(const uint8_t *frame, size_t size)
{
	uint8_t *copy = exact_copy(frame, size);

	seen.n_input++;
	stack_input(stack, copy, size, free_frame, copy);
	stack_poll(stack, clock_mono_ns());
}

/* Send one segment from the peer's port @from to our port @to with sequence @seq, acknowledging
 * our_seq. */
static void send_from_to(uint16_t from, uint16_t to, uint32_t seq, uint8_t flags, const void *data,
			 size_t size)
{
	uint8_t frame[1514];

	input(frame, put_tcp(frame, from, to, seq, flags & ACK ? our_seq : 0, flags, data, size));
}

static void send_segment(uint32_t seq, uint8_t flags, const void *data, size_t size)
{
	send_from_to(PEER_PORT, 7, seq, flags, data, size);
}

/* Check that the last frame is TCP to the peer with good checksums; returns its TCP header. */
static const uint8_t *last_tcp(void)
{
	const uint8_t *frame, *ip;
	size_t size;

	assert_true(seen.n_frames > 0);
	frame = seen.frames[seen.n_frames - 1];
	ip = frame + 14;
	assert_memory_equal(frame, peer_mac, 6);
	assert_memory_equal(frame + 6, our_mac, 6);
	assert_int_equal(bytes_get_be16(frame + 12), 0x0800);
	size = bytes_get_be16(ip + 2);
	assert_int_equal(size + 14, seen.sizes[seen.n_frames - 1]);
	assert_int_equal(csum(ip, 20, 0), 0);
	assert_int_equal(ip[9], 6);
	assert_memory_equal(ip + 12, our_ip, 4);
	assert_memory_equal(ip + 16, peer_ip, 4);
	assert_int_equal(tcp_csum(ip, ip + 20, size - 20), 0);
	assert_int_equal(bytes_get_be16(ip + 20), 7);
	assert_int_equal(bytes_get_be16(ip + 22), PEER_PORT);
	return ip + 20;
}

static int setup(void **state)
{
	static const struct stack_config config = {
		.address = "198.18.77.1/24",
		.mac = { 2, 0, 0, 0, 0, 1 },
		.n_connections_max = 2,
		.n_backlog_max = 4,
		.n_frames_held_max = 8,
	};
	uint8_t arp[ARP_BYTES];

	(void)state;
	memset(&seen, 0, sizeof(seen));
	peer_seq = 1000;
	if (stack_open(&config, output, NULL, &stack) || stack_listen(stack, 7, &events, &seen))
		return -1;
	put_arp_request(arp);
	input(arp, sizeof(arp)); /* tells the stack the peer's MAC */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stack_close(stack);
	/* returns 0 if every input frame was released exactly once */
	return seen.n_freed == seen.n_input ? 0 : -1;
}

static void establish(void)
{
	send_segment(peer_seq, SYN, "", 0);
	our_seq = bytes_get_be32(last_tcp() + 4) + 1;
	peer_seq++;
	send_segment(peer_seq, ACK, "", 0);
	assert_int_equal(seen.n_accepted, 1);
}

static void test_open_refuses(void **state)
{
	struct stack_config config = { .address = "198.18.77.1/24", .mac = { 2 } };
	struct stack *second;

	(void)state;
	assert_int_equal(stack_open(&config, output, NULL, &second), -EBUSY);
	assert_int_equal(stack_listen(stack, 7, &events, NULL), -EADDRINUSE);
	stack_close(stack);
	config.mac[0] = 1;
	assert_int_equal(stack_open(&config, output, NULL, &second), -EINVAL);
	config.mac[0] = 2;
	config.mtu = 100;
	assert_int_equal(stack_open(&config, output, NULL, &second), -EINVAL);
	config.mtu = 0;
	config.gateway = "198.18.77";
	assert_int_equal(stack_open(&config, output, NULL, &second), -EINVAL);
	config.gateway = NULL;
	static const char *const bad[] = {
		"198.18.77.1",	  "198.18.77.1/", "198.18.77.1/0", "198.18.77.1/33",
		"198.18.77.1/2x", "/24",	  "x/24",	   NULL};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		config.address = bad[i];
		assert_int_equal(stack_open(&config, output, NULL, &second), -EINVAL);
	}
	config.address = "198.18.77.1/24";
	assert_int_equal(stack_open(&config, output, NULL, &stack), 0); /* teardown() closes it */
}

static void test_arp_reply(void **state)
{
	static const uint8_t reply[] = {
		2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2,
		2, 0, 0, 0, 0, 1, 198, 18, 77, 1, 2, 0, 0, 0, 0, 2, 198, 18, 77, 2,
	};

	(void)state;
	/* setup() fed the request. Frame 0 announces our own address; frame 1 is the reply. */
	assert_int_equal(seen.n_frames, 2);
	assert_true(seen.sizes[1] >= sizeof(reply));
	assert_memory_equal(seen.frames[1], reply, sizeof(reply));
}

static void test_echo_reply(void **state)
{
	uint8_t frame[50], *icmp = frame + 34;
	const uint8_t *answer;

	(void)state;
	memset(frame, 0, sizeof(frame));
	put_ip(frame, 1, 16);
	icmp[0] = 8;
	memcpy(icmp + 4, "\x12\x34\0\1abcdefgh", 12);
	bytes_put_be16(icmp + 2, csum(icmp, 16, 0));
	input(frame, sizeof(frame));
	answer = seen.frames[seen.n_frames - 1];
	assert_memory_equal(answer, peer_mac, 6);
	assert_memory_equal(answer + 26, our_ip, 4);
	assert_memory_equal(answer + 30, peer_ip, 4);
	assert_int_equal(csum(answer + 14, 20, 0), 0);
	assert_int_equal(answer[34], 0); /* echo reply */
	assert_memory_equal(answer + 38, icmp + 4, 12);
	assert_int_equal(csum(answer + 34, 16, 0), 0);
}

static void test_handshake_and_data(void **state)
{
	const uint8_t *tcp;

	(void)state;
	send_segment(peer_seq, SYN, "", 0);
	tcp = last_tcp();
	assert_int_equal(tcp[13], SYN | ACK);
	assert_int_equal(bytes_get_be32(tcp + 8), peer_seq + 1);
	assert_int_equal(bytes_get_be32(tcp + 20), 0x020405b4); /* MSS 1460 */
	our_seq = bytes_get_be32(tcp + 4) + 1;
	peer_seq++;
	send_segment(peer_seq, ACK, "", 0);
	assert_int_equal(seen.n_accepted, 1);

	send_segment(peer_seq, ACK | PSH, "hello", 5);
	peer_seq += 5;
	assert_int_equal(seen.n_received, 5);
	assert_memory_equal(seen.received, "hello", 5);
	tcp = last_tcp(); /* acknowledged in the same turn, not 250 ms later */
	assert_int_equal(tcp[13] & (ACK | RST | FIN), ACK);
	assert_int_equal(bytes_get_be32(tcp + 8), peer_seq);
	/* unscaled, because the SYN had no window scale option */
	assert_int_equal(bytes_get_be16(tcp + 14), 65535 - 5);

	stack_conn_consumed(seen.conn, 100); /* more than was received: counts as all */
	assert_int_equal(stack_conn_write(seen.conn, "world", 5), 5);
	stack_poll(stack, clock_mono_ns());
	tcp = last_tcp();
	assert_memory_equal(tcp + 20, "world", 5);
	assert_int_equal(bytes_get_be32(tcp + 4), our_seq);
	our_seq += 5;

	send_segment(peer_seq, ACK | FIN, "", 0);
	peer_seq++;
	assert_int_equal(seen.n_ended, 1);
	stack_conn_close(seen.conn);
	tcp = last_tcp();
	assert_int_equal(tcp[13] & (FIN | ACK | RST), FIN | ACK);
	assert_int_equal(bytes_get_be32(tcp + 4), our_seq);
	assert_int_equal(bytes_get_be32(tcp + 8), peer_seq);
	assert_int_equal(seen.n_closed, 0); /* no event follows the application's own close */
}

static void test_reordered_data(void **state)
{
	(void)state;
	establish();
	send_segment(peer_seq + 3, ACK, "def", 3);
	assert_int_equal(seen.n_received, 0);
	/* the stack keeps the frame itself, without a copy */
	assert_int_equal(seen.n_input - seen.n_freed, 1);
	send_segment(peer_seq, ACK, "abc", 3);
	assert_int_equal(seen.n_received, 6);
	assert_memory_equal(seen.received, "abcdef", 6);
	assert_int_equal(seen.n_input, seen.n_freed);
}

/* Out-of-order segments beyond the limit make the stack drop the whole queue, not only the newest
 * segment. */
static void test_out_of_order_flood(void **state)
{
	struct stack_counters counters;
	uint32_t i;

	(void)state;
	establish();
	for (i = 0; i < 30; i++)
		send_segment(peer_seq + 10 + 2 * i, ACK, "x", 1);
	stack_get_counters(stack, &counters);
	assert_true(counters.out_of_order_pruned >= 3);
	assert_int_equal(counters.drop_no_holder, 0);
	assert_true(counters.n_frames_held <= 8);
	send_segment(peer_seq, ACK, "abc", 3);
	assert_true(seen.n_received >= 3);
	assert_memory_equal(seen.received, "abc", 3);
}

static void test_reset_by_peer(void **state)
{
	(void)state;
	establish();
	send_segment(peer_seq, RST | ACK, "", 0);
	assert_int_equal(seen.n_closed, 1);
	assert_int_equal(seen.reason, -ECONNRESET);
}

static void test_refused(void **state)
{
	struct stack_counters counters;

	(void)state;
	seen.refuse = true;
	establish();
	assert_int_equal(last_tcp()[13] & RST, RST);
	stack_get_counters(stack, &counters);
	assert_int_equal(counters.refused, 1);
	assert_int_equal(counters.n_connections, 0);
}

static void test_abort_inside_event(void **state)
{
	struct stack_counters counters;

	(void)state;
	establish();
	seen.abort_in_received = true;
	send_segment(peer_seq, ACK, "x", 1);
	assert_int_equal(seen.n_received, 1);
	assert_int_equal(last_tcp()[13] & RST, RST);
	stack_get_counters(stack, &counters);
	assert_int_equal(counters.n_connections, 0);
	assert_int_equal(seen.n_closed, 0);
}

/* A close with unconsumed bytes must send FIN, not RST. */
static void test_close_inside_event(void **state)
{
	(void)state;
	establish();
	seen.close_in_received = true;
	send_segment(peer_seq, ACK, "xyz", 3);
	assert_int_equal(last_tcp()[13] & (FIN | RST), FIN);
	assert_int_equal(seen.n_closed, 0);
}

static void test_window_closes(void **state)
{
	static const char data[1000];
	int i;

	(void)state;
	establish();
	for (i = 0; i < 4; i++) {
		send_segment(peer_seq, ACK, data, sizeof(data));
		peer_seq += sizeof(data);
	}
	/* the application has consumed nothing */
	assert_int_equal(bytes_get_be16(last_tcp() + 14), 65535 - 4000);
	stack_conn_consumed(seen.conn, 4000);
	send_segment(peer_seq, ACK, "x", 1);
	assert_int_equal(bytes_get_be16(last_tcp() + 14), 65534);
}

static void test_syn_flood(void **state)
{
	struct stack_counters counters;
	int i;

	(void)state;
	establish();
	for (i = 0; i < 20; i++) {
		send_from_to((uint16_t)(5000 + i), 7, 0, SYN, "", 0);
		seen.n_frames = 0;
	}
	stack_get_counters(stack, &counters);
	assert_int_equal(counters.half_open_evicted, 16); /* of 20 SYNs, the backlog keeps 4 */
	send_segment(peer_seq, ACK, "x", 1);
	assert_int_equal(seen.n_received, 1);
}

/* The callbacks of a careless application, for the random test. The argument of each is the
 * connection. */
static void *any_accepted(void *app, struct stack_conn *conn, const struct stack_peer *peer)
{
	(void)app;
	(void)peer;
	seen.n_accepted++;
	seen.conn = conn;
	return conn;
}

static void any_received(void *arg, const void *data, size_t size)
{
	seen.n_received += size;
	if (size % 4 == 0)
		stack_conn_consumed(arg, size);
	if (size % 16 == 3) {
		stack_conn_abort(arg);
		seen.conn = NULL;
	} else if (stack_conn_write(arg, data, size) < size) {
		stack_conn_close(arg);
		seen.conn = NULL;
	}
}

static void any_ended(void *arg)
{
	stack_conn_close(arg);
	seen.conn = NULL;
}

static void any_closed(void *arg, int reason)
{
	(void)arg;
	assert_true(reason < 0);
	seen.n_closed++;
	seen.conn = NULL;
}

static const struct stack_events any_events = {
	any_accepted, any_received, writable, any_ended, any_closed,
};

/* Send a segment with good checksums and a random header. Its sequence number is near @base, its
 * acknowledgement number near our_seq. */
static void send_random_segment(unsigned int *seed, uint16_t port, uint32_t base)
{
	uint8_t frame[1514], *tcp = frame + 34;
	size_t options = (size_t)rand_r(seed) % 11 * 4;
	size_t size = 20 + options + (size_t)rand_r(seed) % 100, i;

	for (i = 0; i < size; i++)
		tcp[i] = (uint8_t)rand_r(seed);
	put_ip(frame, 6, size);
	bytes_put_be16(tcp, (uint16_t)(port + rand_r(seed) % 16 / 15));
	bytes_put_be16(tcp + 2, rand_r(seed) % 16 ? 8 : 9);
	bytes_put_be32(tcp + 4, base + (uint32_t)(rand_r(seed) % 300) - 100);
	bytes_put_be32(tcp + 8, our_seq + (uint32_t)(rand_r(seed) % 20) - 10);
	tcp[12] = (uint8_t)((5 + options / 4) << 4);
	if (rand_r(seed) % 16)
		tcp[13] = ACK | (rand_r(seed) % 8 ? 0 : FIN);
	bytes_put_be16(tcp + 16, 0);
	bytes_put_be16(tcp + 16, tcp_csum(frame + 14, tcp, size));
	input(frame, 34 + size);
}

/* Feed random segments. The test fails if an assertion of lwIP fails, because this aborts the
 * program. teardown() also checks that every input frame was released. */
static void test_random_segments(void **state)
{
	unsigned int seed = 1, n;
	uint16_t port = PEER_PORT;
	size_t n_received = 0;

	(void)state;
	assert_int_equal(stack_listen(stack, 8, &any_events, NULL), 0);
	for (n = 0; n < 30000; n++) {
		const uint8_t *tcp = seen.frames[0] + 34;

		/* begin with a clean handshake, to have a connection to damage */
		if (n % 32 == 0) {
			if (seen.conn)
				stack_conn_abort(seen.conn);
			seen.conn = NULL;
			port++;
			seen.n_frames = 0;
			send_from_to(port, 8, 1000, SYN, "", 0);
			if (seen.n_frames == 1 && tcp[13] == (SYN | ACK)) {
				our_seq = bytes_get_be32(tcp + 4) + 1;
				send_from_to(port, 8, 1001, ACK, "", 0);
			}
		}
		send_random_segment(&seed, port, 1001);
		n_received += seen.n_received;
		seen.n_frames = 0;
		seen.n_received = 0;
	}
	assert_true(seen.n_accepted > 500);
	assert_true(n_received > 10000);
}

/* A SYN with our own address as its source must not reach lwIP. lwIP would answer itself through a
 * queue that does not exist here, and abort. */
static void test_land(void **state)
{
	struct stack_counters counters;
	uint8_t frame[54], *tcp = frame + 34;

	(void)state;
	memset(tcp, 0, 20);
	put_ip(frame, 6, 20);
	memcpy(frame + 26, our_ip, 4);
	bytes_put_be16(frame + 24, 0);
	bytes_put_be16(frame + 24, csum(frame + 14, 20, 0));
	bytes_put_be16(tcp, 7);
	bytes_put_be16(tcp + 2, 7);
	tcp[12] = 0x50;
	tcp[13] = SYN;
	bytes_put_be16(tcp + 16, tcp_csum(frame + 14, tcp, 20));
	input(frame, sizeof(frame));
	stack_get_counters(stack, &counters);
	assert_int_equal(counters.drop_spoofed, 1);
	assert_int_equal(seen.n_frames, 2); /* both frames were sent in setup(): no answer */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open_refuses),
		TEST(test_arp_reply),
		TEST(test_echo_reply),
		TEST(test_handshake_and_data),
		TEST(test_reordered_data),
		TEST(test_out_of_order_flood),
		TEST(test_reset_by_peer),
		TEST(test_refused),
		TEST(test_abort_inside_event),
		TEST(test_close_inside_event),
		TEST(test_window_closes),
		TEST(test_syn_flood),
		TEST(test_random_segments),
		TEST(test_land),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
