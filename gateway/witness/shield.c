#include "witness/shield.h"

#include "wire/witness.h"

#define NS_PER_S UINT64_C(1000000000)

/* Where an Ethernet frame with IPv4 without options has things. */
enum frame_offset {
	AT_ETHERTYPE = 12,
	AT_VERSION   = 14, /* and header length */
	AT_PROTOCOL  = 23,
	AT_UDP_PORT  = 36,
	AT_UDP_SIZE  = 38,
	AT_PAYLOAD   = 42,
	AT_KEY_ID    = 46,
};

#define ETHERTYPE_IPV4	 0x0800
#define IPV4_NO_OPTIONS	 0x45
#define PROTOCOL_UDP	 17
#define UDP_HEADER_SIZE	 8
#define WITNESS_MAGIC	 0x48465731 /* "HFW1" */
#define PASS_WHOLE	 0x40000    /* bytes of the frame that pass */

bool shield_look(struct shield *shield, uint64_t refused, uint64_t now_ns)
{
	uint64_t passed_ns = now_ns - shield->looked_ns;
	bool was_up = shield->is_up;

	if (shield->looked_ns != 0 && passed_ns < SHIELD_LOOK_NS)
		return false;
	if (shield->is_up)
		shield->is_up = now_ns - shield->up_ns < SHIELD_HOLD_NS;
	else if (shield->looked_ns != 0)
		shield->is_up = (refused - shield->refused) * NS_PER_S >=
				(uint64_t)SHIELD_UP_PER_S * passed_ns;
	if (shield->is_up && !was_up)
		shield->up_ns = now_ns;
	shield->looked_ns = now_ns;
	shield->refused = refused;
	return shield->is_up != was_up;
}

size_t shield_program(uint16_t port, const uint32_t *key_ids, size_t n_keys,
		      struct sock_filter ret_insns[SHIELD_INSNS_MAX])
{
	/* Each test goes on to the next one, or jumps to "drop" or "pass", the last two. */
	enum { NEXT, DROP, PASS };
	struct {
		uint16_t load;
		uint32_t at, value;
		uint8_t is_equal, is_other;
	} tests[6 + SHIELD_KEYS_MAX] = {
		{BPF_H, AT_ETHERTYPE, ETHERTYPE_IPV4, NEXT, PASS},
		{BPF_B, AT_PROTOCOL, PROTOCOL_UDP, NEXT, PASS},
		{BPF_B, AT_VERSION, IPV4_NO_OPTIONS, NEXT, DROP},
		{BPF_H, AT_UDP_PORT, port, NEXT, DROP},
		{BPF_H, AT_UDP_SIZE, UDP_HEADER_SIZE + WIRE_WITNESS_SIZE, NEXT, DROP},
		{BPF_W, AT_PAYLOAD, WITNESS_MAGIC, NEXT, DROP},
	};
	size_t n_tests = 6, n = 0, n_loads = 0, drop, targets[3];

	for (size_t i = 0; i < n_keys && i < SHIELD_KEYS_MAX; i++) {
		tests[n_tests].load = BPF_W;
		tests[n_tests].at = AT_KEY_ID;
		tests[n_tests].value = key_ids[i];
		tests[n_tests].is_equal = PASS;
		tests[n_tests++].is_other = NEXT;
	}
	for (size_t i = 0; i < n_tests; i++) /* the same field is loaded once */
		n_loads += i == 0 || tests[i].at != tests[i - 1].at;
	drop = n_loads + n_tests;
	targets[DROP] = drop;
	targets[PASS] = drop + 1;
	for (size_t i = 0; i < n_tests; i++) {
		if (i == 0 || tests[i].at != tests[i - 1].at)
			ret_insns[n++] = (struct sock_filter)BPF_STMT(
				(uint16_t)(BPF_LD | BPF_ABS | tests[i].load), tests[i].at);
		targets[NEXT] = n + 1;
		ret_insns[n] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, tests[i].value,
			(uint8_t)(targets[tests[i].is_equal] - n - 1),
			(uint8_t)(targets[tests[i].is_other] - n - 1));
		n++;
	}
	ret_insns[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	ret_insns[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, PASS_WHOLE);
	return n;
}
