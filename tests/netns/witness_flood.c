/* witness_flood.c - sends hostile witness datagrams as fast as an interface accepts them. For
 * tests/netns and benchmarks; needs root.
 *
 * usage: witness_flood IFACE SOURCE-IP DEST-MAC DEST-IP PORT KIND [NAME=NUMBER...]
 *                      [hex=DATAGRAM...]
 *	KIND	malformed: random bytes
 *		unknown: well-formed, with a random key_id; path=N sets the path
 *		forged: with key_id=N and sequences from sequence=N on, each with a wrong mac;
 *		path=N sets the path
 *		replay: the 128 bytes of each hex=... in turn, at most 64 different ones
 *	count=N maximum number of frames (default 0: no limit)
 *	ms=N    maximum time in ms (default 1000)
 *	pace=N  maximum number of frames per millisecond (default 0: no limit)
 *
 * Sends Ethernet frames with IFACE's own MAC address through a packet socket, 64 per system call.
 * The frames bypass the queueing discipline. At the end prints "frames=N refused=N ms=N
 * per_second=N". If the interface has no room for a frame, the frame counts as refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "wire/witness.h"

#define BATCH	   64
#define PAYLOAD_AT 42
#define FRAME_SIZE (PAYLOAD_AT + WIRE_WITNESS_SIZE)

#define NEED(condition, ...)                                                                       \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "witness_flood: " __VA_ARGS__);                            \
			fprintf(stderr, "\n");                                                     \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

enum kind { MALFORMED, UNKNOWN, FORGED, REPLAY, N_KINDS };
static const char *const kind_names[N_KINDS] = {"malformed", "unknown", "forged", "replay"};

static struct {
	enum kind kind;
	uint64_t key_id, sequence, path, count, ms, pace;
	uint8_t datagrams[BATCH][WIRE_WITNESS_SIZE];
	size_t n_datagrams;
} options = {.sequence = 1, .ms = 1000};

static uint8_t frames[BATCH][FRAME_SIZE];
static uint64_t random_state;

/* Returns the next number of a fast but weak generator. The numbers only have to differ from each
 * other. */
static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void read_hex(const char *text)
{
	NEED(options.n_datagrams < BATCH, "at most %d of hex=", BATCH);
	NEED(strlen(text) == 2 * WIRE_WITNESS_SIZE, "hex= wants %d bytes", WIRE_WITNESS_SIZE);
	for (size_t i = 0; i < WIRE_WITNESS_SIZE; i++)
		NEED(sscanf(text + 2 * i, "%2hhx", &options.datagrams[options.n_datagrams][i]) == 1,
		     "hex= is not hex");
	options.n_datagrams++;
}

static void read_option(const char *text)
{
	static const struct {
		const char *name;
		uint64_t *value;
	} rows[] = {{"key_id=", &options.key_id}, {"sequence=", &options.sequence},
		    {"path=", &options.path},	  {"count=", &options.count},
		    {"ms=", &options.ms},	  {"pace=", &options.pace}};
	char *end;

	if (strncmp(text, "hex=", 4) == 0) {
		read_hex(text + 4);
		return;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].name);

		if (strncmp(text, rows[i].name, n) != 0)
			continue;
		*rows[i].value = strtoull(text + n, &end, 0);
		NEED(text[n] && !*end, "%s wants a number", rows[i].name);
		return;
	}
	NEED(false, "what is '%s'?", text);
}

static uint16_t ip_checksum(const uint8_t *ip)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < 20; i += 2)
		sum += bytes_get_be16(ip + i);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)~(sum + (sum >> 16));
}

/* Fill frame @i with its Ethernet, IPv4 and UDP headers and the constant part of its datagram. */
static void make_frame(size_t i, char **argv, const uint8_t *source_mac)
{
	unsigned int mac[6];
	uint8_t *frame = frames[i], *ip = frame + 14;

	NEED(sscanf(argv[3], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		    &mac[5]) == 6, "'%s' is no MAC address", argv[3]);
	for (size_t b = 0; b < 6; b++)
		frame[b] = (uint8_t)mac[b];
	memcpy(frame + 6, source_mac, 6);
	bytes_put_be16(frame + 12, ETHERTYPE_IP);
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, FRAME_SIZE - 14);
	ip[8] = 64;
	ip[9] = 17;
	NEED(inet_pton(AF_INET, argv[2], ip + 12) == 1 && inet_pton(AF_INET, argv[4], ip + 16) == 1,
	     "an address is none");
	bytes_put_be16(ip + 10, ip_checksum(ip));
	bytes_put_be16(frame + 34, 7400);
	bytes_put_be16(frame + 36, (uint16_t)strtoul(argv[5], NULL, 10));
	bytes_put_be16(frame + 38, 8 + WIRE_WITNESS_SIZE);
	if (options.n_datagrams > 0)
		memcpy(frame + PAYLOAD_AT, options.datagrams[i % options.n_datagrams],
		       WIRE_WITNESS_SIZE);
	if (options.kind == UNKNOWN || options.kind == FORGED) {
		memcpy(frame + PAYLOAD_AT, "HFW1", 4);
		bytes_put_be16(frame + PAYLOAD_AT + 48, 60);
		bytes_put_be16(frame + PAYLOAD_AT + 50, 60);
	}
}

