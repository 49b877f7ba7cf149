/* link_meter.c - measures what it costs to send the bytes of an epoch from the agent's buffer to
 * the gateway's.
 *
 * usage: link_meter memory FRAME_BYTES MIB                no socket: seal, encrypt, decrypt, check
 *        link_meter socket ADDRESS PORT FRAME_BYTES MIB   hostagent/link over TCP to another thread
 * Prints name=value lines. The program makes its own certificates.
 * Exit: 0; 1 if something failed.
 */
#include <inttypes.h>
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "link/link.h"
#include "mint_certs.h"
#include "tls_pair.h"

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "link_meter:%d: %s\n", __LINE__, #condition);              \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct wire_tls_context *agent, *gateway;
static uint8_t frame_bytes[WIRE_FRAME_MAX];

static double thread_cpu_s(void)
{
	struct timespec ts;

	NEED(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Returns the cost of one thread_cpu_s(), which makes a system call. This cost must be subtracted
 * from the results. */
static double clock_cost_s(void)
{
	const double start = thread_cpu_s();

	for (int i = 0; i < 20000; i++)
		(void)thread_cpu_s();
	return (thread_cpu_s() - start) / 20000;
}

static double ns_per_kib(double cpu_s, double clock_s, uint64_t n_frames, uint64_t n_bytes)
{
	return (cpu_s - clock_s * (double)n_frames) * 1e9 * 1024 / (double)n_bytes;
}

/* Make and seal frame @seq. Each frame has a different payload, although the speed of hash and
 * cipher does not depend on the payload. */
static size_t seal_frame(uint32_t seq, size_t size)
{
	const struct wire_header h = {.type = WIRE_PAGES, .seq = seq, .epoch = 1, .term = 1};
	struct bytes_writer w;
	size_t sealed;

	NEED(wire_frame_begin(frame_bytes, size, &w) == 0);
	NEED(bytes_reserve(&w, size - WIRE_HEADER_SIZE));
	bytes_put_be32(frame_bytes + WIRE_HEADER_SIZE, seq);
	NEED(wire_frame_finish(frame_bytes, &w, &h, &sealed) == 0 && sealed == size);
	return sealed;
}

/* ---- without a socket ---- */

static void run_memory(size_t size, uint64_t n_bytes)
{
	static uint8_t got[4 * WIRE_FRAME_MAX];
	double t, seal_s = 0, encrypt_s = 0, decrypt_s = 0, check_s = 0;
	uint64_t n_frames = n_bytes / size;
	struct wire_tls *a, *g;

	NEED(wire_tls_new(agent, WIRE_PEER_GATEWAY, 0, &a) == 0);
	NEED(wire_tls_new(gateway, WIRE_PEER_HOST, 0, &g) == 0);
	shake(a, g);
	NEED(wire_tls_is_established(a) && wire_tls_is_established(g));
	for (uint32_t i = 0; i < n_frames; i++) {
		struct wire_frame frame;
		const uint8_t *at = got;
		size_t n	  = 0;
		int r;

		t = thread_cpu_s();
		(void)seal_frame(i, size);
		seal_s += thread_cpu_s() - t;
		t = thread_cpu_s();
		NEED(wire_tls_write(a, frame_bytes, size) == (int)size);
		encrypt_s += thread_cpu_s() - t;
		t = thread_cpu_s();
		while (n < size) {
			(void)carry(a, g, SIZE_MAX);
			r = wire_tls_read(g, got + n, sizeof(got) - n);
			NEED(r > 0 || r == -EAGAIN);
			n += r > 0 ? (size_t)r : 0;
		}
		decrypt_s += thread_cpu_s() - t;
		t = thread_cpu_s();
		NEED(wire_frame_decode(&at, got + n, &frame, NULL) == 0 && frame.h.seq == i);
		check_s += thread_cpu_s() - t;
	}
	t = clock_cost_s();
	printf("seal_ns_per_kib=%.1f\nencrypt_ns_per_kib=%.1f\ndecrypt_ns_per_kib=%.1f\n"
	       "check_ns_per_kib=%.1f\n",
	       ns_per_kib(seal_s, t, n_frames, n_bytes),
	       ns_per_kib(encrypt_s, t, n_frames, n_bytes),
	       ns_per_kib(decrypt_s, t, n_frames, n_bytes),
	       ns_per_kib(check_s, t, n_frames, n_bytes));
	wire_tls_free(a);
	wire_tls_free(g);
}

/* ---- over TCP ---- */

struct receiver {
	int listener;
	size_t size;
	uint64_t n_frames; /* frames to expect */
	double cpu_s;
};

static void pump_out(int fd, struct wire_tls *tls)
{
	const uint8_t *p;
	size_t size;
	ssize_t n;

	while ((p = wire_tls_output(tls, &size)), size > 0) {
		n = send(fd, p, size, MSG_NOSIGNAL);
		NEED(n > 0);
		wire_tls_output_consume(tls, (size_t)n);
	}
}

static void say(int fd, struct wire_tls *tls, uint8_t type)
{
	const struct wire_welcome welcome = {
		.version = 1, .features = WIRE_FEATURES, .gateway = "gw"};
	const struct wire_header h	  = {.type = type, .epoch = 1};
	struct bytes_writer w;
	uint8_t bytes[256];
	size_t size;

	NEED(wire_frame_begin(bytes, sizeof(bytes), &w) == 0);
	NEED(type != WIRE_WELCOME || wire_welcome_encode(&welcome, &w) == 0);
	NEED(wire_frame_finish(bytes, &w, &h, &size) == 0);
	NEED(wire_tls_write(tls, bytes, size) == (int)size);
	pump_out(fd, tls);
}

/* Runs as a thread that plays a minimal gateway: answers HELLO, checks every frame, and answers the
 * last one with COMMIT. */
static void *receive(void *arg)
{
	static uint8_t bytes[4 * WIRE_FRAME_MAX];
	struct receiver *rx = arg;
	size_t used	    = 0;
	struct wire_tls *tls;
	double t;
	int fd = accept(rx->listener, NULL, NULL), r;

	NEED(fd >= 0);
	NEED(wire_tls_new(gateway, WIRE_PEER_HOST, 0, &tls) == 0);
	t = thread_cpu_s();
	while (rx->n_frames > 0) {
		const uint8_t *at = bytes;
		struct wire_frame frame;
		size_t room;
		uint8_t *p = wire_tls_input_reserve(tls, &room);
		ssize_t n  = recv(fd, p, room, 0);

		NEED(n > 0);
		wire_tls_input_commit(tls, (size_t)n);
		while ((r = wire_tls_read(tls, bytes + used, sizeof(bytes) - used)) > 0)
			used += (size_t)r;
		NEED(r == -EAGAIN);
		pump_out(fd, tls);
		while (wire_frame_decode(&at, bytes + used, &frame, NULL) == 0) {
			if (frame.h.type == WIRE_HELLO)
				say(fd, tls, WIRE_WELCOME);
			else
				rx->n_frames--;
		}
		used -= (size_t)(at - bytes);
		memmove(bytes, at, used);
	}
	rx->cpu_s = thread_cpu_s() - t;
	say(fd, tls, WIRE_COMMIT);
	wire_tls_free(tls);
	close(fd);
	return NULL;
}

static int listen_at(const char *address, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd		      = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	NEED(fd >= 0 && inet_pton(AF_INET, address, &sa.sin_addr) == 1);
	NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	NEED(bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 1) == 0);
	return fd;
}

static void run_socket(const char *address, uint16_t port, size_t size, uint64_t n_bytes)
{
	struct link_config config = {.address = address, .port = port, .tls = agent};
	struct receiver rx = {.size = size, .n_frames = n_bytes / size};
	const uint64_t n_frames = rx.n_frames, deadline = clock_mono_ns() + 120 * CLOCK_NS_PER_S;
	struct wire_welcome welcome;
	struct wire_hello hello;
	struct link_stats stats;
	struct wire_frame frame;
	struct link *link;
	pthread_t thread;
	uint64_t start;
	double cpu;
	int r;

	rx.listener = listen_at(address, port);
	NEED(pthread_create(&thread, NULL, receive, &rx) == 0);
	NEED(link_open(&config, &link) == 0);
	wire_hello_init(&hello, WIRE_KIND_STREAM, WIRE_VM_ROLE_PRIMARY, "web1");
	start = clock_mono_ns();
	NEED(link_handshake(link, &hello, 1, 0, deadline, &welcome) == 0);
	printf("handshake_us=%.0f\n", (double)(clock_mono_ns() - start) / 1e3);
	start = clock_mono_ns();
	cpu   = thread_cpu_s();
	for (uint32_t i = 0; i < n_frames; i++) {
		(void)seal_frame(i, size);
		while ((r = link_send_frame(link, frame_bytes, size)) == -EAGAIN)
			NEED(link_wait(link, POLLOUT, deadline) == POLLOUT);
		NEED(r == 0);
	}
	NEED(link_await(link, deadline, &frame) == 0 && frame.h.type == WIRE_COMMIT);
	cpu   = thread_cpu_s() - cpu;
	start = clock_mono_ns() - start;
	pthread_join(thread, NULL);
	link_get_stats(link, &stats);
	printf("mb_per_s=%.0f\nsender_ns_per_kib=%.1f\nreceiver_ns_per_kib=%.1f\n"
	       "send_full=%" PRIu64 "\n",
	       (double)n_bytes / 1e6 / ((double)start / 1e9), cpu * 1e9 * 1024 / (double)n_bytes,
	       rx.cpu_s * 1e9 * 1024 / (double)n_bytes, stats.send_full);
	link_free(link);
	close(rx.listener);
}

int main(int argc, char **argv)
{
	const bool over_socket = argc == 6 && strcmp(argv[1], "socket") == 0;
	size_t size;
	uint64_t n_bytes;

	if (!over_socket && !(argc == 4 && strcmp(argv[1], "memory") == 0)) {
		fprintf(stderr, "usage: link_meter memory FRAME_BYTES MIB\n"
				"       link_meter socket ADDRESS PORT FRAME_BYTES MIB\n");
		return 2;
	}
	size	= strtoull(argv[argc - 2], NULL, 10);
	n_bytes = strtoull(argv[argc - 1], NULL, 10) << 20;
	NEED(size >= WIRE_HEADER_SIZE + 4 && size <= WIRE_FRAME_MAX && n_bytes >= size);
	mint_two(&agent, &gateway);
	if (over_socket)
		run_socket(argv[2], (uint16_t)strtoul(argv[3], NULL, 10), size, n_bytes);
	else
		run_memory(size, n_bytes);
	wire_tls_context_free(agent);
	wire_tls_context_free(gateway);
	return 0;
}
