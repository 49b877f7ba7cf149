/* test_vm_guest.c - tests what the agent sees of an unprotected guest: whether QEMU is alive, and
 * how many of the guest's frames are its own, not QEMU's announcements. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "vm/vm_guest_private.h"

/* Start a process that listens at @path as QEMU's monitor does, until it is killed. */
static pid_t start_listener(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		strcpy(address.sun_path, path);
		(void)unlink(path);
		if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		    listen(fd, 1) < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void end_listener(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_alive(void **state)
{
	char dir[] = "/tmp/holdfast-test-XXXXXX", path[64];
	struct vm_guest guest;
	pid_t pid, seen;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/qmp", dir);
	vm_guest_init(&guest);
	assert_int_equal(vm_guest_get(&guest, &seen), VM_GUEST_UNKNOWN);
	assert_false(vm_guest_look(&guest, "", 0)); /* no monitor's path is configured */
	assert_true(vm_guest_look(&guest, path, 0));
	assert_int_equal(vm_guest_get(&guest, &seen), VM_GUEST_GONE);

	pid = start_listener(path);
	assert_true(vm_guest_look(&guest, path, 0));
	assert_int_equal(vm_guest_get(&guest, &seen), VM_GUEST_ALIVE);
	assert_int_equal(seen, pid);
	assert_false(vm_guest_look(&guest, path, 0));
	end_listener(pid); /* the socket's file stays */
	assert_true(vm_guest_look(&guest, path, 0));
	assert_int_equal(vm_guest_get(&guest, &seen), VM_GUEST_GONE);
	assert_int_equal(seen, pid);

	pid = start_listener(path); /* the user started the guest again */
	assert_true(vm_guest_look(&guest, path, 0));
	assert_int_equal(vm_guest_get(&guest, &seen), VM_GUEST_ALIVE);
	assert_int_equal(seen, pid);
	end_listener(pid);
	vm_guest_done(&guest);
	(void)unlink(path);
	(void)rmdir(dir);
}

static void test_frames(void **state)
{
	static const char dev[] =
		"Inter-|   Receive                                                |  Transmit\n"
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes\n"
		"    lo:    1000      10    0    0    0     0          0         0     1000      "
		"10\n"
		" xtap0:     111       1    0    0    0     0          0         0      222       "
		"2\n"
		"  tap0:  123456    1234    0    0    0     0          0         0      333       "
		"3\n";
	struct vm_guest_frames f;

	(void)state;
	assert_int_equal(vm_guest_parse_dev(dev, "tap0", &f), 0);
	assert_int_equal(f.bytes, 123456);
	assert_int_equal(f.packets, 1234);
	assert_int_equal(vm_guest_parse_dev(dev, "tap", &f), -ENOENT);
	assert_int_equal(vm_guest_parse_dev(dev, "", &f), -ENOENT);
	assert_int_equal(vm_guest_parse_dev(dev, "tap1", &f), -ENOENT);
}

static uint64_t own(uint64_t packets, uint64_t bytes)
{
	const struct vm_guest_frames base = {1000, 50000}, now = {1000 + packets, 50000 + bytes};

	return vm_guest_own_frames(&base, &now);
}

/* QEMU's announcements do not count as the guest's own frames. */
static void test_announcements(void **state)
{
	const struct vm_guest_frames more = {10, 600}, less = {9, 540};

	(void)state;
	assert_int_equal(own(0, 0), 0);
	assert_int_equal(own(5, 5 * 60), 0);
	assert_int_equal(own(10, 10 * 60), 0);
	assert_int_equal(own(1, 42), 1); /* an ARP answer */
	assert_int_equal(own(6, 5 * 60 + 42), 1);
	assert_int_equal(own(40, 40 * 60), 30);
	/* the counters fell because the tap was recreated */
	assert_int_equal(vm_guest_own_frames(&more, &less), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alive),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_announcements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
