/* test_control_newcomers.c - tests new connections of operators, made over loopback: strangers take
 * neither the operators' places nor the event loop's time. */
#include "control_lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"

#define N_STRANGERS 40

static int strangers[N_STRANGERS], operator_fd;

static void serve_all(void)
{
	while (source_wait(control->epoll_fd, 0) > 0)
		;
}

/* Connect from @ip and send @hello, unless it is NULL. Returns the socket. */
static int knock(const char *ip, const uint8_t *hello, size_t size)
{
	struct sockaddr_in own = {.sin_family = AF_INET}, to;
	socklen_t to_size = sizeof(to);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, ip, &own.sin_addr), 1);
	assert_int_equal(getsockname(control->listener.fd, (struct sockaddr *)&to, &to_size), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, to_size), 0);
	assert_int_equal(send(fd, hello, size, MSG_NOSIGNAL), size);
	serve_all();
	return fd;
}

static int forget_all(void **state)
{
	for (size_t i = 0; i < N_STRANGERS; i++)
		strangers[i] = fd_close(strangers[i] > 0 ? strangers[i] : -1);
	operator_fd = fd_close(operator_fd);
	fixture_handshake_ns = 0;
	return close_control(state);
}

static bool is_open(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

static bool is_answered(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
}

/* An address that opens many connections loses its own oldest one, not an operator's. */
static void test_strangers_push_out_their_own(void **state)
{
	(void)state;
	operator_fd = knock("127.0.0.1", NULL, 0); /* the operator's handshake starts late */
	for (size_t i = 0; i < N_STRANGERS; i++)
		strangers[i] = knock("127.0.0.9", NULL, 0);
	assert_true(is_open(operator_fd));
	assert_false(is_open(strangers[0]));
	assert_true(is_open(strangers[N_STRANGERS - 1]));
	assert_int_equal(control->n_connections, CONTROL_UNPROVEN_MAX);
}

/* Operators' handshakes get only a limited share of the event loop's time: the loop also serves the
 * agents. */
static void test_handshakes_have_a_budget(void **state)
{
	uint64_t now_ns = clock_mono_ns(), began_ns;
	struct wire_tls *tls;
	const uint8_t *hello;
	unsigned int n_answered = 0;
	size_t size;

	(void)state;
	assert_int_equal(wire_tls_new(f.alpha, WIRE_PEER_GATEWAY, 0, &tls), 0);
	(void)!wire_tls_handshake(tls);
	hello = wire_tls_output(tls, &size);
	fixture_handshake_ns = 60 * MS;
	control_tick(control, now_ns);
	for (size_t i = 0; i < 12; i++) {
		strangers[i] = knock("127.0.0.9", hello, size);
		n_answered += is_answered(strangers[i]);
	}
	/* one handshake continues at once, then one for every 300 ms that the test takes */
	assert_in_range(n_answered, 1, 6);
	operator_fd = knock("127.0.0.1", hello, size);
	assert_false(is_answered(operator_fd));
	/* The loop wakes up for the waiting handshakes. The operator's handshake comes first: all
	 * others are from one address. */
	began_ns = clock_mono_ns();
	now_ns = control_deadline_ns(control);
	assert_in_range(now_ns, 1, began_ns + 500 * MS);
	control_tick(control, now_ns);
	assert_true(is_answered(operator_fd));
	while (control_deadline_ns(control) != UINT64_MAX) {
		now_ns = control_deadline_ns(control);
		control_tick(control, now_ns);
	}
	for (size_t i = 0; i < 12; i++)
		assert_true(is_answered(strangers[i]));
	/* seven handshakes cost 60 ms each, and handshakes may use only a fifth of the time */
	assert_true(now_ns - began_ns > 1000 * MS);
	wire_tls_free(tls);
}
int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_control, forget_all)
	const struct CMUnitTest tests[] = {
		TEST(test_strangers_push_out_their_own),
		TEST(test_handshakes_have_a_budget),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
