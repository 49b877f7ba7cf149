/* test_engine_state.c - tests how the conditions of the engine change: the tables of
 * epoch/condition.h, and the functions that make the changes. The test compares every pair of
 * values of every condition with a drawing in this file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "epoch/engine_private.h"

#define VALUES_MAX 9u

/* The drawing of one condition. Each row is a value before the change, each column a value after
 * it: 'x' is allowed, '.' is not. */
struct drawing {
	const struct condition *condition;
	const char *name;
	unsigned int n_values;
	const char *values[VALUES_MAX];
	const char *rows[VALUES_MAX];
};

static const struct drawing drawings[] = {
	{&condition_guest,
	 "guest",
	 GUEST_N_CONDITIONS,
	 {"runs", "sealing", "sealing-paused", "paused-newly", "paused", "stopping",
	  "stopping-resumed", "stopped", "lost"},
	 /* rows and columns are in the order of the values above */
	 {
		 ".x.x.x.xx", /* runs; becomes stopped if the agent's last program stopped it */
		 "x.x......", /* sealing */
		 "xx.xx..x.", /* sealing-paused */
		 "x.x.x...x", /* paused-newly */
		 "x.x.....x", /* paused */
		 "x.....xxx", /* stopping */
		 "x....x..x", /* stopping-resumed: must not become stopped directly */
		 "x.x.....x", /* stopped */
		 ".........", /* lost: never changes again */
	 }},
	{&condition_output,
	 "output",
	 OUTPUT_N_CONDITIONS,
	 {"passes", "begins", "held", "closed"},
	 {
		 ".xxx",
		 "x.xx",
		 "...x", /* output that was held never passes unheld again */
		 "....",
	 }},
	{&condition_voice,
	 "voice",
	 VOICE_N_CONDITIONS,
	 {"speaks", "silenced", "outvoted"},
	 {
		 ".xx", "x.x", "...", /* outvoted never changes again */
	 }},
	{&condition_stream,
	 "stream",
	 STREAM_N_CONDITIONS,
	 {"none", "gateway", "gateway-resumed", "direct", "direct-resumed"},
	 {
		 ".x.x.",
		 "x.x..",
		 "xx...",
		 "x...x",
		 "x..x.",
	 }},
	{&condition_direct,
	 "direct",
	 DIRECT_N_CONDITIONS,
	 {"off", "peer-next", "gateway-next"},
	 {
		 ".x.",
		 "..x",
		 "xx.",
	 }},
	{&condition_sync,
	 "sync",
	 SYNC_N_CONDITIONS,
	 {"lost", "full", "kept"},
	 {
		 ".xx", /* lost: becomes kept if the agent's last program handed it on */
		 "x.x",
		 "x..",
	 }},
	{&condition_cover,
	 "cover",
	 COVER_N_CONDITIONS,
	 {"whole", "devices", "net"},
	 {
		 ".xx",
		 "x.x",
		 "x..",
	 }},
	{&condition_disks,
	 "disks",
	 DISKS_N_CONDITIONS,
	 {"none", "apart", "copying", "in-step"},
	 {
		 ".x.x", /* none: becomes in-step if the agent's last program handed the disks on */
		 "..x.", /* apart: a copy comes before in-step */
		 ".x.x",
		 ".x..",
	 }},
	{&condition_move,
	 "move",
	 MOVE_N_CONDITIONS,
	 {"none", "wanted", "stopped", "yielded", "ending"},
	 {
		 ".x...",
		 "x.x.x",
		 "...xx",
		 "....x", /* yielded: only engine_move_end() lets the guest go on */
		 "x....",
	 }},
	{&condition_verify,
	 "verify",
	 VERIFY_N_CONDITIONS,
	 {"idle", "reading", "read", "sent", "rereading", "reread", "copy", "passed"},
	 {
		 ".x..x.xx", /* idle */
		 "x.x.....", /* reading */
		 "x..x....", /* read */
		 "x.......", /* sent */
		 "x....x..", /* rereading */
		 "x.......", /* reread: the block is sent, and no hash */
		 "x.......", /* copy */
		 "x.......", /* passed: a new pass begins before its first batch */
	 }},
	{&condition_ram,
	 "ram",
	 RAM_N_CONDITIONS,
	 {"idle", "read", "sent", "passed"},
	 {
		 ".x.x",
		 "x.x.",
		 "x...",
		 "x...",
	 }},
	{&condition_ram_finding,
	 "ram-finding",
	 FINDING_N_CONDITIONS,
	 {"none", "differs", "copied", "failed"},
	 {
		 ".x..",
		 "x.xx",
		 "xx.x",
		 ".x..", /* failed: only a new pass can show that nothing differs */
	 }},
	{&condition_disk_finding,
	 "disk-finding",
	 FINDING_N_CONDITIONS,
	 {"none", "differs", "copied", "failed"},
	 {
		 ".x..",
		 "x.xx",
		 "xx.x",
		 ".x..",
	 }},
	{&condition_asked,
	 "asked",
	 ASKED_N_CONDITIONS,
	 {"none", "both", "ram", "disks"},
	 {
		 ".x..",
		 "..xx", /* both: the two parts end one after the other */
		 "xx..",
		 "xx..",
	 }},
	{&condition_base,
	 "base",
	 BASE_N_CONDITIONS,
	 {"none", "wanted", "sent"},
	 {
		 ".x.",
		 "x.x",
		 "xx.",
	 }},
	{&condition_tracking,
	 "tracking",
	 TRACKING_N_CONDITIONS,
	 {"lost", "fresh", "used"},
	 {
		 ".xx", /* lost: becomes used if the agent's last program handed the tracker on */
		 "x.x",
		 "x..", /* used: only a new tracker is fresh */
	 }},
	{&condition_flush,
	 "flush",
	 FLUSH_N_CONDITIONS,
	 {"obeyed", "ignored", "kept", "between"},
	 {
		 ".xxx",
		 "x...",
		 "....", /* kept: not tried again */
		 "..x.",
	 }},
};

