#include "probe/frames.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

#define ETHER_BYTES    14
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP  0x0806

#define ARP_BYTES   28
#define ARP_REQUEST 1
#define ARP_REPLY   2

#define IPV4_BYTES	 20
#define IPV4_DONT	 0x4000
/* bits that only a fragment has set: "more fragments" and the offset */
#define IPV4_FRAGMENTED	 0x3fff
#define PROTOCOL_ICMP	 1
#define PROTOCOL_TCP	 6
#define TTL		 64

#define ICMP_BYTES	 8
#define ICMP_ECHO_REPLY	 0
#define ICMP_ECHO	 8
#define COOKIE_BYTES	 8

#define TCP_BYTES     20
#define TCP_MSS_BYTES 4
#define TCP_MSS	      1460
#define TCP_WINDOW    1024
#define TCP_FIN	      0x01
#define TCP_SYN	      0x02
#define TCP_RST	      0x04
#define TCP_ACK	      0x10

static uint32_t sum16(const uint8_t *data, size_t size, uint32_t sum)
{
	size_t i;

	for (i = 0; i + 1 < size; i += 2)
		sum += bytes_get_be16(data + i);
	if (size & 1)
		sum += (uint32_t)data[size - 1] << 8;
	return sum;
}

/* Computes the Internet checksum, starting from @sum. If the bytes include a checksum and it is
 * correct, the result is 0. */
static uint16_t checksum(const uint8_t *data, size_t size, uint32_t sum)
{
	sum = sum16(data, size, sum);
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)~sum;
}

/* Returns the sum over TCP's pseudo-header: the two addresses of the IPv4 header @ip, the protocol
 * and the length. */
static uint32_t pseudo_sum(const uint8_t *ip, size_t tcp_size)
{
	return sum16(ip + 12, 8, PROTOCOL_TCP + (uint32_t)tcp_size);
}

/* ---- building ---- */

static uint8_t *put_ether(uint8_t *frame, const struct frames_end *from,
			  const struct frames_end *to, uint16_t type)
{
	memset(frame, 0, FRAMES_BYTES);
	memcpy(frame, to->mac, FRAMES_MAC_BYTES);
	memcpy(frame + 6, from->mac, FRAMES_MAC_BYTES);
	bytes_put_be16(frame + 12, type);
	return frame + ETHER_BYTES;
}

static uint8_t *put_arp(uint8_t *frame, const struct frames_end *from,
			const struct frames_end *to, uint16_t operation)
{
	uint8_t *arp = put_ether(frame, from, to, ETHERTYPE_ARP);

	bytes_put_be16(arp, 1); /* Ethernet */
	bytes_put_be16(arp + 2, ETHERTYPE_IPV4);
	arp[4] = FRAMES_MAC_BYTES;
	arp[5] = 4;
	bytes_put_be16(arp + 6, operation);
	memcpy(arp + 8, from->mac, FRAMES_MAC_BYTES);
	bytes_put_be32(arp + 14, from->ip);
	bytes_put_be32(arp + 24, to->ip);
	return arp;
}

void frames_arp_request(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
			const struct frames_end *to)
{
	(void)put_arp(ret_frame, from, to, ARP_REQUEST); /* the target's MAC stays 0:
							  * the request asks for it */
}

void frames_arp_reply(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		      const struct frames_end *to)
{
	uint8_t *arp = put_arp(ret_frame, from, to, ARP_REPLY);

	memcpy(arp + 18, to->mac, FRAMES_MAC_BYTES);
}

/* Write the Ethernet and IPv4 headers for an IPv4 payload of @size bytes. Returns the address of
 * the payload. */
static uint8_t *put_ipv4(uint8_t *frame, const struct frames_end *from,
			 const struct frames_end *to, uint8_t protocol, size_t size)
{
	uint8_t *ip = put_ether(frame, from, to, ETHERTYPE_IPV4);

	ip[0] = 0x45;
	bytes_put_be16(ip + 2, (uint16_t)(IPV4_BYTES + size));
	bytes_put_be16(ip + 6, IPV4_DONT);
	ip[8] = TTL;
	ip[9] = protocol;
	bytes_put_be32(ip + 12, from->ip);
	bytes_put_be32(ip + 16, to->ip);
	bytes_put_be16(ip + 10, checksum(ip, IPV4_BYTES, 0));
	return ip + IPV4_BYTES;
}

