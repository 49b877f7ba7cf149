/* test_standby_disks.c - tests when a standby replays its disk log into the images. It must do so
 * before a guest boots from the images. It must not overwrite what the guest itself has written to
 * them. QEMU is a program that ends at once. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "qemu_process.h"
#include "standby/standby_private.h"
#include "standby_fixture.h"

#define AT 512u /* where the copy's newest write is, on vda */

static struct fixture *x;
static struct standby sb; /* the agent that finds the copy and the log */
static char log_path[80], command_file[80];

/* The copy's newest epoch writes @byte to a sector of vda. */
static void write_in_epoch(uint8_t byte)
{
	uint8_t data[512], reference[BLOB_ROOM];
	const struct wire_disk_record record = {.op = WIRE_DISK_WRITE, .bytes = sizeof(data),
						.offset = AT, .data = data};
	struct epochcheck_error error;

	memset(data, byte, sizeof(data));
	memcpy(reference, x->model.blob, sizeof(reference));
	feed_clear(&x->feed);
	feed_begin(&x->feed, false);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, reference, true);
	feed_disk(&x->feed, "vda", &record, 1);
	feed_end(&x->feed);
	assert_int_equal(fixture_take(x, &error), 1);
}

static void put(char byte)
{
	int fd = open(x->image_paths[0], O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, &byte, 1, AT), 1);
	close(fd);
}

static char get(void)
{
	int fd = open(x->image_paths[0], O_RDONLY | O_CLOEXEC);
	char byte = 0;

	assert_int_equal(pread(fd, &byte, 1, AT), 1);
	close(fd);
	return byte;
}

/* Start an agent. @owns: this host ran the guest last. */
static void start_agent(bool owns)
{
	static char ram_path[80];
	struct standby_disk disks[N_DISKS];
	struct error error;

	memset(&sb, 0, sizeof(sb));
	for (unsigned i = 0; i < N_DISKS; i++) {
		disks[i] = (struct standby_disk){.path = x->image_paths[i]};
		strcpy(disks[i].name, x->images.item[i].name);
	}
	sb.config = (struct standby_config){.vm = "web1", .disk_log = log_path, .owns_disks = owns,
					    .command_file = command_file,
					    .start_timeout_ms = 10000};
	snprintf(ram_path, sizeof(ram_path), "%s/ram", x->dir);
	assert_int_equal(images_init(&sb.images, disks, N_DISKS, &error), 0);
	assert_int_equal(qemu_init(&sb.qemu, "web1", "standby", x->dir, ram_path, &error), 0);
	sb.rehearsal.pid = sb.rehearsal.pidfd = -1;
	assert_true(standby_load_command(&sb, &error) >= 0);
	assert_int_equal(ramfile_open(x->dir, &sb.rf), 0);
	assert_int_equal(epochlog_open(&sb.rf, &sb.images, BYTES_MAX, &sb.log), 0);
	standby_recover_disks(&sb);
}

static void end_agent(void)
{
	images_close(&sb.images);
	epochlog_close(&sb.log);
	durable_close(&sb.durable);
	ramfile_close(&sb.rf);
	qemu_done(&sb.qemu);
}

static int carry_out(enum standby_order what)
{
	struct standby_command c = {.order = what, .term = TERM + 1};

	standby_carry_out(&sb, &c);
	return c.result;
}

/* Set up a copy with a disk log. The log's newest write is 'A'. */
static int set_up(void **state)
{
	struct durable durable = {0};
	struct epochcheck_error error;
	struct error why;
	FILE *file;

	if (fixture_setup(state) != 0)
		return -1;
	x = *state;
	snprintf(log_path, sizeof(log_path), "%s.hflog", x->dir);
	snprintf(command_file, sizeof(command_file), "%s/command", x->dir);
	file = fopen(command_file, "we");
	assert_non_null(file);
	fprintf(file, "/bin/false -m 1 -name web1\n");
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(command_file, 0600), 0);
	assert_int_equal(durable_open(&durable, &x->rf, &x->images, log_path, DISKLOG_BYTES_MIN,
				      &why), 0);
	x->log.durable = &durable;
	feed_geometry(&x->feed);
	fixture_make_epoch(x, true);
	assert_int_equal(fixture_take(x, &error), 1);
	write_in_epoch('A');
	assert_int_equal(get(), 'A');
	fixture_close(x);
	durable_close(&durable);
	return 0;
}

static int tear_down(void **state)
{
	end_agent();
	(void)unlink(log_path);
	fixture_open(x); /* fixture_teardown() closes it */
	return fixture_teardown(state);
}

/* Drop the copy. Then write 'B' to the images, like a guest that was started from them by hand. */
static void drop_copy(void)
{
	assert_int_equal(epochlog_discard(&sb.rf), 0);
	end_agent();
	put('B');
}

/* Without a copy in memory and without a guest here, the log is replayed. */
static void test_lost_copy(void **state)
{
	(void)state;
	start_agent(false);
	drop_copy();
	start_agent(false);
	assert_int_equal(get(), 'A');
	assert_true(sb.disks_epoch > 0);
}

