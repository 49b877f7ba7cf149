/* Tests the detector on a virtual clock, in a small model world. The world has a host with a
 * kernel, an agent and a guest. It also has two networks, and clients. A fault removes parts of the
 * world for a time. The world then gives the detector only the evidence that is left. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "liveness/detector.h"

#define MS UINT64_C(1000000)

/* Parts of the world that a fault can remove. */
#define KERNEL	  0x001u /* the host is off */
#define AGENT	  0x002u /* the agent is stopped; its connections stay open */
#define GUEST	  0x004u /* QEMU hangs or is paused */
#define PORT	  0x008u /* QEMU's process has ended, so the guest's port is gone */
#define BACKUP	  0x010u /* the primary's link to the backup network is cut */
#define CLIENT	  0x020u /* the primary's link to the client network is cut */
#define SEAL	  0x040u /* no epoch is made: a seal takes long, or the encoder is stuck */
#define CLOSED	  0x080u /* the kernel closed the control connection; the agent may be back */
#define REFERENCE 0x100u /* no host on the client network answers: the gateway's own port is dead */
#define STANDBY	  0x200u /* the standby's stream is down */
#define CLIENTS	  0x400u /* no client uses the guest */
#define COPY      0x800u /* no epoch is made: the agent reports that the disks are copied again */
#define STUCK	  0x1000u /* with COPY: the copy of the disks makes no progress */
#define DEAD_HOST (KERNEL | AGENT | GUEST | PORT)

struct world {
	struct detector d;
	struct detector_config config;
	struct detector_evidence e;
	uint64_t now_ns, beat_at_ns, epoch_at_ns, probe_at_ns, client_at_ns, copy_at_ns;
	uint64_t random;
	uint64_t jitter_ms; /* beats can be late by up to this time */
	bool has_probes;
	uint64_t lost_percent; /* share of non-TCP frames that the backup network loses */
	unsigned n_suspect, n_degraded;
	uint64_t failed_ns; /* when FAILED was entered; 0: never */
};

static uint64_t random_below(struct world *w, uint64_t n)
{
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (w->random >> 33) % n;
}

static void world_init(struct world *w, bool has_probes, uint64_t seed)
{
	*w = (struct world){
		.config = {.suspect_min_ns = 80 * MS, .progress_min_ns = 300 * MS,
			   .confirm_ns = 120 * MS, .beat_timeout_ns = 500 * MS,
			   .patience_ns = 3000 * MS, .restart_grace_ns = 3000 * MS},
		.now_ns = 5000 * MS, .random = seed, .has_probes = has_probes, .jitter_ms = 5};
	detector_init(&w->d, true, w->now_ns);
}

static bool due(struct world *w, uint64_t *at_ns, uint64_t every_ms)
{
	if (w->now_ns < *at_ns)
		return false;
	*at_ns = w->now_ns + every_ms * MS;
	return true;
}

/* Send a frame to the guest's port; it arrives if the port exists and the path to it works. */
static void to_guest(struct world *w, unsigned missing)
{
	if (missing & (KERNEL | CLIENT | PORT))
		return;
	w->e.to_guest++;
	w->e.from_guest += !(missing & GUEST);
	w->e.witness += !(missing & BACKUP) && random_below(w, 100) >= w->lost_percent;
}

static void probe(struct world *w, unsigned missing)
{
	w->e.host_client.sent++;
	w->e.host_backup.sent++;
	w->e.guest.sent++;
	w->e.reference.sent++;
	w->e.host_client.answered += !(missing & (KERNEL | CLIENT | REFERENCE));
	w->e.host_backup.answered += !(missing & (KERNEL | BACKUP)) &&
				     random_below(w, 100) >= w->lost_percent;
	w->e.reference.answered += !(missing & REFERENCE);
	if (!(missing & REFERENCE))
		to_guest(w, missing);
}

