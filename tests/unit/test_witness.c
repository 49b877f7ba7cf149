/* Tests the witness datagram: which datagrams are accepted and which are refused. The MAC must be
 * SipHash as its authors define it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "wire/msg.h"
#include "wire/witness.h"

/* Make a datagram as docs/wire-format.md describes it. */
static void make(uint8_t *data)
{
	memset(data, 0, WIRE_WITNESS_SIZE);
	memcpy(data, "HFW1", 4);
	bytes_put_be32(data + 4, 7);
	bytes_put_be64(data + 8, 41);
	bytes_put_be64(data + 16, 1000000007);
	bytes_put_be64(data + 24, 500);
	bytes_put_be64(data + 32, 400);
	bytes_put_be64(data + 40, 999000000);
	bytes_put_be16(data + 48, 1514);
	bytes_put_be16(data + 50, 64);
	memset(data + 56, 0xab, 64);
}

static void fields_are_read(void **state)
{
	uint8_t data[WIRE_WITNESS_SIZE];
	struct wire_witness w;

	(void)state;
	make(data);
	assert_int_equal(wire_witness_decode(data, sizeof(data), &w), 0);
	assert_int_equal(w.key_id, 7);
	assert_int_equal(w.sequence, 41);
	assert_int_equal(w.mono_ns, 1000000007);
	assert_int_equal(w.to_guest, 500);
	assert_int_equal(w.from_guest, 400);
	assert_int_equal(w.from_guest_ns, 999000000);
	assert_int_equal(w.frame_size, 1514);
	assert_int_equal(w.head_size, 64);
	assert_int_equal(w.path, WIRE_WITNESS_BACKUP);
	assert_ptr_equal(w.head, data + 56);
	data[55] = 1;
	assert_int_equal(wire_witness_decode(data, sizeof(data), &w), 0);
	assert_int_equal(w.path, WIRE_WITNESS_CLIENT);
}

static void what_breaks_the_format_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = {
		{0, 'X'},	 /* magic */
		{15, 0},	 /* sequence 0 */
		{51, 13},	 /* a head shorter than an Ethernet header */
		{51, 65},	 /* a head longer than its field */
		{48, 0},	 /* a frame shorter than its head: byte 49 is set below */
		{55, 2},	 /* no such path */
		{52, 1},	 /* no such path: the high byte is set */
	};
	uint8_t data[WIRE_WITNESS_SIZE + 1];
	struct wire_witness w;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		make(data);
		data[rows[i].at] = rows[i].value;
		if (rows[i].at == 48)
			data[49] = 63; /* a frame shorter than its head */
		assert_int_equal(wire_witness_decode(data, WIRE_WITNESS_SIZE, &w), -EPROTO);
	}
	make(data);
	assert_int_equal(wire_witness_decode(data, WIRE_WITNESS_SIZE - 1, &w), -EPROTO);
	assert_int_equal(wire_witness_decode(data, WIRE_WITNESS_SIZE + 1, &w), -EPROTO);
	assert_int_equal(wire_witness_decode(data, 0, &w), -EPROTO);
}

