/* ip_frames.h - makes checksums and headers for IPv4 frames that a peer sends to the stack under
 * test. For tests only; a test program includes it in one file.
 */
#ifndef IP_FRAMES_H
#define IP_FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

#define FIN 1
#define SYN 2
#define RST 4
#define PSH 8
#define ACK 16

static const uint8_t our_mac[6] = { 2, 0, 0, 0, 0, 1 };
static const uint8_t peer_mac[6] = { 2, 0, 0, 0, 0, 2 };
static const uint8_t our_ip[4] = { 198, 18, 77, 1 };
static const uint8_t peer_ip[4] = { 198, 18, 77, 2 };

static inline uint16_t csum(const uint8_t *data, size_t size, uint32_t sum)
{
	size_t i;

	for (i = 0; i + 1 < size; i += 2)
		sum += bytes_get_be16(data + i);
	if (size & 1)
		sum += (uint32_t)data[size - 1] << 8;
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)~sum;
}

static inline uint16_t tcp_csum(const uint8_t *ip, const uint8_t *tcp, size_t size)
{
	uint32_t sum = 6 + (uint32_t)size;
	size_t i;

	for (i = 12; i < 20; i += 2)
		sum += bytes_get_be16(ip + i);
	return csum(tcp, size, sum);
}

static inline void put_ip(uint8_t *frame, uint8_t protocol, size_t inner_size)
{
	uint8_t *ip = frame + 14;

	memcpy(frame, our_mac, 6);
	memcpy(frame + 6, peer_mac, 6);
	bytes_put_be16(frame + 12, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, (uint16_t)(20 + inner_size));
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, peer_ip, 4);
	memcpy(ip + 16, our_ip, 4);
	bytes_put_be16(ip + 10, csum(ip, 20, 0));
}

/* Make a frame with one TCP segment without options, from port @from of peer_ip to port @to of
 * our_ip. Returns the size of the frame.
 */
static inline size_t put_tcp(uint8_t *frame, uint16_t from, uint16_t to, uint32_t seq, uint32_t ack,
			     uint8_t flags, const void *data, size_t size)
{
	uint8_t *tcp = frame + 34;

	memset(tcp, 0, 20);
	put_ip(frame, 6, 20 + size);
	bytes_put_be16(tcp, from);
	bytes_put_be16(tcp + 2, to);
	bytes_put_be32(tcp + 4, seq);
	bytes_put_be32(tcp + 8, ack);
	tcp[12] = 0x50;
	tcp[13] = flags;
	bytes_put_be16(tcp + 14, 60000);
	memcpy(tcp + 20, data, size);
	bytes_put_be16(tcp + 16, tcp_csum(frame + 14, tcp, 20 + size));
	return 54 + size;
}

/* Make a frame of ARP_BYTES bytes: an ARP request for our_ip, sent by peer_ip with peer_mac. */
#define ARP_BYTES 60
static inline void put_arp_request(uint8_t *frame)
{
	memset(frame, 0, ARP_BYTES);
	memset(frame, 255, 6);
	memcpy(frame + 6, peer_mac, 6);
	memcpy(frame + 12, "\x08\x06\0\1\x08\0\6\4\0\1", 10);
	memcpy(frame + 22, peer_mac, 6);
	memcpy(frame + 28, peer_ip, 4);
	memcpy(frame + 38, our_ip, 4);
}

#endif
