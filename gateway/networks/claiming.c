#include "networks/claiming.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"

#define N_PROBES  3
#define PROBE_NS  (100 * CLOCK_NS_PER_MS)
#define TELL_NS	  (10 * CLOCK_NS_PER_S)
#define N_FRAMES  32
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

static void send_probe(const struct claiming *c, struct port *port)
{
	uint8_t frame[60] = {0};
	struct iovec piece = {frame, sizeof(frame)};
	static const uint8_t head[] = {0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1};

	memset(frame, 0xff, 6);
	memcpy(frame + 6, c->mac, 6);
	memcpy(frame + ETHERTYPE, head, sizeof(head));
	memcpy(frame + AT_SHA, c->mac, 6);
	memcpy(frame + AT_TPA, &c->ip_be32, 4);
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

int claiming_open(struct claiming *claiming, struct fleet *fleet, struct port *port,
		  uint32_t ip_be32)
{
	char text[160];
	uint8_t mac[6];

	*claiming = (struct claiming){.fleet = fleet, .ip_be32 = ip_be32};
	memcpy(claiming->mac, port_mac(port), 6);
	for (int i = 0; i < N_PROBES; i++) {
		uint64_t until_ns = clock_mono_ns() + PROBE_NS;

		send_probe(claiming, port);
		while (clock_mono_ns() < until_ns) {
			if (hears_rival(claiming, port, mac)) {
				format(ip_be32, mac, text, sizeof(text));
				log_error("%s", text);
				return -EADDRINUSE;
			}
			(void)poll(NULL, 0, 1); /* sleep 1 ms: a port may have
						 * no descriptor to wait on */
		}
	}
	return 0;
}

void claiming_look(struct claiming *claiming, const void *data, size_t size, uint64_t now_ns)
{
	char text[160];
	uint8_t mac[6];

	if (!claiming->fleet || now_ns < claiming->told_at_ns ||
	    !claiming_is_rival(data, size, claiming->ip_be32, claiming->mac, mac))
		return;
	claiming->told_at_ns = now_ns + TELL_NS;
	format(claiming->ip_be32, mac, text, sizeof(text));
	log_error("%s", text);
	fleet_event(claiming->fleet, now_ns, "", "conflict", text);
}
