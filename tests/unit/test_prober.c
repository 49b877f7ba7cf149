/* test_prober.c - tests the prober on a virtual clock: which addresses it probes, how often, and
 * what it counts. */
#include "prober_lab.h"

static void test_silent_without_doubt(void **state)
{
	struct probes *probes = open_probes();
	struct prober *prober = add(probes, &all_targets);
	uint8_t request[FRAMES_BYTES];

	(void)state;
	assert_false(prober_is_active(prober));
	assert_true(probes_deadline_ns(probes) == UINT64_MAX);
	frames_arp_request(request, &(struct frames_end){{2, 0, 0, 0, 1, 1}, HOST0},
			   &us[PROBER_NET_CLIENT]);
	for (uint64_t now_ns = START; now_ns < START + 1000 * MS; now_ns += MS) {
		probes_tick(probes, now_ns);
		give(probes, PROBER_NET_CLIENT, request, now_ns);
	}
	assert_int_equal(wire.n, 0);

	/* The functions also accept NULL, for a VM without a prober. */
	prober_set_active(NULL, true, START);
	assert_false(prober_is_active(NULL));
	assert_false(figures_of(NULL, PROBER_GUEST, 0).configured);
	probes_free(probes);
}

static void test_pace(void **state)
{
	struct probes *probes = open_probes();
	struct prober *prober = add(probes, &all_targets);
	struct prober_figures f;
	uint64_t now_ns;

	(void)state;
	prober_set_active(prober, true, START);
	assert_true(probes_deadline_ns(probes) == START);
	/* No target answers: each address gets one ARP broadcast per interval, no other frames. */
	for (now_ns = START; now_ns <= START + 240 * MS; now_ns += MS)
		probes_tick(probes, now_ns);
	assert_int_equal(wire.n, 13 * 5);
	assert_int_equal(count_frames(HOST0, -1), 13);
	assert_int_equal(count_frames(GUEST, -1), 13);
	for (size_t i = 0; i < wire.n; i++) {
		static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};

		assert_memory_equal(wire.frames[i], broadcast, 6);
	}
	f = figures_of(prober, PROBER_HOST, 0);
	assert_true(f.configured);
	assert_false(f.has_mac);
	assert_int_equal(f.by[PROBER_ARP].round_sent, 13);
	assert_int_equal(f.all.answered, 0);
	assert_true(f.all.first_sent_ns == START);
	assert_true(f.all.last_sent_ns == START + 240 * MS);
	assert_true(f.all.last_answer_ns == 0);

	/* After a stall, each address gets one probe; missed probes are not sent later. */
	wire.n = 0;
	probes_tick(probes, START + 900 * MS);
	assert_int_equal(wire.n, 5);
	assert_true(probes_deadline_ns(probes) == START + 920 * MS);

	/* The round ends: no more frames are sent, and the figures stay. Ending the round twice
	 * does no harm. */
	prober_set_active(prober, false, START + 901 * MS);
	prober_set_active(prober, false, START + 901 * MS);
	wire.n = 0;
	for (now_ns = START + 901 * MS; now_ns < START + 1500 * MS; now_ns += MS)
		probes_tick(probes, now_ns);
	assert_int_equal(wire.n, 0);
	assert_int_equal(figures_of(prober, PROBER_HOST, 0).by[PROBER_ARP].sent, 14);

	/* A new round counts from zero. Starting a round that is active does not start another. */
	prober_set_active(prober, true, START + 2000 * MS);
	probes_tick(probes, START + 2000 * MS);
	prober_set_active(prober, true, START + 2010 * MS);
	f = figures_of(prober, PROBER_HOST, 0);
	assert_int_equal(f.by[PROBER_ARP].round_sent, 1);
	assert_int_equal(f.by[PROBER_ARP].sent, 15);
	assert_int_equal(f.all.unanswered, 1);
	assert_true(f.all.first_sent_ns == START + 2000 * MS);
	probes_free(probes);
}

