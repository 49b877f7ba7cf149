/* test_stack_hosts.c - tests the stack with more neighbours than lwIP's own ARP table can hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "stack/stack.h"

#include "ip_frames.h"

static struct stack *stack;
static struct {
	uint8_t frames[1][1514]; /* the last frame sent */
	size_t n_frames;
} seen;

static int output(void *arg, const struct iovec *pieces, size_t n_pieces)
{
	size_t size = 0;

	(void)arg;
	for (size_t i = 0; i < n_pieces; i++) {
		assert_true(size + pieces[i].iov_len <= sizeof(seen.frames[0]));
		memcpy(seen.frames[0] + size, pieces[i].iov_base, pieces[i].iov_len);
		size += pieces[i].iov_len;
	}
	seen.n_frames++;
	return 0;
}

static void input(const uint8_t *frame, size_t size)
{
	uint8_t *copy = malloc(size);

	memcpy(copy, frame, size);
	stack_input(stack, copy, size, free, copy);
}

static int setup(void **state)
{
	static const struct stack_config config = {
		.address = "198.18.77.1/24", .mac = {2, 0, 0, 0, 0, 1},
	};

	(void)state;
	return stack_open(&config, output, NULL, &stack);
}

static int teardown(void **state)
{
	(void)state;
	stack_close(stack);
	return 0;
}

#define N_NEIGHBOURS 16

/* Feed an ARP request or an echo request from host 198.18.77.@n (MAC 2:0:0:0:0:@n). */
static void neighbour_says(uint8_t n, bool is_echo)
{
	uint8_t frame[60] = { 0 };

	if (is_echo) {
		put_ip(frame, 1, 16);
		frame[29] = n;
		bytes_put_be16(frame + 24, 0);
		bytes_put_be16(frame + 24, csum(frame + 14, 20, 0));
		frame[34] = 8;
		bytes_put_be16(frame + 36, csum(frame + 34, 16, 0));
	} else {
		put_arp_request(frame);
		frame[27] = frame[31] = n;
	}
	memcpy(frame + 6, peer_mac, 6);
	frame[11] = n;
	input(frame, is_echo ? 50 : sizeof(frame));
}

/* lwIP's ARP table holds 10 MACs. With more hosts, each new MAC would replace an older one, but the
 * stack must know all of them. */
static void test_more_hosts_than_lwip_knows(void **state)
{
	(void)state;
	for (uint8_t n = 0; n < N_NEIGHBOURS; n++)
		neighbour_says((uint8_t)(10 + n), false);
	for (int round = 0; round < 3; round++) {
		for (uint8_t n = 0; n < N_NEIGHBOURS; n++) {
			const uint8_t *answer;

			seen.n_frames = 0;
			neighbour_says((uint8_t)(10 + n), true);
			assert_int_equal(seen.n_frames, 1);
			answer = seen.frames[0];
			/* IPv4, not an ARP request for the host's MAC */
			assert_int_equal(bytes_get_be16(answer + 12), 0x0800);
			assert_int_equal(answer[5], 10 + n);
			assert_int_equal(answer[33], 10 + n);
		}
	}
}

/* A host announces a new MAC by ARP: later frames go to the new MAC. */
static void test_mac_changes(void **state)
{
	uint8_t frame[60] = { 0 };

	(void)state;
	neighbour_says(10, false);
	put_arp_request(frame);
	memcpy(frame + 38, peer_ip, 4); /* gratuitous ARP: the host asks for its own address */
	frame[27] = frame[11] = 99;
	frame[31] = frame[41] = 10;
	input(frame, sizeof(frame));
	seen.n_frames = 0;
	neighbour_says(10, true);
	assert_int_equal(seen.n_frames, 1);
	assert_int_equal(seen.frames[0][5], 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_more_hosts_than_lwip_knows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mac_changes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
