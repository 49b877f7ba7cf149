/* shield_prog.h - load the shield's BPF program, keep its keys, read what it dropped.
 *
 * Why: in a flood the gateway's packet socket gets this program (docs/threat-model.md, "A flood").
 * It is loaded once, before any flood, since the verifier takes milliseconds; the caller attaches
 * it. Nothing is pinned: socket, program and keys end with the process.
 *
 * Where: gateway/networks/witnessing.c calls it; it calls libbpf only. libbpf's messages go to the
 * log at debug level. Threads: one owner per object; keys and counts are shared with the program
 * and accessed atomically.
 */
#ifndef SHIELD_PROG_H
#define SHIELD_PROG_H

#include <stdint.h>

#include "ebpf/shield_shared.h"

struct shield_prog; /* opaque */

/* Load the program. @ip_be32 and @port (host byte order) are our address for witness datagrams of
 * @path. Allocates; blocks for the kernel's verifier.
 * 0: *ret_prog is the caller's, end it with shield_prog_close(); -EPERM: no CAP_BPF; -ENOMEM; other
 * -errno of bpf(2): the kernel refuses the program. */
int shield_prog_open(uint32_t ip_be32, uint16_t port, uint32_t path, struct shield_prog **ret_prog)
	__attribute__((warn_unused_result));

/* Wipe all keys and free. NULL is fine. Returns NULL. A socket that has the program keeps it,
 * without keys. */
struct shield_prog *shield_prog_close(struct shield_prog *prog);

/* The program, for SO_ATTACH_BPF. Borrowed. */
int shield_prog_fd(const struct shield_prog *prog);

/* Put a copy of @key into @slot (0..SHIELD_SLOTS-1); NULL empties the slot. If the slot already
 * holds this key, nothing changes and its sequence goes on; another key is wiped. Sequences above
 * @key->newest pass. key_id and address are in the byte order of struct shield_key. Makes a system
 * call only if something changes. 0; -errno of bpf(2): the slot then has no key. */
int shield_prog_set_key(struct shield_prog *prog, uint32_t slot, const struct shield_key *key)
	__attribute__((warn_unused_result));

/* How many datagrams were dropped with @verdict since the last call. Not for SHIELD_BAD_MAC. */
uint64_t shield_prog_take_count(struct shield_prog *prog, enum shield_verdict verdict);

/* How many datagrams named @slot's key but had a wrong mac, since the last call. */
uint64_t shield_prog_take_bad_macs(struct shield_prog *prog, uint32_t slot);

#endif
