/* test_standby_orders.c - tests what the gateway's orders do to the copy that a standby has. QEMU
 * is a program that ends at once, so no guest ever runs here. Where a test needs a running guest,
 * this process or one that waits stands for the guest's QEMU. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bare_standby.h"

#define HELD_EPOCH 3u

static struct bare_standby x;
static struct standby_command order;
static char command_file[96];

/* Write the command file: a QEMU with @mib of RAM. */
static void say_ram(unsigned mib)
{
	FILE *file = fopen(command_file, "we");

	assert_non_null(file);
	fprintf(file, "/bin/false -m %u -name web1\n", mib);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(command_file, 0600), 0);
}

/* Set up an agent that has restarted and has found the copy of a guest with 1 MiB of RAM. */
static int set_up(void **state)
{
	struct error error;

	(void)state;
	bare_standby_open(&x);
	(void)snprintf(command_file, sizeof(command_file), "%s/command", x.dir);
	(void)snprintf(x.sb.ram_path, sizeof(x.sb.ram_path), "%s/ram", x.dir);
	assert_int_equal(qemu_init(&x.sb.qemu, "web1", "standby", x.dir, x.sb.ram_path, &error), 0);
	x.sb.rehearsal.pid = x.sb.rehearsal.pidfd = -1;
	x.sb.config.command_file = command_file;
	x.sb.config.start_timeout_ms = 10000;
	x.sb.config.promote_timeout_ms = 10000;
	assert_int_equal(ramfile_reserve(&x.sb.rf, 1 << 20), 0);
	bare_standby_hold(&x, HELD_EPOCH);
	say_ram(1);
	assert_true(standby_load_command(&x.sb, &error) >= 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	standby_give_back(&x.sb);
	qemu_done(&x.sb.qemu);
	bare_standby_close(&x);
	return 0;
}

static int carry_out(enum standby_order what, uint64_t term)
{
	order = (struct standby_command){.order = what, .term = term};
	standby_carry_out(&x.sb, &order);
	return order.result;
}

/* The operator has changed the RAM in the command file for the guest's next boot. START must fail
 * and keep the copy. */
static void test_another_size_keeps_the_copy(void **state)
{
	(void)state;
	say_ram(2);
	assert_int_equal(carry_out(STANDBY_ORDER_START, BARE_STANDBY_TERM), -EINVAL);
	assert_non_null(strstr(order.error.text, "says -m 2M, but the copy of the guest has 1 "));
	assert_string_equal(x.sb.text, order.error.text);
	assert_int_equal(x.sb.state, STANDBY_STATE_FAILED);
	assert_int_equal(epochlog_complete(&x.sb.log), HELD_EPOCH);
	assert_int_equal(x.sb.rf.ram_bytes, 1 << 20);
	/* The file is corrected. START now fails only because QEMU ends at once, and keeps the
	 * copy. */
	say_ram(1);
	assert_int_equal(carry_out(STANDBY_ORDER_START, BARE_STANDBY_TERM), -EIO);
	assert_int_equal(epochlog_complete(&x.sb.log), HELD_EPOCH);
}

/* The copy is of an older term, or there is none. START may then use the RAM size of the command
 * file. */
static void test_another_size_without_a_copy(void **state)
{
	(void)state;
	say_ram(2);
	assert_int_equal(carry_out(STANDBY_ORDER_START, BARE_STANDBY_TERM + 1), -EIO);
	assert_int_equal(epochlog_complete(&x.sb.log), 0);
	say_ram(3);
	assert_int_equal(carry_out(STANDBY_ORDER_START, BARE_STANDBY_TERM + 1), -EIO);
	assert_int_equal(x.sb.qemu.cmdline.ram_bytes, 3 << 20);
}

/* When the gateway orders a start of the guest here, the host takes no more epochs, even if the
 * guest does not start. So the reserved room is given back. */
static void test_boot_gives_room_back(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(standby_reserve(&x.sb, &error), 0);
	assert_true(x.sb.room.bytes > 0 && x.sb.log.reserve_bytes > 0);
	assert_int_equal(carry_out(STANDBY_ORDER_BOOT, BARE_STANDBY_TERM + 1), -EIO);
	assert_int_equal(x.sb.room.bytes, 0);
	assert_int_equal(x.sb.log.reserve_bytes, 0);
	assert_false(x.sb.is_room_known);
}

/* ---- a guest that was promoted here in an older term */

static uint64_t recorded_term, told_term;

/* Record that the guest may run here in @term. */
static int may_run(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error)
{
	(void)limit_ns;
	(void)ret_error;
	told_term = ((struct standby *)arg)->rf.meta.term;
	recorded_term = term;
	return 0;
}

static void promoted_in(uint64_t term, enum ramfile_phase phase)
{
	struct ramfile_meta meta = {.term = term, .phase = phase, .applied_epoch = HELD_EPOCH};

	assert_int_equal(ramfile_store_meta(&x.sb.rf, &meta), 0);
	x.sb.config.may_run = may_run;
	x.sb.config.changed_arg = &x.sb;
	x.sb.qemu.pid = getpid();
	x.sb.state = STANDBY_STATE_RUNNING;
	recorded_term = 0;
}

static int promote(uint64_t term, uint64_t min_epoch)
{
	order = (struct standby_command){.order = STANDBY_ORDER_PROMOTE, .term = term,
					 .epoch = min_epoch};
	standby_carry_out(&x.sb, &order);
	return order.result;
}

/* A PROMOTE was carried out late, after the gateway had given it up. The gateway orders another
 * PROMOTE, which must succeed. */
static void test_late_promotion(void **state)
{
	(void)state;
	promoted_in(BARE_STANDBY_TERM + 1, RAMFILE_RUNNING);
	assert_int_equal(promote(BARE_STANDBY_TERM + 3, HELD_EPOCH), 0);
	assert_int_equal(order.ret_epoch, HELD_EPOCH);
	assert_int_equal(x.sb.rf.meta.term, BARE_STANDBY_TERM + 3);
	assert_int_equal(x.sb.rf.meta.phase, RAMFILE_RUNNING);
	assert_int_equal(x.sb.state, STANDBY_STATE_RUNNING);
	/* may_run() has recorded the term before the standby's own file has it */
	assert_int_equal(recorded_term, BARE_STANDBY_TERM + 3);
	assert_int_equal(told_term, BARE_STANDBY_TERM + 1);
	/* the same order again, and an older one */
	assert_int_equal(promote(BARE_STANDBY_TERM + 3, HELD_EPOCH), 0);
	assert_int_equal(promote(BARE_STANDBY_TERM + 2, HELD_EPOCH), -ESTALE);
	assert_int_equal(x.sb.rf.meta.term, BARE_STANDBY_TERM + 3);
	x.sb.qemu.pid = -1;
}

static void test_no_late_promotion(void **state)
{
	(void)state;
	/* the guest was promoted from an epoch before the one in the order */
	promoted_in(BARE_STANDBY_TERM + 1, RAMFILE_RUNNING);
	assert_int_equal(promote(BARE_STANDBY_TERM + 2, HELD_EPOCH + 1), -ESTALE);
	/* an agent died in the middle of a promotion: the guest may stand still */
	promoted_in(BARE_STANDBY_TERM + 1, RAMFILE_PROMOTED);
	assert_int_equal(promote(BARE_STANDBY_TERM + 2, HELD_EPOCH), -ESTALE);
	/* the guest's QEMU has ended, so PROMOTE is refused */
	promoted_in(BARE_STANDBY_TERM + 1, RAMFILE_RUNNING);
	x.sb.qemu.pid = -1;
	assert_int_equal(promote(BARE_STANDBY_TERM + 2, HELD_EPOCH), -ESTALE);
	/* the guest was fenced, so PROMOTE is refused */
	promoted_in(BARE_STANDBY_TERM + 1, RAMFILE_RUNNING);
	x.sb.qemu.pid = -1;
	assert_int_equal(carry_out(STANDBY_ORDER_FENCE, BARE_STANDBY_TERM + 2), 0);
	assert_int_equal(promote(BARE_STANDBY_TERM + 3, HELD_EPOCH), -ENODATA);
	assert_int_equal(recorded_term, 0);
}

/* QEMU has ended during the promotion. The guest may have run, so the report must say that the
 * guest has ended. */
static void test_promoted_guest_has_ended(void **state)
{
	(void)state;
	promoted_in(BARE_STANDBY_TERM + 1, RAMFILE_PROMOTED);
	x.sb.qemu.pid = -1;
	assert_int_equal(carry_out(STANDBY_ORDER_PROMOTE, BARE_STANDBY_TERM + 1), -EIO);
	assert_true(standby_guest_has_ended(&x.sb));
	/* the end stays on record, whatever is asked next, until this host gives the guest up */
	assert_int_equal(carry_out(STANDBY_ORDER_PROMOTE, BARE_STANDBY_TERM + 1), -EIO);
	standby_check_qemu(&x.sb, 0);
	assert_true(standby_guest_has_ended(&x.sb));
	assert_int_equal(carry_out(STANDBY_ORDER_FENCE, BARE_STANDBY_TERM + 2), 0);
	assert_false(standby_guest_has_ended(&x.sb));
}

/* Start a process that waits, with the path of the standby's monitor among its arguments. */
static pid_t start_waiter(void)
{
	char monitor[QEMU_PATH_MAX + 8];
	int pipe_fds[2];
	pid_t pid;

	(void)snprintf(monitor, sizeof(monitor), "unix:%s,", x.sb.qemu.qmp_path);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* end the waiter even if the test fails */
		if (read(pipe_fds[0], monitor, 0) == 0)
			execl("/bin/sleep", monitor, "60", NULL);
		_exit(1);
	}
	close(pipe_fds[0]);
	assert_true(pid > 0);
	/* execl() closes the child's end */
	assert_int_equal(poll(&(struct pollfd){.fd = pipe_fds[1]}, 1, 30000), 1);
	close(pipe_fds[1]);
	return pid;
}

