/* Tests the prober on a virtual clock. Tests which addresses it probes, how often, and what it
 * accepts as an answer. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "probe/probes.h"
#include "probe_peer.h"

#define MS	 CLOCK_NS_PER_MS
#define INTERVAL (20 * MS)
#define START	 (1000 * MS)

#define NET_CLIENT 0xc6120000u /* 198.18.0.0 */
#define NET_BACKUP 0xc6120100u
#define GUEST	   (NET_CLIENT + 10)
#define HOST0	   (NET_CLIENT + 11)
#define HOST1	   (NET_CLIENT + 12)
#define BACKUP0	   (NET_BACKUP + 1)
#define BACKUP1	   (NET_BACKUP + 2)

#define SENT_MAX 256

/* All frames that the probers sent since the last check. */
struct wire {
	uint8_t frames[SENT_MAX][FRAMES_BYTES];
	enum prober_net net[SENT_MAX];
	size_t n;
	bool refuse;
};

static struct wire wire;
static uint64_t random_state;
static const uint8_t mac_host[6] = {2, 0, 0, 0, 1, 1}, mac_guest[6] = {0x52, 0x54, 0, 1, 2, 3};
static const struct frames_end us[PROBER_N_NETS] = {
	[PROBER_NET_BACKUP] = {{2, 0, 0, 0, 0, 1}, NET_BACKUP + 3},
	[PROBER_NET_CLIENT] = {{2, 0, 0, 0, 0, 2}, NET_CLIENT + 3},
};

static const struct prober_config all_targets = {
	.host = {HOST0, HOST1},
	.host_backup = {BACKUP0, BACKUP1},
	.guest = GUEST,
	.guest_ports = {80, 443},
	.n_guest_ports = 2,
	.interval_ns = INTERVAL,
};

static uint64_t next_random(void *arg)
{
	(void)arg;
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return random_state ^ random_state >> 29;
}

static int take(enum prober_net net, const void *frame, size_t size)
{
	assert_int_equal(size, FRAMES_BYTES);
	assert_true(wire.n < SENT_MAX);
	memcpy(wire.frames[wire.n], frame, size);
	wire.net[wire.n++] = net;
	return wire.refuse ? -ENOBUFS : 0;
}

static int take_backup(void *arg, const void *frame, size_t size)
{
	(void)arg;
	return take(PROBER_NET_BACKUP, frame, size);
}

static int take_client(void *arg, const void *frame, size_t size)
{
	(void)arg;
	return take(PROBER_NET_CLIENT, frame, size);
}

static struct probes *open_probes(void)
{
	struct probes *probes;

	memset(&wire, 0, sizeof(wire));
	random_state = 42;
	assert_int_equal(probes_new(next_random, NULL, &probes), 0);
	probes_open_net(probes, PROBER_NET_BACKUP, &us[PROBER_NET_BACKUP], false, take_backup,
			NULL);
	probes_open_net(probes, PROBER_NET_CLIENT, &us[PROBER_NET_CLIENT], true, take_client, NULL);
	return probes;
}

static struct prober *add(struct probes *probes, const struct prober_config *config)
{
	struct prober *prober = NULL;

	assert_int_equal(probes_add(probes, config, &prober), 0);
	return prober;
}

static void give(struct probes *probes, enum prober_net net, const uint8_t *frame, uint64_t now_ns)
{
	(void)probes_input(probes, net, frame, FRAMES_BYTES, now_ns);
}

static const uint8_t *mac_of(uint32_t ip)
{
	return ip == GUEST ? mac_guest : mac_host;
}

/* Answer every frame sent since the last check, except frames to @dead. @tcp_flags are the flags of
 * the answer to a SYN; 0: do not answer SYNs. */
static void answer_all(struct probes *probes, uint32_t dead, uint8_t tcp_flags, uint64_t now_ns)
{
	struct wire sent = wire;

	wire.n = 0;
	for (size_t i = 0; i < sent.n; i++) {
		uint32_t ip = peer_target(sent.frames[i]);
		uint8_t answer[FRAMES_BYTES];

		if (ip == dead || (peer_protocol(sent.frames[i]) == 6 && tcp_flags == 0))
			continue;
		peer_answer(sent.frames[i], mac_of(ip), tcp_flags, answer);
		give(probes, sent.net[i], answer, now_ns);
	}
}

static size_t count_frames(uint32_t ip, int protocol) /* @protocol -1 counts ARP frames */
{
	size_t n = 0;

	for (size_t i = 0; i < wire.n; i++) {
		const uint8_t *frame = wire.frames[i];

		if (peer_target(frame) == ip &&
		    (protocol < 0 ? peer_is_arp(frame) : peer_protocol(frame) == protocol))
			n++;
	}
	return n;
}

static struct prober_figures figures_of(const struct prober *prober, enum prober_kind kind,
					unsigned int host)
{
	struct prober_figures figures;

	memset(&figures, 0xee, sizeof(figures));
	prober_get(prober, kind, host, &figures);
	return figures;
}

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
		cmocka_unit_test(test_answers),              cmocka_unit_test(test_one_half_open),
		cmocka_unit_test(test_hostile_answers),      cmocka_unit_test(test_only_configured),
		cmocka_unit_test(test_shared_hosts),	     cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
