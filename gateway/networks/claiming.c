#include "networks/claiming.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#define N_PROBES  3
#define PROBE_NS  (100 * CLOCK_NS_PER_MS)
#define TELL_NS	  (10 * CLOCK_NS_PER_S)
#define N_FRAMES  32
#define DRAIN_BURSTS 32 /* together, these bursts can have more frames than a port's ring */
#define PROBE_BYTES 60
#define ARP_BYTES 42 /* size of an ARP frame, with the Ethernet header */
#define ETHERTYPE 12
#define ARP_TYPE  0x0806
#define AT_OPER	  20
#define AT_SHA	  22
#define AT_SPA	  28
#define AT_TPA	  38

bool claiming_is_rival(const uint8_t *data, size_t size, uint32_t ip_be32, const uint8_t mac[6],
		       uint8_t ret_mac[6])
{
	uint32_t sender, target;

	if (size < ARP_BYTES || bytes_get_be16(data + ETHERTYPE) != ARP_TYPE ||
	    memcmp(data + AT_SHA, mac, 6) == 0)
		return false;
	memcpy(&sender, data + AT_SPA, 4);
	memcpy(&target, data + AT_TPA, 4);
	/* A rival's frame either has our address as its sender, or is an ARP probe for our
	 * address. */
	if (sender != ip_be32 &&
	    !(sender == 0 && target == ip_be32 && bytes_get_be16(data + AT_OPER) == 1))
		return false;
	memcpy(ret_mac, data + AT_SHA, 6);
	return true;
}

static void format(uint32_t ip_be32, const uint8_t mac[6], char *text, size_t size)
{
	char ip[INET_ADDRSTRLEN] = "";

	(void)inet_ntop(AF_INET, &ip_be32, ip, sizeof(ip));
	(void)snprintf(text, size,
		       "%02x:%02x:%02x:%02x:%02x:%02x has this gateway's address %s: does a second "
		       "gateway run? Stop the one that is too many", mac[0], mac[1], mac[2], mac[3],
		       mac[4], mac[5], ip);
}

static void make_probe(const uint8_t mac[6], uint32_t ip_be32, uint8_t frame[PROBE_BYTES])
{
	static const uint8_t head[] = {0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1};

	memset(frame, 0, PROBE_BYTES);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + ETHERTYPE, head, sizeof(head));
	memcpy(frame + AT_SHA, mac, 6);
	memcpy(frame + AT_TPA, &ip_be32, 4);
}

/* ---- while DPDK starts */

static void receive_asked(struct claiming_ask *ask)
{
	uint8_t frame[256], mac[6];
	ssize_t n;

	while ((n = recv(ask->fd, frame, sizeof(frame), MSG_DONTWAIT)) > 0) {
		if (!claiming_is_rival(frame, (size_t)n, ask->ip_be32, ask->mac, mac))
			continue;
		memcpy(ask->rival_mac, mac, sizeof(mac));
		ask->has_rival = true;
	}
}

static void *ask_main(void *arg)
{
	struct claiming_ask *ask = arg;
	struct pollfd p = {.fd = ask->fd, .events = POLLIN};
	uint8_t frame[PROBE_BYTES];

	make_probe(ask->mac, ask->ip_be32, frame);
	for (int i = 0; i < N_PROBES && !ask->has_rival; i++) {
		uint64_t now_ns = clock_mono_ns(), until_ns = now_ns + PROBE_NS;

		/* if this probe is lost, the next probe asks again */
		ask->was_sent |= send(ask->fd, frame, sizeof(frame), MSG_DONTWAIT) > 0;
		for (; now_ns < until_ns && !ask->has_rival; now_ns = clock_mono_ns()) {
			(void)poll(&p, 1, clock_poll_ms(now_ns, until_ns));
			receive_asked(ask);
		}
	}
	return NULL;
}

/* Open a packet socket for ARP on @interface. Returns the socket and sets @ret_mac to the
 * interface's MAC, or returns -errno. */
static int open_interface(const char *interface, uint8_t ret_mac[6])
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP),
				 .sll_ifindex = (int)if_nametoindex(interface)};
	struct ifreq request = {0};
	int fd, r;

	if (at.sll_ifindex == 0)
		return -ENODEV;
	/* Protocol 0: nothing is received before bind() names the interface. */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		r = -errno;
		fd_close(fd);
		return r;
	}
	memcpy(ret_mac, request.ifr_hwaddr.sa_data, 6);
	return fd;
}

