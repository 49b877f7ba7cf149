/* frames.h - the few Ethernet frames that a prober sends, and the few it accepts as an answer.
 * Pure.
 *
 * Why: a probe must depend neither on the gateway's TCP (lwIP has one interface, on the backup
 * network) nor on a kernel, which has no address in the client network. ARP, ICMP echo and a lone
 * SYN are small enough to be made by hand.
 *
 * Where: prober.c builds, probes.c parses. Nothing here decides what is sent where.
 *
 *	                 0          14              34                42         50
 *	ARP              | Ethernet | ARP, 28 bytes            | padding to 60
 *	echo             | Ethernet | IPv4          | ICMP head | cookie | padding to 60
 *	SYN, RST         | Ethernet | IPv4          | TCP (SYN: with MSS) | padding to 60
 *
 * The parser takes any bytes. A frame that it accepts is whole, has no IPv4 options, is no fragment
 * and has good checksums. A sender that leaves checksums to hardware that is not there is not
 * understood; on virtual links use `ethtool -K IF tx off`.
 * Threads: any (no state). Never allocates.
 */
#ifndef PROBE_FRAMES_H
#define PROBE_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define FRAMES_MAC_BYTES 6
#define FRAMES_BYTES	 60 /* size of every frame built here: the shortest that Ethernet carries */

/* One end of a conversation. */
struct frames_end {
	uint8_t mac[FRAMES_MAC_BYTES];
	uint32_t ip; /* host byte order */
};

/* An echo request, and what its reply must repeat. */
struct frames_echo {
	uint16_t id, seq;
	uint64_t cookie; /* in the payload: only somebody who saw the request can know it */
};

/* A TCP segment without payload. */
struct frames_tcp {
	uint16_t source_port, dest_port;
	uint32_t seq;
};

/* Each fills all of @ret_frame. @to->mac may be the broadcast address in a request. */
void frames_arp_request(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
			const struct frames_end *to);
void frames_arp_reply(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		      const struct frames_end *to);
void frames_echo_request(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
			 const struct frames_end *to, const struct frames_echo *echo);
void frames_syn(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		const struct frames_end *to, const struct frames_tcp *tcp);
/* @tcp->seq is what the SYN-ACK acknowledged. */
void frames_rst(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		const struct frames_end *to, const struct frames_tcp *tcp);

enum frames_kind {
	FRAMES_OTHER,	    /* not for us, or not an answer to a probe */
	FRAMES_MALFORMED,   /* claims to be one of the kinds below but is broken */
	FRAMES_ARP_REQUEST, /* for our address */
	FRAMES_ARP_REPLY,   /* to us */
	FRAMES_ECHO_REPLY,
	FRAMES_SYN_ACK,
	FRAMES_REFUSED, /* RST with an acknowledgement: the answer to a SYN to a closed port */
};

/* Which members are valid depends on the kind. */
struct frames_view {
	struct frames_end from; /* ARP: as the ARP payload says; else: the headers' sources */
	struct frames_echo echo;
	struct frames_tcp tcp; /* as sent by the peer: its port is source_port */
	uint32_t tcp_ack;
};

/* What is the frame of @size bytes at @data to @us? Sets *ret_view except for FRAMES_OTHER and
 * FRAMES_MALFORMED. */
enum frames_kind frames_parse(const struct frames_end *us, const uint8_t *data, size_t size,
			      struct frames_view *ret_view) __attribute__((warn_unused_result));

#endif
