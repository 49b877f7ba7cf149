/* Tests the shield, which makes the kernel drop floods of UDP datagrams. Tests when the shield
 * starts and ends, and which keys its BPF program gets. Datagrams that the program dropped count as
 * refused.
 *
 * tests/bpf/test_shield_prog tests that BPF program; tests/netns/test_gateway_witness tests
 * everything together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "witness/shield.h"
#include "witness/witness_rx.h"

#define MS    UINT64_C(1000000)
#define ALPHA UINT32_C(0xc6120102) /* 198.18.1.2 */
#define BETA  UINT32_C(0xc6120103)
#define VM    3

static const uint32_t at_alpha[WIRE_WITNESS_N_PATHS] = {ALPHA},
		      at_beta[WIRE_WITNESS_N_PATHS] = {BETA};

static void it_goes_up_in_a_flood_only(void **state)
{
	struct shield s = {0};
	uint64_t now_ns = 1000 * MS, unwanted = 50000;

	(void)state;
	assert_true(shield_is_due(&s, now_ns));
	/* the first count includes all earlier datagrams and is no sign of a flood */
	assert_false(shield_look(&s, unwanted, now_ns));
	for (int i = 0; i < 50; i++) {
		unwanted += 499;
		assert_false(shield_look(&s, unwanted, now_ns += 100 * MS));
	}
	assert_false(shield_is_due(&s, now_ns + 99 * MS));
	assert_false(shield_look(&s, unwanted + 100000, now_ns + 99 * MS)); /* too early to judge */
	assert_false(s.is_up);
	unwanted += 500;
	assert_true(shield_look(&s, unwanted, now_ns += 100 * MS));
	assert_true(s.is_up);
}

static void it_stays_up_while_the_flood_goes_on(void **state)
{
	struct shield s = {0};
	uint64_t now_ns = 1000 * MS, unwanted = 0;

	(void)state;
	assert_false(shield_look(&s, unwanted, now_ns));
	assert_true(shield_look(&s, unwanted += 20000, now_ns += 100 * MS));
	for (int i = 0; i < 600; i++)
		assert_false(shield_look(&s, unwanted += 500, now_ns += 100 * MS));
	/* Pauses of less than five seconds do not count as the end of the flood. */
	for (int i = 0; i < 49; i++)
		assert_false(shield_look(&s, unwanted, now_ns += 100 * MS));
	assert_false(shield_look(&s, unwanted += 500, now_ns += 100 * MS));
	for (int i = 0; i < 49; i++)
		assert_false(shield_look(&s, unwanted += 499, now_ns += 100 * MS));
	assert_true(s.is_up);
	assert_true(shield_look(&s, unwanted, now_ns += 100 * MS));
	assert_false(s.is_up);
	assert_false(shield_look(&s, unwanted, now_ns += 100 * MS));
	assert_true(shield_look(&s, unwanted += 500, now_ns += 100 * MS)); /* the next flood */
	assert_true(s.is_up);
}

/* If shield_look() was not called for a long time, the shield divides the count by the elapsed
 * time. */
static void the_rate_counts_and_not_the_number(void **state)
{
	struct shield s = {0};

	(void)state;
	assert_false(shield_look(&s, 0, 1000 * MS));
	assert_false(shield_look(&s, 4999, 2000 * MS));
	assert_false(shield_look(&s, 4999 + 9999, 4000 * MS));
	assert_true(shield_look(&s, 4999 + 9999 + 10000, 6000 * MS));
}

static const uint8_t keys[2][WIRE_WITNESS_KEY_SIZE] = {{1, 2, 3, [15] = 4}, {5, 6, [15] = 7}};

static void send(struct witness_rx *rx, uint64_t sequence)
{
	uint8_t data[WIRE_WITNESS_SIZE] = "HFW1";
	struct wire_witness_mac *mac;

	bytes_put_be32(data + 4, 7);
	bytes_put_be64(data + 8, sequence);
	bytes_put_be16(data + 48, 60);
	bytes_put_be16(data + 50, 60);
	assert_int_equal(wire_witness_mac_new(keys[0], &mac), 0);
	assert_int_equal(wire_witness_mac_sign(mac, data), 0);
	wire_witness_mac_free(mac);
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, sizeof(data), 2000 * MS),
		WITNESS_RX_ACCEPTED);
}

static void it_is_given_keys_with_what_they_have_come_to(void **state)
{
	struct witness_rx_key got;
	struct witness_rx *rx;

	(void)state;
	assert_int_equal(witness_rx_new(&rx), 0);
	assert_int_equal(witness_rx_set_key(rx, VM, 7, keys[0], at_alpha, true, 1000 * MS), 0);
	for (size_t slot = 0; slot < WITNESS_RX_SLOTS; slot++)
		assert_int_equal(witness_rx_get_key(rx, slot, WIRE_WITNESS_BACKUP, &got),
				 slot == VM * 2);
	send(rx, 12);
	send(rx, 9);
	assert_int_equal(witness_rx_set_key(rx, VM, 8, keys[1], at_beta, true, 1000 * MS), 0);
	assert_true(witness_rx_get_key(rx, VM * 2, WIRE_WITNESS_BACKUP, &got));
	assert_true(got.key_id == 8 && got.address == BETA && got.newest == 0);
	assert_memory_equal(got.key, keys[1], sizeof(got.key));
	assert_true(witness_rx_get_key(rx, VM * 2 + 1, WIRE_WITNESS_BACKUP, &got));
	assert_true(got.key_id == 7 && got.address == ALPHA && got.newest == 12);
	assert_false(witness_rx_get_key(rx, VM * 2 + 1, WIRE_WITNESS_CLIENT,
					&got)); /* no address was set for the client path */
	assert_memory_equal(got.key, keys[0], sizeof(got.key));
	witness_rx_clear(rx, VM);
	for (size_t slot = 0; slot < WITNESS_RX_SLOTS; slot++)
		assert_false(witness_rx_get_key(rx, slot, WIRE_WITNESS_BACKUP, &got));
	witness_rx_free(rx);
}

static void what_it_dropped_counts_as_refused(void **state)
{
	struct witness_rx *rx;

	(void)state;
	assert_int_equal(witness_rx_new(&rx), 0);
	witness_rx_add_refused(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_REPLAYED, 1000);
	witness_rx_add_bad_macs(rx, VM * 2 + 1, WIRE_WITNESS_BACKUP, 30);
	assert_int_equal(witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_REPLAYED), 1000);
	assert_int_equal(witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_BAD_MAC), 30);
	assert_int_equal(witness_rx_view(rx, VM)->n_bad_mac, 30);
	assert_int_equal(witness_rx_refused(rx, WIRE_WITNESS_BACKUP), 1030);
	witness_rx_free(rx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_goes_up_in_a_flood_only),
		cmocka_unit_test(it_stays_up_while_the_flood_goes_on),
		cmocka_unit_test(the_rate_counts_and_not_the_number),
		cmocka_unit_test(it_is_given_keys_with_what_they_have_come_to),
		cmocka_unit_test(what_it_dropped_counts_as_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