static void kill_and_wait(pid_t pid)
{
	siginfo_t info;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

/* An order notices the end of QEMU before standby_check_qemu() does. */
static void test_end_noticed_by_an_order(void **state)
{
	(void)state;
	promoted_in(BARE_STANDBY_TERM + 1, RAMFILE_PROMOTED);
	x.sb.qemu.pid = start_waiter();
	x.sb.qemu.pidfd = pidfd_open(x.sb.qemu.pid, 0);
	assert_false(standby_guest_has_ended(&x.sb));
	kill_and_wait(x.sb.qemu.pid);
	assert_true(carry_out(STANDBY_ORDER_PROMOTE, BARE_STANDBY_TERM + 1) < 0);
	assert_true(standby_guest_has_ended(&x.sb));
	assert_int_equal(x.sb.qemu.end.signal, SIGKILL);
	assert_non_null(strstr(x.sb.text, "QEMU was killed by signal 9"));
}

/* The agent was restarted, and cannot open QEMU's monitor. As the guest may still run, it counts as
 * running until its process has ended. */
static void test_found_without_monitor(void **state)
{
	pid_t pid = start_waiter();
	FILE *file;

	(void)state;
	file = fopen(x.sb.qemu.pid_path, "we");
	assert_non_null(file);
	fprintf(file, "%d\n", (int)pid);
	assert_int_equal(fclose(file), 0);
	promoted_in(BARE_STANDBY_TERM + 1, RAMFILE_RUNNING);
	x.sb.qemu.pid = -1;
	standby_resume_promoted(&x.sb);
	assert_int_equal(x.sb.qemu.pid, pid);
	assert_false(standby_guest_has_ended(&x.sb));
	assert_int_equal(x.sb.state, STANDBY_STATE_RUNNING);
	kill_and_wait(pid);
	standby_check_qemu(&x.sb, 0);
	assert_true(standby_guest_has_ended(&x.sb));
	assert_int_equal(x.sb.state, STANDBY_STATE_FAILED);
	assert_non_null(strstr(x.sb.text, "has ended: QEMU was killed by signal 9"));
	(void)unlink(x.sb.qemu.pid_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_another_size_keeps_the_copy, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_another_size_without_a_copy, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_boot_gives_room_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_late_promotion, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_late_promotion, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_promoted_guest_has_ended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end_noticed_by_an_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_found_without_monitor, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
