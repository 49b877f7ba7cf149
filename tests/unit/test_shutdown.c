/* Tests which shutdowns of QEMU count as the guest's own. */
#include "epoch/shutdown.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* Tests all values of ShutdownCause from QEMU 7.2 to 10.0. */
static void each_reason_has_its_owner(void **state)
{
	static const struct {
		const char *reason;
		bool is_guests;
		const char *words;
	} rows[] = {
		{"guest-shutdown", true, "shut itself down"},
		{"guest-reset", true, "-no-reboot"},
		{"guest-panic", true, "panicked"},
		{"host-signal", false, "by a signal"},
		{"host-qmp-quit", false, "`quit`"},
		{"host-ui", false, "window"},
		{"host-qmp-system-reset", false, "monitor"},
		{"subsystem-reset", false, "subsystem"},
		{"snapshot-load", false, "snapshot"},
		{"host-error", false, "error"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* The reason is more exact than QEMU's `guest` flag, which is set for every cause
		 * after guest-shutdown. */
		assert_int_equal(shutdown_is_guests(rows[i].reason, true), rows[i].is_guests);
		assert_int_equal(shutdown_is_guests(rows[i].reason, false), rows[i].is_guests);
		assert_non_null(strstr(shutdown_text(rows[i].reason), rows[i].words));
	}
}

static void without_a_known_reason_the_event_says_it(void **state)
{
	(void)state;
	assert_true(shutdown_is_guests(NULL, true));
	assert_false(shutdown_is_guests(NULL, false));
	assert_true(shutdown_is_guests("guest-boredom", true));
	assert_false(shutdown_is_guests("none", false));
	assert_string_equal(shutdown_text(NULL), "QEMU announced its end");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_reason_has_its_owner),
		cmocka_unit_test(without_a_known_reason_the_event_says_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
