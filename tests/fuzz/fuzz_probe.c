/* fuzz_probe.c - feeds any frames from the client and backup networks to the probes while a VM is
 * probed.
 *
 * The input is a sequence of frames. In front of each frame are a byte of flags and a byte with the
 * frame's size. The flags:
 *	0x80	the frame comes from the backup network, not from the client network
 *	0x40	correct the frame's checksums first
 *	0x20    replace the frame by the prober's own last frame, source and destination swapped
 *	other bits	the number of milliseconds that pass before the frame comes
 *
 * The target checks:
 * - There is no crash.
 * - Frames are sent only to configured addresses.
 * - No more answers are counted than probes were sent.
 * - The number of replies stays within its limit.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "probe/probes.h"
#include "probe_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GUEST	 0xc612000au
#define HOST	 0xc612000bu
#define BACKUP	 0xc6120101u
#define INTERVAL (20 * CLOCK_NS_PER_MS)

static const struct frames_end us[PROBER_N_NETS] = {
	{{2, 0, 0, 0, 0, 1}, 0xc6120103u},
	{{2, 0, 0, 0, 0, 2}, 0xc6120003u},
};
static uint8_t last[FRAMES_BYTES];

static void must(bool holds)
{
	if (!holds)
		abort();
}

static int take(void *arg, const void *frame, size_t size)
{
	uint32_t ip;

	(void)arg;
	must(size == FRAMES_BYTES);
	memcpy(last, frame, size);
	ip = peer_target(last);
	must(ip == GUEST || ip == HOST || ip == BACKUP);
	return 0;
}

/* Returns small random numbers: a fuzzer can guess the cookies made from them. */
static uint64_t small_random(void *arg)
{
	(void)arg;
	return 0x0000000100000001;
}

static void mend(uint8_t *frame, size_t size)
{
	size_t total;

	if (size < 14 + 20 + 20 || !peer_protocol(frame))
		return;
	total = bytes_get_be16(frame + 16);
	if (total >= 40 && total <= size - 14)
		peer_seal(frame);
}

/* Swap source and destination of the last frame sent, which makes it almost an answer. */
static void turn_round(uint8_t *frame, size_t size)
{
	size_t at = peer_is_arp(last) ? 28 : 26, gap = at == 28 ? 10 : 4;

	if (size < FRAMES_BYTES)
		return;
	for (size_t i = 0; i < 14; i++)
		frame[i] = last[i < 6 ? i + 6 : i < 12 ? i - 6 : i];
	memcpy(frame + at, last + at + gap, 4);
	memcpy(frame + at + gap, last + at, 4);
}

static void check(const struct probes *probes, const struct prober *prober, uint64_t n_rounds)
{
	struct probes_counters counters;
	struct prober_figures f;

	probes_get_counters(probes, &counters);
	must(counters.answered <= counters.sent);
	must(counters.replies <= n_rounds * PROBER_REPLIES_MAX);
	for (int kind = PROBER_HOST; kind <= PROBER_GUEST; kind++) {
		prober_get(prober, (enum prober_kind)kind, 0, &f);
		for (size_t m = 0; m < PROBER_N_METHODS; m++)
			must(f.by[m].round_answered <= f.by[m].round_sent);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct prober_config config = {
		.host = {HOST}, .host_backup = {BACKUP}, .guest = GUEST,
		.guest_ports = {80, 443}, .n_guest_ports = 2, .interval_ns = INTERVAL,
	};
	uint64_t now_ns = CLOCK_NS_PER_S, n_ticks = 1;
	struct probes *probes;
	struct prober *prober;

	must(probes_new(small_random, NULL, &probes) == 0);
	must(probes_add(probes, &config, &prober) == 0);
	for (int net = 0; net < PROBER_N_NETS; net++)
		probes_open_net(probes, (enum prober_net)net, &us[net], net == PROBER_NET_CLIENT,
				take, NULL);
	prober_set_active(prober, true, now_ns);
	probes_tick(probes, now_ns);
	while (size >= 2) {
		uint8_t what = data[0];
		size_t n = data[1] < size - 2 ? data[1] : size - 2;
		uint8_t *frame = malloc(n ? n : 1);

		if (!frame)
			break;
		memcpy(frame, data + 2, n);
		data += 2 + n;
		size -= 2 + n;
		if (what & 0x20)
			turn_round(frame, n);
		if (what & 0x40)
			mend(frame, n);
		now_ns += (what & 0x1f) * CLOCK_NS_PER_MS;
		n_ticks += now_ns >= probes_deadline_ns(probes);
		probes_tick(probes, now_ns);
		(void)probes_input(probes, what & 0x80 ? PROBER_NET_BACKUP : PROBER_NET_CLIENT,
				   frame, n, now_ns);
		free(frame);
		check(probes, prober, n_ticks);
	}
	prober_set_active(prober, false, now_ns);
	probes_free(probes);
	return 0;
}
