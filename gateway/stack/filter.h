/* filter.h - decides which received frames lwIP may see. Pure: bytes in, verdict out.
 *
 * Why: lwIP is built with assertions that abort, forwards by default, reassembles fragments and
 * speaks protocols nobody here needs. A strict filter in front of it limits what strangers on the
 * backup network can reach to ARP for us, ICMP echo and well-formed TCP. It also makes sure that
 * every field lwIP reads is inside the frame.
 *
 * Where: stack_input() calls it on every frame. It may also be called alone, before stack_input():
 * FILTER_UDP and its view serve datagrams that are not for lwIP.
 *
 * Not checked here, because lwIP does: IPv4, ICMP and TCP checksums.
 * Threads: any (no state). Never allocates.
 */
#ifndef STACK_FILTER_H
#define STACK_FILTER_H

#include <stddef.h>
#include <stdint.h>

#define FILTER_MAC_BYTES 6

struct filter_rules {
	uint8_t mac[FILTER_MAC_BYTES]; /* ours */
	uint32_t address;	       /* ours, host byte order */
	uint32_t mask;
};

enum filter_verdict {
	FILTER_ARP, /* these five are well-formed and for us */
	FILTER_ICMP_ECHO,
	FILTER_TCP_SYN, /* SYN without ACK: may make lwIP allocate a connection */
	FILTER_TCP,
	FILTER_UDP,
	FILTER_RUNT, /* from here on: reasons to drop, see struct stack_counters */
	FILTER_ETHERTYPE,
	FILTER_NOT_OURS,
	FILTER_MALFORMED,
	FILTER_FRAGMENT,
	FILTER_SPOOFED,
	FILTER_PROTOCOL,
	FILTER_N_VERDICTS,
};

/* Set for FILTER_TCP*, FILTER_UDP. */
struct filter_view {
	uint32_t source; /* host byte order */
	uint16_t source_port;
	uint16_t dest_port;
	size_t payload_at;   /* offset in the frame */
	size_t payload_size; /* without Ethernet padding */
	int partial_csum;    /* TCP: the checksum field has only the pseudo-header's sum */
};

/* Judge the frame of @size bytes at @data. */
enum filter_verdict filter_frame(const struct filter_rules *rules, const uint8_t *data, size_t size,
				 struct filter_view *ret_view) __attribute__((warn_unused_result));

#endif
