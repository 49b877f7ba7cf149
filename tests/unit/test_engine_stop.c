/* test_engine_stop.c - tests how the engine stops the guest when this host may no longer let the
 * guest run. The test plays QEMU's monitor with scripted answers. The last event that QEMU sends
 * decides whether the guest counts as stopped. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "disk/ring_private.h"
#include "epoch/engine_private.h"
#include "monitor_peer.h"

#define EVENT(name) "{\"event\":\"" name "\",\"data\":{},\"timestamp\":{\"seconds\":0}}\r\n"
#define REFUSED	    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\r\n"

/* Stands for the guest's clock. It belongs to no process, so it can be neither read nor written. */
static uint64_t no_clock[512];
static struct engine engine = {.config = {.vm = "web1"}};
/* Answers to the commands after qmp_capabilities, in order. Each is sent in one write. */
static const char *answers[4];
static pthread_t monitor;
static char path[64];
/* A ring of the guest. was_sealing: true if the ring already knew that the guest was being stopped
 * when the monitor got its last command. */
static struct disk_ring *ring;
static bool was_sealing;

static void *play(void *arg)
{
	int listener = *(int *)arg, fd = accept(listener, NULL, NULL);
	char command[256];
	bool is_well = monitor_say(fd, MONITOR_GREETING) &&
		       monitor_hear(fd, command, sizeof(command)) && monitor_say(fd, MONITOR_OK);

	for (size_t i = 0; is_well && i < ARRAY_SIZE(answers) && answers[i]; i++) {
		is_well = monitor_hear(fd, command, sizeof(command));
		was_sealing = ring && atomic_load(&ring->header->is_sealing);
		is_well = is_well && monitor_say(fd, answers[i]);
	}
	while (is_well && monitor_hear(fd, command, sizeof(command)))
		continue; /* later commands get no answer */
	close(fd);
	close(listener);
	return NULL;
}

/* Set up an engine that another host has outvoted. The engine's guest runs. */
static void begin(const char *first, const char *second)
{
	static int listener;

	answers[0] = first;
	answers[1] = second;
	(void)snprintf(path, sizeof(path), "/tmp/holdfast-stop-%d", (int)getpid());
	listener = monitor_listen(path);
	assert_true(listener >= 0);
	assert_int_equal(pthread_create(&monitor, NULL, play, &listener), 0);
	assert_int_equal(qmp_open(path, 10 * CLOCK_NS_PER_S, &engine.guest.qmp), 0);
	qmp_set_event_handler(engine.guest.qmp, engine_on_qmp_event, &engine);
	engine.guest.clock = (struct guestclock *)no_clock;
	engine.guest.condition = GUEST_RUNS;
	engine.lease.voice = VOICE_OUTVOTED;
	engine.lease.retry_ns = 0;
}

static void end(void)
{
	engine.guest.qmp = qmp_close(engine.guest.qmp);
	pthread_join(monitor, NULL);
	(void)unlink(path);
}

static void test_a_guest_that_is_stopped(void **state)
{
	(void)state;
	begin(EVENT("STOP") MONITOR_OK, NULL);
	engine_lease_tick(&engine);
	assert_int_equal(engine.guest.condition, GUEST_STOPPED);
	end();
}

/* Somebody sends `cont` right after our `stop`, and the engine gets both results in a single read.
 * The guest runs again, so the engine must stop it again. */
static void test_a_resume_with_the_answer(void **state)
{
	(void)state;
	begin(EVENT("STOP") MONITOR_OK EVENT("RESUME"), EVENT("STOP") MONITOR_OK);
	engine_lease_tick(&engine);
	assert_int_equal(engine.guest.condition, GUEST_RUNS);
	engine_lease_tick(&engine);
	assert_int_equal(engine.guest.condition, GUEST_STOPPED);
	end();
}

/* QEMU sent the event RESUME before it carried out our `stop`. The guest stands still, so one
 * `stop` is enough. */
static void test_a_resume_before_the_stop(void **state)
{
	(void)state;
	begin(EVENT("RESUME") EVENT("STOP") MONITOR_OK, NULL);
	engine_lease_tick(&engine);
	assert_int_equal(engine.guest.condition, GUEST_STOPPED);
	end();
}

/* QEMU has not answered a first `stop`, and refuses a second. QEMU could still obey the first. So
 * the guest stays "stopping" and does not go back to "runs". */
static void test_an_unanswered_stop_is_remembered(void **state)
{
	(void)state;
	begin(REFUSED, NULL);
	engine.guest.condition = GUEST_STOPPING;
	engine_lease_tick(&engine);
	assert_int_equal(engine.guest.condition, GUEST_STOPPING);
	end();
	begin(REFUSED, NULL);
	engine_lease_tick(&engine);
	assert_int_equal(engine.guest.condition, GUEST_RUNS);
	end();
}

/* QEMU carries out `stop` only after all writes are done. So while the engine stops the guest, no
 * write may wait for room in a ring. */
static void test_no_write_waits_during_a_stop(void **state)
{
	struct engine_disk disk = {0};
	struct error error;

	(void)state;
	assert_int_equal(disk_ring_new(DISK_RING_SOFT_MIN, 1 << 20, &ring, &error), 0);
	disk.ring = ring;
	engine.disks.disk = &disk;
	engine.disks.n = 1;
	begin(EVENT("STOP") MONITOR_OK, NULL);
	engine_lease_tick(&engine);
	assert_int_equal(engine.guest.condition, GUEST_STOPPED);
	end();
	engine.disks = (struct engine_disks){0};
	assert_true(was_sealing);
	assert_false(atomic_load(&ring->header->is_sealing));
	ring = disk_ring_free(ring);
}

/* QEMU ends, and has answered a seal's command after it took the guest's cards apart. That epoch is
 * not sent. If QEMU goes on (-no-shutdown), its seals count again. */
static void test_what_an_ending_qemu_saves(void **state)
{
	json_t *data = json_pack("{s:b, s:s}", "guest", 0, "reason", "host-signal");
	struct seal_result result = {0};

	(void)state;
	assert_non_null(data);
	engine.guest.condition = GUEST_RUNS;
	engine.lease.voice = VOICE_SPEAKS;
	engine.epochs.sync = SYNC_KEPT;
	engine_on_qmp_event(&engine, "SHUTDOWN", data);
	assert_int_equal(engine_watch_sealed(&engine, &result), -ESTALE);
	assert_int_equal(engine.epochs.sync, SYNC_LOST);
	engine_on_qmp_event(&engine, "RESUME", NULL);
	assert_null(engine.guest.end_text);
	json_decref(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_guest_that_is_stopped),
		cmocka_unit_test(test_a_resume_with_the_answer),
		cmocka_unit_test(test_a_resume_before_the_stop),
		cmocka_unit_test(test_an_unanswered_stop_is_remembered),
		cmocka_unit_test(test_no_write_waits_during_a_stop),
		cmocka_unit_test(test_what_an_ending_qemu_saves),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
