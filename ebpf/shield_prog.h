/* shield_prog.h - loads the shield's BPF program, sets its keys, and reads how many datagrams it
 * dropped.
 *
 * When a flood begins, the gateway attaches this program to its packet socket
 * (docs/threat-model.md, "A flood"). Loading takes milliseconds in the verifier, so the program is
 * loaded once, before any flood. Nothing is pinned: socket, program and keys end with the process.
 *
 * Where: gateway/networks/witnessing.c calls this file, which calls only libbpf. libbpf's messages
 * go to the log at debug level. Threads: one thread at a time may use an object. Keys and counts
 * are shared with the program and accessed atomically.
 */
#ifndef SHIELD_PROG_H
#define SHIELD_PROG_H

#include <stdint.h>

#include "ebpf/shield_shared.h"

struct shield_prog; /* opaque */

/* Load the program. @ip_be32 and @port (host byte order) are the address to which the witness
 * datagrams of @path are sent. Allocates; blocks for the kernel's verifier.
 * Returns 0 and sets *ret_prog, which the caller must end with shield_prog_close();
 * -EPERM: the process lacks CAP_BPF;
 * -ENOMEM;
 * another -errno of bpf(2): the kernel refuses the program. */
int shield_prog_open(uint32_t ip_be32, uint16_t port, uint32_t path, struct shield_prog **ret_prog)
	__attribute__((warn_unused_result));

/* Wipe all keys and free @prog. NULL is allowed. Returns NULL. If the program is still attached to
 * a socket, it continues to run there, but without keys. */
struct shield_prog *shield_prog_close(struct shield_prog *prog);

/* Returns the program's descriptor, for SO_ATTACH_BPF. Owned by @prog. */
int shield_prog_fd(const struct shield_prog *prog);

/* Put a copy of @key into @slot (0..SHIELD_SLOTS-1). If @key is NULL, wipe the slot. If the slot
 * has a key with the key_id of @key, do nothing, and make no system call. If the slot has a key
 * with a different key_id, wipe that key first. After success, datagrams signed with @key pass only
 * if their sequence number is above @key->newest. Byte orders: see struct shield_key.
 * Returns 0, or -errno of bpf(2). On failure the slot has no key. */
int shield_prog_set_key(struct shield_prog *prog, uint32_t slot, const struct shield_key *key)
	__attribute__((warn_unused_result));

/* Returns how many datagrams were dropped with @verdict since the last call. Not for
 * SHIELD_BAD_MAC: shield_prog_take_bad_macs() returns these. */
uint64_t shield_prog_take_count(struct shield_prog *prog, enum shield_verdict verdict);

/* Returns how many datagrams with the key_id of the key in @slot had a wrong mac since the last
 * call. */
uint64_t shield_prog_take_bad_macs(struct shield_prog *prog, uint32_t slot);

#endif
