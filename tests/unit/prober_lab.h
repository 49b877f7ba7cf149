/* prober_lab.h - the beginning of the tests of the prober: two networks on a virtual clock, what is
 * probed there, and the frames that were sent. */
#ifndef TESTS_PROBER_LAB_H
#define TESTS_PROBER_LAB_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

static inline uint64_t next_random(void *arg)
{
	(void)arg;
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return random_state ^ random_state >> 29;
}

static inline int take(enum prober_net net, const void *frame, size_t size)
{
	assert_int_equal(size, FRAMES_BYTES);
	assert_true(wire.n < SENT_MAX);
	memcpy(wire.frames[wire.n], frame, size);
	wire.net[wire.n++] = net;
	return wire.refuse ? -ENOBUFS : 0;
}

static inline int take_backup(void *arg, const void *frame, size_t size)
{
	(void)arg;
	return take(PROBER_NET_BACKUP, frame, size);
}

static inline int take_client(void *arg, const void *frame, size_t size)
{
	(void)arg;
	return take(PROBER_NET_CLIENT, frame, size);
}

static inline struct probes *open_probes(void)
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

static inline struct prober *add(struct probes *probes, const struct prober_config *config)
{
	struct prober *prober = NULL;

	assert_int_equal(probes_add(probes, config, &prober), 0);
	return prober;
}

static inline void give(struct probes *probes, enum prober_net net, const uint8_t *frame,
			uint64_t now_ns)
{
	(void)probes_input(probes, net, frame, FRAMES_BYTES, now_ns);
}

static inline const uint8_t *mac_of(uint32_t ip)
{
	return ip == GUEST ? mac_guest : mac_host;
}

/* Answer every frame sent since the last check, except frames to @dead. @tcp_flags are the flags of
 * the answer to a SYN; 0: do not answer SYNs. */
static inline void answer_all(struct probes *probes, uint32_t dead, uint8_t tcp_flags,
			      uint64_t now_ns)
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

static inline size_t count_frames(uint32_t ip, int protocol) /* @protocol -1 counts ARP frames */
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

static inline struct prober_figures figures_of(const struct prober *prober, enum prober_kind kind,
					       unsigned int host)
{
	struct prober_figures figures;

	memset(&figures, 0xee, sizeof(figures));
	prober_get(prober, kind, host, &figures);
	return figures;
}

#endif
