#include "stack/filter.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

#define ETHER_BYTES	 14
#define ETHERTYPE_IPV4	 0x0800
#define ETHERTYPE_ARP	 0x0806
#define ARP_BYTES	 28
#define IPV4_BYTES	 20
#define TCP_BYTES	 20
#define UDP_BYTES	 8
#define ICMP_BYTES	 8
#define PROTOCOL_ICMP	 1
#define PROTOCOL_TCP	 6
#define PROTOCOL_UDP	 17
#define ICMP_ECHO	 8
#define TCP_FIN		 0x01
#define TCP_SYN		 0x02
#define TCP_RST		 0x04
#define TCP_ACK		 0x10
#define TCP_STATE_FLAGS	 (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)
#define IPV4_MORE_OR_OFFSET 0x3fff

/* Can @address belong to a single host? Multicast, broadcast and loopback addresses cannot. */
static bool is_unicast(const struct filter_rules *rules, uint32_t address)
{
	uint32_t host = address & ~rules->mask;

	if (address >> 24 == 0 || address >> 24 == 127 || address >> 28 >= 14)
		return false;
	if ((address & rules->mask) != (rules->address & rules->mask))
		return true; /* the address is in another network, whose prefix we do not know */
	/* Refuse the network's own address and its broadcast address; /31 and /32 have neither. */
	return ~rules->mask <= 1 || (host != 0 && host != ~rules->mask);
}

static enum filter_verdict judge_arp(const struct filter_rules *rules, const uint8_t *arp,
				     size_t size)
{
	uint32_t sender, target;
	uint16_t operation;

	if (size < ARP_BYTES)
		return FILTER_RUNT;
	operation = bytes_get_be16(arp + 6);
	if (bytes_get_be16(arp) != 1 || bytes_get_be16(arp + 2) != ETHERTYPE_IPV4 || arp[4] != 6 ||
	    arp[5] != 4 || (operation != 1 && operation != 2))
		return FILTER_MALFORMED;
	sender = bytes_get_be32(arp + 14);
	target = bytes_get_be32(arp + 24);
	if (arp[8] & 1 || sender == rules->address)
		return FILTER_SPOOFED;
	if (sender == 0) /* an ARP probe: a host asks whether the target address is in use */
		return target == rules->address ? FILTER_ARP : FILTER_NOT_OURS;
	if ((sender & rules->mask) != (rules->address & rules->mask))
		return FILTER_NOT_OURS;
	return is_unicast(rules, sender) ? FILTER_ARP : FILTER_SPOOFED;
}

/* Returns the folded ones' complement sum of the TCP pseudo-header. A sender with checksum offload
 * writes only this sum to the checksum field; its card then completes the checksum. */
static uint16_t pseudo_sum(uint32_t source, uint32_t dest, size_t tcp_size)
{
	uint32_t sum = (source >> 16) + (source & 0xffff) + (dest >> 16) + (dest & 0xffff) +
		       PROTOCOL_TCP + (uint32_t)tcp_size;

	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)(sum + (sum >> 16));
}

static enum filter_verdict judge_tcp(const struct filter_rules *rules, const uint8_t *tcp,
				     size_t size, struct filter_view *view)
{
	size_t header;
	uint8_t flags;

	if (size < TCP_BYTES)
		return FILTER_RUNT;
	header = (size_t)(tcp[12] >> 4) * 4;
	flags = tcp[13] & TCP_STATE_FLAGS;
	view->source_port = bytes_get_be16(tcp);
	view->dest_port = bytes_get_be16(tcp + 2);
	if (header < TCP_BYTES || header > size || !view->source_port || !view->dest_port)
		return FILTER_MALFORMED;
	/* Every valid segment has at least one of the flags SYN, RST and ACK. SYN is never combined
	 * with FIN or RST. */
	if (flags == 0 || flags == TCP_FIN ||
	    (flags & TCP_SYN && flags & (TCP_FIN | TCP_RST)))
		return FILTER_MALFORMED;
	view->payload_at += header;
	view->payload_size = size - header;
	view->partial_csum =
		bytes_get_be16(tcp + 16) == pseudo_sum(view->source, rules->address, size);
	return flags == TCP_SYN ? FILTER_TCP_SYN : FILTER_TCP;
}

