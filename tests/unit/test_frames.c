/* Tests the prober's frames: the bytes that it builds, and what it accepts as an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exact.h"
#include "probe/frames.h"
#include "probe_peer.h"

#define OURS 0xc6124d01u /* 198.18.77.1 */
#define PEER 0xc6124d02u

static const struct frames_end us = {{2, 0, 0, 0, 0, 1}, OURS};
static const struct frames_end peer = {{2, 0, 0, 0, 0, 2}, PEER};
static const struct frames_echo echo = {0x1234, 0x5678, 0x1122334455667788};
static const struct frames_tcp tcp = {50000, 443, 0xfffffffe};

static enum frames_kind parse(const uint8_t *frame, size_t size, struct frames_view *view)
{
	uint8_t *exact = exact_copy(frame, size);
	enum frames_kind kind = frames_parse(&us, exact, size, view);

	free(exact);
	return kind;
}

static void test_arp_bytes(void **state)
{
	static const uint8_t expected[FRAMES_BYTES] = {
		255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
		2, 0, 0, 0, 0, 1, 198, 18, 77, 1, 0, 0, 0, 0, 0, 0, 198, 18, 77, 2,
	};
	struct frames_end to = {{255, 255, 255, 255, 255, 255}, PEER};
	uint8_t frame[FRAMES_BYTES];

	(void)state;
	memset(frame, 0xee, sizeof(frame));
	frames_arp_request(frame, &us, &to);
	assert_memory_equal(frame, expected, sizeof(frame));

	/* Our request is valid as a request to a peer, and our reply is valid as a reply. */
	struct frames_view view;

	assert_int_equal(frames_parse(&peer, frame, sizeof(frame), &view), FRAMES_ARP_REQUEST);
	assert_int_equal(view.from.ip, OURS);
	assert_memory_equal(view.from.mac, us.mac, 6);
	frames_arp_reply(frame, &us, &peer);
	assert_int_equal(frames_parse(&peer, frame, sizeof(frame), &view), FRAMES_ARP_REPLY);
	assert_memory_equal(frame + 32, peer.mac, 6);
}

/* Check the frame's addresses, and its checksums with the tests' own code. */
static void check_sums(const uint8_t *frame)
{
	uint8_t copy[FRAMES_BYTES];

	memcpy(copy, frame, sizeof(copy));
	peer_seal(copy);
	assert_memory_equal(copy, frame, sizeof(copy));
	assert_memory_equal(frame, peer.mac, 6);
	assert_memory_equal(frame + 6, us.mac, 6);
	assert_int_equal(bytes_get_be32(frame + 26), OURS);
	assert_int_equal(bytes_get_be32(frame + 30), PEER);
}

static void test_ip_bytes(void **state)
{
	uint8_t frame[FRAMES_BYTES];

	(void)state;
	frames_echo_request(frame, &us, &peer, &echo);
	check_sums(frame);
	assert_int_equal(frame[34], 8);
	assert_int_equal(bytes_get_be16(frame + 38), echo.id);
	assert_int_equal(bytes_get_be16(frame + 40), echo.seq);

	frames_syn(frame, &us, &peer, &tcp);
	check_sums(frame);
	assert_int_equal(bytes_get_be16(frame + 34), tcp.source_port);
	assert_int_equal(bytes_get_be16(frame + 36), tcp.dest_port);
	assert_int_equal(bytes_get_be32(frame + 38), tcp.seq);
	assert_int_equal(frame[46], 0x60);
	assert_int_equal(frame[47], 0x02);

	frames_rst(frame, &us, &peer, &tcp);
	check_sums(frame);
	assert_int_equal(bytes_get_be16(frame + 16), 40);
	assert_int_equal(frame[47], 0x04);
}

static void test_answers(void **state)
{
	uint8_t frame[FRAMES_BYTES], answer[FRAMES_BYTES];
	struct frames_view view;

	(void)state;
	frames_arp_request(frame, &us, &peer);
	peer_answer(frame, peer.mac, 0, answer);
	assert_int_equal(parse(answer, sizeof(answer), &view), FRAMES_ARP_REPLY);
	assert_int_equal(view.from.ip, PEER);
	assert_memory_equal(view.from.mac, peer.mac, 6);

	frames_echo_request(frame, &us, &peer, &echo);
	peer_answer(frame, peer.mac, 0, answer);
	assert_int_equal(parse(answer, sizeof(answer), &view), FRAMES_ECHO_REPLY);
	assert_int_equal(view.from.ip, PEER);
	assert_int_equal(view.echo.id, echo.id);
	assert_int_equal(view.echo.seq, echo.seq);
	assert_true(view.echo.cookie == echo.cookie);

	frames_syn(frame, &us, &peer, &tcp);
	peer_answer(frame, peer.mac, 0x12, answer);
	assert_int_equal(parse(answer, sizeof(answer), &view), FRAMES_SYN_ACK);
	assert_int_equal(view.tcp.source_port, 443);
	assert_int_equal(view.tcp.dest_port, 50000);
	assert_int_equal(view.tcp_ack, 0xffffffff);
	peer_answer(frame, peer.mac, 0x14, answer);
	assert_int_equal(parse(answer, sizeof(answer), &view), FRAMES_REFUSED);
}

/* A row changes one byte of a good answer. @sealed: the checksums are corrected after the
 * change. */
struct row {
	const char *name;
	size_t at;
	uint8_t value;
	bool sealed;
	enum frames_kind kind;
};

