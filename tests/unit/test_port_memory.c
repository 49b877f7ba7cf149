/* Tests the port without a NIC, and finding a driver's socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "port/port_memory.h"
#include "port/wakefd.h"

static struct port *open_port(void)
{
	struct port_config config = { .device = "memory" };
	struct port *port = NULL;
	struct error error;

	assert_int_equal(port_open(&config, &port, &error), 0);
	return port;
}

static void test_in(void **state)
{
	struct port *port = open_port();
	struct pollfd wait = { .fd = port_wait_fd(port), .events = POLLIN };
	struct port_frame frames[4];
	char large[PORT_FRAME_MAX + 1] = { 0 };

	(void)state;
	assert_int_equal(poll(&wait, 1, 0), 0);
	assert_false(port_arm(port));
	assert_int_equal(port_memory_inject(port, "one", 3), 0);
	assert_int_equal(port_memory_inject(port, "three", 5), 0);
	assert_int_equal(port_memory_inject(port, large, sizeof(large)), -EMSGSIZE);
	assert_int_equal(poll(&wait, 1, 0), 1); /* stays readable until the frames are taken */
	port_disarm(port);
	assert_true(port_arm(port));
	assert_int_equal(port_receive(port, frames, 4), 2);
	assert_int_equal(frames[1].size, 5);
	assert_memory_equal(frames[1].data, "three", 5);
	assert_int_equal(port_memory_outstanding(port), 2);
	port_frame_free(frames[0].handle);
	port_frame_free(frames[1].handle);
	port_frame_free(NULL);
	assert_int_equal(port_memory_outstanding(port), 0);
	port_disarm(port);
	assert_int_equal(poll(&wait, 1, 0), 0);
	port_close(port);
}

static void test_out(void **state)
{
	struct port *port = open_port();
	struct port_counters counters;
	char large[PORT_FRAME_MAX + 1] = { 0 }, frame[PORT_FRAME_MAX];
	struct iovec pieces[2] = { { (char *)"ab", 2 }, { (char *)"cde", 3 } };
	struct iovec full = { large, PORT_FRAME_MAX }, over = { large, PORT_FRAME_MAX + 1 };
	struct iovec none = { large, 0 };

	(void)state;
	assert_int_equal(port_transmit(port, pieces, 2), 0);
	assert_int_equal(port_transmit(port, &full, 1), 0);
	assert_int_equal(port_transmit(port, &over, 1), -EMSGSIZE);
	assert_int_equal(port_transmit(port, &none, 1), -EMSGSIZE);
	assert_int_equal(port_memory_collect(port, frame), -EAGAIN); /* not flushed yet */
	port_flush(port);
	assert_int_equal(port_memory_collect(port, frame), 5);
	assert_memory_equal(frame, "abcde", 5);
	assert_int_equal(port_memory_collect(port, frame), PORT_FRAME_MAX);
	assert_int_equal(port_memory_collect(port, frame), -EAGAIN);
	port_get_counters(port, &counters);
	assert_int_equal(counters.tx_frames, 2);
	assert_int_equal(counters.tx_dropped, 2);
	port_close(port);
}

static void test_wakefd(void **state)
{
	struct wakefd_view before;
	int early = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), late, other, second;

	(void)state;
	assert_true(early >= 0);
	assert_int_equal(wakefd_look(&before), 0);
	assert_int_equal(wakefd_find(&before, AF_UNIX), -ENOENT); /* no new socket yet */
	other = dup(STDERR_FILENO);
	late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(wakefd_find(&before, AF_UNIX), late);
	assert_int_equal(wakefd_find(&before, AF_PACKET), -ENOENT);
	second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(wakefd_find(&before, AF_UNIX), -ENOENT); /* two candidates: ambiguous */
	close(second);
	close(late);
	close(other);
	close(early);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in),
		cmocka_unit_test(test_out),
		cmocka_unit_test(test_wakefd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
