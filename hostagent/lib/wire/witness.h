/* witness.h - the witness datagram: a sample of a client's frame, signed in the primary's kernel.
 *
 * Why: it shows that the primary's kernel, client network and guest are alive when the agent or its
 * connection is not (design: "Liveness"). ebpf/witness.bpf.c builds it; this module reads it.
 * docs/wire-format.md, chapter 9, is normative.
 *
 * Where: the gateway's receiver, tests. Calls OpenSSL for SipHash-2-4 (Aumasson and Bernstein
 * 2012). Threads: decode: any. A struct wire_witness_mac belongs to one thread. Only ..._new()
 * allocates.
 *
 *	0 magic  4 key_id  8 sequence  16 mono_ns  24 to_guest  32 from_guest  40 from_guest_ns
 *	48 frame_size  50 head_size  52 reserved, 0  56 head (64 bytes)  120 mac
 */
#ifndef WIRE_WITNESS_H
#define WIRE_WITNESS_H

#include <stddef.h>
#include <stdint.h>

#include "wire/limits.h"

#define WIRE_WITNESS_SIZE     128 /* bytes of a datagram's payload, always */
#define WIRE_WITNESS_SIGNED   120 /* the first of them, which the mac covers */
#define WIRE_WITNESS_HEAD_MIN 14
#define WIRE_WITNESS_HEAD_MAX 64
#define WIRE_WITNESS_WINDOW   64  /* how far behind the newest a sequence is still accepted */

/* The network over which a datagram was sent. Each has its own sequence numbers. */
enum wire_witness_path {
	WIRE_WITNESS_BACKUP = 0,
	WIRE_WITNESS_CLIENT = 1,
	WIRE_WITNESS_N_PATHS,
};

struct wire_witness {
	uint32_t key_id;
	uint64_t sequence;	/* >= 1 */
	uint64_t mono_ns;	/* the primary's CLOCK_BOOTTIME at the sample */
	uint64_t to_guest;	/* frames that reached the guest's port, including this one */
	uint64_t from_guest;	/* frames that the guest sent, held ones too */
	uint64_t from_guest_ns; /* the same clock at the last frame from the guest; 0: none */
	uint16_t frame_size;	/* of the sampled frame, bytes */
	uint16_t head_size;	/* WIRE_WITNESS_HEAD_MIN..MAX, <= frame_size */
	enum wire_witness_path path;
	const uint8_t *head;	/* in place in the datagram */
};

/* Decode @size bytes of a UDP payload. Does not check the mac: trust nothing before
 * wire_witness_mac_check(). 0; -EPROTO: the format is broken; *ret_witness is untouched then. */
int wire_witness_decode(const uint8_t *data, size_t size, struct wire_witness *ret_witness)
	__attribute__((warn_unused_result));

/* A key, ready for use. */
struct wire_witness_mac;

/* @key is copied. 0: *ret_mac is the caller's, see ..._free(); -ENOMEM: also when this OpenSSL has
 * no SipHash. */
int wire_witness_mac_new(const uint8_t key[WIRE_WITNESS_KEY_SIZE],
			 struct wire_witness_mac **ret_mac) __attribute__((warn_unused_result));

/* Wipes. Accepts NULL; returns NULL. */
struct wire_witness_mac *wire_witness_mac_free(struct wire_witness_mac *mac);

/* Is the datagram of WIRE_WITNESS_SIZE bytes signed with this key? 0; -EBADMSG: no. Constant
 * time. */
int wire_witness_mac_check(struct wire_witness_mac *mac, const uint8_t *data)
	__attribute__((warn_unused_result));

/* Sign the datagram's first WIRE_WITNESS_SIGNED bytes in place (tests, injectors). 0; -EIO:
 * OpenSSL. */
int wire_witness_mac_sign(struct wire_witness_mac *mac, uint8_t *data)
	__attribute__((warn_unused_result));

#endif
