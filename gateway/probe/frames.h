/* frames.h - builds the Ethernet frames that a prober sends, and parses the answers that it
 * accepts. Pure.
 *
 * Probes cannot use the gateway's TCP stack, because lwIP's only interface is in the backup
 * network. They cannot use the kernel's stack, because the kernel has no address in the client
 * network. So this file builds the few kinds of frames that probes need.
 *
 * Where: prober.c decides what to send and builds the frames. probes.c parses received frames.
 *
 *	byte offset:     0          14              34                42         50
 *	ARP              | Ethernet | ARP, 28 bytes            | padding to 60
 *	echo             | Ethernet | IPv4          | ICMP head | cookie | padding to 60
 *	SYN, RST         | Ethernet | IPv4          | TCP (SYN: with MSS) | padding to 60
 *
 * The parser can be given any bytes. A frame that it accepts is complete, has no IPv4 options, is
 * not a fragment and has good checksums. A sender with checksum offload leaves the checksum to the
 * card. A virtual link has no card to do this, so run `ethtool -K IF tx off` on such a sender.
 * Threads: any (no state). Never allocates.
 */
#ifndef PROBE_FRAMES_H
#define PROBE_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define FRAMES_MAC_BYTES 6
#define FRAMES_BYTES     60 /* size of every frame built here: the shortest that Ethernet carries */

/* One end of a conversation. */
struct frames_end {
	uint8_t mac[FRAMES_MAC_BYTES];
	uint32_t ip; /* host byte order */
};

/* An echo request, and what its reply must repeat. */
struct frames_echo {
	uint16_t id, seq;
	/* random value in the payload, known only to those who saw the request */
	uint64_t cookie;
};

/* A TCP segment without payload. */
struct frames_tcp {
	uint16_t source_port, dest_port;
	uint32_t seq;
};

/* Each of the next five functions writes a whole frame from @from to @to to @ret_frame. In an ARP
 * request, @to->mac can be the broadcast address. */
void frames_arp_request(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
			const struct frames_end *to);
void frames_arp_reply(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		      const struct frames_end *to);
void frames_echo_request(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
			 const struct frames_end *to, const struct frames_echo *echo);
void frames_syn(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		const struct frames_end *to, const struct frames_tcp *tcp);
/* Reset the connection that a SYN-ACK has offered. @tcp->seq is the acknowledgement number of the
 * SYN-ACK. */
void frames_rst(uint8_t ret_frame[FRAMES_BYTES], const struct frames_end *from,
		const struct frames_end *to, const struct frames_tcp *tcp);

enum frames_kind {
	FRAMES_OTHER,	    /* not for us, or not an answer to a probe */
	FRAMES_MALFORMED,   /* looks like one of the kinds below but is broken */
	FRAMES_ARP_REQUEST, /* asks by ARP for our address */
	FRAMES_ARP_REPLY,   /* an ARP reply sent to us */
	FRAMES_ECHO_REPLY,
	FRAMES_SYN_ACK,
	FRAMES_REFUSED, /* RST with ACK, the answer to a SYN to a closed port */
};

/* What frames_parse() found in a frame. Which members are valid depends on the frame's kind. */
struct frames_view {
	/* the sender. For ARP, the sender's addresses in the ARP payload; for other frames, the
	 * source addresses in the Ethernet and IPv4 headers */
	struct frames_end from;
	struct frames_echo echo;
	/* the segment as the peer sent it, so source_port is the peer's port */
	struct frames_tcp tcp;
	uint32_t tcp_ack;
};

/* Parse the frame of @size bytes at @data, which @us has received. Returns the frame's kind. Sets
 * *ret_view unless the kind is FRAMES_OTHER or FRAMES_MALFORMED. */
enum frames_kind frames_parse(const struct frames_end *us, const uint8_t *data, size_t size,
			      struct frames_view *ret_view) __attribute__((warn_unused_result));

#endif