static void check_rows(const uint8_t *answer, const struct row *rows, size_t n_rows)
{
	for (size_t i = 0; i < n_rows; i++) {
		uint8_t frame[FRAMES_BYTES];
		struct frames_view view;
		enum frames_kind kind;

		memcpy(frame, answer, sizeof(frame));
		frame[rows[i].at] = rows[i].value;
		if (rows[i].sealed)
			peer_seal(frame);
		kind = parse(frame, sizeof(frame), &view);
		if (kind != rows[i].kind)
			fail_msg("%s: kind %d, expected %d", rows[i].name, kind, rows[i].kind);
	}
}

#define CHECK_ROWS(answer, rows) check_rows(answer, rows, sizeof(rows) / sizeof((rows)[0]))

static void test_hostile_arp(void **state)
{
	static const struct row rows[] = {
		{"good", 21, 2, false, FRAMES_ARP_REPLY},
		{"to another MAC", 5, 9, false, FRAMES_OTHER},
		{"hardware", 15, 6, false, FRAMES_MALFORMED},
		{"protocol", 16, 9, false, FRAMES_MALFORMED},
		{"hardware size", 18, 8, false, FRAMES_MALFORMED},
		{"protocol size", 19, 16, false, FRAMES_MALFORMED},
		{"operation", 21, 3, false, FRAMES_MALFORMED},
		{"group as sender", 22, 1, false, FRAMES_MALFORMED},
		{"for another address", 41, 9, false, FRAMES_OTHER},
		{"IPv6 type", 12, 0x86, false, FRAMES_OTHER},
	};
	uint8_t frame[FRAMES_BYTES], answer[FRAMES_BYTES];
	struct frames_view view;

	(void)state;
	frames_arp_request(frame, &us, &peer);
	peer_answer(frame, peer.mac, 0, answer);
	CHECK_ROWS(answer, rows);
	memset(answer, 255, 6); /* sent to the broadcast address */
	assert_int_equal(parse(answer, sizeof(answer), &view), FRAMES_OTHER);
}

static void test_hostile_echo(void **state)
{
	static const struct row rows[] = {
		{"good", 34, 0, false, FRAMES_ECHO_REPLY},
		{"version", 14, 0x65, true, FRAMES_MALFORMED},
		{"options", 14, 0x46, true, FRAMES_MALFORMED},
		{"total below header", 17, 19, false, FRAMES_MALFORMED},
		{"total over frame", 17, 47, false, FRAMES_MALFORMED},
		{"more fragments", 20, 0x20, true, FRAMES_MALFORMED},
		{"offset", 21, 1, true, FRAMES_MALFORMED},
		{"header sum", 22, 9, false, FRAMES_MALFORMED},
		{"UDP", 23, 17, true, FRAMES_OTHER},
		{"for another address", 33, 9, true, FRAMES_OTHER},
		{"an echo request", 34, 8, true, FRAMES_OTHER},
		{"unreachable", 34, 3, true, FRAMES_OTHER},
		{"code", 35, 1, true, FRAMES_OTHER},
		{"payload", 42, 9, false, FRAMES_MALFORMED},
		{"other length", 17, 37, true, FRAMES_OTHER},
	};
	uint8_t frame[FRAMES_BYTES], answer[FRAMES_BYTES];
	struct frames_view view;

	(void)state;
	frames_echo_request(frame, &us, &peer, &echo);
	peer_answer(frame, peer.mac, 0, answer);
	CHECK_ROWS(answer, rows);
	memset(answer, 255, 6); /* an IPv4 broadcast is no answer */
	assert_int_equal(parse(answer, sizeof(answer), &view), FRAMES_OTHER);
}

static void test_hostile_tcp(void **state)
{
	static const struct row rows[] = {
		{"good", 47, 0x12, false, FRAMES_SYN_ACK},
		{"SYN", 47, 0x02, true, FRAMES_OTHER},
		{"ACK", 47, 0x10, true, FRAMES_OTHER},
		{"RST alone", 47, 0x04, true, FRAMES_OTHER},
		{"SYN RST ACK", 47, 0x16, true, FRAMES_OTHER},
		{"SYN FIN ACK", 47, 0x13, true, FRAMES_OTHER},
		{"header 16", 46, 0x40, true, FRAMES_MALFORMED},
		{"header over end", 46, 0x70, true, FRAMES_MALFORMED},
		{"sum", 50, 1, false, FRAMES_MALFORMED},
		{"total without TCP", 17, 39, true, FRAMES_MALFORMED},
	};
	uint8_t frame[FRAMES_BYTES], answer[FRAMES_BYTES];

	(void)state;
	frames_syn(frame, &us, &peer, &tcp);
	peer_answer(frame, peer.mac, 0x12, answer);
	CHECK_ROWS(answer, rows);
}

/* An answer that is cut to any shorter length is refused, and no byte past its end is read. */
static void test_every_length(void **state)
{
	uint8_t frame[3][FRAMES_BYTES], answer[FRAMES_BYTES];
	static const size_t whole[3] = {42, 50, 58};
	struct frames_view view;

	(void)state;
	frames_arp_request(frame[0], &us, &peer);
	frames_echo_request(frame[1], &us, &peer, &echo);
	frames_syn(frame[2], &us, &peer, &tcp);
	for (size_t i = 0; i < 3; i++) {
		peer_answer(frame[i], peer.mac, 0x12, answer);
		for (size_t size = 0; size <= FRAMES_BYTES; size++) {
			enum frames_kind kind = parse(answer, size, &view);

			assert_int_equal(kind != FRAMES_OTHER && kind != FRAMES_MALFORMED,
					 size >= whole[i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arp_bytes),    cmocka_unit_test(test_ip_bytes),
		cmocka_unit_test(test_answers),	     cmocka_unit_test(test_hostile_arp),
		cmocka_unit_test(test_hostile_echo), cmocka_unit_test(test_hostile_tcp),
		cmocka_unit_test(test_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
