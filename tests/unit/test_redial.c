/* Tests how the connections of a host come back after the gateway was replaced: link/redial.h, the
 * limit that it sets for link_handshake(), and gateway_view_await(). */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "link/link.h"
#include "link/redial.h"
#include "mint_certs.h"
#include "supervision/gateway_view.h"

#define LOST_NS	   (1000 * CLOCK_NS_PER_S)
#define N_WAITING_MAX 16

static void is_eager_after_a_loss(void **state)
{
	struct redial r = {0};
	const uint64_t last_ns = LOST_NS + REDIAL_EAGER_NS - 1;
	const uint64_t slower_ns = LOST_NS + REDIAL_QUICK_FOR_NS;

	(void)state;
	/* the very first connection: none was lost before */
	assert_int_equal(redial_connect_by_ns(&r, LOST_NS), 0);
	assert_false(redial_is_eager(&r, false, LOST_NS));
	redial_lost(&r, LOST_NS);
	assert_int_equal(redial_connect_by_ns(&r, LOST_NS), LOST_NS + REDIAL_QUICK_NS);
	/* the next attempt begins no earlier than this, even if the first is refused at once */
	assert_int_equal(r.next_ns, LOST_NS + REDIAL_QUICK_NS);
	assert_int_equal(redial_connect_by_ns(&r, slower_ns - 1), slower_ns - 1 + REDIAL_QUICK_NS);
	assert_int_equal(redial_connect_by_ns(&r, slower_ns), slower_ns + REDIAL_TRY_NS);
	assert_true(redial_is_eager(&r, false, LOST_NS));
	/* If the last attempt reached the other end, the next one is not made early, because it
	 * would cost the other end a handshake. */
	assert_false(redial_is_eager(&r, true, LOST_NS));
	assert_true(redial_is_eager(&r, false, last_ns));
	assert_false(redial_is_eager(&r, false, last_ns + 1));
	assert_int_equal(redial_connect_by_ns(&r, last_ns + 1), 0);
	redial_lost(&r, LOST_NS);
	redial_end(&r);
	assert_false(redial_is_eager(&r, false, LOST_NS));
}

/* Return a listener whose queue is full: it answers no SYN. @ret_waiting: the sockets in the
 * queue. */
static int deaf_listener(struct sockaddr_in *ret_at, int ret_waiting[N_WAITING_MAX])
{
	socklen_t size = sizeof(*ret_at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_at = (struct sockaddr_in){.sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)ret_at, sizeof(*ret_at)), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret_at, &size), 0);
	for (size_t i = 0; i < N_WAITING_MAX; i++) {
		ret_waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)!connect(ret_waiting[i], (struct sockaddr *)ret_at, sizeof(*ret_at));
	}
	return fd;
}

static void handshake_gives_up_at_tcp(void **state)
{
	struct wire_tls_context *tls = *state;
	struct link_config config = {.address = "127.0.0.1", .tls = tls, .connect_by_ns = 1};
	struct wire_welcome welcome;
	struct wire_hello hello;
	struct sockaddr_in at;
	struct link *link;
	int waiting[N_WAITING_MAX], fd = deaf_listener(&at, waiting);

	wire_hello_init(&hello, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, "");
	config.port = ntohs(at.sin_port);
	assert_int_equal(link_open(&config, &link), 0);
	/* without redial's limit, this call would wait for an hour */
	assert_int_equal(link_handshake(link, &hello, 0, 0, clock_mono_ns() + 3600 * CLOCK_NS_PER_S,
					&welcome), -ETIMEDOUT);
	assert_false(link_was_reached(link));
	link_free(link);
	for (size_t i = 0; i < N_WAITING_MAX; i++)
		fd_close(waiting[i]);
	fd_close(fd);
}

static void handshake_goes_on_behind_tcp(void **state)
{
	struct link_config config = {.address = "127.0.0.1", .tls = *state};
	struct wire_welcome welcome;
	struct wire_hello hello;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	struct link *link;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	wire_hello_init(&hello, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, "");
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	config.port = ntohs(at.sin_port);
	config.connect_by_ns = clock_mono_ns() + 3600 * CLOCK_NS_PER_S;
	assert_int_equal(link_open(&config, &link), 0);
	assert_int_equal(link_handshake(link, &hello, 0, 0, clock_mono_ns() + 20 * CLOCK_NS_PER_MS,
					&welcome), -ETIMEDOUT);
	assert_true(link_was_reached(link)); /* its TCP has answered, its TLS has not */
	link_free(link);
	fd_close(fd);
}

/* ---- a stream waits until the control connection obeys */

static void *obey_30(void *arg)
{
	gateway_view_obey(arg, 20);
	gateway_view_obey(arg, 30);
	return NULL;
}

static void stream_waits_for_control(void **state)
{
	static struct gateway_view view;
	const uint64_t never_ns = clock_mono_ns() + 3600 * CLOCK_NS_PER_S;
	pthread_t thread;

	(void)state;
	gateway_view_obey(&view, 10);
	assert_true(gateway_view_await(&view, 10, never_ns));
	/* the host obeys gateway number 10, and 9 is older */
	assert_false(gateway_view_await(&view, 9, never_ns));
	assert_false(gateway_view_await(&view, 11, clock_mono_ns()));
	assert_true(gateway_view_await(NULL, 11, never_ns));
	assert_int_equal(pthread_create(&thread, NULL, obey_30, &view), 0);
	assert_true(gateway_view_await(&view, 30, never_ns));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(gateway_view_await(&view, 20, never_ns));
}

/* ---- */

static struct wire_tls_context *gateway_tls;

static int set_up(void **state)
{
	struct wire_tls_context *tls;

	mint_two(&tls, &gateway_tls);
	*state = tls;
	return 0;
}

static int tear_down(void **state)
{
	wire_tls_context_free(*state);
	wire_tls_context_free(gateway_tls);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_eager_after_a_loss),
		cmocka_unit_test(handshake_gives_up_at_tcp),
		cmocka_unit_test(handshake_goes_on_behind_tcp),
		cmocka_unit_test(stream_waits_for_control),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