#define N_DRAWINGS (sizeof(drawings) / sizeof(drawings[0]))

static void test_every_pair_is_as_drawn(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_DRAWINGS; i++) {
		const struct drawing *d = &drawings[i];

		for (unsigned int from = 0; from < d->n_values; from++) {
			for (unsigned int to = 0; to < d->n_values; to++) {
				enum log_level level = LOG_LEVEL_ERROR;
				bool is_allowed = condition_allows(d->condition, from, to, &level);

				if (is_allowed != (d->rows[from][to] == 'x'))
					fail_msg("%s: %s -> %s is %s", d->name, d->values[from],
						 d->values[to], is_allowed ? "allowed" : "refused");
			}
		}
	}
}

static void test_values_outside_are_refused(void **state)
{
	enum log_level level = LOG_LEVEL_WARN;

	(void)state;
	for (size_t i = 0; i < N_DRAWINGS; i++) {
		const struct drawing *d = &drawings[i];

		for (unsigned int value = 0; value < d->n_values; value++) {
			assert_false(condition_allows(d->condition, value, d->n_values, &level));
			assert_false(condition_allows(d->condition, d->n_values, value, &level));
		}
	}
	assert_int_equal(level, LOG_LEVEL_WARN);
}

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_DRAWINGS; i++) {
		const struct drawing *d = &drawings[i];

		assert_string_equal(condition_name(d->condition), d->name);
		for (unsigned int value = 0; value < d->n_values; value++)
			assert_string_equal(condition_value(d->condition, value), d->values[value]);
		assert_string_equal(condition_value(d->condition, d->n_values), "unknown");
	}
}

static struct engine engine = {.config = {.vm = "web1"}};

static void test_an_allowed_change_is_made(void **state)
{
	(void)state;
	engine.guest.condition = GUEST_RUNS;
	engine_set_guest(&engine, GUEST_STOPPING, "");
	assert_int_equal(engine.guest.condition, GUEST_STOPPING);
	engine_set_guest(&engine, GUEST_STOPPED, "");
	assert_int_equal(engine.guest.condition, GUEST_STOPPED);
	engine_set_guest(&engine, GUEST_STOPPED, ""); /* no change, so nothing happens */
	assert_int_equal(engine.guest.condition, GUEST_STOPPED);

	engine.lease.voice = VOICE_SPEAKS;
	engine_set_voice(&engine, VOICE_OUTVOTED, "");
	assert_int_equal(engine.lease.voice, VOICE_OUTVOTED);

	engine.output.condition = OUTPUT_BEGINS;
	assert_false(engine_is_holding(&engine));
	engine_set_output(&engine, OUTPUT_HELD, "");
	assert_int_equal(engine.output.condition, OUTPUT_HELD);
	assert_true(engine_is_holding(&engine));
	engine_set_output(&engine, OUTPUT_CLOSED, "");
	assert_true(engine_is_holding(&engine));

	engine.watch.cover = COVER_WHOLE;
	engine_set_cover(&engine, COVER_NET, "");
	assert_int_equal(engine.watch.cover, COVER_NET);
}

