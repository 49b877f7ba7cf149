/* witness.h - the witness datagram: a sample of a client's frame, signed in the primary's kernel.
 *
 * Why: the datagram shows that the primary's kernel, client network and guest are alive, even if
 * the agent or its connection is dead. ebpf/witness.bpf.c builds the datagram. This file reads it.
 * docs/wire-format.md, chapter 9, defines the format.
 *
 * Where: the gateway's receiver, tests. Calls OpenSSL for SipHash-2-4 (Aumasson and Bernstein
 * 2012), which computes the mac (message authentication code). Threads: any thread may decode; a
 * struct wire_witness_mac belongs to one thread. Only wire_witness_mac_new() allocates.
 *
 *	0 magic  4 key_id  8 sequence  16 mono_ns  24 to_guest  32 from_guest  40 from_guest_ns
 *	48 frame_size  50 head_size  52 path  56 head (64 bytes)  120 mac
 */
#ifndef WIRE_WITNESS_H
#define WIRE_WITNESS_H

#include <stddef.h>
#include <stdint.h>

#include "wire/limits.h"

#define WIRE_WITNESS_SIZE     128 /* size of every datagram's payload in bytes */
#define WIRE_WITNESS_SIGNED   120 /* the mac covers this many bytes from the start */
#define WIRE_WITNESS_HEAD_MIN 14
#define WIRE_WITNESS_HEAD_MAX 64
/* the receiver drops a datagram whose sequence number is more than this far below the newest one */
#define WIRE_WITNESS_WINDOW   64

/* The network through which a datagram was sent. Each network has its own sequence numbers. */
enum wire_witness_path {
	WIRE_WITNESS_BACKUP = 0,
	WIRE_WITNESS_CLIENT = 1,
	WIRE_WITNESS_N_PATHS,
};

struct wire_witness {
	uint32_t key_id;
	uint64_t sequence;	/* >= 1 */
	uint64_t mono_ns;	/* the primary's CLOCK_BOOTTIME when the frame was sampled */
	uint64_t to_guest;	/* frames that reached the guest's port, including this one */
	uint64_t from_guest;	/* frames that the guest sent, including held ones */
	uint64_t from_guest_ns; /* CLOCK_BOOTTIME of the last frame from the guest; 0 if none */
	uint16_t frame_size;	/* bytes of the sampled frame */
	uint16_t head_size;	/* bytes at `head`: WIRE_WITNESS_HEAD_MIN..MAX, <= frame_size */
	enum wire_witness_path path;
	const uint8_t *head;    /* the frame's first head_size bytes, in place in the datagram */
};

/* Decode @size bytes of a UDP payload. Does not check the mac: before wire_witness_mac_check(),
 * trust no field. Returns 0. If the format is broken, returns -EPROTO and does not change
 * *ret_witness. */
int wire_witness_decode(const uint8_t *data, size_t size, struct wire_witness *ret_witness)
	__attribute__((warn_unused_result));

/* A key, prepared for computing macs. */
struct wire_witness_mac;

/* Prepare @key, which is copied. Returns 0 (the caller frees *ret_mac with
 * wire_witness_mac_free());
 * -ENOMEM: there is no memory, or this OpenSSL has no SipHash. */
int wire_witness_mac_new(const uint8_t key[WIRE_WITNESS_KEY_SIZE],
			 struct wire_witness_mac **ret_mac) __attribute__((warn_unused_result));

/* Wipe and free @mac. NULL is allowed. Returns NULL. */
struct wire_witness_mac *wire_witness_mac_free(struct wire_witness_mac *mac);

/* Check in constant time whether the datagram (WIRE_WITNESS_SIZE bytes) is signed with this key.
 * Returns 0: it is; -EBADMSG: it is not. */
int wire_witness_mac_check(struct wire_witness_mac *mac, const uint8_t *data)
	__attribute__((warn_unused_result));

/* Sign a datagram: write the mac of its first WIRE_WITNESS_SIGNED bytes behind these bytes. For
 * tests and injectors. Returns 0, or -EIO if OpenSSL failed. */
int wire_witness_mac_sign(struct wire_witness_mac *mac, uint8_t *data)
	__attribute__((warn_unused_result));

#endif
