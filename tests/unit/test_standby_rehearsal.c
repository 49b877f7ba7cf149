/* test_standby_rehearsal.c - tests when the QEMU of a rehearsal is started. QEMU is a script that
 * notes its start and fails, so no rehearsal comes to its end here (tests/e2e/test_rehearsal). */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "bare_standby.h"
#include "base/fd.h"

static struct bare_standby x;
static struct epochcheck_error why;

/* Set up a standby whose first epoch must be rehearsed. Its warm QEMU was down when the stream came
 * up and when the machines were compared. */
static int set_up(void **state)
{
	char path[96], text[192];
	struct error error;
	FILE *file;

	(void)state;
	bare_standby_open(&x);
	(void)snprintf(path, sizeof(path), "%s/qemu", x.dir);
	file = fopen(path, "we");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\necho start >>%s/starts\nexit 1\n", x.dir);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0700), 0);
	(void)snprintf(text, sizeof(text), "%s -m 64", path);
	assert_int_equal(cmdline_parse(text, &x.sb.qemu.cmdline, &error), 0);
	x.sb.config.run_dir = x.dir;
	x.sb.config.start_timeout_ms = 10000;
	x.sb.must_rehearse = true;
	x.sb.machine.is_proved = true;
	x.sb.qemu.pid = x.sb.rehearsal.pid = x.sb.rehearsal.pidfd = -1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	standby_rehearsal_end(&x.sb);
	cmdline_done(&x.sb.qemu.cmdline);
	bare_standby_close(&x);
	return 0;
}

static size_t n_starts(void)
{
	char path[96], *data = NULL;
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "%s/starts", x.dir);
	if (fd_read_file(path, 4096, &data, &n) < 0)
		return 0;
	free(data);
	return n / strlen("start\n");
}

/* The rehearsal begins with the epoch itself. Its QEMU is tried twice. Then the epoch is accepted
 * without a rehearsal, and no later epoch waits for one. */
static void test_begins_late(void **state)
{
	(void)state;
	assert_int_equal(standby_rehearse(&x.sb, &why), 0);
	assert_int_equal(n_starts(), 2);
	assert_false(x.sb.must_rehearse);
	assert_true(x.sb.rehearsal.pid <= 0);
	assert_int_equal(standby_rehearse(&x.sb, &why), 0);
	assert_int_equal(n_starts(), 2);
}

/* The rehearsal began in time, but its QEMU has ended since. */
static void test_has_ended(void **state)
{
	(void)state;
	standby_rehearsal_begin(&x.sb);
	assert_true(x.sb.rehearsal.pid > 0);
	standby_rehearsal_begin(&x.sb); /* does nothing: a rehearsal has already begun */
	assert_int_equal(poll(&(struct pollfd){.fd = x.sb.rehearsal.pidfd, .events = POLLIN}, 1,
			      30000), 1);
	assert_int_equal(n_starts(), 1);
	assert_int_equal(standby_rehearse(&x.sb, &why), 0);
	assert_int_equal(n_starts(), 2);
}

/* No rehearsal begins before the machines were compared, for a guest that streams without a
 * gateway, or after an epoch was rehearsed. */
static void test_does_not_begin(void **state)
{
	(void)state;
	x.sb.machine.is_proved = false;
	assert_int_equal(standby_rehearse(&x.sb, &why), 0);
	assert_true(x.sb.must_rehearse);
	x.sb.machine.is_proved = true;
	x.sb.is_direct = true;
	assert_int_equal(standby_rehearse(&x.sb, &why), 0);
	x.sb.is_direct = false;
	x.sb.must_rehearse = false;
	assert_int_equal(standby_rehearse(&x.sb, &why), 0);
	assert_int_equal(n_starts(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_begins_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_has_ended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_does_not_begin, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