static void step(struct world *w, unsigned missing)
{
	bool agent = !(missing & (KERNEL | AGENT | BACKUP));

	w->now_ns += 5 * MS;
	if (w->d.is_open == !!(missing & CLOSED))
		detector_connection(&w->d, !(missing & CLOSED), w->now_ns);
	if (due(w, &w->beat_at_ns, 50 + random_below(w, w->jitter_ms + 1)) && agent)
		detector_saw(&w->d, DETECTOR_BEAT, w->now_ns);
	if (due(w, &w->epoch_at_ns, 20 + random_below(w, 80)) && agent &&
	    !(missing & (GUEST | SEAL | STANDBY | COPY)))
		detector_saw(&w->d, DETECTOR_PROGRESS, w->now_ns);
	if (!(missing & CLIENTS) && due(w, &w->client_at_ns, 10))
		to_guest(w, missing);
	if (w->has_probes && detector_asks(&w->d) && due(w, &w->probe_at_ns, 20))
		probe(w, missing);
	w->e.has_client_path = w->has_probes;
	w->e.expects_progress = !(missing & STANDBY);
	if (agent)
		w->e.is_copying = missing & COPY;
	if (due(w, &w->copy_at_ns, 250) && agent && w->e.is_copying)
		w->e.copied += !(missing & STUCK);
	if (!detector_tick(&w->d, &w->config, &w->e, w->now_ns))
		return;
	w->n_suspect += w->d.state == DETECTOR_SUSPECT;
	w->n_degraded += w->d.state == DETECTOR_DEGRADED;
	if (w->d.state == DETECTOR_FAILED && !w->failed_ns)
		w->failed_ns = w->now_ns;
}

static void run(struct world *w, uint64_t ms, unsigned missing)
{
	for (uint64_t i = 0; i < ms && !w->failed_ns; i += 5)
		step(w, missing);
}

/* Faults that pass: none may cause a promotion, and afterwards the detector must be back in its
 * normal state. */
static const struct {
	const char *name;
	unsigned missing;
	uint64_t ms;
	/* DETECTOR_DEGRADED: the detector must enter DEGRADED. DETECTOR_SUSPECT: it may or may not
	 * enter DEGRADED. DETECTOR_PROTECTED: it must not enter DEGRADED. */
	enum detector_state worst;
} disturbances[] = {
	{"agent stopped for 100 ms", AGENT, 100, DETECTOR_SUSPECT},
	{"agent stopped for 300 ms", AGENT, 300, DETECTOR_DEGRADED},
	{"agent stopped for 2500 ms", AGENT, 2500, DETECTOR_DEGRADED},
	{"agent stopped, no clients", AGENT | CLIENTS, 2500, DETECTOR_DEGRADED},
	{"agent died and is back", AGENT | CLOSED, 1500, DETECTOR_DEGRADED},
	{"connection reset", CLOSED, 150, DETECTOR_DEGRADED},
	{"backup link cut for 150 ms", BACKUP, 150, DETECTOR_DEGRADED},
	{"backup link cut for 2000 ms", BACKUP, 2000, DETECTOR_DEGRADED},
	{"backup link cut, no clients", BACKUP | CLIENTS, 2000, DETECTOR_DEGRADED},
	{"client link cut for 5 s", CLIENT, 5000, DETECTOR_PROTECTED},
	{"the gateway's client port dead for 5 s", REFERENCE, 5000, DETECTOR_PROTECTED},
	{"a seal of 2 s", SEAL, 2000, DETECTOR_DEGRADED},
	{"the guest paused for 2500 ms", GUEST, 2500, DETECTOR_DEGRADED},
	{"no standby for 10 s", STANDBY, 10000, DETECTOR_PROTECTED},
	{"no clients for 10 s", CLIENTS, 10000, DETECTOR_PROTECTED},
	{"disks copied again for 10 s", COPY, 10000, DETECTOR_PROTECTED},
	{"disks copied, agent stopped for 300 ms", COPY | AGENT, 300, DETECTOR_DEGRADED},
};

static void disturbances_promote_nobody(void **state)
{
	struct world w;

	(void)state;
	for (size_t i = 0; i < sizeof(disturbances) / sizeof(disturbances[0]); i++) {
		for (uint64_t seed = 0; seed < 50; seed++) {
			world_init(&w, true, seed);
			run(&w, 2000 + seed * 7, 0);
			assert_int_equal(w.n_suspect, 0);
			run(&w, disturbances[i].ms, disturbances[i].missing);
			run(&w, 1000, 0);
			if (w.failed_ns || w.d.state != DETECTOR_PROTECTED)
				fail_msg("%s, seed %" PRIu64 ": %s", disturbances[i].name, seed,
					 detector_state_name(w.d.state));
			if (disturbances[i].worst == DETECTOR_PROTECTED && w.n_degraded)
				fail_msg("%s: DEGRADED without need", disturbances[i].name);
			if (disturbances[i].worst == DETECTOR_DEGRADED && !w.n_degraded)
				fail_msg("%s: never DEGRADED", disturbances[i].name);
		}
	}
}