/* This host's role says that the guest ran here last. So the log is not replayed, and ends. */
static void test_an_owner_replays_nothing(void **state)
{
	(void)state;
	start_agent(false);
	drop_copy();
	start_agent(true);
	assert_int_equal(get(), 'B');
	assert_int_equal(sb.disks_epoch, 0);
	end_agent();
	/* The host is no longer the owner, but the log has ended, so it is not replayed. */
	start_agent(false);
	assert_int_equal(get(), 'B');
}

/* The agent is told that the guest runs here, so it ends the log. */
static void test_a_new_owner_ends_the_log(void **state)
{
	(void)state;
	start_agent(false);
	assert_int_equal(carry_out(STANDBY_ORDER_OWN), 0);
	assert_int_equal(carry_out(STANDBY_ORDER_OWN), 0); /* nothing is left to do */
	drop_copy();
	start_agent(false);
	assert_int_equal(get(), 'B');
}

/* @expected: a replay of the log makes the images whole. Check that the log says so, and that the
 * agent reports the log's epoch; if not @expected, check that neither does. */
static void has_whole_images(bool expected)
{
	struct disklog_state state;

	disklog_get_state(sb.durable.log, &state);
	assert_int_equal(state.is_copy, expected);
	assert_int_equal(sb.disks_epoch > 0, expected);
	if (expected)
		assert_int_equal(sb.disks_epoch, state.epoch);
}

/* An epoch of the copy was acknowledged, but not applied completely. The gateway orders a start of
 * the guest from the images: the log is replayed first. */
static void test_boot_replays(void **state)
{
	(void)state;
	start_agent(false);
	put('0'); /* the acknowledged write is not there */
	assert_int_equal(carry_out(STANDBY_ORDER_BOOT), -EIO);
	assert_int_equal(get(), 'A');
	/* Somebody has started the guest by hand. Its writes must not be overwritten by the
	 * log's. */
	put('B');
	end_agent();
	start_agent(false);
	assert_int_equal(get(), 'B');
	assert_int_equal(carry_out(STANDBY_ORDER_BOOT), -EIO);
	assert_int_equal(get(), 'B');
}

/* QEMU does not start, so no guest has written to the images, and the log stays valid for the next
 * order and the next agent. */
static void test_a_failed_boot_keeps_the_log(void **state)
{
	(void)state;
	start_agent(false);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(carry_out(STANDBY_ORDER_BOOT), -EIO);
		has_whole_images(true);
	}
	end_agent();
	start_agent(false);
	has_whole_images(true);
	assert_int_equal(unlink(command_file), 0);
	assert_int_equal(carry_out(STANDBY_ORDER_BOOT), -ENOENT);
	has_whole_images(true);
}

/* A promotion fails before the guest's first instruction. Then both hosts lose their power. The log
 * still describes the images. */
static void test_a_failed_promotion_keeps_the_log(void **state)
{
	struct qemu_shared *shared = qemu_share();

	(void)state;
	start_agent(false);
	sb.config.promote_timeout_ms = 10000;
	sb.qemu.pid = qemu_start_process(shared, sb.qemu.qmp_path, false);
	sb.qemu.pidfd = pidfd_open(sb.qemu.pid, 0);
	assert_true(sb.qemu.pid > 0 && sb.qemu.pidfd >= 0);
	assert_int_equal(qmp_open(sb.qemu.qmp_path, CLOCK_NS_PER_S, &sb.qemu.qmp), 0);
	/* this QEMU has no memory blocks, so the copy does not fit */
	assert_int_equal(carry_out(STANDBY_ORDER_PROMOTE), -EINVAL);
	assert_int_equal(sb.state, STANDBY_STATE_FAILED);
	drop_copy();
	start_agent(false);
	has_whole_images(true);
	assert_int_equal(get(), 'A');
	(void)munmap(shared, sizeof(*shared));
}

/* While the log cannot be replayed, no guest boots, and the log stays. */
static void test_no_boot_without_the_log(void **state)
{
	(void)state;
	start_agent(false);
	put('0');
	assert_int_equal(truncate(x->image_paths[0], AT), 0); /* the write does not fit */
	assert_int_equal(carry_out(STANDBY_ORDER_BOOT), -ERANGE);
	assert_non_null(strstr(sb.text, "the disk log cannot be replayed"));
	assert_true(sb.qemu.log_path[0] && access(sb.qemu.log_path, F_OK) < 0); /* no QEMU ran */
	assert_int_equal(truncate(x->image_paths[0], DISK_BYTES), 0);
	assert_int_equal(carry_out(STANDBY_ORDER_BOOT), -EIO);
	assert_int_equal(get(), 'A');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lost_copy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_owner_replays_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_new_owner_ends_the_log, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_boot_replays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_failed_boot_keeps_the_log, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_failed_promotion_keeps_the_log, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_no_boot_without_the_log, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
