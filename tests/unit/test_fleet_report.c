/* test_fleet_report.c - tests which events follow from what agents report. */
#include "gateway_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/clock.h"
#include "fleet/fleet_private.h"

static struct fixture f;

static int open_fleet(void **state)
{
	(void)state;
	fixture_open(&f);
	return 0;
}

static int close_fleet(void **state)
{
	(void)state;
	fixture_close(&f);
	return 0;
}

/* Report @text in @state, some time after the last report. Returns how many events this caused. */
static uint64_t events_in(uint8_t state, const char *text)
{
	struct wire_report report = {.state = state};
	uint64_t before = f.fleet->counters.events;

	(void)snprintf(report.text, sizeof(report.text), "%s", text);
	f.now_ns += 2 * CLOCK_NS_PER_S;
	fleet_take_report(f.fleet, fleet_find_vm(f.fleet, "web1"), 1, 0, 0, &report, f.now_ns);
	return f.fleet->counters.events - before;
}

static uint64_t events_of(const char *text)
{
	return events_in(WIRE_STATE_IDLE, text);
}

/* A text that counts the seconds must not cause an event each second. */
static void test_a_reason_is_told_once(void **state)
{
	(void)state;
	assert_int_equal(events_of("tap0 cannot serve clients, for 9 s now: it is down"), 1);
	assert_int_equal(events_of("tap0 cannot serve clients, for 11 s now: it is down"), 0);
	assert_int_equal(events_of("tap0 cannot serve clients, for 11 s now: it is gone"), 1);
	assert_int_equal(events_of("tap0 cannot serve clients, for 11 s now"), 1);
	for (int i = 12; i < 100; i++) {
		char text[80];

		(void)snprintf(text, sizeof(text), "tap0 cannot serve clients, for %d s now", i);
		assert_int_equal(events_of(text), 0);
	}
}

/* A different number can mean a different reason: one line of a file was corrected, and now another
 * line is wrong. */
static void test_a_number_is_another_reason(void **state)
{
	(void)state;
	assert_int_equal(events_of("vms/web1.ini:12: unknown key 'qpm'"), 1);
	assert_int_equal(events_of("vms/web1.ini:12: unknown key 'qpm'"), 0);
	assert_int_equal(events_of("vms/web1.ini:14: unknown key 'qpm'"), 1);
	assert_int_equal(events_of("tap0 is down"), 1);
	assert_int_equal(events_of("tap1 is down"), 1);
	assert_int_equal(events_of("tap is down"), 1);
	assert_int_equal(events_of("tap10 is down, 40 ms"), 1);
	assert_int_equal(events_of("tap10 is down, 40 mseries"), 1);
	assert_int_equal(events_of("tap10 is down, 41 mseries"), 1);
}

/* A number without a unit changes in each report. Only few of these reports cause an event. When
 * the number no longer changes, it is reported too. */
static void test_no_storm_of_numbers(void **state)
{
	uint64_t n = 0;
	char text[80];

	(void)state;
	for (int i = 0; i < 300; i++) { /* 10 min */
		(void)snprintf(text, sizeof(text), "cannot apply epoch %d", i);
		n += events_of(text);
	}
	assert_in_range(n, 5, 1 + 5 + 10);
	for (int i = 0; i < 100; i++)
		(void)events_of(text);
	assert_string_equal(fleet_find_vm(f.fleet, "web1")->report[1].told_last->text, text);
}

/* The reports have three reasons in turn. Each reason causes one event per minute. If one reason
 * then stays, it is the last that is reported. */
static void test_no_storm_of_turns(void **state)
{
	static const char *const reasons[] = {"tap0 is down", "", "the key of the disk is gone"};
	uint64_t n = 0;

	(void)state;
	for (size_t i = 0; i < 300; i++) /* 10 min */
		n += events_of(reasons[i % 3]);
	assert_in_range(n, 18, 22);
	for (int i = 0; i < 31; i++)
		(void)events_of(reasons[0]);
	assert_string_equal(fleet_find_vm(f.fleet, "web1")->report[1].told_last->text, reasons[0]);
	for (int i = 0; i < 100; i++)
		assert_int_equal(events_of(reasons[0]), 0);
	assert_int_equal(events_of(""), 0);
	assert_int_equal(events_of(reasons[0]), 1);
}

/* If the agent's state has changed, the same reason is reported again. */
static void test_another_state_is_told(void **state)
{
	(void)state;
	assert_int_equal(events_of("tap0 is down"), 1);
	assert_int_equal(events_in(WIRE_STATE_FENCED, "tap0 is down"), 1);
	assert_int_equal(events_in(WIRE_STATE_FENCED, "tap0 is down"), 0);
	assert_int_equal(events_of("tap0 is down"), 0);
}

/* Each report has a new reason. Only a limited number of reasons is reported in a minute. */
static void test_many_reasons(void **state)
{
	uint64_t n = 0;

	(void)state;
	for (int i = 0; i < 300; i++) { /* 10 min */
		char text[] = "a card is down: AA";

		text[sizeof(text) - 3] = (char)('A' + i % 26);
		text[sizeof(text) - 2] = (char)('A' + i / 26);
		n += events_of(text);
	}
	assert_in_range(n, 70, 80);
}

/* A restarted agent says with guest_found=1 that it has found its guest. A report without this
 * counts as "not found". */
static void test_a_found_guest(void **state)
{
	struct wire_report report = {.state = WIRE_STATE_LOST, .stats = "guest_found=1\n"};
	struct fleet_vm *vm = fleet_find_vm(f.fleet, "web1");
	struct vm_input up = {.kind = VM_IN_CONTROL_UP, .host = 0};

	(void)state;
	(void)fleet_step(f.fleet, vm, &up, f.now_ns);
	fleet_take_report(f.fleet, vm, 0, 0, 0, &report, f.now_ns);
	assert_true(vm->fsm.host[0].is_guest_found);
	report.stats[0] = '\0';
	fleet_take_report(f.fleet, vm, 0, 0, 0, &report, f.now_ns);
	assert_false(vm->fsm.host[0].is_guest_found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_reason_is_told_once, open_fleet,
						close_fleet),
		cmocka_unit_test_setup_teardown(test_a_number_is_another_reason, open_fleet,
						close_fleet),
		cmocka_unit_test_setup_teardown(test_no_storm_of_numbers, open_fleet, close_fleet),
		cmocka_unit_test_setup_teardown(test_no_storm_of_turns, open_fleet, close_fleet),
		cmocka_unit_test_setup_teardown(test_another_state_is_told, open_fleet,
						close_fleet),
		cmocka_unit_test_setup_teardown(test_many_reasons, open_fleet, close_fleet),
		cmocka_unit_test_setup_teardown(test_a_found_guest, open_fleet, close_fleet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