/* Faults that stay: FAILED must be reached between min_ms and max_ms after a fault begins. */
static const struct {
	const char *name;
	unsigned missing;
	uint64_t min_ms, max_ms;
	enum detector_reason reason;
} deaths[] = {
	{"host off", DEAD_HOST, 100, 250, DETECTOR_ALL_SILENT},
	{"host off, no clients", DEAD_HOST | CLIENTS, 100, 250, DETECTOR_ALL_SILENT},
	{"both links cut", BACKUP | CLIENT, 100, 250, DETECTOR_ALL_SILENT},
	{"agent and QEMU killed", AGENT | GUEST | PORT | CLOSED, 100, 450, DETECTOR_GUEST_GONE},
	{"agent stopped, then QEMU killed", AGENT | GUEST | PORT, 100, 550, DETECTOR_GUEST_GONE},
	{"QEMU hung", GUEST, 3000, 3600, DETECTOR_OUT_OF_PATIENCE},
	{"agent dead for good", AGENT | CLOSED, 3000, 3200, DETECTOR_OUT_OF_PATIENCE},
	{"a copy that stands still", COPY | STUCK, 4200, 4600, DETECTOR_OUT_OF_PATIENCE},
	{"backup link cut for good", BACKUP, 3000, 3300, DETECTOR_OUT_OF_PATIENCE},
	{"host off while the client network is blind", DEAD_HOST | REFERENCE, 450, 620,
	 DETECTOR_ALL_SILENT},
};

static void deaths_are_seen(void **state)
{
	struct world w;

	(void)state;
	for (size_t i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
		for (uint64_t seed = 0; seed < 50; seed++) {
			uint64_t died_ns, took_ms;

			world_init(&w, true, seed);
			run(&w, 2000 + seed * 7, 0);
			died_ns = w.now_ns;
			run(&w, 10000, deaths[i].missing);
			if (!w.failed_ns)
				fail_msg("%s, seed %" PRIu64 ": missed", deaths[i].name, seed);
			took_ms = (w.failed_ns - died_ns) / MS;
			if (took_ms < deaths[i].min_ms || took_ms > deaths[i].max_ms ||
			    w.d.reason != deaths[i].reason)
				fail_msg("%s, seed %" PRIu64 ": after %" PRIu64 " ms, reason %d",
					 deaths[i].name, seed, took_ms,
					 w.d.reason);
		}
	}
}

/* Without probes, the detector decides only after a silence of beat_timeout. */
static void without_probes_beats_decide(void **state)
{
	struct world w;
	uint64_t died_ns;

	(void)state;
	world_init(&w, false, 1);
	run(&w, 2000, CLIENTS);
	run(&w, 450, DEAD_HOST | CLIENTS);
	run(&w, 500, CLIENTS);
	assert_int_equal(w.d.state, DETECTOR_PROTECTED);
	died_ns = w.now_ns;
	run(&w, 5000, DEAD_HOST | CLIENTS);
	assert_in_range((w.failed_ns - died_ns) / MS, 440, 560);
}

/* The detector learns how late beats are. It rarely suspects a host whose beats are often late. */
static void suspicion_learns(void **state)
{
	struct world calm, busy;

	(void)state;
	world_init(&calm, true, 1);
	world_init(&busy, true, 2);
	busy.jitter_ms = 150;
	run(&calm, 20000, 0);
	run(&busy, 20000, 0);
	assert_int_equal(calm.n_suspect, 0);
	assert_int_equal(busy.failed_ns, 0);
	busy.n_suspect = 0;
	run(&busy, 60000, 0);
	assert_true(busy.n_suspect <= 2);
	/* The death of a host whose beats are often late is still noticed in bounded time. */
	calm.now_ns = busy.now_ns;
	run(&busy, 3000, DEAD_HOST);
	assert_true(busy.failed_ns && busy.failed_ns - calm.now_ns <= 650 * MS);
}

/* The detector concludes nothing from a time in which its own process did not run. */
static void own_stall_is_forgiven(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		world_init(&w, true, seed);
		for (int i = 0; i < 50; i++) {
			run(&w, 200 + random_below(&w, 50), 0);
			w.now_ns += (50 + random_below(&w, 5000)) * MS;
		}
		run(&w, 200, 0);
		assert_int_equal(w.failed_ns, 0);
		assert_int_equal(w.d.state, DETECTOR_PROTECTED);
	}
}