/* Set the part of the datagram that differs from frame to frame. */
static void change(uint8_t *datagram)
{
	switch (options.kind) {
	case MALFORMED:
		for (size_t i = 0; i < WIRE_WITNESS_SIZE; i += 8)
			bytes_put_be64(datagram + i, next_random());
		break;
	case UNKNOWN:
		bytes_put_be32(datagram + 52, (uint32_t)options.path);
		bytes_put_be32(datagram + 4, (uint32_t)next_random());
		bytes_put_be64(datagram + 8, options.sequence++);
		break;
	case FORGED:
		bytes_put_be32(datagram + 52, (uint32_t)options.path);
		bytes_put_be32(datagram + 4, (uint32_t)options.key_id);
		bytes_put_be64(datagram + 8, options.sequence++);
		bytes_put_be64(datagram + WIRE_WITNESS_SIGNED, next_random());
		break;
	case REPLAY:
	case N_KINDS:
		break;
	}
}

static int open_socket(const char *iface, uint8_t *ret_mac)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex(iface)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;
	struct ifreq request = {0};

	NEED(fd >= 0, "a packet socket: %s", strerror(errno));
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", iface);
	NEED(to.sll_ifindex != 0 && ioctl(fd, SIOCGIFHWADDR, &request) == 0 &&
	     bind(fd, (struct sockaddr *)&to, sizeof(to)) == 0, "%s: %s", iface, strerror(errno));
	/* Bypass the queueing discipline, which would limit the rate. Some kernels lack this
	 * option; there we send at the limited rate. */
	(void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	memcpy(ret_mac, request.ifr_hwaddr.sa_data, 6);
	return fd;
}

/* Returns how many frames to send with the next system call. This is at most BATCH, and no more
 * than count=N and pace=N allow. */
static uint64_t allowance(uint64_t n_sent, uint64_t start_ns)
{
	uint64_t n = BATCH, due;

	if (options.count && options.count - n_sent < n)
		n = options.count - n_sent;
	if (options.pace) {
		due = (clock_mono_ns() - start_ns) * options.pace / CLOCK_NS_PER_MS;
		n = due <= n_sent ? 0 : due - n_sent < n ? due - n_sent : n;
	}
	return n;
}

static void flood(int fd)
{
	static struct mmsghdr messages[BATCH];
	static struct iovec pieces[BATCH];
	uint64_t start_ns = clock_mono_ns(), end_ns = start_ns + options.ms * CLOCK_NS_PER_MS;
	uint64_t n_sent = 0, n_refused = 0, ns;

	for (size_t i = 0; i < BATCH; i++) {
		pieces[i] = (struct iovec){frames[i], FRAME_SIZE};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
	}
	while (clock_mono_ns() < end_ns && (!options.count || n_sent < options.count)) {
		unsigned int n = (unsigned int)allowance(n_sent, start_ns);
		int r;

		if (n == 0) { /* the limit of pace=N is reached: sleep until
			       * more frames may be sent */
			(void)nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
			continue;
		}
		for (unsigned int i = 0; i < n; i++)
			change(frames[i] + PAYLOAD_AT);
		r = sendmmsg(fd, messages, n, 0);
		NEED(r >= 0 || errno == ENOBUFS || errno == EAGAIN, "send: %s", strerror(errno));
		n_sent += r > 0 ? (uint64_t)r : 0;
		n_refused += n - (r > 0 ? (unsigned int)r : 0);
	}
	ns = clock_mono_ns() - start_ns;
	printf("frames=%" PRIu64 " refused=%" PRIu64 " ms=%" PRIu64 " per_second=%.0f\n", n_sent,
	       n_refused, ns / CLOCK_NS_PER_MS, (double)n_sent * 1e9 / (double)ns);
}

int main(int argc, char **argv)
{
	uint8_t mac[6];
	int fd;

	NEED(argc >= 7,
	     "IFACE SOURCE-IP DEST-MAC DEST-IP PORT KIND [NAME=NUMBER...] [hex=DATAGRAM...]");
	while (options.kind < N_KINDS && strcmp(kind_names[options.kind], argv[6]) != 0)
		options.kind++;
	NEED(options.kind < N_KINDS, "no kind '%s'", argv[6]);
	for (int i = 7; i < argc; i++)
		read_option(argv[i]);
	while (random_state == 0)
		NEED(getrandom(&random_state, sizeof(random_state), 0) > 0, "no randomness");
	fd = open_socket(argv[1], mac);
	for (size_t i = 0; i < BATCH; i++)
		make_frame(i, argv, mac);
	flood(fd);
	close(fd);
	return 0;
}
