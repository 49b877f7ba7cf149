/* filter.h - decides which received frames lwIP may see. Pure: bytes in, verdict out.
 *
 * Debian's lwIP aborts the process when an assertion fails. It also forwards packets, reassembles
 * fragments, and has protocols that we do not need. So only ARP for our address, ICMP echo and
 * well-formed TCP pass this filter. Every field that lwIP reads is then inside the frame.
 *
 * Where: stack_input() calls filter_frame() on every frame. UDP datagrams never go to lwIP. Code
 * that wants UDP datagrams must call filter_frame() itself, before it passes the frame to
 * stack_input(). For a UDP datagram the verdict is FILTER_UDP, and struct filter_view says where
 * the payload is.
 *
 * lwIP checks the IPv4, ICMP and TCP checksums, so this filter does not.
 * Threads: any (no state). Never allocates.
 */
#ifndef STACK_FILTER_H
#define STACK_FILTER_H

#include <stddef.h>
#include <stdint.h>

#define FILTER_MAC_BYTES 6

struct filter_rules {
	uint8_t mac[FILTER_MAC_BYTES]; /* our MAC */
	uint32_t address;	       /* our address, in host byte order */
	uint32_t mask;
};

enum filter_verdict {
	FILTER_ARP, /* this and the next four verdicts: the frame is well-formed and for us */
	FILTER_ICMP_ECHO,
	FILTER_TCP_SYN, /* SYN without ACK: can make lwIP allocate a connection */
	FILTER_TCP,
	FILTER_UDP,
	/* this and all following verdicts say why the frame is dropped; struct stack_counters
	 * explains them */
	FILTER_RUNT,
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
	size_t payload_at;   /* offset of the payload in the frame */
	size_t payload_size; /* without Ethernet padding */
	/* TCP: not 0 if the checksum looks unfinished (only the pseudo-header's sum) */
	int partial_csum;
};

/* Classify the frame of @size bytes at @data. Sets *ret_view for the verdicts named above. */
enum filter_verdict filter_frame(const struct filter_rules *rules, const uint8_t *data, size_t size,
				 struct filter_view *ret_view) __attribute__((warn_unused_result));

#endif
