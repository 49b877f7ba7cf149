/* test_engine_late.c - tests an engine that has taken over a guest. The engine looks at QEMU's
 * lists of the guest's parts, and at the descriptors that the last program left in QEMU, only after
 * the guest runs again. The test plays QEMU's monitor with scripted answers. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "epoch/engine_private.h"
#include "monitor_peer.h"

#define CHILD(name) "{\"name\":\"" name "\",\"type\":\"child<virtio-rng-pci>\"}"
#define LISTS(devices)                                                                             \
	"{\"return\":[" devices "]}\r\n", "{\"return\":[]}\r\n", "{\"return\":\"\"}\r\n",         \
		"{\"return\":\"Block Name PSize\\r\\n\"}\r\n", "{\"return\":[]}\r\n"
/* QEMU's answer to a cancelled command: the first look at the lists has armed a command, but the
 * second look sends other commands first (qmp_arm()). */
#define REFUSED	       "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\r\n"
#define REMOVE	       "\"remove-fd\",\"arguments\":{\"fdset-id\":"
#define FDSET(id, name)                                                                            \
	"{\"fdset-id\":" id ",\"fds\":[{\"fd\":9,\"opaque\":\"" name "\"}]}"

static pid_t qemu; /* a process that does nothing, so that its address space does not change */
static struct engine engine;
static struct facts facts;
static struct tap_names no_taps;
static const char *const *answers; /* to the commands after qmp_capabilities, in order */
static char heard[4096];	    /* all commands; read it after end() */
static pthread_t monitor;
static char path[64];

static void *play(void *arg)
{
	int listener = *(int *)arg, fd = accept(listener, NULL, NULL);
	char command[256];
	bool is_well = monitor_say(fd, MONITOR_GREETING) &&
		       monitor_hear(fd, command, sizeof(command)) && monitor_say(fd, MONITOR_OK);

	for (size_t i = 0; is_well && answers[i]; i++) {
		is_well = monitor_hear(fd, command, sizeof(command));
		strncat(heard, command, sizeof(heard) - strlen(heard) - 1);
		is_well = is_well && monitor_say(fd, answers[i]);
	}
	/* hear the rest, but do not answer */
	while (is_well && monitor_hear(fd, command, sizeof(command)))
		strncat(heard, command, sizeof(heard) - strlen(heard) - 1);
	close(fd);
	close(listener);
	return NULL;
}

static void no_change(void *arg)
{
	(void)arg;
}

