/* filter.h - decides which received frames lwIP may see. Pure: bytes in, verdict out.
 *
 * Why: Debian's lwIP has assertions that abort, forwards by default, reassembles fragments and
 * supports protocols that we do not need. With this strict filter in front of it, strangers on the
 * backup network can reach only ARP for our address, ICMP echo and well-formed TCP. The filter also
 * makes sure that every field that lwIP reads is inside the frame.
 *
 * Where: stack_input() calls it on every frame. It may also be called alone, before stack_input():
 * users of UDP datagrams, which do not go to lwIP, find them by FILTER_UDP and its view.
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
	FILTER_ARP, /* this and the next four are well-formed and for us */
	FILTER_ICMP_ECHO,
	FILTER_TCP_SYN, /* SYN without ACK: may make lwIP allocate a connection */
	FILTER_TCP,
	FILTER_UDP,
	FILTER_RUNT, /* this and all following: why the frame is dropped, see
		      * struct stack_counters */
	FILTER_ETHERTYPE,
	FILTER_NOT_OURS,
	FILTER_MALFORMED,
	FILTER_FRAGMENT,
	FILTER_SPOOFED,
	FILTER_PROTOCOL,
	FILTER_N_VERDICTS,
};

/* What the filter found in the frame. Valid for FILTER_TCP, FILTER_TCP_SYN and FILTER_UDP. */
struct filter_view {
	uint32_t source; /* host byte order */
	uint16_t source_port;
	uint16_t dest_port;
	size_t payload_at;   /* offset in the frame */
	size_t payload_size; /* without Ethernet padding */
	int partial_csum;    /* TCP: the checksum field has only the pseudo-header's sum */
};

/* Classify the frame of @size bytes at @data. */
enum filter_verdict filter_frame(const struct filter_rules *rules, const uint8_t *data, size_t size,
				 struct filter_view *ret_view) __attribute__((warn_unused_result));

#endif
