/* probe_peer.h - plays a probed host: builds the answer from the request's bytes. For tests only.
 * This file does not use probe/frames.h, so a mistake there is not repeated here.
 */
#ifndef PROBE_PEER_H
#define PROBE_PEER_H

#include <stdbool.h>

#include "ip_frames.h"

#define PEER_FRAME_BYTES 60

static inline bool peer_is_arp(const uint8_t *frame)
{
	return bytes_get_be16(frame + 12) == 0x0806;
}

/* Returns the frame's IP protocol (1: ICMP, 6: TCP), or 0 if the frame is not IPv4. */
static inline uint8_t peer_protocol(const uint8_t *frame)
{
	return bytes_get_be16(frame + 12) == 0x0800 ? frame[23] : 0;
}

/* Returns the frame's target address: from its ARP header if it is ARP, else from its IP header. */
static inline uint32_t peer_target(const uint8_t *frame)
{
	return bytes_get_be32(frame + (peer_is_arp(frame) ? 38 : 30));
}

/* Fill in all checksums of an IPv4 frame. */
static inline void peer_seal(uint8_t *frame)
{
	uint8_t *ip = frame + 14, *inner = ip + 20;
	size_t size = (size_t)bytes_get_be16(ip + 2) - 20;

	bytes_put_be16(ip + 10, 0);
	bytes_put_be16(ip + 10, csum(ip, 20, 0));
	if (ip[9] == 1) {
		bytes_put_be16(inner + 2, 0);
		bytes_put_be16(inner + 2, csum(inner, size, 0));
	} else if (ip[9] == 6) {
		bytes_put_be16(inner + 16, 0);
		bytes_put_be16(inner + 16, tcp_csum(ip, inner, size));
	}
}

/* Write to @ret_answer what a host with @mac answers to the probe @frame. Both frames have
 * PEER_FRAME_BYTES bytes. @tcp_flags are the flags of the host's answer to a SYN: 0x12 for SYN-ACK,
 * 0x14 for RST. */
static inline void peer_answer(const uint8_t *frame, const uint8_t *mac, uint8_t tcp_flags,
			       uint8_t *ret_answer)
{
	uint8_t *at = ret_answer + 14;

	memcpy(ret_answer, frame, PEER_FRAME_BYTES);
	memcpy(ret_answer, frame + 6, 6);
	memcpy(ret_answer + 6, mac, 6);
	if (peer_is_arp(frame)) {
		bytes_put_be16(at + 6, 2);
		memcpy(at + 8, mac, 6);
		memcpy(at + 14, frame + 14 + 24, 4);
		memcpy(at + 18, frame + 14 + 8, 10);
		return;
	}
	memcpy(at + 12, frame + 14 + 16, 4);
	memcpy(at + 16, frame + 14 + 12, 4);
	if (at[9] == 1) {
		at[20] = 0;
	} else {
		memcpy(at + 20, frame + 14 + 22, 2);
		memcpy(at + 22, frame + 14 + 20, 2);
		bytes_put_be32(at + 24, 0x11223344);
		bytes_put_be32(at + 28, bytes_get_be32(frame + 14 + 24) + 1);
		at[33] = tcp_flags;
	}
	peer_seal(ret_answer);
}

#endif