static void test_answers(void **state)
{
	struct probes *probes = open_probes();
	struct prober *prober = add(probes, &all_targets);
	struct probes_counters counters;
	struct prober_figures f;
	uint64_t now_ns = START;

	(void)state;
	prober_set_active(prober, true, now_ns);
	probes_tick(probes, now_ns);
	answer_all(probes, 0, 0x12, now_ns + MS); /* all MACs are known now */
	now_ns += INTERVAL;
	probes_tick(probes, now_ns);
	/* Each host gets an ARP and an echo request; the guest also gets a SYN to each port. No
	 * frame is broadcast. */
	assert_int_equal(wire.n, 4 * 2 + 4);
	assert_int_equal(count_frames(HOST1, 1), 1);
	assert_int_equal(count_frames(BACKUP1, 1), 1);
	assert_int_equal(count_frames(GUEST, 1), 1);
	assert_int_equal(count_frames(GUEST, 6), 2);
	for (size_t i = 0; i < wire.n; i++)
		assert_memory_equal(wire.frames[i], mac_of(peer_target(wire.frames[i])), 6);

	answer_all(probes, 0, 0x12, now_ns + 2 * MS);
	f = figures_of(prober, PROBER_HOST, 1);
	assert_int_equal(f.by[PROBER_ARP].answered, 2);
	assert_int_equal(f.by[PROBER_ICMP].answered, 1);
	assert_true(f.all.last_answer_ns == now_ns + 2 * MS);
	f = figures_of(prober, PROBER_GUEST, 0);
	assert_int_equal(f.by[PROBER_TCP].sent, 2);
	assert_int_equal(f.by[PROBER_TCP].answered, 2);
	assert_int_equal(f.refused, 0);
	/* Each SYN-ACK was answered with an RST: the guest keeps no connection. */
	assert_int_equal(count_frames(GUEST, 6), 2);
	for (size_t i = 0; i < wire.n; i++)
		assert_int_equal(wire.frames[i][47], 0x04);

	/* A closed port is an answer too. */
	wire.n = 0;
	now_ns += INTERVAL;
	probes_tick(probes, now_ns);
	answer_all(probes, 0, 0x14, now_ns + MS);
	f = figures_of(prober, PROBER_GUEST, 0);
	assert_int_equal(f.by[PROBER_TCP].answered, 4);
	assert_int_equal(f.refused, 2);
	assert_int_equal(wire.n, 0);
	probes_get_counters(probes, &counters);
	assert_int_equal(counters.sent, 5 + 12 + 12);
	assert_int_equal(counters.answered, 5 + 12 + 12);
	assert_int_equal(counters.malformed + counters.stray, 0);

	/* One host dies: its echo and ARP probes stay unanswered, and ARP is broadcast again. */
	for (int i = 0; i < 10; i++) {
		wire.n = 0;
		now_ns += INTERVAL;
		probes_tick(probes, now_ns);
		answer_all(probes, HOST0, 0x12, now_ns + MS);
	}
	wire.n = 0;
	probes_tick(probes, now_ns + INTERVAL);
	f = figures_of(prober, PROBER_HOST, 0);
	assert_int_equal(f.by[PROBER_ARP].round_sent - f.by[PROBER_ARP].round_answered, 11);
	assert_int_equal(f.by[PROBER_ICMP].round_sent - f.by[PROBER_ICMP].round_answered, 11);
	assert_int_equal(f.by[PROBER_ARP].unanswered, 11);
	assert_int_equal(f.all.unanswered, 22);
	assert_int_equal(figures_of(prober, PROBER_HOST, 1).all.unanswered, 2);
	for (size_t i = 0; i < wire.n; i++) {
		bool broadcast = wire.frames[i][0] == 255;

		assert_int_equal(broadcast, peer_is_arp(wire.frames[i]) &&
						    peer_target(wire.frames[i]) == HOST0);
	}
	probes_free(probes);
}

/* A guest whose answers are held gets the same SYN again. A new SYN each time would leave it with
 * many half-open connections. */
static void test_one_half_open(void **state)
{
	struct prober_config config = all_targets;
	struct probes *probes = open_probes();
	struct prober *prober;
	uint8_t first[FRAMES_BYTES] = {0};
	size_t n = 0;

	(void)state;
	memcpy(config.guest_mac, mac_guest, 6); /* configured: no ARP answer is needed */
	config.n_guest_ports = 1;
	prober = add(probes, &config);
	prober_set_active(prober, true, START);
	for (int i = 0; i < 20; i++)
		probes_tick(probes, START + (uint64_t)i * INTERVAL);
	for (size_t i = 0; i < wire.n; i++) {
		if (peer_protocol(wire.frames[i]) != 6)
			continue;
		if (n++ == 0)
			memcpy(first, wire.frames[i], sizeof(first));
		assert_memory_equal(wire.frames[i], first, sizeof(first));
	}
	assert_int_equal(n, 20);

	/* At the end of the round, an RST ends the half-open connection. */
	wire.n = 0;
	prober_set_active(prober, false, START + 500 * MS);
	assert_int_equal(wire.n, 1);
	assert_int_equal(wire.frames[0][47], 0x04);
	assert_int_equal(bytes_get_be32(wire.frames[0] + 38), bytes_get_be32(first + 38) + 1);

	/* A new round uses a new port and sequence number. */
	wire.n = 0;
	prober_set_active(prober, true, START + 600 * MS);
	probes_tick(probes, START + 600 * MS);
	assert_int_equal(count_frames(GUEST, 6), 1);
	for (size_t i = 0; i < wire.n; i++)
		assert_memory_not_equal(wire.frames[i], first, sizeof(first));
	probes_free(probes);
}