void frames_echo_request(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
			 const struct frames_end *to, const struct frames_echo *echo)
{
	uint8_t *icmp = put_ipv4(ret_frame, from, to, PROTOCOL_ICMP, ICMP_BYTES + COOKIE_BYTES);

	icmp[0] = ICMP_ECHO;
	bytes_put_be16(icmp + 4, echo->id);
	bytes_put_be16(icmp + 6, echo->seq);
	bytes_put_be64(icmp + ICMP_BYTES, echo->cookie);
	bytes_put_be16(icmp + 2, checksum(icmp, ICMP_BYTES + COOKIE_BYTES, 0));
}

static void put_tcp(uint8_t *frame, const struct frames_end *from, const struct frames_end *to,
		    const struct frames_tcp *tcp, uint8_t flags)
{
	size_t size = TCP_BYTES + (flags & TCP_SYN ? TCP_MSS_BYTES : 0);
	uint8_t *at = put_ipv4(frame, from, to, PROTOCOL_TCP, size);

	bytes_put_be16(at, tcp->source_port);
	bytes_put_be16(at + 2, tcp->dest_port);
	bytes_put_be32(at + 4, tcp->seq);
	at[12] = (uint8_t)(size / 4 << 4);
	at[13] = flags;
	if (flags & TCP_SYN) {
		bytes_put_be16(at + 14, TCP_WINDOW);
		at[TCP_BYTES] = 2; /* option MSS: some firewalls treat a SYN without it as a scan */
		at[TCP_BYTES + 1] = TCP_MSS_BYTES;
		bytes_put_be16(at + TCP_BYTES + 2, TCP_MSS);
	}
	bytes_put_be16(at + 16, checksum(at, size, pseudo_sum(frame + ETHER_BYTES, size)));
}

void frames_syn(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		const struct frames_end *to, const struct frames_tcp *tcp)
{
	put_tcp(ret_frame, from, to, tcp, TCP_SYN);
}

void frames_rst(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		const struct frames_end *to, const struct frames_tcp *tcp)
{
	put_tcp(ret_frame, from, to, tcp, TCP_RST);
}

/* ---- parsing ---- */

static enum frames_kind parse_arp(const struct frames_end *us, const uint8_t *arp, size_t size,
				  bool to_us, struct frames_view *view)
{
	uint16_t operation;

	if (size < ARP_BYTES || bytes_get_be16(arp) != 1 ||
	    bytes_get_be16(arp + 2) != ETHERTYPE_IPV4 || arp[4] != FRAMES_MAC_BYTES || arp[5] != 4)
		return FRAMES_MALFORMED;
	if (bytes_get_be32(arp + 24) != us->ip)
		return FRAMES_OTHER;
	if (arp[8] & 1)
		return FRAMES_MALFORMED; /* a multicast MAC as sender; no host has one */
	operation = bytes_get_be16(arp + 6);
	memcpy(view->from.mac, arp + 8, FRAMES_MAC_BYTES);
	view->from.ip = bytes_get_be32(arp + 14);
	if (operation == ARP_REQUEST)
		return FRAMES_ARP_REQUEST;
	if (operation != ARP_REPLY)
		return FRAMES_MALFORMED;
	/* A reply to the broadcast address is an announcement, and no answer to our request. */
	return to_us ? FRAMES_ARP_REPLY : FRAMES_OTHER;
}

