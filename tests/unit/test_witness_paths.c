/* test_witness_paths.c - tests the witness of one VM over two networks (paths). Each path has its
 * own address, window of sequence numbers, and share of the MAC checks. Of two datagrams with the
 * same sample, the one that arrives first counts. */
#include "witness/witness_rx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

#define MS	   UINT64_C(1000000)
#define ALPHA	   UINT32_C(0xc6120102) /* 198.18.1.2, on the backup network */
#define ALPHA_HERE UINT32_C(0xc6120202) /* 198.18.2.2, on the client network */
#define VM	   5
#define KEY_ID	   7
#define BACKUP	   WIRE_WITNESS_BACKUP
#define CLIENT	   WIRE_WITNESS_CLIENT

static const uint8_t key[WIRE_WITNESS_KEY_SIZE] = {9, 8, 7};
static struct wire_witness_mac *mac;
static struct witness_rx *rx;
static uint64_t now_ns;

static void give(uint32_t key_id, uint32_t client_address)
{
	const uint32_t addresses[WIRE_WITNESS_N_PATHS] = {ALPHA, client_address};

	assert_int_equal(witness_rx_set_key(rx, VM, key_id, key, addresses, true, now_ns), 0);
}

/* Make a datagram for @path, with a sample made @age_ns ago. */
static void make(uint8_t *data, uint32_t path, uint64_t sequence, uint64_t age_ns,
		 uint64_t to_guest)
{
	memset(data, 0, WIRE_WITNESS_SIZE);
	memcpy(data, "HFW1", 4);
	bytes_put_be32(data + 4, KEY_ID);
	bytes_put_be64(data + 8, sequence);
	bytes_put_be64(data + 16, now_ns - age_ns);
	bytes_put_be64(data + 24, to_guest);
	bytes_put_be16(data + 48, 60);
	bytes_put_be16(data + 50, 60);
	bytes_put_be32(data + 52, path);
	assert_int_equal(wire_witness_mac_sign(mac, data), 0);
}

static enum witness_rx_verdict come(enum wire_witness_path path, const uint8_t *data)
{
	return witness_rx_input(rx, path, path == WIRE_WITNESS_CLIENT ? ALPHA_HERE : ALPHA, data,
				WIRE_WITNESS_SIZE, now_ns);
}

static enum witness_rx_verdict send_sample(enum wire_witness_path path, uint64_t sequence,
					   uint64_t to_guest)
{
	uint8_t data[WIRE_WITNESS_SIZE];

	make(data, path, sequence, 0, to_guest);
	return come(path, data);
}

static int set_up(void **state)
{
	(void)state;
	now_ns = 1000 * MS;
	assert_int_equal(witness_rx_new(&rx), 0);
	assert_int_equal(wire_witness_mac_new(key, &mac), 0);
	give(KEY_ID, ALPHA_HERE);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rx = witness_rx_free(rx);
	mac = wire_witness_mac_free(mac);
	return 0;
}

static void each_path_has_its_own_window(void **state)
{
	(void)state;
	assert_int_equal(send_sample(BACKUP, 1000, 1), WITNESS_RX_ACCEPTED);
	assert_int_equal(send_sample(CLIENT, 1, 1), WITNESS_RX_ACCEPTED);
	assert_int_equal(send_sample(CLIENT, 1, 1), WITNESS_RX_REPLAYED);
	assert_int_equal(send_sample(CLIENT, 1000, 2), WITNESS_RX_ACCEPTED);
	assert_int_equal(send_sample(CLIENT, 900, 2), WITNESS_RX_REPLAYED);
	assert_int_equal(send_sample(BACKUP, 999, 1), WITNESS_RX_ACCEPTED);
	assert_int_equal(send_sample(BACKUP, 1000, 1), WITNESS_RX_REPLAYED);
	assert_int_equal(witness_rx_count(rx, CLIENT, WITNESS_RX_REPLAYED), 2);
	assert_int_equal(witness_rx_count(rx, BACKUP, WITNESS_RX_REPLAYED), 1);
}

static void no_datagram_of_one_path_is_one_of_the_other(void **state)
{
	uint8_t data[WIRE_WITNESS_SIZE];

	(void)state;
	make(data, CLIENT, 1, 0, 1);
	assert_int_equal(come(BACKUP, data), WITNESS_RX_WRONG_PATH);
	make(data, BACKUP, 1, 0, 1);
	assert_int_equal(come(CLIENT, data), WITNESS_RX_WRONG_PATH);
	/* the right path, but the MAC was made for the other path */
	bytes_put_be32(data + 52, CLIENT);
	assert_int_equal(come(CLIENT, data), WITNESS_RX_BAD_MAC);
	assert_int_equal(witness_rx_view(rx, VM)->n_accepted, 0);
	assert_int_equal(witness_rx_refused(rx, BACKUP), 1);
	assert_int_equal(witness_rx_refused(rx, CLIENT), 2);
}

static void each_path_has_its_own_address(void **state)
{
	static const struct {
		enum wire_witness_path path;
		uint32_t source;
	} wrong[] = {
		{CLIENT, ALPHA}, {CLIENT, 0}, {BACKUP, ALPHA_HERE},
	};
	uint8_t data[WIRE_WITNESS_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		make(data, wrong[i].path, 1, 0, 1);
		assert_int_equal(witness_rx_input(rx, wrong[i].path, wrong[i].source, data,
						  sizeof(data), now_ns),
				 WITNESS_RX_WRONG_ADDRESS);
	}
	/* A key that has no address on a path accepts no datagram on that path, not even from
	 * 0.0.0.0. */
	witness_rx_clear(rx, VM);
	give(KEY_ID, 0);
	make(data, CLIENT, 1, 0, 1);
	assert_int_equal(come(CLIENT, data), WITNESS_RX_WRONG_ADDRESS);
	assert_int_equal(witness_rx_input(rx, CLIENT, 0, data, sizeof(data), now_ns),
			 WITNESS_RX_WRONG_ADDRESS);
	assert_int_equal(send_sample(BACKUP, 1, 1), WITNESS_RX_ACCEPTED);
}