static void test_another_change_is_not_made(void **state)
{
	struct engine_disk disk = {.found.name = "a test", .flush = FLUSH_KEPT};

	(void)state;
	engine.guest.condition = GUEST_LOST;
	engine_set_guest(&engine, GUEST_RUNS, "a test");
	assert_int_equal(engine.guest.condition, GUEST_LOST);

	engine.lease.voice = VOICE_OUTVOTED;
	engine_set_voice(&engine, VOICE_SPEAKS, "a test");
	assert_int_equal(engine.lease.voice, VOICE_OUTVOTED);

	engine.output.condition = OUTPUT_HELD;
	engine_set_output(&engine, OUTPUT_PASSES, "a test");
	assert_int_equal(engine.output.condition, OUTPUT_HELD);

	engine.epochs.sync = SYNC_KEPT;
	engine_set_sync(&engine, SYNC_FULL, "a test");
	assert_int_equal(engine.epochs.sync, SYNC_KEPT);

	engine.watch.cover = COVER_NET;
	engine_set_cover(&engine, COVER_DEVICES, "a test");
	assert_int_equal(engine.watch.cover, COVER_NET);

	engine.verify.condition = VERIFY_IDLE;
	engine_set_verify(&engine, VERIFY_SENT, "a test");
	assert_int_equal(engine.verify.condition, VERIFY_IDLE);
	engine.ram.condition = RAM_IDLE;
	engine_set_ram(&engine, RAM_SENT, "a test");
	assert_int_equal(engine.ram.condition, RAM_IDLE);
	engine.ram.finding = FINDING_FAILED;
	engine_set_ram_finding(&engine, FINDING_NONE, "a test");
	assert_int_equal(engine.ram.finding, FINDING_FAILED);
	engine.verify.finding = FINDING_FAILED;
	engine_set_disk_finding(&engine, FINDING_NONE, "a test");
	assert_int_equal(engine.verify.finding, FINDING_FAILED);
	engine_set_base(&engine, BASE_SENT, "a test");
	assert_int_equal(engine.base.condition, BASE_NONE);
	engine.capture.tracking = TRACKING_USED;
	engine_set_tracking(&engine, TRACKING_FRESH, "a test");
	assert_int_equal(engine.capture.tracking, TRACKING_USED);
	engine_set_asked(&engine, ASKED_RAM, "a test");
	assert_int_equal(engine.asked.condition, ASKED_NONE);
	engine_set_flush(&engine, &disk, FLUSH_IGNORED);
	assert_int_equal(disk.flush, FLUSH_KEPT);
}

static void test_of_the_stream(void **state)
{
	static const struct {
		enum stream_condition condition;
		bool is_resumed, is_direct;
	} rows[] = {
		{STREAM_NONE, false, false},	       {STREAM_GATEWAY, false, false},
		{STREAM_GATEWAY_RESUMED, true, false}, {STREAM_DIRECT, false, true},
		{STREAM_DIRECT_RESUMED, true, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		engine.stream.condition = rows[i].condition;
		assert_int_equal(engine_stream_is_resumed(&engine.stream), rows[i].is_resumed);
		assert_int_equal(engine_stream_is_direct(&engine.stream), rows[i].is_direct);
	}
	engine.stream.condition = STREAM_NONE;
	engine_set_stream(&engine, STREAM_GATEWAY_RESUMED, "a test");
	assert_int_equal(engine.stream.condition, STREAM_NONE);
	engine_set_stream(&engine, STREAM_DIRECT, "");
	assert_int_equal(engine.stream.condition, STREAM_DIRECT);
	engine_set_direct(&engine, DIRECT_GATEWAY_NEXT, "a test");
	assert_int_equal(engine.direct.condition, DIRECT_OFF);
	engine_set_direct(&engine, DIRECT_PEER_NEXT, "");
	assert_int_equal(engine.direct.condition, DIRECT_PEER_NEXT);
}

/* A FULL epoch is under way when a second reason for one appears. The engine keeps the FULL epoch
 * that it is making. */
static void test_sync_is_lost_once(void **state)
{
	(void)state;
	engine.epochs.sync = SYNC_KEPT;
	engine_lose_sync(&engine, "a test");
	assert_int_equal(engine.epochs.sync, SYNC_LOST);
	engine_set_sync(&engine, SYNC_FULL, "");
	engine_lose_sync(&engine, "a test");
	assert_int_equal(engine.epochs.sync, SYNC_FULL);
	engine_set_sync(&engine, SYNC_KEPT, "");
	assert_int_equal(engine.epochs.sync, SYNC_KEPT);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* When the guest has ended and an epoch fails because of that, the status still says why the guest
 * ended. */
static void test_an_end_keeps_its_reason(void **state)
{
	(void)state;
	engine.config.changed = nothing;
	assert_int_equal(pthread_mutex_init(&engine.status_lock, NULL), 0);
	engine_set_verdict(&engine, WIRE_VERDICT_PAUSED, "somebody paused it");
	engine_set_state(&engine, WIRE_STATE_PROTECTED, "an epoch failed");
	assert_string_equal(engine.status.text, "an epoch failed");
	engine_set_verdict(&engine, WIRE_VERDICT_SHUTDOWN, "the guest panicked");
	engine_set_state(&engine, WIRE_STATE_PROTECTED, "an epoch failed");
	assert_string_equal(engine.status.text, "the guest panicked");
	engine_set_verdict(&engine, WIRE_VERDICT_NONE, "");
	engine_set_state(&engine, WIRE_STATE_PROTECTED, "it runs again");
	assert_string_equal(engine.status.text, "it runs again");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_pair_is_as_drawn),
		cmocka_unit_test(test_values_outside_are_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_an_allowed_change_is_made),
		cmocka_unit_test(test_another_change_is_not_made),
		cmocka_unit_test(test_of_the_stream),
		cmocka_unit_test(test_sync_is_lost_once),
		cmocka_unit_test(test_an_end_keeps_its_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
