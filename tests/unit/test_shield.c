/* The shield: when it goes up and down, and what its program lets pass (by an interpreter of ours for the
 * instructions that it has; the kernel's is asked in tests/netns/test_gateway_witness). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "witness/shield.h"

#define MS    UINT64_C(1000000)
#define FRAME 170

static bool passes(const struct sock_filter *insns, size_t n, const uint8_t *frame, size_t size)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *i = &insns[pc];
		size_t wide = BPF_SIZE(i->code) == BPF_W ? 4 : BPF_SIZE(i->code) == BPF_H ? 2 : 1;

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			if (i->k + wide > size)
				return false; /* as the kernel does */
			a = 0;
			for (size_t b = 0; b < wide; b++)
				a = a << 8 | frame[i->k + b];
			break;
		case BPF_JMP:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_RET:
			return i->k != 0;
		default:
			fail_msg("instruction %u", i->code);
		}
	}
	fail_msg("it runs off its end");
	return false;
}

static void make_frame(uint8_t *frame, uint32_t key_id)
{
	memset(frame, 0, FRAME);
	bytes_put_be16(frame + 12, 0x0800);
	frame[14] = 0x45;
	frame[23] = 17;
	bytes_put_be16(frame + 36, 7400);
	bytes_put_be16(frame + 38, 136);
	memcpy(frame + 42, "HFW1", 4);
	bytes_put_be32(frame + 46, key_id);
}

static void the_program_knows_keys(void **state)
{
	uint32_t keys[SHIELD_KEYS_MAX];
	struct sock_filter insns[SHIELD_INSNS_MAX];
	uint8_t frame[FRAME];
	size_t n;

	(void)state;
	for (uint32_t i = 0; i < SHIELD_KEYS_MAX; i++)
		keys[i] = 1000 + 7 * i;
	for (size_t n_keys = 0; n_keys <= SHIELD_KEYS_MAX; n_keys++) {
		n = shield_program(7400, keys, n_keys, insns);
		assert_true(n <= SHIELD_INSNS_MAX);
		for (size_t i = 0; i < SHIELD_KEYS_MAX; i++) {
			make_frame(frame, keys[i]);
			assert_int_equal(passes(insns, n, frame, FRAME), i < n_keys);
		}
		make_frame(frame, 5);
		assert_false(passes(insns, n, frame, FRAME));
	}
}

static void all_but_udp_passes(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		bool passes;
	} rows[] = {
		{13, 0x06, true}, /* ARP */ {23, 6, true},  /* TCP */	 {23, 1, true}, /* ICMP */
		{37, 0, false},	  /* another port */	    {14, 0x46, false}, /* IP options */
		{39, 1, false},	  /* another size */	    {42, 'X', false},  /* another magic */
	};
	const uint32_t key = 9;
	struct sock_filter insns[SHIELD_INSNS_MAX];
	size_t n = shield_program(7400, &key, 1, insns);
	uint8_t frame[FRAME];

	(void)state;
	make_frame(frame, key);
	assert_true(passes(insns, n, frame, FRAME));
	assert_false(passes(insns, n, frame, 45)); /* cut short */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		make_frame(frame, key);
		frame[rows[i].at] = rows[i].value;
		assert_int_equal(passes(insns, n, frame, FRAME), rows[i].passes);
	}
}

static void it_goes_up_in_a_flood_only(void **state)
{
	struct shield s = {0};
	uint64_t now_ns = 1000 * MS, refused = 50000;

	(void)state;
	assert_false(shield_look(&s, refused, now_ns)); /* what was before is no flood of now */
	for (int i = 0; i < 50; i++) {
		refused += 499;
		assert_false(shield_look(&s, refused, now_ns += 100 * MS));
	}
	assert_false(shield_look(&s, refused + 100000, now_ns + 99 * MS)); /* too early to say */
	refused += 500;
	assert_true(shield_look(&s, refused, now_ns += 100 * MS));
	assert_true(s.is_up);
	for (int i = 0; i < 49; i++)
		assert_false(shield_look(&s, refused, now_ns += 100 * MS));
	assert_true(shield_look(&s, refused, now_ns += 100 * MS));
	assert_false(s.is_up);
	/* It goes on. */
	refused += 20000;
	assert_true(shield_look(&s, refused, now_ns += 100 * MS));
	assert_true(s.is_up);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_program_knows_keys),
		cmocka_unit_test(all_but_udp_passes),
		cmocka_unit_test(it_goes_up_in_a_flood_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
