/* test_guard.c - tests the agent's side of the shutdown guard: its socket, and the messages DRAIN
 * and DRAIN_STATE. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "guard/guard.h"
#include "msg_frames.h"

static struct guard *guard;
static char dir[64];
static struct wire_drain drain;

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_guard.XXXXXX");
	assert_non_null(mkdtemp(dir));
	guard = guard_open(dir);
	assert_non_null(guard);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	guard = guard_close(guard);
	assert_int_equal(rmdir(dir), 0); /* the socket is gone too */
	return 0;
}

static int connect_client(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(guard_path(dir, sa.sun_path, sizeof(sa.sun_path)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* Serve everything that waits at the sockets. */
static void serve(void)
{
	struct pollfd fds[GUARD_N_FDS];

	for (int i = 0; i < 4; i++) {
		guard_poll(guard, fds);
		(void)poll(fds, GUARD_N_FDS, 0);
		guard_serve(guard, fds);
	}
}

static void request(int fd, const char *text)
{
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	serve();
}

static bool take(void)
{
	struct bytes_writer w = writer(64);
	struct wire_frame frame;

	if (!guard_take(guard, &w))
		return false;
	frame = frame_of(WIRE_DRAIN, scratch, (size_t)(w.at - scratch), 0);
	assert_int_equal(wire_drain_decode(&frame, &drain, NULL), 0);
	frame_done(&frame);
	return true;
}

static int say(uint8_t state, uint16_t n_left, const char *text)
{
	struct wire_drain_state said = {.state = state, .n_left = n_left};
	struct bytes_writer w = writer(2048);
	struct wire_frame frame;
	int r;

	strcpy(said.text, text);
	assert_int_equal(wire_drain_state_encode(&said, &w), 0);
	frame = frame_of(WIRE_DRAIN_STATE, scratch, (size_t)(w.at - scratch), 0);
	r = guard_state(guard, &frame);
	frame_done(&frame);
	return r;
}

static void hears(int fd, const char *expected)
{
	char text[4096];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	if (!strstr(text, expected))
		fail_msg("'%s' has no '%s'", text, expected);
}

static void test_asks(void **state)
{
	struct stat st;
	char path[128];
	int fd = connect_client();

	(void)state;
	assert_int_equal(guard_path(dir, path, sizeof(path)), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_false(take()); /* no gateway is connected */
	guard_connected(guard, WIRE_CONTROL_FEATURES);
	assert_true(take());
	assert_int_equal(drain.what, WIRE_DRAIN_IS_UP);
	assert_false(take());
	assert_int_equal(say(WIRE_DRAIN_NOT, 0, "of no matter"), 0);
	request(fd, "down 60\n");
	assert_true(take());
	assert_int_equal(drain.what, WIRE_DRAIN_GOES_DOWN);
	assert_int_equal(drain.limit_s, 60);
	assert_false(take());
	assert_int_equal(say(WIRE_DRAIN_RUNS, 0, "web1 was moved"), 0);
	hears(fd, "state 1 0 web1 was moved\n");
	/* a new gateway connects: it is asked too */
	guard_connected(guard, WIRE_CONTROL_FEATURES);
	assert_true(take());
	assert_int_equal(drain.what, WIRE_DRAIN_GOES_DOWN);
	assert_int_equal(say(WIRE_DRAIN_DONE, 2, "2 are left"), 0);
	hears(fd, "state 2 2 2 are left\n");
	/* The guard's process has ended. A new gateway is told that the host stays up. */
	close(fd);
	serve();
	guard_connected(guard, WIRE_CONTROL_FEATURES);
	assert_true(take());
	assert_int_equal(drain.what, WIRE_DRAIN_IS_UP);
}

/* A DRAIN_STATE that the gateway sent before it got the guard's request does not count as the
 * answer to it. */
static void test_not_yet(void **state)
{
	int fd = connect_client();

	(void)state;
	request(fd, "down 60\n");
	hears(fd, "state 1 0 no gateway");
	guard_connected(guard, WIRE_CONTROL_FEATURES);
	assert_int_equal(say(WIRE_DRAIN_DONE, 0, "of an earlier drain"), 0);
	assert_int_equal(recv(fd, scratch, 1, MSG_DONTWAIT), -1);
	assert_true(take());
	close(fd);
}

static void test_old_gateway(void **state)
{
	int fd = connect_client();

	(void)state;
	guard_connected(guard, WIRE_CONTROL_FEATURES & ~WIRE_FEATURE_DRAIN);
	request(fd, "down 60\n");
	assert_false(take());
	guard_connected(guard, WIRE_CONTROL_FEATURES & ~WIRE_FEATURE_DRAIN);
	hears(fd, "state 0 0 the gateway is too old");
	close(fd);
}

static void test_bad_requests(void **state)
{
	static const char *const bad[] = {
		"down 0\n", "down 86401\n", "down -1\n", "up 60\n", "\n", "down 60 alpha\n",
		"down 99999999999999999999999999999999",
	};

	(void)state;
	guard_connected(guard, WIRE_CONTROL_FEATURES);
	assert_true(take());
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = connect_client();

		request(fd, bad[i]);
		hears(fd, "state 0 0 the agent does not understand");
		assert_false(take());
		close(fd);
	}
}

static void test_two(void **state)
{
	int first = connect_client(), second;

	(void)state;
	guard_connected(guard, WIRE_CONTROL_FEATURES);
	(void)take();
	request(first, "down 60\n");
	assert_true(take());
	second = connect_client();
	serve();
	hears(first, "another shutdown-guard");
	request(second, "down 30\n");
	assert_true(take());
	assert_int_equal(drain.limit_s, 30);
	request(second, "and more\n"); /* a second line, which the protocol does not allow */
	assert_int_equal(recv(second, scratch, 1, MSG_DONTWAIT), 0);
	assert_int_equal(say(WIRE_DRAIN_RUNS, 0, "x"), 0);
	close(first);
	close(second);
}

static void test_wrong_state(void **state)
{
	struct wire_frame frame =
		frame_of(WIRE_DRAIN_STATE, (const uint8_t[]){3, 0, 0, 0, 0}, 5, 0);

	(void)state;
	assert_int_equal(guard_state(guard, &frame), -EPROTO);
	frame_done(&frame);
	assert_null(guard_open("/nowhere/at/all"));
	guard_serve(NULL, NULL);
	guard_connected(NULL, WIRE_CONTROL_FEATURES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_asks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_yet, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_old_gateway, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_state, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
