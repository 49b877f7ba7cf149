/* witness_rx_lab.h - the beginning of the tests of witness_rx: two primaries' kernels, which send
 * datagrams on a virtual clock, and the gateway's receiver. */
#ifndef TESTS_WITNESS_RX_LAB_H
#define TESTS_WITNESS_RX_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "witness/witness_rx.h"

#define MS    UINT64_C(1000000)
#define ALPHA UINT32_C(0xc6120102) /* 198.18.1.2 */
#define BETA  UINT32_C(0xc6120103)
#define VM    3

static struct witness_rx *rx;
static uint64_t now_ns;

/* A primary's kernel, which sends datagrams. */
struct sender {
	struct wire_witness_mac *mac;
	uint32_t key_id;
	uint64_t sequence, to_guest, from_guest, from_guest_ns;
	int64_t clock_ns; /* the sender's clock minus ours */
};

static struct sender a, b;
static const uint32_t at_alpha[WIRE_WITNESS_N_PATHS] = {ALPHA};

static inline void key_of(uint32_t key_id, uint8_t key[WIRE_WITNESS_KEY_SIZE])
{
	memset(key, 0, WIRE_WITNESS_KEY_SIZE);
	bytes_put_be32(key, key_id * 2654435761u);
}

/* Give the key to both the gateway (for @vm) and the sender. */
static inline void give(struct sender *s, size_t vm, uint32_t key_id, uint32_t address,
			bool clock_new)
{
	const uint32_t addresses[WIRE_WITNESS_N_PATHS] = {address};
	uint8_t key[WIRE_WITNESS_KEY_SIZE];

	key_of(key_id, key);
	assert_int_equal(witness_rx_set_key(rx, vm, key_id, key, addresses, clock_new, now_ns), 0);
	if (!s)
		return;
	wire_witness_mac_free(s->mac);
	assert_int_equal(wire_witness_mac_new(key, &s->mac), 0);
	s->key_id = key_id;
	s->sequence = 0;
}

/* Make a datagram whose sample is @age_ns old. */
static inline void make(struct sender *s, uint64_t sequence, uint64_t age_ns, uint8_t *data)
{
	memset(data, 0, WIRE_WITNESS_SIZE);
	memcpy(data, "HFW1", 4);
	bytes_put_be32(data + 4, s->key_id);
	bytes_put_be64(data + 8, sequence);
	bytes_put_be64(data + 16, (uint64_t)((int64_t)(now_ns - age_ns) + s->clock_ns));
	bytes_put_be64(data + 24, s->to_guest);
	bytes_put_be64(data + 32, s->from_guest);
	bytes_put_be64(data + 40, s->from_guest_ns);
	bytes_put_be16(data + 48, 60);
	bytes_put_be16(data + 50, 60);
	assert_int_equal(wire_witness_mac_sign(s->mac, data), 0);
}

static inline enum witness_rx_verdict send_as(struct sender *s, uint64_t sequence)
{
	uint8_t data[WIRE_WITNESS_SIZE];

	make(s, sequence, 0, data);
	return witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, sizeof(data), now_ns);
}

static inline enum witness_rx_verdict send_next(struct sender *s)
{
	s->to_guest++;
	return send_as(s, ++s->sequence);
}

static inline const struct witness_view *view(void)
{
	return witness_rx_view(rx, VM);
}

static inline int set_up(void **state)
{
	(void)state;
	assert_int_equal(witness_rx_new(&rx), 0);
	now_ns = 5000 * MS;
	a = (struct sender){.clock_ns = (int64_t)(900000 * MS), .to_guest = 100, .from_guest = 50};
	b = (struct sender){.clock_ns = -(int64_t)(1000 * MS)};
	give(&a, VM, 7, ALPHA, true);
	now_ns += 100 * MS;
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	a.mac = wire_witness_mac_free(a.mac);
	b.mac = wire_witness_mac_free(b.mac);
	rx = witness_rx_free(rx);
	assert_null(witness_rx_free(NULL));
	return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