static void each_signed_bit_counts(void **state)
{
	uint8_t key[WIRE_WITNESS_KEY_SIZE] = {1, 2, 3}, data[WIRE_WITNESS_SIZE];
	struct wire_witness_mac *mac, *other;

	(void)state;
	assert_int_equal(wire_witness_mac_new(key, &mac), 0);
	key[15] = 1;
	assert_int_equal(wire_witness_mac_new(key, &other), 0);
	make(data);
	assert_int_equal(wire_witness_mac_check(mac, data), -EBADMSG);
	assert_int_equal(wire_witness_mac_sign(mac, data), 0);
	assert_int_equal(wire_witness_mac_check(mac, data), 0);
	assert_int_equal(wire_witness_mac_check(other, data), -EBADMSG);
	for (size_t bit = 0; bit < 8 * WIRE_WITNESS_SIZE; bit++) {
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(wire_witness_mac_check(mac, data), -EBADMSG);
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(wire_witness_mac_check(mac, data), 0);
	assert_null(wire_witness_mac_free(mac));
	assert_null(wire_witness_mac_free(other));
	assert_null(wire_witness_mac_free(NULL));
}

/* To check OpenSSL's result, the test below computes SipHash-2-4 of 120 bytes with these functions.
 * They are written from the SipHash paper. */
static uint64_t rotate(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static void the_mac_is_siphash_2_4(void **state)
{
	uint8_t key[WIRE_WITNESS_KEY_SIZE], data[WIRE_WITNESS_SIZE];
	struct wire_witness_mac *mac;
	uint64_t k[2], m, v[4];

	(void)state;
	for (uint8_t i = 0; i < sizeof(key); i++)
		key[i] = i;
	memcpy(k, key, sizeof(k)); /* right on a little-endian machine only */
	v[0] = k[0] ^ UINT64_C(0x736f6d6570736575);
	v[1] = k[1] ^ UINT64_C(0x646f72616e646f6d);
	v[2] = k[0] ^ UINT64_C(0x6c7967656e657261);
	v[3] = k[1] ^ UINT64_C(0x7465646279746573);
	make(data);
	for (size_t i = 0; i <= WIRE_WITNESS_SIGNED / 8; i++) {
		if (i < WIRE_WITNESS_SIGNED / 8)
			memcpy(&m, data + 8 * i, sizeof(m));
		else
			m = (uint64_t)WIRE_WITNESS_SIGNED << 56;
		v[3] ^= m;
		sip_round(v);
		sip_round(v);
		v[0] ^= m;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	assert_int_equal(wire_witness_mac_new(key, &mac), 0);
	assert_int_equal(wire_witness_mac_sign(mac, data), 0);
	assert_true(bytes_get_be64(data + WIRE_WITNESS_SIGNED) == (v[0] ^ v[1] ^ v[2] ^ v[3]));
	wire_witness_mac_free(mac);
}

/* Tests which addresses a WITNESS_KEY message may give for the client network. */
static void a_client_address_is_one_that_a_host_can_have(void **state)
{
	static const struct {
		uint32_t address;
		bool is_good;
	} rows[] = {
		{0x00000001, false}, {0x00ffffff, false}, {0x01000000, true},  {0x7effffff, true},
		{0x7f000001, false}, {0x80000000, true},  {0xdfffffff, true},  {0xe0000001, false},
		{0xffffffff, false},
	};
	struct wire_witness_key key = {.vm = "web1", .key_id = 1, .port = 7401};
	uint8_t buffer[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes_writer w = {.at = buffer, .end = buffer + sizeof(buffer)};
		struct wire_witness_key read;
		struct wire_frame frame;

		key.client_address = 0xc6120203;
		assert_int_equal(wire_witness_key_encode(&key, &w), 0);
		bytes_put_be32(w.at - 4, rows[i].address);
		frame = (struct wire_frame){.h = {.type = WIRE_WITNESS_KEY,
						  .payload_size = (uint32_t)(w.at - buffer)},
					    .payload = buffer};
		assert_int_equal(wire_witness_key_decode(&frame, &read, NULL),
				 rows[i].is_good ? 0 : -EPROTO);
		if (rows[i].is_good)
			assert_int_equal(read.client_address, rows[i].address);
		key.client_address = rows[i].address;
		w = (struct bytes_writer){.at = buffer, .end = buffer + sizeof(buffer)};
		assert_int_equal(wire_witness_key_encode(&key, &w), rows[i].is_good ? 0 : -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_address_is_one_that_a_host_can_have),
		cmocka_unit_test(fields_are_read),
		cmocka_unit_test(what_breaks_the_format_is_refused),
		cmocka_unit_test(each_signed_bit_counts),
		cmocka_unit_test(the_mac_is_siphash_2_4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