static enum frames_kind parse_icmp(const uint8_t *icmp, size_t size, struct frames_view *view)
{
	if (size < ICMP_BYTES)
		return FRAMES_MALFORMED;
	if (icmp[0] != ICMP_ECHO_REPLY || icmp[1] != 0 || size != ICMP_BYTES + COOKIE_BYTES)
		return FRAMES_OTHER; /* an error, a request, or a reply to
				      * somebody else's request */
	if (checksum(icmp, size, 0) != 0)
		return FRAMES_MALFORMED;
	view->echo.id = bytes_get_be16(icmp + 4);
	view->echo.seq = bytes_get_be16(icmp + 6);
	view->echo.cookie = bytes_get_be64(icmp + ICMP_BYTES);
	return FRAMES_ECHO_REPLY;
}

static enum frames_kind parse_tcp(const uint8_t *ip, const uint8_t *tcp, size_t size,
				  struct frames_view *view)
{
	uint8_t flags;
	size_t head;

	if (size < TCP_BYTES)
		return FRAMES_MALFORMED;
	flags = tcp[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);
	if (flags != (TCP_SYN | TCP_ACK) && flags != (TCP_RST | TCP_ACK))
		/* most segments end here, before their checksum is computed */
		return FRAMES_OTHER;
	head = (size_t)(tcp[12] >> 4) * 4;
	if (head < TCP_BYTES || head > size || checksum(tcp, size, pseudo_sum(ip, size)) != 0)
		return FRAMES_MALFORMED;
	view->tcp.source_port = bytes_get_be16(tcp);
	view->tcp.dest_port = bytes_get_be16(tcp + 2);
	view->tcp.seq = bytes_get_be32(tcp + 4);
	view->tcp_ack = bytes_get_be32(tcp + 8);
	return flags & TCP_SYN ? FRAMES_SYN_ACK : FRAMES_REFUSED;
}

static enum frames_kind parse_ipv4(const struct frames_end *us, const uint8_t *ip, size_t size,
				   struct frames_view *view)
{
	size_t total;

	if (size < IPV4_BYTES)
		return FRAMES_MALFORMED;
	if (ip[9] != PROTOCOL_ICMP && ip[9] != PROTOCOL_TCP)
		return FRAMES_OTHER;
	if (bytes_get_be32(ip + 16) != us->ip)
		return FRAMES_OTHER;
	total = bytes_get_be16(ip + 2);
	if (ip[0] != 0x45 || total < IPV4_BYTES || total > size ||
	    bytes_get_be16(ip + 6) & IPV4_FRAGMENTED || checksum(ip, IPV4_BYTES, 0) != 0)
		return FRAMES_MALFORMED;
	view->from.ip = bytes_get_be32(ip + 12);
	if (ip[9] == PROTOCOL_ICMP)
		return parse_icmp(ip + IPV4_BYTES, total - IPV4_BYTES, view);
	return parse_tcp(ip, ip + IPV4_BYTES, total - IPV4_BYTES, view);
}

enum frames_kind frames_parse(const struct frames_end *us, const uint8_t *data, size_t size,
			      struct frames_view *ret_view)
{
	static const uint8_t broadcast[FRAMES_MAC_BYTES] = {255, 255, 255, 255, 255, 255};
	struct frames_view view = {0};
	enum frames_kind kind = FRAMES_OTHER;
	bool to_us;

	if (size < ETHER_BYTES)
		return FRAMES_MALFORMED;
	to_us = memcmp(data, us->mac, FRAMES_MAC_BYTES) == 0;
	if (!to_us && memcmp(data, broadcast, FRAMES_MAC_BYTES) != 0)
		return FRAMES_OTHER;
	memcpy(view.from.mac, data + 6, FRAMES_MAC_BYTES);
	switch (bytes_get_be16(data + 12)) {
	case ETHERTYPE_ARP:
		kind = parse_arp(us, data + ETHER_BYTES, size - ETHER_BYTES, to_us, &view);
		break;
	case ETHERTYPE_IPV4:
		if (to_us)
			kind = parse_ipv4(us, data + ETHER_BYTES, size - ETHER_BYTES, &view);
		break;
	default:
		break;
	}
	if (kind != FRAMES_OTHER && kind != FRAMES_MALFORMED)
		*ret_view = view;
	return kind;
}