static enum filter_verdict judge_udp(const uint8_t *udp, size_t size, struct filter_view *view)
{
	size_t claimed;

	if (size < UDP_BYTES)
		return FILTER_RUNT;
	claimed = bytes_get_be16(udp + 4);
	if (claimed < UDP_BYTES)
		return FILTER_MALFORMED;
	if (claimed > size)
		return FILTER_RUNT;
	view->source_port = bytes_get_be16(udp);
	view->dest_port = bytes_get_be16(udp + 2);
	view->payload_at += UDP_BYTES;
	view->payload_size = claimed - UDP_BYTES;
	return FILTER_UDP;
}

static enum filter_verdict judge_ipv4(const struct filter_rules *rules, const uint8_t *ip,
				      size_t size, struct filter_view *view)
{
	const uint8_t *inner = ip + IPV4_BYTES;
	size_t total;

	if (size < IPV4_BYTES)
		return FILTER_RUNT;
	total = bytes_get_be16(ip + 2);
	/* Refuse IP options, such as source routing. No honest host sends TCP with IP options. */
	if (ip[0] != 0x45 || total < IPV4_BYTES)
		return FILTER_MALFORMED;
	if (total > size)
		return FILTER_RUNT; /* also refuses a frame that the driver has cut (GSO, GRO) */
	if (bytes_get_be32(ip + 16) != rules->address)
		return FILTER_NOT_OURS;
	view->source = bytes_get_be32(ip + 12);
	/* Refuse our own address as source: lwIP would pass the answer to itself through a thread
	 * of its own, which does not exist here. */
	if (view->source == rules->address || !is_unicast(rules, view->source))
		return FILTER_SPOOFED;
	if (bytes_get_be16(ip + 6) & IPV4_MORE_OR_OFFSET)
		return FILTER_FRAGMENT;
	view->payload_at = ETHER_BYTES + IPV4_BYTES;
	total -= IPV4_BYTES;
	switch (ip[9]) {
	case PROTOCOL_TCP:
		return judge_tcp(rules, inner, total, view);
	case PROTOCOL_UDP:
		return judge_udp(inner, total, view);
	case PROTOCOL_ICMP:
		if (total < ICMP_BYTES)
			return FILTER_RUNT;
		return inner[0] == ICMP_ECHO && inner[1] == 0 ? FILTER_ICMP_ECHO : FILTER_PROTOCOL;
	default:
		return FILTER_PROTOCOL;
	}
}

enum filter_verdict filter_frame(const struct filter_rules *rules, const uint8_t *data, size_t size,
				 struct filter_view *ret_view)
{
	static const uint8_t broadcast[FILTER_MAC_BYTES] = { 255, 255, 255, 255, 255, 255 };
	struct filter_view view = { 0 };
	enum filter_verdict verdict;
	bool ours;

	if (size < ETHER_BYTES)
		return FILTER_RUNT;
	ours = !memcmp(data, rules->mac, FILTER_MAC_BYTES);
	if (data[6] & 1 || !memcmp(data + 6, rules->mac, FILTER_MAC_BYTES))
		return FILTER_SPOOFED;
	switch (bytes_get_be16(data + 12)) {
	case ETHERTYPE_ARP:
		if (!ours && memcmp(data, broadcast, FILTER_MAC_BYTES))
			return FILTER_NOT_OURS;
		return judge_arp(rules, data + ETHER_BYTES, size - ETHER_BYTES);
	case ETHERTYPE_IPV4:
		if (!ours)
			return FILTER_NOT_OURS;
		verdict = judge_ipv4(rules, data + ETHER_BYTES, size - ETHER_BYTES, &view);
		*ret_view = view;
		return verdict;
	default:
		return FILTER_ETHERTYPE;
	}
}
