/* shield.h - in a flood, have the kernel throw witness datagrams away that name no key of ours.
 *
 * Why: throwing one away here is cheap, but it was copied into the port's ring and out of it again, and the ring
 * is as long as it is: what a flood costs is its way to us. Where the port is a kernel interface (net_af_packet)
 * the kernel can be given a small classic BPF program (linux/filter.h) that looks before it copies.
 *
 * Only in a flood: dropped there means uncounted here, and an operator should see in the counters what comes.
 *
 *	          refused >= SHIELD_UP_PER_S for SHIELD_LOOK_NS
 *	 DOWN ──────────────────────────────────────────────────► UP
 *	    ◄──────────────────────────────────────────────────────
 *	          after SHIELD_HOLD_NS, to see whether it goes on
 *
 * Pure: counts and time in, a wish and a program out. Where: witnessing.c carries it out. Any thread.
 */
#ifndef WITNESS_SHIELD_H
#define WITNESS_SHIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/filter.h>

#define SHIELD_LOOK_NS	 (UINT64_C(100) * 1000000)
#define SHIELD_HOLD_NS	 (UINT64_C(5000) * 1000000)
#define SHIELD_UP_PER_S	 5000 /* refused datagrams; true ones are a hundred a second for each VM */
#define SHIELD_TELL_NS	 (UINT64_C(60000) * 1000000)
#define SHIELD_KEYS_MAX	 128
#define SHIELD_INSNS_MAX (SHIELD_KEYS_MAX + 16)

struct shield {
	uint64_t looked_ns; /* 0: never */
	uint64_t refused;   /* then */
	uint64_t up_ns;	    /* since when it is up */
	uint64_t told_ns;   /* when somebody was told of it; the caller's */
	bool is_up;
};

/* @refused: witness datagrams refused so far. True: is_up changed. To be called some times a second. */
bool shield_look(struct shield *shield, uint64_t refused, uint64_t now_ns);

/* The program: all frames pass but UDP in IPv4, of which those to @port pass that look like a witness datagram
 * with one of @n_keys (<= SHIELD_KEYS_MAX) @key_ids. Nobody here wants other UDP. Returns how many instructions
 * were written to @ret_insns. */
size_t shield_program(uint16_t port, const uint32_t *key_ids, size_t n_keys,
		      struct sock_filter ret_insns[SHIELD_INSNS_MAX]);

#endif
