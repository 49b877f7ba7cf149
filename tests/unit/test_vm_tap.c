/* test_vm_tap.c - tests what a standby reports about its taps when their state is not known. The
 * standby never reports then that the taps forward frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "vm/vm_tap_private.h"

/* There are no such devices. */
static const struct tap_names taps = {.n = 2, .name = {"hf-no-tap0", "hf-no-tap1"}};
static struct vm_tap tap;
static struct wire_report report;
static struct rlimit files;

static int setup(void **state)
{
	(void)state;
	vm_tap_init(&tap);
	return getrlimit(RLIMIT_NOFILE, &files);
}

static int teardown(void **state)
{
	(void)state;
	vm_tap_done(&tap);
	return setrlimit(RLIMIT_NOFILE, &files);
}

static void expect(const char *stats, const char *text)
{
	memset(&report, 0, sizeof(report));
	vm_tap_report(&tap, &taps, &report);
	assert_string_equal(report.stats, stats);
	assert_string_equal(report.text, text);
}

/* Make it impossible to open a socket, so that the kernel cannot be asked. */
static void forbid_sockets(void)
{
	const struct rlimit none = {.rlim_cur = 0, .rlim_max = files.rlim_max};

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

#define UNKNOWN "tap hf-no-tap0 cannot be looked at, for 0 s now: see this agent's log"

static void test_not_looked_at(void **state)
{
	(void)state;
	expect("way=unknown\n", UNKNOWN);
}

static void test_cannot_be_read(void **state)
{
	(void)state;
	forbid_sockets();
	assert_true(vm_tap_look(&tap, "web1", &taps));
	assert_false(vm_tap_look(&tap, "web1", &taps)); /* nothing has changed */
	expect("way=unknown\n", UNKNOWN);
	tap.taps[0].since_ns = 1;
	vm_tap_begin(&tap, "web1", &taps); /* for a new QEMU, the time in this state begins again */
	expect("way=unknown\n", UNKNOWN);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_true(vm_tap_look(&tap, "web1", &taps));
	assert_int_equal(tap.taps[0].state, TAP_MISSING);
}

/* The taps forwarded frames at the last check, and their state cannot be read any more. So the
 * standby must report it as unknown. */
static void test_was_good(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < taps.n; i++) {
		tap.taps[i].state = TAP_FORWARDING;
		tap.taps[i].since_ns = 1;
	}
	expect("", "");
	forbid_sockets();
	assert_true(vm_tap_look(&tap, "web1", &taps));
	expect("way=unknown\n", UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_not_looked_at, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_be_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_was_good, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
