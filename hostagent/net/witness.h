/* witness.h - let this host's kernel tell the gateway that clients still reach the guest of one VM.
 *
 * Why: a beat that does not come says that the agent is late; a witness that comes says that the host,
 * its client network and its guest are alive. It must not need the agent: it flows on when that is
 * stopped or dead.
 *
 *	guest's tap, tc egress ──clone──► [hfwN]==veth==[hfvN] tc ingress ──signed datagram──► backup device
 *	                                  N is the tap's ifindex            └─another one────► client device,
 *	                                                                    if the gateway gave an address there
 *
 * Life: open -> set_key -> refresh every few seconds, set_key when the gateway changes it -> close (all
 * of it is removed), or leave (the agent ends; it flows on). A kill is as leave: the next
 * witness_open() goes on with what it finds, and does not interrupt it.
 * It needs the VM's hold (net/hold.h), opened before: its qdisc on the tap and its count of what the
 * guest sent. Close either of them first. The guest's traffic depends on nothing here.
 *
 * Where: hostagent/vm_witness.c calls it; it calls ebpf/witness_prog.h and net/nl.h. It needs root.
 * Threads: one owner thread per witness; witness_stats() from any thread while the object lives.
 */
#ifndef NET_WITNESS_H
#define NET_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "ebpf/witness_shared.h"
#include "net/hold.h"

#define WITNESS_KEY_SIZE 16

struct witness;

/* Read by witness_open() only; nothing is kept by reference. */
struct witness_config {
	const char *vm;	  /* the VM's name; 1..HOLD_VM_NAME_MAX bytes */
	const char *tap;  /* the guest's tap */
	const char *pin_dir;	  /* directory on a bpffs for this witness alone; made when missing */
	const char *hold_pin_dir; /* that of the VM's hold */
	uint32_t gateway_be32;	  /* IPv4 address that datagrams go to by the backup network */
	uint64_t interval_ns;	  /* least time between two of them, > 0 */
};

/* Of this witness since it was first made (it survives the agent), except where said. */
struct witness_stats {
	uint32_t key_id;     /* in use; 0: none yet */
	bool is_enabled;     /* key and a way are known, samples are sent */
	bool is_wanted[WITNESS_N_PATHS]; /* there is an address to send to by this path ... */
	bool has_way[WITNESS_N_PATHS];	 /* ... and a way to it */
	uint64_t to_guest;   /* frames that reached the guest's port */
	uint64_t sampled;    /* of them, sampled */
	uint64_t failed_clone; /* of these, lost before they could be signed */
	uint64_t sent[WITNESS_N_PATHS];	    /* datagrams handed to the path's device */
	uint64_t failed[WITNESS_N_PATHS];   /* samples of which no datagram could be made for it */
	uint64_t sequence[WITNESS_N_PATHS]; /* last ones of the key in use */
};

/* Make the witness of one VM, or take over the one that an earlier agent left. New: frames are counted,
 * nothing is sent before witness_set_key(). Blocks: rtnetlink and program load, tens of ms.
 * @ret is the caller's: witness_close() or witness_leave(). @ret_error is always set.
 * 0; -EINVAL: config out of range; -ENODEV: no such tap; -ENOENT: no hold there, or pin_dir on no bpffs;
 * -EBUSY: another process has it; -EEXIST: a device of another owner has our name; -EPERM; other -errno.
 * On error nothing of ours is left behind, except a witness that was found: it goes on. */
int witness_open(const struct witness_config *config, struct witness **ret,
		 struct hold_error *ret_error) __attribute__((warn_unused_result));

/* Sign with this key from the next datagrams on, whose sequences are 1, and send to UDP @port; by the
 * client network to @client_be32, the gateway's address there, or not (0). The key in use given again changes
 * nothing but port and address. @key is copied. Blocks for a grace period (ms). witness_refresh() is to follow:
 * it finds the ways. 0; -EINVAL: @key_id or @port 0. */
int witness_set_key(struct witness *w, uint32_t key_id, uint16_t port,
		    const uint8_t key[WITNESS_KEY_SIZE], uint32_t client_be32)
	__attribute__((warn_unused_result));

/* Look up again how the gateway is reached, and use it. Blocks for rtnetlink (ms). By path:
 * 0: datagrams can flow, or none are wanted; -ENOENT: the kernel has no MAC address for the next hop now (the
 * agent's connection gives it one in the backup network; in the client network it was asked to find it out);
 * -ENOTSUP: the gateway is this host, or the way has no Ethernet, or the client network's is the backup
 * network's device; -ENETUNREACH: no route; other -errno. On error the way that was known is kept. */
void witness_refresh(struct witness *w, int ret_ways[WITNESS_N_PATHS]);

/* End it and remove everything. @w is freed in every case; NULL is allowed.
 * Blocks: tens of ms. 0; -errno of the first step that failed (the others were still tried). */
int witness_close(struct witness *w);

/* The agent ends: it flows on. @w is freed; NULL is allowed. */
void witness_leave(struct witness *w);

/* True when witness_open() found one of this tap. */
bool witness_is_taken_over(const struct witness *w);

/* Reads mapped memory only. */
void witness_stats(const struct witness *w, struct witness_stats *ret);

/* Remove what an earlier agent left of this VM's witness, whatever its tap. 0: done, or there is none;
 * -EBUSY: another process has it; other -errno. Blocks: tens of ms. */
int witness_remove_left(const char *vm, const char *tap, const char *pin_dir)
	__attribute__((warn_unused_result));

#endif
