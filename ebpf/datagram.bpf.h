/* datagram.bpf.h - defines the witness datagram and computes its mac (message authentication code).
 * For BPF programs that sign or check the datagram.
 *
 * docs/wire-format.md, chapter 9, defines the format. lib/wire/witness.h implements it for user
 * space. Only *.bpf.c files include this file. It has no map and no state.
 */
#ifndef DATAGRAM_BPF_H
#define DATAGRAM_BPF_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "witness_shared.h"

#define DATAGRAM_MAGIC	      0x48465731U /* "HFW1" */
#define DATAGRAM_SIGNED_WORDS 15

/* The datagram; all numbers are big-endian. */
struct datagram {
	__be32 magic;
	__be32 key_id;
	__be64 sequence;
	__be64 mono_ns;
	__be64 to_guest;
	__be64 from_guest;
	__be64 from_guest_ns;
	__be16 frame_size;
	__be16 head_size;
	__be32 path;
	__u8 head[WITNESS_HEAD_MAX];
	__be64 mac;
};
_Static_assert(sizeof(struct datagram) == WITNESS_DATAGRAM_SIZE, "docs/wire-format.md, chapter 9");
_Static_assert(DATAGRAM_SIGNED_WORDS * 8 == __builtin_offsetof(struct datagram, mac),
	       "all but the mac");

#define SIP_ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))

struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = SIP_ROTATE(s->v1, 13) ^ s->v0;
	s->v0 = SIP_ROTATE(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = SIP_ROTATE(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = SIP_ROTATE(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = SIP_ROTATE(s->v1, 17) ^ s->v2;
	s->v2 = SIP_ROTATE(s->v2, 32);
}

static __always_inline void sip_word(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

/* Returns the mac: SipHash-2-4 (Aumasson and Bernstein 2012) of the datagram's first 120 bytes. */
static __always_inline __u64 datagram_mac(const __u64 key[2], const struct datagram *d)
{
	struct sip s = {
		.v0 = key[0] ^ 0x736f6d6570736575ULL,
		.v1 = key[1] ^ 0x646f72616e646f6dULL,
		.v2 = key[0] ^ 0x6c7967656e657261ULL,
		.v3 = key[1] ^ 0x7465646279746573ULL,
	};
	const __u64 *word = (const void *)d;

	/* Unroll the loop, because the verifier (Linux 6.18) refuses variable stack offsets unless
	 * the process has CAP_PERFMON. */
#pragma unroll
	for (int i = 0; i < DATAGRAM_SIGNED_WORDS; i++)
		sip_word(&s, word[i]);
	/* SipHash's last word holds the length and the remaining bytes (here there are none). */
	sip_word(&s, (__u64)(DATAGRAM_SIGNED_WORDS * 8) << 56);
	s.v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
