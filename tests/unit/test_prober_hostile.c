/* test_prober_hostile.c - tests what the prober accepts as an answer: frames that answer no probe,
 * or come from an address that no file names, change nothing. */
#include "prober_lab.h"

/* Answers that match no probe are counted as such and change nothing else. */
static void test_hostile_answers(void **state)
{
	struct probes *probes = open_probes();
	struct prober *prober = add(probes, &all_targets);
	uint8_t echo[FRAMES_BYTES] = {0}, syn[FRAMES_BYTES] = {0}, arp[FRAMES_BYTES] = {0};
	struct probes_counters before, after;
	struct prober_figures guest, host;
	static const struct {
		size_t at;
		int of; /* the answer whose bit is flipped: 0 the echo reply, 1 the SYN-ACK */
	} bits[] = {{29, 0}, {38, 0}, {41, 0}, {42, 0}, {49, 0},
		    {29, 1}, {35, 1}, {37, 1}, {42, 1}, {45, 1}};
	uint64_t now_ns = START;

	(void)state;
	prober_set_active(prober, true, now_ns);
	probes_tick(probes, now_ns);
	answer_all(probes, 0, 0x12, now_ns);
	probes_tick(probes, now_ns + INTERVAL);
	for (size_t i = 0; i < wire.n; i++) {
		if (peer_target(wire.frames[i]) == GUEST)
			peer_answer(wire.frames[i], mac_guest, 0x12,
				    peer_is_arp(wire.frames[i])		? arp
				    : peer_protocol(wire.frames[i]) == 1 ? echo
									 : syn);
	}
	wire.n = 0;
	guest = figures_of(prober, PROBER_GUEST, 0);
	host = figures_of(prober, PROBER_HOST, 0);
	probes_get_counters(probes, &before);
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		uint8_t frame[FRAMES_BYTES];

		memcpy(frame, bits[i].of ? syn : echo, sizeof(frame));
		frame[bits[i].at] ^= 0x40;
		peer_seal(frame);
		give(probes, PROBER_NET_CLIENT, frame, now_ns + INTERVAL);
	}
	/* not our address on that network */
	give(probes, PROBER_NET_BACKUP, echo, now_ns + INTERVAL);
	echo[42] ^= 1;						   /* wrong checksum */
	give(probes, PROBER_NET_CLIENT, echo, now_ns + INTERVAL);
	echo[42] ^= 1;
	probes_get_counters(probes, &after);
	assert_int_equal(after.answered, before.answered);
	assert_int_equal(after.stray, before.stray + sizeof(bits) / sizeof(bits[0]));
	assert_int_equal(after.malformed, before.malformed + 1);
	assert_int_equal(wire.n, 0);

	/* A good answer counts once, however often it arrives. */
	for (int i = 0; i < 100; i++) {
		give(probes, PROBER_NET_CLIENT, echo, now_ns + INTERVAL + MS);
		give(probes, PROBER_NET_CLIENT, syn, now_ns + INTERVAL + MS);
		give(probes, PROBER_NET_CLIENT, arp, now_ns + INTERVAL + MS);
	}
	assert_int_equal(figures_of(prober, PROBER_GUEST, 0).all.answered, guest.all.answered + 3);
	assert_int_equal(figures_of(prober, PROBER_HOST, 0).all.answered, host.all.answered);
	assert_int_equal(wire.n, PROBER_REPLIES_MAX); /* the RSTs sent for the flood of SYN-ACKs */

	/* An answer to the previous round's probe does not count in this round. */
	prober_set_active(prober, false, now_ns + INTERVAL + MS);
	prober_set_active(prober, true, now_ns + INTERVAL + 2 * MS);
	give(probes, PROBER_NET_CLIENT, arp, now_ns + INTERVAL + 2 * MS);
	probes_tick(probes, now_ns + INTERVAL + 2 * MS);
	give(probes, PROBER_NET_CLIENT, echo, now_ns + INTERVAL + 3 * MS);
	give(probes, PROBER_NET_CLIENT, syn, now_ns + INTERVAL + 3 * MS);
	assert_int_equal(figures_of(prober, PROBER_GUEST, 0).all.round_answered, 0);
	probes_free(probes);
}

static void arp_from(struct probes *probes, uint32_t ip, const uint8_t *mac, bool reply)
{
	const struct frames_end *to = &us[PROBER_NET_CLIENT];
	struct frames_end from = {.ip = ip};
	uint8_t frame[FRAMES_BYTES];

	memcpy(from.mac, mac, 6);
	if (reply)
		frames_arp_reply(frame, &from, to);
	else
		frames_arp_request(frame, &from, to);
	give(probes, PROBER_NET_CLIENT, frame, START + MS);
}

/* Unknown addresses are neither answered nor learned. */
static void test_only_configured(void **state)
{
	struct prober_config config = {.guest = GUEST, .guest_ports = {80}, .n_guest_ports = 1,
				       .host_backup = {BACKUP0}, .interval_ns = INTERVAL};
	static const uint8_t evil[6] = {6, 6, 6, 6, 6, 6};
	struct probes *probes = open_probes();
	struct prober *prober;

	(void)state;
	memcpy(config.guest_mac, mac_guest, 6);
	prober = add(probes, &config);
	prober_set_active(prober, true, START);
	probes_tick(probes, START);
	assert_int_equal(count_frames(GUEST, -1) + count_frames(GUEST, 1) + count_frames(GUEST, 6) +
				 count_frames(BACKUP0, -1),
			 wire.n);
	wire.n = 0;
	arp_from(probes, HOST0, mac_host, false); /* not configured */
	arp_from(probes, 0, mac_host, false);	  /* an ARP probe of RFC 5227 */
	arp_from(probes, BACKUP0, mac_host, false); /* configured on the other network */
	arp_from(probes, GUEST, evil, false);	  /* not the configured MAC */
	arp_from(probes, GUEST, evil, true);
	assert_int_equal(wire.n, 0);
	assert_int_equal(figures_of(prober, PROBER_GUEST, 0).all.answered, 0);
	arp_from(probes, GUEST, mac_guest, false);
	assert_int_equal(wire.n, 1);
	assert_memory_equal(wire.frames[0], mac_guest, 6);
	assert_int_equal(wire.frames[0][21], 2);
	wire.n = 0;
	probes_tick(probes, START + INTERVAL);
	for (size_t i = 0; i < wire.n; i++)
		assert_memory_not_equal(wire.frames[i], evil, 6);
	assert_false(figures_of(prober, PROBER_HOST, 0).configured);
	assert_false(figures_of(prober, PROBER_HOST_BACKUP, 1).configured);
	assert_true(figures_of(prober, PROBER_HOST_BACKUP, 0).configured);
	probes_free(probes);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_answers),
		cmocka_unit_test(test_only_configured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
