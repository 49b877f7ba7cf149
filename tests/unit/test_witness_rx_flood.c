/* test_witness_rx_flood.c - tests the limit on MAC checks of witness datagrams, on a virtual clock:
 * forgeries cost a bounded number of checks, and do not push out genuine datagrams. */
#include "witness_rx_lab.h"

/* Send @n forgeries within @ns. They pass all checks except the MAC's. Returns how many MACs were
 * checked. */
static uint64_t flood(struct sender *s, uint64_t n, uint64_t ns)
{
	uint64_t before = witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_BAD_MAC),
		 start_ns = now_ns;
	uint8_t data[WIRE_WITNESS_SIZE];

	make(s, s->sequence + 1, 0, data);
	data[127] ^= 1;
	for (uint64_t i = 0; i < n; i++) {
		now_ns = start_ns + ns * i / n;
		(void)witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, sizeof(data), now_ns);
	}
	now_ns = start_ns + ns;
	return witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_BAD_MAC) - before;
}

static void work_is_bounded(void **state)
{
	uint64_t n_checked, n_found = 0;

	(void)state;
	n_checked = flood(&a, 1000000, 1000 * MS);
	assert_in_range(n_checked, 1000 * WITNESS_RX_CHECKS_PER_MS * 9 / 10,
			1001 * WITNESS_RX_CHECKS_PER_MS + 2 * WITNESS_RX_BURST);
	assert_int_equal(n_checked +
				 witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_OVER_LIMIT),
			 1000000);
	/* Send genuine datagrams among twice as many forgeries as can be checked: some of the
	 * genuine datagrams are accepted. */
	for (int i = 0; i < 100; i++) {
		(void)flood(&a, 10240 + (uint64_t)i * 13, 10 * MS);
		n_found += send_next(&a) == WITNESS_RX_ACCEPTED;
	}
	assert_in_range(n_found, 10, 100);
	now_ns += MS;
	/* after the flood, every genuine datagram is accepted */
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
}

static void a_flood_does_not_take_another_vms_share(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 60; i++)
		give(i == 1 ? &b : NULL, i == VM ? 63 : i, 100 + i, ALPHA, true);
	/* one round per 10 ms, the interval at which a kernel sends */
	for (int i = 0; i < 200; i++) {
		(void)flood(&a, 20000, 10 * MS);
		assert_int_equal(send_next(&b), WITNESS_RX_ACCEPTED);
	}
	assert_true(witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_OVER_LIMIT) > 0);
}

static void many_vms_together_stay_within_the_bound(void **state)
{
	uint64_t n_checked;

	(void)state;
	for (uint32_t i = 10; i < 40; i++)
		give(&b, i, 100 + i, ALPHA, true);
	(void)flood(&a, 1000, 10 * MS);
	n_checked = witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_BAD_MAC);
	for (int ms = 0; ms < 500; ms++) {
		for (uint32_t i = 10; i < 40; i++) {
			b.key_id = 100 + i;
			(void)flood(&b, 200, 0);
		}
		now_ns += MS;
	}
	n_checked = witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_BAD_MAC) - n_checked;
	/* The bound is the limit per ms, plus saved checks. Each path of each VM has a share of the
	 * checks and may save up unused ones. There are up to 32 shares. */
	assert_true(n_checked <= 500 * WITNESS_RX_CHECKS_PER_MS + 32 * WITNESS_RX_BURST);
	assert_true(n_checked >= 400 * WITNESS_RX_CHECKS_PER_MS);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(work_is_bounded),
		TEST(a_flood_does_not_take_another_vms_share),
		TEST(many_vms_together_stay_within_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
