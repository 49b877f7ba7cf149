/* link_tool.c - runs hostagent/link over real TCP for tests/netns/test_link_tcp.
 *
 * usage: link_tool connect ADDRESS PORT TIMEOUT_MS   try a handshake with ADDRESS
 *        link_tool cut ADDRESS PORT USER_TIMEOUT_MS  serve and connect; when up, print "up", wait for a
 *                                                    line on stdin, send until the link is dead
 * Prints "RESULT ERRNO-NAME MILLISECONDS TEXT". Exit: 0; 1 if the set-up failed and there is no
 * result.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "link/link.h"
#include "mint_certs.h"

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "link_tool:%d: %s\n", __LINE__, #condition);               \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct wire_tls_context *agent, *gateway;
static int listener;

static void report(const struct link *link, int result, uint64_t start_ns)
{
	const char *name = strerrorname_np(-result);

	printf("RESULT %s %" PRIu64 " %s\n", result == 0 ? "OK" : name ? name : "?",
	       (clock_mono_ns() - start_ns) / CLOCK_NS_PER_MS,
	       link_error(link));
	fflush(stdout);
}

/* Runs as a thread that plays the gateway: reads HELLO, sends WELCOME, then reads and discards
 * everything. */
static void *serve(void *arg)
{
	const struct wire_welcome welcome = {
		.version = 1, .features = WIRE_FEATURES, .gateway = "gw"};
	const struct wire_header h	  = {.type = WIRE_WELCOME};
	static uint8_t plain[WIRE_FRAME_MAX];
	uint8_t bytes[256];
	bool welcomed = false;
	struct bytes_writer w;
	struct wire_tls *tls;
	const uint8_t *p;
	size_t size;
	ssize_t n;
	int fd = accept(listener, NULL, NULL);

	(void)arg;
	NEED(fd >= 0 && wire_tls_new(gateway, WIRE_PEER_HOST, 0, &tls) == 0);
	for (;;) {
		uint8_t *room = wire_tls_input_reserve(tls, &size);

		n = recv(fd, room, size, 0);
		if (n <= 0)
			break;
		wire_tls_input_commit(tls, (size_t)n);
		while (wire_tls_read(tls, plain, sizeof(plain)) > 0) {
			if (welcomed)
				continue;
			welcomed = true;
			NEED(wire_frame_begin(bytes, sizeof(bytes), &w) == 0 &&
			     wire_welcome_encode(&welcome, &w) == 0 &&
			     wire_frame_finish(bytes, &w, &h, &size) == 0 &&
			     wire_tls_write(tls, bytes, size) == (int)size);
		}
		while ((p = wire_tls_output(tls, &size)), size > 0) {
			NEED(send(fd, p, size, MSG_NOSIGNAL) == (ssize_t)size);
			wire_tls_output_consume(tls, size);
		}
	}
	wire_tls_free(tls);
	close(fd);
	return NULL;
}

static void start_server(const char *address, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	pthread_t thread;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	NEED(listener >= 0 && inet_pton(AF_INET, address, &sa.sin_addr) == 1);
	NEED(bind(listener, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(listener, 1) == 0);
	NEED(pthread_create(&thread, NULL, serve, NULL) == 0);
	pthread_detach(thread);
}

/* Send until the link reports that it is dead. */
static int send_until_dead(struct link *link)
{
	static uint8_t page[WIRE_PAYLOAD_MAX];
	struct wire_header h = {.type = WIRE_PAGES};
	struct iovec piece   = {page, sizeof(page)};
	int r;

	for (;;) {
		r = link_send(link, &h, &piece, 1);
		if (r == -EAGAIN)
			r = link_wait(link, POLLOUT, clock_mono_ns() + 30 * CLOCK_NS_PER_S);
		if (r == POLLIN) {
			struct wire_frame frame;

			r = link_receive(link, &frame);
			if (r == -EAGAIN)
				continue;
		}
		if (r < 0)
			return r;
	}
}

int main(int argc, char **argv)
{
	struct link_config config = {0};
	struct wire_welcome welcome;
	struct wire_hello hello;
	struct link *link;
	uint64_t start_ns, limit_ms;
	bool cut;
	int r;

	if (argc != 5)
		return 1;
	cut	 = strcmp(argv[1], "cut") == 0;
	limit_ms = strtoull(argv[4], NULL, 10);
	mint_two(&agent, &gateway);
	config = (struct link_config){.address = argv[2],
				      .port = (uint16_t)strtoul(argv[3], NULL, 10),
				      .tls = agent,
				      .user_timeout_ms = cut ? (uint32_t)limit_ms : 0};
	if (cut)
		start_server(config.address, config.port);
	start_ns = clock_mono_ns();
	r = link_open(&config, &link);
	if (r < 0) {
		printf("RESULT %s 0 link_open\n", strerrorname_np(-r));
		return 0;
	}
	wire_hello_init(&hello, WIRE_KIND_STREAM, WIRE_VM_ROLE_PRIMARY, "web1");
	r = link_handshake(link, &hello, 1, 0,
			   start_ns + (cut ? 20000 : limit_ms) * CLOCK_NS_PER_MS, &welcome);
	if (cut && r == 0) {
		puts("up");
		fflush(stdout);
		(void)getchar();
		start_ns = clock_mono_ns();
		r	 = send_until_dead(link);
	}
	report(link, r, start_ns);
	link_free(link);
	wire_tls_context_free(agent);
	wire_tls_context_free(gateway);
	return 0;
}
