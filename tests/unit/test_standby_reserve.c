/* test_standby_reserve.c - tests a standby that has a copy and finds no room for a FULL epoch. The
 * standby gets this room when another standby gives its own room back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bare_standby.h"
#include "base/clock.h"

static struct bare_standby x;
static struct room other; /* what another standby claims: far more than there is */

static int set_up(void **state)
{
	uint64_t left;

	(void)state;
	bare_standby_open(&x);
	bare_standby_hold(&x, 3);
	x.sb.qemu.cmdline.ram_bytes = x.sb.rf.ram_bytes;
	x.sb.log_bytes_max = UINT64_C(1) << 30;
	x.sb.room_backoff.max_ns = CLOCK_NS_PER_S;
	assert_int_equal(room_claim(&other, x.dir, 1, &left), 0);
	other.bytes = UINT64_MAX / 4;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	room_release(&other);
	standby_give_back(&x.sb);
	bare_standby_close(&x);
	return 0;
}

/* START finds no room, and goes on with the copy. */
static void start_without_room(void)
{
	struct error error = {""};

	assert_int_equal(standby_reserve(&x.sb, &error), 0);
	assert_string_equal(error.text, "");
	assert_int_equal(x.sb.room.bytes, 0);
}

/* Let @ms pass after the last try. Returns whether the room is claimed then. */
static bool has_room_after(uint64_t ms)
{
	uint64_t last_ns = x.sb.room_backoff.next_ns - x.sb.room_backoff.delay_ns / 2;

	standby_reserve_again(&x.sb, last_ns + ms * CLOCK_NS_PER_MS);
	return x.sb.room.bytes > 0;
}

static void test_room_comes_back(void **state)
{
	(void)state;
	start_without_room();
	assert_false(has_room_after(100));
	assert_false(has_room_after(200)); /* each wait is longer than the one before */
	room_release(&other);
	assert_false(has_room_after(399));
	x.sb.dirty = false;
	assert_true(has_room_after(400));
	assert_int_equal(x.sb.room.bytes, x.sb.room_needed_bytes);
	assert_true(x.sb.dirty); /* the next report includes that the room was found */
	assert_int_equal(epochlog_complete(&x.sb.log), 3);
}

/* The reserve for ordinary epochs was lost too. It is restored together with the room. */
static void test_reserve_comes_back(void **state)
{
	(void)state;
	start_without_room();
	epochlog_give_back(&x.sb.log);
	room_release(&other);
	assert_true(has_room_after(100));
	assert_true(x.sb.log.reserve_bytes > 0);
}

/* The operator changes the RAM in the command file. A try for room must not drop the copy. */
static void test_other_command(void **state)
{
	(void)state;
	start_without_room();
	x.sb.qemu.cmdline.ram_bytes *= 2;
	room_release(&other);
	assert_true(has_room_after(100));
	assert_int_equal(epochlog_complete(&x.sb.log), 3);
	assert_non_null(x.sb.rf.ram);
}

/* STOP gives all room back. After that, the standby claims no room. */
static void test_not_after_stop(void **state)
{
	(void)state;
	start_without_room();
	standby_give_back(&x.sb);
	room_release(&other);
	assert_false(has_room_after(100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_room_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reserve_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_command, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_after_stop, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
