/* test_standby_rehearsal.c - tests when the QEMU of a rehearsal is started, and what becomes of the
 * copy if a rehearsal fails. Here QEMU is a script that records its start and fails, or a process
 * that never loads a state. tests/e2e/test_rehearsal tests rehearsals that succeed. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "bare_standby.h"
#include "base/clock.h"
#include "base/fd.h"
#include "qemu_process.h"

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

/* The rehearsal begins only when the epoch is complete. Its QEMU is tried twice. Then the epoch is
 * accepted without a rehearsal, and no later epoch waits for one. */
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

/* The rehearsal began in time, but its QEMU has ended since. QEMU must be started a second time. */
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

/* No rehearsal begins in three cases: the machines were not compared yet; the guest streams without
 * a gateway; an epoch was rehearsed already. */
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

/* ---- what becomes of the copy */

static struct qemu_shared *shared;
static uint8_t ram[BARE_STANDBY_RAM_PAGES * WIRE_PAGE_SIZE]; /* stands for QEMU's memory */

/* Let the standby have epoch @held, or nothing if @held is 0. The next epoch is complete, and the
 * QEMU of its rehearsal is ready. */
static void begin(uint64_t held)
{
	struct qemu *q = &x.sb.rehearsal;
	struct error error;

	if (held)
		bare_standby_hold(&x, held);
	x.sb.log.check.last_epoch = held + 1;
	assert_int_equal(ramfile_layout(&x.sb.rf, &x.sb.qemu.geometry), 0);
	x.sb.config.promote_timeout_ms = 50;
	assert_int_equal(qemu_init(q, "web1", "rehearsal", x.dir, x.dir, &error), 0);
	shared = qemu_share();
	assert_non_null(shared);
	q->pid = qemu_start_process(shared, q->qmp_path, false);
	assert_true(q->pid > 0);
	q->pidfd = pidfd_open(q->pid, 0);
	assert_int_equal(qmp_open(q->qmp_path, 10 * CLOCK_NS_PER_S, &q->qmp), 0);
	q->geometry = x.sb.qemu.geometry;
	q->info.pid = q->pid;
	q->info.n_blocks = 1;
	q->info.blocks[0] = (struct vmm_block){.name = "pc.ram", .kind = VMM_BLOCK_RAM,
					       .n_pages = BARE_STANDBY_RAM_PAGES,
					       .size_bytes = sizeof(ram),
					       .hva = (uint64_t)(uintptr_t)ram};
	assert_int_equal(ramfile_store_blob(&x.sb.rf, 5), 0);
}

/* The state is not loaded in time: the stream is refused, the copy is kept, and the next epoch is
 * rehearsed. */
static void test_slow_load_keeps_the_copy(void **state)
{
	(void)state;
	begin(3);
	assert_int_equal(standby_rehearse(&x.sb, &why), -EPROTO);
	assert_non_null(strstr(why.why.text, "a rehearsed takeover fails: QEMU did not load"));
	assert_int_equal(why.code, WIRE_STREAM_ERROR_APPLY);
	assert_int_equal(epochlog_complete(&x.sb.log), 4);
	assert_int_equal(x.sb.rf.meta.applied_epoch, 3);
	assert_true(x.sb.must_rehearse && x.sb.want_stream);
}

/* QEMU refuses the state, for example because its command was changed. The copy is kept here too,
 * because the command can be corrected. But the standby must not open a stream, which would tell
 * the gateway of this epoch. */
static void test_refusal_keeps_the_copy(void **state)
{
	(void)state;
	begin(3);
	shared->refuses_load = true;
	assert_int_equal(standby_rehearse(&x.sb, &why), -EPROTO);
	assert_non_null(strstr(why.why.text, "another version"));
	assert_int_equal(why.code, WIRE_STREAM_ERROR_GEOMETRY);
	assert_int_equal(epochlog_complete(&x.sb.log), 4);
	assert_true(x.sb.must_rehearse);
	assert_false(x.sb.want_stream);
}

/* The epoch cannot be applied, for example because a disk is full. It is still kept and
 * acknowledged, as if there were no rehearsal. */
static void test_unapplied_epoch_is_kept(void **state)
{
	(void)state;
	begin(3);
	x.sb.log.pending = 4; /* its file is missing */
	x.sb.log.bytes = WIRE_PAGE_SIZE;
	assert_int_equal(standby_rehearse(&x.sb, &why), 0);
	assert_int_equal(x.sb.log.pending, 4);
	assert_int_equal(epochlog_complete(&x.sb.log), 4);
	assert_true(x.sb.must_rehearse);
	assert_true(x.sb.rehearsal.pid <= 0);
}

/* A first copy that cannot be loaded was never acknowledged: it is dropped. */
static void test_first_copy_is_dropped(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		begin(0);
		shared->refuses_load = i;
		assert_int_equal(standby_rehearse(&x.sb, &why), -EPROTO);
		assert_int_equal(why.code, WIRE_STREAM_ERROR_GEOMETRY);
		assert_int_equal(epochlog_complete(&x.sb.log), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_begins_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_has_ended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_does_not_begin, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_slow_load_keeps_the_copy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusal_keeps_the_copy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unapplied_epoch_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_first_copy_is_dropped, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