void claiming_ask_begin(struct claiming_ask *ask, const char *interface, uint32_t ip_be32)
{
	*ask = (struct claiming_ask){.ip_be32 = ip_be32, .fd = -1};
	if (!*interface)
		return;
	ask->fd = open_interface(interface, ask->mac);
	if (ask->fd >= 0)
		ask->is_asking = pthread_create(&ask->thread, NULL, ask_main, ask) == 0;
	if (!ask->is_asking && ask->fd >= 0)
		ask->fd = fd_close(ask->fd);
}

void claiming_ask_end(struct claiming_ask *ask)
{
	if (!ask->is_asking)
		return;
	(void)pthread_join(ask->thread, NULL);
	ask->is_asking = false;
	ask->fd = fd_close(ask->fd);
}

int claiming_asked(struct claiming_ask *ask)
{
	char text[160];

	claiming_ask_end(ask);
	if (!ask->has_rival)
		return 0;
	format(ask->ip_be32, ask->rival_mac, text, sizeof(text));
	log_error("%s", text);
	return -EADDRINUSE;
}

/* ---- through the port */

static void send_probe(const struct claiming *c, struct port *port)
{
	uint8_t frame[PROBE_BYTES];
	struct iovec piece = {frame, sizeof(frame)};

	make_probe(c->mac, c->ip_be32, frame);
	/* if this probe is lost, the next probe asks again */
	(void)!port_transmit(port, &piece, 1);
	port_flush(port);
}

/* Receive and discard frames. Returns true if one of them shows that another host has our
 * address. */
static bool hears_rival(const struct claiming *c, struct port *port, uint8_t ret_mac[6])
{
	struct port_frame frames[N_FRAMES];
	size_t n = port_receive(port, frames, N_FRAMES);
	bool rival = false;

	for (size_t i = 0; i < n; i++) {
		rival = rival || claiming_is_rival(frames[i].data, frames[i].size, c->ip_be32,
						   c->mac, ret_mac);
		port_frame_free(frames[i].handle);
	}
	return rival;
}

/* If another host has the address, returns true and sets @ret_mac to that host's MAC. */
static bool ask_by_port(const struct claiming *c, struct port *port, uint8_t ret_mac[6])
{
	for (int i = 0; i < N_PROBES; i++) {
		uint64_t until_ns = clock_mono_ns() + PROBE_NS;

		send_probe(c, port);
		while (clock_mono_ns() < until_ns) {
			if (hears_rival(c, port, ret_mac))
				return true;
			(void)poll(NULL, 0, 1); /* sleep 1 ms: a port may have
						 * no descriptor to wait on */
		}
	}
	return false;
}

int claiming_open(struct claiming *claiming, struct claiming_ask *ask, struct fleet *fleet,
		  struct port *port, uint32_t ip_be32)
{
	bool has_rival = false;
	char text[160];
	uint8_t mac[6] = {0};
	int r = claiming_asked(ask);

	*claiming = (struct claiming){.fleet = fleet, .ip_be32 = ip_be32};
	memcpy(claiming->mac, port_mac(port), 6);
	if (r < 0)
		return r;
	if (ask->was_sent) {
		/* The thread has sent probes. The port's XDP program may have taken the answers
		 * away from the thread's socket, so look at the frames that the port has
		 * received. */
		for (int i = 0; i < DRAIN_BURSTS && !has_rival; i++)
			has_rival = hears_rival(claiming, port, mac);
	} else {
		has_rival = ask_by_port(claiming, port, mac);
	}
	if (!has_rival)
		return 0;
	format(ip_be32, mac, text, sizeof(text));
	log_error("%s", text);
	return -EADDRINUSE;
}

void claiming_look(struct claiming *claiming, const void *data, size_t size, uint64_t now_ns)
{
	char text[160];
	uint8_t mac[6] = {0};

	if (!claiming->fleet || now_ns < claiming->told_at_ns ||
	    !claiming_is_rival(data, size, claiming->ip_be32, claiming->mac, mac))
		return;
	claiming->told_at_ns = now_ns + TELL_NS;
	format(claiming->ip_be32, mac, text, sizeof(text));
	log_error("%s", text);
	fleet_event(claiming->fleet, now_ns, "", "conflict", text);
}
