/* Tests which frames the filter in front of lwIP accepts. There is one table row per rule; then a
 * good frame is cut to every shorter length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "exact.h"
#include "stack/filter.h"

#define OURS 0xc6124d01u /* 198.18.77.1 */
#define PEER 0xc6124d02u
#define SYN_BYTES 54

static const struct filter_rules rules = {
	.mac = { 2, 0, 0, 0, 0, 1 },
	.address = OURS,
	.mask = 0xffffff00u,
};

/* Make a SYN from PEER:4000 to OURS:7. Its checksums stay 0. */
static void make_syn(uint8_t *frame)
{
	static const uint8_t head[] = {
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,	     /* Ethernet */
		0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0,	     /* IPv4 ... */
		198, 18, 77, 2, 198, 18, 77, 1,                      /* source, destination */
		0x0f, 0xa0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 4, 0, /* TCP ... */
	};

	memset(frame, 0, SYN_BYTES);
	memcpy(frame, head, sizeof(head));
}

static void make_arp(uint8_t *frame)
{
	static const uint8_t arp[] = {
		255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0,
		1, 2, 0, 0, 0, 0, 2, 198, 18, 77, 2, 0, 0, 0, 0, 0, 0, 198, 18, 77, 1,
	};

	memcpy(frame, arp, sizeof(arp));
}

static enum filter_verdict judge(const uint8_t *frame, size_t size, struct filter_view *view)
{
	uint8_t *exact = exact_copy(frame, size);
	enum filter_verdict verdict = filter_frame(&rules, exact, size, view);

	free(exact);
	return verdict;
}

/* A row changes one byte of a good frame. */
struct row {
	const char *name;
	size_t at;
	uint8_t value;
	enum filter_verdict verdict;
};

static void check_rows(void (*make)(uint8_t *), size_t size, const struct row *rows, size_t n_rows)
{
	uint8_t frame[128];
	struct filter_view view;
	size_t i;

	for (i = 0; i < n_rows; i++) {
		enum filter_verdict verdict;

		make(frame);
		frame[rows[i].at] = rows[i].value;
		verdict = judge(frame, size, &view);
		if (verdict != rows[i].verdict)
			fail_msg("%s: verdict %d, expected %d", rows[i].name, verdict,
				 rows[i].verdict);
	}
}