static void time_going_back_is_no_time(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, true, 3);
	run(&w, 1000, 0);
	w.now_ns -= 700 * MS;
	w.beat_at_ns = w.epoch_at_ns = w.client_at_ns = 0;
	run(&w, 2000, 0);
	assert_int_equal(w.failed_ns, 0);
	assert_int_equal(w.d.state, DETECTOR_PROTECTED);
}

/* The detector waits longer for a degraded host only while that host is alive. After the host has
 * died, the detector waits only as long as for any other dead host. */
static void a_degraded_host_may_die(void **state)
{
	struct world w;
	uint64_t died_ns;

	(void)state;
	world_init(&w, true, 4);
	run(&w, 2000, 0);
	run(&w, 1000, AGENT);
	assert_int_equal(w.d.state, DETECTOR_DEGRADED);
	died_ns = w.now_ns;
	run(&w, 5000, DEAD_HOST);
	assert_int_equal(w.d.reason, DETECTOR_ALL_SILENT);
	assert_in_range((w.failed_ns - died_ns) / MS, 80, 200);
}

/* A host is FAILED but is not replaced, for example because there is no standby. When the host is
 * heard again, the detector leaves FAILED. */
static void failed_is_taken_back(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, true, 5);
	run(&w, 2000, 0);
	run(&w, 2000, BACKUP | CLIENT);
	assert_int_equal(w.d.state, DETECTOR_FAILED);
	w.failed_ns = 0;
	run(&w, 100, BACKUP);
	assert_int_equal(w.d.state, DETECTOR_DEGRADED);
	run(&w, 600, 0);
	assert_int_equal(w.d.state, DETECTOR_PROTECTED);
}

/* When 60 % of the frames are lost, TCP stalls. Missing witness datagrams then prove nothing. */
static void a_lossy_network_loses_witnesses(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		world_init(&w, true, seed);
		run(&w, 2000, 0);
		w.lost_percent = 60;
		run(&w, 2000, AGENT | (seed & 1 ? CLIENTS : 0));
		w.lost_percent = 0;
		run(&w, 600, 0);
		if (w.failed_ns)
			fail_msg("seed %" PRIu64 ": %d", seed, w.d.reason);
	}
}

/* An operator who pauses a guest wants it paused, so the standby is not promoted. */
static void a_paused_guest_is_waited_for(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, true, 6);
	run(&w, 2000, 0);
	w.e.is_paused = true;
	run(&w, 60000, GUEST);
	assert_int_equal(w.d.state, DETECTOR_DEGRADED);
	w.e.is_paused = false;
	run(&w, 1000, 0);
	assert_int_equal(w.d.state, DETECTOR_PROTECTED);
}

/* When a silent host is heard again, the detector's patience starts anew. Here the link returns
 * after 2 s, but TCP only after 4 s. If a host keeps coming and going, patience still runs out. */
static void what_comes_back_is_waited_for(void **state)
{
	struct world w;
	uint64_t start_ns;

	(void)state;
	world_init(&w, true, 9);
	run(&w, 2000, 0);
	run(&w, 2000, BACKUP);
	/* witness datagrams and answers to probes arrive, but nothing over TCP */
	run(&w, 2000, AGENT);
	assert_int_equal(w.d.state, DETECTOR_DEGRADED);
	run(&w, 500, 0);
	assert_int_equal(w.d.state, DETECTOR_PROTECTED);
	start_ns = w.now_ns;
	for (int i = 0; i < 100 && !w.failed_ns; i++) {
		run(&w, 400, BACKUP);
		run(&w, 100, AGENT);
	}
	assert_in_range((w.failed_ns - start_ns) / MS, 9000, 9300);
}

static void a_gateway_that_starts_waits(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, true, 7);
	detector_init(&w.d, false, w.now_ns);
	run(&w, 2900, DEAD_HOST | CLOSED);
	assert_int_equal(w.d.state, DETECTOR_PROTECTED);
	run(&w, 400, DEAD_HOST | CLOSED);
	assert_int_equal(w.d.reason, DETECTOR_ALL_SILENT);
}

