/* witness_mirror.h - the sending end of one VM's witness: lets this host's kernel tell the gateway
 * that clients still reach the guest.
 *
 * Why: a missing beat only shows that the agent is late; a witness that arrives shows that the
 * host, its client network and its guest are alive. It must not need the agent: datagrams go on
 * when the agent is stopped or dead.
 *
 *	guest's tap, tc egress ──clone──► [hfwN]==veth==[hfvN] tc ingress ──signed datagram──► backup device
 *	                                  N is the tap's ifindex            └─another one────► client device,
 *	                                                                    if the gateway gave an address there
 *
 * Life: open -> set_key -> refresh every few seconds, set_key when the gateway changes the key ->
 * close (remove everything), or leave (the agent ends; datagrams go on). A killed agent is like
 * leave: the next witness_mirror_open() takes over what it finds, without an interruption. It needs
 * the VM's hold (net/hold.h), opened before: the hold's qdisc on the tap and its count of what the
 * guest sent. Either of the two may be closed first. The guest's traffic does not depend on the
 * witness.
 *
 * Where: hostagent/vm/vm_witness.c calls it; it calls ebpf/witness_prog.h and net/nl.h. It needs
 * root. Threads: one owner thread per witness; witness_mirror_stats() from any thread while the
 * object lives.
 */
#ifndef NET_WITNESS_MIRROR_H
#define NET_WITNESS_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "ebpf/witness_shared.h"
#include "net/hold.h"

#define WITNESS_KEY_SIZE 16

struct witness_mirror;

/* Only witness_mirror_open() reads it; nothing is kept by reference. */
struct witness_mirror_config {
	const char *vm;	  /* the VM's name; 1..HOLD_VM_NAME_MAX bytes */
	const char *tap;  /* the guest's tap */
	const char *pin_dir; /* directory on a bpffs for this witness alone; made when missing */
	const char *hold_pin_dir; /* the pin_dir of the VM's hold */
	uint32_t gateway_be32;	  /* the gateway's IPv4 address in the backup network */
	uint64_t interval_ns;	  /* least time between two datagrams, > 0 */
};

/* Counts since the witness was first made (it survives the agent), except where said. */
struct witness_mirror_stats {
	uint32_t key_id;     /* of the key in use; 0: none yet */
	bool is_enabled;     /* a key and a route are known, samples are sent */
	bool is_wanted[WITNESS_N_PATHS]; /* the path has an address to send to ... */
	bool has_way[WITNESS_N_PATHS];	 /* ... and a route to it */
	uint64_t to_guest;   /* frames that reached the guest's port */
	uint64_t sampled;    /* of to_guest: sampled frames */
	uint64_t failed_clone; /* of sampled: lost before they could be signed */
	uint64_t sent[WITNESS_N_PATHS];	    /* datagrams handed to the path's device */
	uint64_t failed[WITNESS_N_PATHS];   /* samples that gave no datagram for this path */
	uint64_t sequence[WITNESS_N_PATHS]; /* last sequence number of the key in use */
};

/* Make the witness of one VM, or take over the one that an earlier agent left. New: frames are
 * counted, nothing is sent before witness_mirror_set_key(). Blocks: rtnetlink and program load,
 * tens of ms. @ret is the caller's: witness_mirror_close() or witness_mirror_leave(). On error
 * *ret_error says why.
 * 0; -EINVAL: config out of range; -ENODEV: no such tap; -ENOENT: no hold there, or pin_dir on no
 * bpffs; -EBUSY: another process has this witness; -EEXIST: a device of another owner has our name;
 * -EPERM; other -errno. On error nothing of ours is left behind, except that a witness that was
 * found goes on. */
int witness_mirror_open(const struct witness_mirror_config *config, struct witness_mirror **ret,
			struct error *ret_error) __attribute__((warn_unused_result));

/* Use a key from the next datagrams on; their sequence numbers start at 1. Send to UDP @port, and
 * in the client network to @client_be32, the gateway's address there (0: do not send there). If the
 * key is already in use, only port and address change. @key is copied. Blocks for a grace period
 * (ms). Call witness_mirror_refresh() next: it finds the routes.
 * 0; -EINVAL: @key_id or @port is 0. */
int witness_mirror_set_key(struct witness_mirror *w, uint32_t key_id, uint16_t port,
			   const uint8_t key[WITNESS_KEY_SIZE], uint32_t client_be32)
	__attribute__((warn_unused_result));

/* Look up the routes to the gateway again, and use them. Blocks for rtnetlink (ms). For each path
 * *ret_ways is 0: datagrams can flow, or none are wanted; -ENOENT: the kernel has no MAC address
 * for the next hop now (in the backup network the agent's connection makes it find one; in the
 * client network we have asked it to); -ENOTSUP: the gateway is this host, or the device has no
 * Ethernet, or both networks use the same device; -ENETUNREACH: no route; other -errno. After an
 * error the known route stays in use. */
void witness_mirror_refresh(struct witness_mirror *w, int ret_ways[WITNESS_N_PATHS]);

/* End the witness and remove everything. @w is freed in every case; NULL is allowed.
 * Blocks: tens of ms. 0; -errno of the first step that failed (the others were still tried). */
int witness_mirror_close(struct witness_mirror *w);

/* Free @w, but let datagrams go on after the agent's end. NULL is allowed. */
void witness_mirror_leave(struct witness_mirror *w);

/* True when witness_mirror_open() found a witness of this tap. */
bool witness_mirror_is_taken_over(const struct witness_mirror *w);

/* Read the counters, from mapped memory only. */
void witness_mirror_stats(const struct witness_mirror *w, struct witness_mirror_stats *ret);

/* Remove what an earlier agent left of this VM's witness, whatever its tap. 0: done, or there was
 * none; -EBUSY: another process has this witness; other -errno. Blocks: tens of ms. */
int witness_mirror_remove_left(const char *vm, const char *tap, const char *pin_dir)
	__attribute__((warn_unused_result));

#endif