static void test_ipv4_and_tcp(void **state)
{
	static const struct row rows[] = {
		{ "good", 53, 0, FILTER_TCP_SYN },
		{ "other MAC", 5, 9, FILTER_NOT_OURS },
		{ "multicast source MAC", 6, 3, FILTER_SPOOFED },
		{ "our source MAC", 11, 1, FILTER_SPOOFED },
		{ "IPv6 type", 12, 0x86, FILTER_ETHERTYPE },
		{ "version 6", 14, 0x65, FILTER_MALFORMED },
		{ "IP options", 14, 0x46, FILTER_MALFORMED },
		{ "header 16", 14, 0x44, FILTER_MALFORMED },
		{ "total below header", 17, 19, FILTER_MALFORMED },
		{ "total without TCP", 17, 39, FILTER_RUNT },
		{ "total over frame", 17, 41, FILTER_RUNT },
		{ "more fragments", 20, 0x20, FILTER_FRAGMENT },
		{ "offset", 21, 1, FILTER_FRAGMENT },
		{ "SCTP", 23, 132, FILTER_PROTOCOL },
		{ "source 0/8", 26, 0, FILTER_SPOOFED },
		{ "source 127/8", 26, 127, FILTER_SPOOFED },
		{ "source 224/4", 26, 224, FILTER_SPOOFED },
		{ "source 240/4", 26, 250, FILTER_SPOOFED },
		{ "source ours", 29, 1, FILTER_SPOOFED },
		{ "source broadcast", 29, 255, FILTER_SPOOFED },
		{ "source network", 29, 0, FILTER_SPOOFED },
		{ "source elsewhere", 28, 78, FILTER_TCP_SYN },
		{ "target other", 33, 3, FILTER_NOT_OURS },
		{ "target broadcast", 33, 255, FILTER_NOT_OURS },
		{ "TCP header 16", 46, 0x40, FILTER_MALFORMED },
		{ "TCP header over end", 46, 0x60, FILTER_MALFORMED },
		{ "port 0", 37, 0, FILTER_MALFORMED },
		{ "no flags", 47, 0, FILTER_MALFORMED },
		{ "PSH only", 47, 8, FILTER_MALFORMED },
		{ "FIN only", 47, 1, FILTER_MALFORMED },
		{ "SYN FIN", 47, 3, FILTER_MALFORMED },
		{ "SYN RST", 47, 6, FILTER_MALFORMED },
		{ "SYN ACK", 47, 0x12, FILTER_TCP },
		{ "ACK", 47, 0x10, FILTER_TCP },
		{ "RST", 47, 4, FILTER_TCP },
		{ "SYN ECN", 47, 0xc2, FILTER_TCP_SYN },
	};

	(void)state;
	check_rows(make_syn, SYN_BYTES, rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_arp(void **state)
{
	static const struct row rows[] = {
		{ "request", 21, 1, FILTER_ARP },
		{ "reply", 21, 2, FILTER_ARP },
		{ "operation 3", 21, 3, FILTER_MALFORMED },
		{ "hardware", 15, 6, FILTER_MALFORMED },
		{ "hardware size", 18, 8, FILTER_MALFORMED },
		{ "protocol size", 19, 16, FILTER_MALFORMED },
		{ "multicast sender", 22, 1, FILTER_SPOOFED },
		{ "sender ours", 31, 1, FILTER_SPOOFED },
		{ "sender broadcast", 31, 255, FILTER_SPOOFED },
		{ "sender elsewhere", 30, 78, FILTER_NOT_OURS },
		{ "multicast frame", 0, 1, FILTER_NOT_OURS },
	};

	(void)state;
	check_rows(make_arp, 42, rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_every_short_length(void **state)
{
	uint8_t frame[128];
	struct filter_view view;
	size_t size;

	(void)state;
	make_syn(frame);
	for (size = 0; size < SYN_BYTES; size++)
		assert_int_equal(judge(frame, size, &view), FILTER_RUNT);
	make_arp(frame);
	for (size = 0; size < 42; size++)
		assert_int_equal(judge(frame, size, &view), FILTER_RUNT);
}

static void test_views(void **state)
{
	uint8_t frame[128];
	struct filter_view view;

	(void)state;
	make_syn(frame);
	frame[17] = 45; /* five bytes of payload, one of padding */
	memset(frame + SYN_BYTES, 0, 6);
	assert_int_equal(judge(frame, SYN_BYTES + 6, &view), FILTER_TCP_SYN);
	assert_int_equal(view.source, PEER);
	assert_int_equal(view.source_port, 4000);
	assert_int_equal(view.dest_port, 7);
	assert_int_equal(view.payload_at, SYN_BYTES);
	assert_int_equal(view.payload_size, 5);
	assert_int_equal(view.partial_csum, 0);

	frame[23] = 17; /* the same bytes as a UDP datagram of length 8 + 3 */
	bytes_put_be16(frame + 38, 11);
	assert_int_equal(judge(frame, SYN_BYTES + 6, &view), FILTER_UDP);
	assert_int_equal(view.dest_port, 7);
	assert_int_equal(view.payload_at, 42);
	assert_int_equal(view.payload_size, 3);
	bytes_put_be16(frame + 38, 7);
	assert_int_equal(judge(frame, SYN_BYTES + 6, &view), FILTER_MALFORMED);
	bytes_put_be16(frame + 38, 26);
	assert_int_equal(judge(frame, SYN_BYTES + 6, &view), FILTER_RUNT);

	frame[23] = 1;
	frame[34] = 8;
	frame[35] = 0;
	assert_int_equal(judge(frame, SYN_BYTES + 6, &view), FILTER_ICMP_ECHO);
	frame[34] = 5; /* ICMP redirect */
	assert_int_equal(judge(frame, SYN_BYTES + 6, &view), FILTER_PROTOCOL);
}

/* On a veth with tx-checksumming on, Linux puts only the sum of the pseudo-header into the checksum
 * field. Here this is the folded sum of 198.18.77.2 + 198.18.77.1 + 6 + 20 = c612+4d02 + c612+4d01
 * + 1a -> 0x2643 with the carries. */
static void test_partial_checksum(void **state)
{
	uint8_t frame[128];
	struct filter_view view;

	(void)state;
	make_syn(frame);
	bytes_put_be16(frame + 50, 0x2643);
	assert_int_equal(judge(frame, SYN_BYTES, &view), FILTER_TCP_SYN);
	assert_int_equal(view.partial_csum, 1);
}

/* Feed random bytes. No byte past the end may be read (ASan checks that). The payload of an
 * accepted frame must lie inside the frame. */
static void test_random_frames(void **state)
{
	uint8_t frame[128];
	struct filter_view view;
	unsigned int seed = 1;
	int i, n_passed = 0;

	(void)state;
	for (i = 0; i < 200000; i++) {
		size_t size = (size_t)rand_r(&seed) % sizeof(frame), n = 1 + (size_t)(i % 6);
		enum filter_verdict verdict;

		memset(frame, 0, sizeof(frame));
		(i & 1 ? make_syn : make_arp)(frame);
		while (n--)
			frame[12 + (size_t)rand_r(&seed) % 50] = (uint8_t)rand_r(&seed);
		verdict = judge(frame, size, &view);
		assert_in_range(verdict, 0, FILTER_N_VERDICTS - 1);
		if (verdict == FILTER_TCP || verdict == FILTER_TCP_SYN || verdict == FILTER_UDP) {
			assert_true(view.payload_at + view.payload_size <= size);
			n_passed++;
		}
	}
	assert_true(n_passed > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4_and_tcp),
		cmocka_unit_test(test_arp),
		cmocka_unit_test(test_every_short_length),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_partial_checksum),
		cmocka_unit_test(test_random_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