static void the_evidence_is_of_whatever_came_first(void **state)
{
	const struct witness_view *view = witness_rx_view(rx, VM);
	uint8_t by_client[WIRE_WITNESS_SIZE];

	(void)state;
	assert_int_equal(send_sample(BACKUP, 1, 10), WITNESS_RX_ACCEPTED);
	assert_int_equal(send_sample(CLIENT, 1, 10), WITNESS_RX_ACCEPTED);
	now_ns += 10 * MS;
	assert_int_equal(send_sample(BACKUP, 2, 15), WITNESS_RX_ACCEPTED);
	assert_int_equal(send_sample(CLIENT, 2, 15), WITNESS_RX_ACCEPTED);
	/* still 5, because the second datagram carried the same sample as the first */
	assert_int_equal(view->to_delta, 5);
	assert_int_equal(view->n_unanswered, 5);
	assert_int_equal(view->interval_ns, 10 * MS);
	/* The backup network fails: the client path continues alone. */
	now_ns += 300 * MS;
	assert_int_equal(send_sample(CLIENT, 3, 20), WITNESS_RX_ACCEPTED);
	assert_int_equal(view->made_at_ns, now_ns);
	assert_int_equal(view->to_guest, 20);
	assert_int_equal(view->paths[CLIENT].made_at_ns, now_ns);
	assert_int_equal(view->paths[BACKUP].made_at_ns, now_ns - 300 * MS);
	assert_int_equal(view->paths[CLIENT].n_accepted, 3);
	assert_int_equal(view->paths[BACKUP].n_accepted, 2);
	assert_int_equal(view->n_accepted, 5);
	/* A late datagram on one path does not turn the counters back. */
	make(by_client, CLIENT, 4, 200 * MS, 12);
	assert_int_equal(come(CLIENT, by_client), WITNESS_RX_ACCEPTED);
	assert_int_equal(view->to_guest, 20);
	assert_int_equal(view->made_at_ns, now_ns);
}

static void one_path_alone_makes_a_key_the_current_one(void **state)
{
	uint8_t old[WIRE_WITNESS_SIZE];

	(void)state;
	assert_int_equal(send_sample(CLIENT, 1, 1), WITNESS_RX_ACCEPTED);
	make(old, CLIENT, 2, 0, 2);
	give(KEY_ID + 1, ALPHA_HERE);
	/* still accepted: the old key is kept because it was used */
	assert_int_equal(come(CLIENT, old), WITNESS_RX_ACCEPTED);
}

static uint64_t forge(enum wire_witness_path path, unsigned int n)
{
	uint64_t before = witness_rx_count(rx, path, WITNESS_RX_BAD_MAC);
	uint8_t data[WIRE_WITNESS_SIZE];

	make(data, path, UINT64_C(1) << 40, 0, 1);
	data[WIRE_WITNESS_SIZE - 1] ^= 1;
	while (n-- > 0)
		(void)come(path, data);
	return witness_rx_count(rx, path, WITNESS_RX_BAD_MAC) - before;
}

static void a_flood_of_one_path_does_not_take_the_others_share(void **state)
{
	uint64_t n_checked = 0;

	(void)state;
	now_ns += 10 * MS; /* the key is new, and its share of checks grows with time */
	for (uint64_t ms = 0; ms < 500; ms++) {
		n_checked += forge(CLIENT, 1000);
		if (ms % 10 == 0)
			assert_int_equal(send_sample(BACKUP, ms + 1, ms), WITNESS_RX_ACCEPTED);
		now_ns += MS;
	}
	assert_true(witness_rx_count(rx, CLIENT, WITNESS_RX_OVER_LIMIT) > 0);
	/* The client path may use its own quarter of all checks and the common half. Together these
	 * are three quarters. */
	assert_in_range(n_checked, 500 * WITNESS_RX_CHECKS_PER_MS * 3 / 4 * 9 / 10,
			500 * WITNESS_RX_CHECKS_PER_MS * 3 / 4 + 2 * WITNESS_RX_BURST);
}

static void a_path_that_is_not_used_takes_no_share(void **state)
{
	uint64_t n_checked = 0;

	(void)state;
	witness_rx_clear(rx, VM);
	give(KEY_ID, 0);
	for (unsigned int ms = 0; ms < 500; ms++) {
		n_checked += forge(BACKUP, 1000);
		now_ns += MS;
	}
	assert_in_range(n_checked, 500 * WITNESS_RX_CHECKS_PER_MS * 9 / 10,
			500 * WITNESS_RX_CHECKS_PER_MS + 2 * WITNESS_RX_BURST);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_path_has_its_own_window),
		TEST(no_datagram_of_one_path_is_one_of_the_other),
		TEST(each_path_has_its_own_address),
		TEST(the_evidence_is_of_whatever_came_first),
		TEST(one_path_alone_makes_a_key_the_current_one),
		TEST(a_flood_of_one_path_does_not_take_the_others_share),
		TEST(a_path_that_is_not_used_takes_no_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