static void evidence_in_words(void **state)
{
	char text[DETECTOR_TEXT_MAX], small[8];
	struct world w;

	(void)state;
	world_init(&w, true, 8);
	run(&w, 2000, 0);
	run(&w, 400, AGENT);
	(void)detector_describe(&w.d, text, sizeof(text));
	assert_non_null(strstr(text, "beat "));
	assert_non_null(strstr(text, "witness "));
	assert_non_null(strstr(text, "guest answered "));
	assert_non_null(strstr(text, "host (client network) answered "));
	(void)detector_describe(&w.d, small, sizeof(small));
	assert_int_equal(strlen(small), sizeof(small) - 1);
	run(&w, 2000, DEAD_HOST);
	(void)detector_describe(&w.d, text, sizeof(text));
	assert_non_null(strstr(text, "no beat "));
	assert_string_equal(detector_state_name(DETECTOR_FAILED), "FAILED");
	assert_string_equal(detector_state_name(99), "UNKNOWN");
}

/* A host does not answer on the client network, but a beat or an answer on the backup network shows
 * that it lives. So its path through the client network counts as broken. While this path is
 * broken, the host becomes FAILED only after a silence of beat_timeout. After an answer on the
 * client network, a silence of confirm_ns is enough again. */
static void a_broken_way_is_no_evidence(void **state)
{
	char text[DETECTOR_TEXT_MAX];
	struct world w;

	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		world_init(&w, true, seed);
		run(&w, 2000, 0);
		run(&w, 400, AGENT | CLIENT); /* suspected; the backup network answers */
		assert_true(w.d.is_client_broken);
		run(&w, 500, CLIENT);
		assert_int_equal(w.d.state, DETECTOR_PROTECTED);
		run(&w, 400, BACKUP | CLIENT);
		assert_int_equal(w.failed_ns, 0);
		run(&w, 500, CLIENT);
		assert_int_equal(w.d.state, DETECTOR_PROTECTED);
		run(&w, 700, DEAD_HOST);
		assert_int_equal(w.d.reason, DETECTOR_ALL_SILENT);
		(void)detector_describe(&w.d, text, sizeof(text));
		assert_non_null(strstr(text, "is broken"));

		world_init(&w, true, seed);
		run(&w, 2000, 0);
		run(&w, 400, AGENT | CLIENT);
		run(&w, 400, AGENT);
		assert_false(w.d.is_client_broken);
		run(&w, 500, 0);
		assert_int_equal(w.d.state, DETECTOR_PROTECTED);
		run(&w, 350, DEAD_HOST);
		assert_int_equal(w.d.reason, DETECTOR_ALL_SILENT);

		/* Unanswered probes from before the protection say nothing about the path. */
		world_init(&w, true, seed);
		w.e.host_client.sent = 40;
		run(&w, 2000, 0);
		assert_false(w.d.is_client_broken);
		run(&w, 350, DEAD_HOST);
		assert_int_equal(w.d.reason, DETECTOR_ALL_SILENT);
	}
}

/* Faults that pass come in random order, each shorter than the detector's patience, with time to
 * recover between them. None of them may make the detector enter FAILED. */
static void random_disturbances(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		world_init(&w, true, seed + 1000);
		for (int i = 0; i < 100; i++) {
			size_t which =
				random_below(&w, sizeof(disturbances) / sizeof(disturbances[0]));
			uint64_t ms = disturbances[which].ms;

			run(&w, 1 + random_below(&w, ms), disturbances[which].missing);
			run(&w, 600 + random_below(&w, 1000), 0);
			if (w.failed_ns)
				fail_msg("seed %" PRIu64 ", fault %d: %s", seed, i,
					 disturbances[which].name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disturbances_promote_nobody),
		cmocka_unit_test(deaths_are_seen),
		cmocka_unit_test(without_probes_beats_decide),
		cmocka_unit_test(suspicion_learns),
		cmocka_unit_test(own_stall_is_forgiven),
		cmocka_unit_test(time_going_back_is_no_time),
		cmocka_unit_test(a_degraded_host_may_die),
		cmocka_unit_test(failed_is_taken_back),
		cmocka_unit_test(a_lossy_network_loses_witnesses),
		cmocka_unit_test(a_paused_guest_is_waited_for),
		cmocka_unit_test(what_comes_back_is_waited_for),
		cmocka_unit_test(a_gateway_that_starts_waits),
		cmocka_unit_test(a_broken_way_is_no_evidence),
		cmocka_unit_test(evidence_in_words),
		cmocka_unit_test(random_disturbances),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
