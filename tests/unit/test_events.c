/* test_events.c - tests which events are kept when there are too many. test_control.c tests the
 * files and the classes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "control/events.h"

#define S CLOCK_NS_PER_S

static struct events *events;
static char dir[] = "/tmp/holdfast-events.XXXXXX";

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(events_open(dir, 1 << 20, &events), 0);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"events.jsonl", "audit.jsonl"};
	char path[256];

	(void)state;
	events = events_close(events);
	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

static unsigned int n_of(const char *kind, const char *to)
{
	const struct event *e;
	unsigned int n = 0;

	for (uint64_t seq = 0; (e = events_from(events, seq)) != NULL; seq = e->seq + 1)
		n += strcmp(e->kind, kind) == 0 && strcmp(e->to, to) == 0;
	return n;
}

/* Each failed promotion (kinds "state" and "health") is reported, however many events there are.
 * The detector's FAILED (kind "liveness") is no failed promotion, and a host can cause it at will.
 * So the detector's events are limited like all others. */
static void test_failed_is_never_left_out(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		(void)events_add(events, S, "web1", "state", "SYNCING", "PROTECTED", "flood");
		(void)events_add(events, S, "web1", "liveness", "SUSPECT", "FAILED", "flood");
	}
	for (int i = 0; i < 3; i++) {
		assert_true(events_add(events, S, "web1", "state", "PROMOTING", "FAILED", "x"));
		assert_true(events_add(events, S, "web1", "health", "PROMOTING", "FAILED", "x"));
		assert_false(events_add(events, S, "web1", "state", "FAILED", "PROMOTING", "x"));
	}
	assert_int_equal(n_of("state", "FAILED"), 3);
	assert_int_equal(n_of("health", "FAILED"), 3);
	assert_int_equal(n_of("state", "PROTECTED"), EVENTS_BURST_VITAL);
	assert_int_equal(n_of("liveness", "FAILED"), EVENTS_BURST_OTHERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_failed_is_never_left_out, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