/* Probing on an operator's request (a "try") ends by itself, and is not part of a later round. */
static void test_try(void **state)
{
	struct probes *probes = open_probes();
	struct prober *prober = add(probes, &all_targets);

	(void)state;
	prober_try(NULL, START, START);
	prober_try(prober, START + 50 * MS, START);
	for (uint64_t now_ns = START; now_ns < START + 200 * MS; now_ns += MS)
		probes_tick(probes, now_ns);
	assert_int_equal(figures_of(prober, PROBER_HOST, 0).all.sent, 3);
	assert_false(probes_active(probes));

	/* A suspicion during a try starts a round, which counts from zero. The end of the round
	 * does not end the try. */
	prober_try(prober, START + 500 * MS, START + 300 * MS);
	probes_tick(probes, START + 300 * MS);
	prober_set_active(prober, true, START + 310 * MS);
	assert_int_equal(figures_of(prober, PROBER_HOST, 0).all.round_sent, 0);
	probes_tick(probes, START + 310 * MS);
	prober_set_active(prober, false, START + 320 * MS);
	assert_true(prober_is_active(prober));
	prober_set_active(prober, true, START + 400 * MS);
	for (uint64_t now_ns = START + 400 * MS; now_ns <= START + 600 * MS; now_ns += MS)
		probes_tick(probes, now_ns);
	assert_true(prober_is_active(prober));
	assert_int_equal(figures_of(prober, PROBER_HOST, 0).all.round_sent, 11);
	prober_set_active(prober, false, START + 601 * MS);
	assert_false(probes_active(probes));
	assert_true(probes_deadline_ns(probes) == UINT64_MAX);
	probes_free(probes);
}

/* Two VMs are on the same hosts. Both VMs' probers learn a MAC from one ARP reply. But an echo
 * reply counts only for the VM whose prober sent the request. */
static void test_shared_hosts(void **state)
{
	struct probes *probes = open_probes();
	struct prober *one = add(probes, &all_targets), *two = add(probes, &all_targets);

	(void)state;
	prober_set_active(one, true, START);
	probes_tick(probes, START);
	answer_all(probes, 0, 0x12, START + MS);
	prober_set_active(two, true, START + 2 * MS);
	assert_true(probes_deadline_ns(probes) == START + 2 * MS);
	probes_tick(probes, START + 2 * MS);
	answer_all(probes, 0, 0x12, START + 3 * MS);
	probes_tick(probes, START + INTERVAL);
	answer_all(probes, 0, 0x12, START + INTERVAL);
	assert_int_equal(figures_of(one, PROBER_HOST, 0).by[PROBER_ICMP].answered, 1);
	assert_int_equal(figures_of(two, PROBER_HOST, 0).by[PROBER_ICMP].answered, 0);
	probes_tick(probes, START + INTERVAL + 2 * MS);
	answer_all(probes, 0, 0x12, START + INTERVAL + 2 * MS);
	assert_int_equal(figures_of(two, PROBER_HOST, 0).by[PROBER_ICMP].answered, 1);
	prober_set_active(one, false, START + INTERVAL + 2 * MS);
	assert_true(probes_active(probes));
	prober_set_active(two, false, START + INTERVAL + 2 * MS);
	assert_false(probes_active(probes));
	probes_free(probes);
}

/* A probe that cannot be sent does not count. A full queue here must not make a host look dead. */
static void test_no_room(void **state)
{
	struct probes *probes = open_probes();
	struct prober *prober = add(probes, &all_targets);
	struct prober_config wrong = all_targets;
	struct probes_counters counters;

	(void)state;
	wire.refuse = true;
	prober_set_active(prober, true, START);
	probes_tick(probes, START);
	probes_get_counters(probes, &counters);
	assert_int_equal(counters.lost, 5);
	assert_int_equal(counters.sent, 0);
	assert_int_equal(figures_of(prober, PROBER_HOST, 0).all.sent, 0);
	assert_true(figures_of(prober, PROBER_HOST, 0).all.first_sent_ns == 0);
	wire.refuse = false;
	wire.n = 0;
	probes_tick(probes, START + INTERVAL);
	answer_all(probes, 0, 0x12, START + INTERVAL);
	wire.refuse = true;
	probes_tick(probes, START + 2 * INTERVAL);
	wire.refuse = false;
	wire.n = 0;
	probes_tick(probes, START + 3 * INTERVAL);
	answer_all(probes, 0, 0x12, START + 3 * INTERVAL);
	for (unsigned int i = PROBER_HOST; i <= PROBER_GUEST; i++) {
		struct prober_figures f = figures_of(prober, i, 0);

		assert_int_equal(f.all.sent, f.all.answered);
		assert_true(f.by[PROBER_ICMP].sent == 1);
	}
	wrong.interval_ns = 0;
	assert_int_equal(probes_add(probes, &wrong, &prober), -EINVAL);
	wrong = all_targets;
	wrong.n_guest_ports = PROBER_PORTS_MAX + 1;
	assert_int_equal(probes_add(probes, &wrong, &prober), -EINVAL);
	for (int i = 1; i < PROBES_MAX; i++)
		(void)add(probes, &all_targets);
	assert_int_equal(probes_add(probes, &all_targets, &prober), -ENOSPC);
	probes_free(probes);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_without_doubt), cmocka_unit_test(test_pace),
		cmocka_unit_test(test_answers),		     cmocka_unit_test(test_one_half_open),
		cmocka_unit_test(test_shared_hosts),	     cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