static int start_qemu(void **state)
{
	(void)state;
	qemu = fork();
	if (qemu != 0)
		return qemu > 0 ? 0 : -1;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static int end_qemu(void **state)
{
	(void)state;
	return kill(qemu, SIGKILL) == 0 && waitpid(qemu, NULL, 0) == qemu ? 0 : -1;
}

/* Set up an engine with facts about a guest that has one device, "rng0", no taps and no disks. */
static void begin(const char *const *script)
{
	static int listener;
	struct error error;

	engine = (struct engine){.term = 7, .facts = &facts};
	engine.config.vm = "web1";
	engine.config.taps = &no_taps;
	engine.config.changed = no_change;
	engine.guest.info.pid = qemu;
	engine.guest.condition = GUEST_RUNS;
	engine.epochs.sync = SYNC_KEPT;
	engine.epochs.next = 5;
	engine.wake_fd = -1;
	pthread_mutex_init(&engine.status_lock, NULL);
	memset(&facts, 0, sizeof(facts));
	facts.inventory.n = 1;
	facts.inventory.items[0].kind = VMM_ITEM_DEVICE;
	strcpy(facts.inventory.items[0].name, "rng0 (virtio-rng-pci)");
	answers = script;
	heard[0] = '\0';
	(void)snprintf(path, sizeof(path), "/tmp/holdfast-late-%d", (int)getpid());
	listener = monitor_listen(path);
	assert_true(listener >= 0);
	assert_int_equal(pthread_create(&monitor, NULL, play, &listener), 0);
	/* This asks QEMU nothing, because there is no connection to the monitor yet. */
	assert_int_equal(engine_watch_open(&engine, &error), 0);
	assert_int_equal(engine.watch.inventory.n, 1);
	assert_true(watch_lists_due(&engine.watch.plan, clock_mono_ns()));
	assert_int_equal(qmp_open(path, 10 * CLOCK_NS_PER_S, &engine.guest.qmp), 0);
	assert_int_equal(devstate_open(engine.guest.qmp, 1 << 20, &engine.capture.device, &error),
			 0);
	assert_int_equal(seal_new(engine.guest.qmp, NULL, NULL, engine.capture.device, 16,
				  &engine.capture.seal), 0);
	assert_int_equal(retain_new(WIRE_PAYLOAD_MAX, 1 << 20, &engine.epochs.retain), 0);
}

static void end(void)
{
	seal_free(engine.capture.seal);
	devstate_leave(engine.capture.device);
	qmp_close(engine.guest.qmp);
	pthread_join(monitor, NULL);
	(void)unlink(path);
	engine_watch_close(&engine.watch);
	retain_free(engine.epochs.retain);
}

static int seal(void)
{
	static const uint8_t device[16];
	struct seal_result result = {.device = device, .device_size = sizeof(device)};

	return engine_watch_sealed(&engine, &result);
}

/* The guest has not changed. The first seal looks at QEMU's lists, and no second look follows at
 * once. */
static void test_the_first_seal_looks(void **state)
{
	static const char *const script[] = {"{\"return\":{\"fdset-id\":3,\"fd\":4}}\r\n",
					     LISTS(CHILD("rng0")), NULL};

	(void)state;
	begin(script);
	assert_int_equal(seal(), 0);
	assert_int_equal(engine.watch.cover, COVER_WHOLE);
	assert_int_equal(engine.figures.n_looks, 1);
	assert_int_equal(seal(), 0);
	assert_int_equal(engine.figures.n_looks, 1);
	end();
	assert_non_null(strstr(heard, "info ramblock"));
}

/* A device was added while no program ran. Neither the first epoch nor any other epoch is sent. */
static void test_a_device_that_was_added(void **state)
{
	static const char *const script[] = {"{\"return\":{\"fdset-id\":3,\"fd\":4}}\r\n",
					     LISTS(CHILD("rng0") "," CHILD("rng1")), NULL};

	(void)state;
	begin(script);
	assert_int_equal(seal(), -ESTALE);
	assert_int_equal(engine.watch.cover, COVER_DEVICES);
	assert_int_equal(engine.epochs.sync, SYNC_LOST);
	assert_non_null(strstr(engine.status.uncovered, "added: device rng1"));
	end();
}

/* The second look closes the descriptors that the last program left in QEMU, and nothing else. */
static void test_what_was_left_is_closed(void **state)
{
	static const char *const script[] = {
		"{\"return\":{\"fdset-id\":3,\"fd\":4}}\r\n", LISTS(CHILD("rng0")), REFUSED,
		LISTS(CHILD("rng0")),
		"{\"return\":[" FDSET("1", "holdfast-devstate") "," FDSET("2", "holdfast-gate") ","
		FDSET("3", "holdfast-devstate") "," FDSET("4", "libvirt") ",{\"fdset-id\":5,"
		"\"fds\":[]},{\"fdset-id\":6,\"fds\":[{\"fd\":1}]}]}\r\n",
		MONITOR_OK, MONITOR_OK, NULL};
	int n_removed = 0;

	(void)state;
	begin(script);
	engine.capture.sweep_look = 2;
	assert_int_equal(seal(), 0);
	assert_int_equal(engine.capture.sweep_look, 2);
	watch_saw_device(&engine.watch.plan);
	assert_int_equal(seal(), 0);
	assert_int_equal(engine.capture.sweep_look, 0);
	end();
	for (const char *at = heard; (at = strstr(at, REMOVE)); at++)
		n_removed++;
	assert_int_equal(n_removed, 2);
	assert_non_null(strstr(heard, REMOVE "1}"));
	assert_non_null(strstr(heard, REMOVE "2}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_seal_looks),
		cmocka_unit_test(test_a_device_that_was_added),
		cmocka_unit_test(test_what_was_left_is_closed),
	};

	return cmocka_run_group_tests_name("engine_late", tests, start_qemu, end_qemu);
}
