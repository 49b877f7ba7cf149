/* witness_mirror.h - the sending side of one VM's witness. It makes this host's kernel tell the
 * gateway that clients still reach the guest.
 *
 * Why: if the agent's beat (a sign of life) is missing, the gateway only knows that the agent is
 * late. A witness datagram shows that the host, its client network and its guest are alive. The
 * witness must not depend on the agent. So the kernel sends the datagrams, even if the agent is
 * stopped or dead.
 *
 *	guest's tap, tc egress ─clone─► [hfwN]==veth==[hfvN], tc ingress ─signed─► backup device
 *	                              N is the tap's ifindex             └signed─► client device
 *	                              client device: only if the gateway gave an address there
 *
 * Life: open, set_key, then refresh every few seconds. Call set_key again when the gateway changes
 * the key. close removes everything. leave frees only the object, and the kernel still sends
 * datagrams. If the agent is killed, the kernel still sends datagrams, too. The next
 * witness_mirror_open() takes over what it finds, without interrupting the datagrams.
 *
 * Open the VM's hold (net/hold.h) before the witness. The witness uses the hold's qdisc on the tap
 * and the hold's count of frames from the guest. Close the two in any order. The guest's traffic
 * does not depend on the witness.
 *
 * Where: hostagent/vm/vm_witness.c calls it; it calls ebpf/witness_prog.h and net/nl.h. It needs
 * root. Threads: one owner thread per witness. Any thread can call witness_mirror_stats() while the
 * object exists.
 */
#ifndef NET_WITNESS_MIRROR_H
#define NET_WITNESS_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/tap_names.h"
#include "ebpf/witness_shared.h"
#include "net/hold.h"

#define WITNESS_KEY_SIZE 16

struct witness_mirror;

/* Says what to open. Used only during witness_mirror_open(), which copies what it needs. */
struct witness_mirror_config {
	const char *vm;	  /* the VM's name; 1..HOLD_VM_NAME_MAX bytes */
	const struct tap_names *taps; /* the guest's taps, each with an open hold (net/holds.h) */
	/* directory on a bpffs, used only for this witness; created if missing */
	const char *pin_dir;
	const char *hold_pin_dir; /* the pin_dir of the VM's holds */
	uint32_t gateway_be32;	  /* the gateway's IPv4 address in the backup network */
	uint64_t interval_ns;	  /* least time between two datagrams, > 0 */
};

/* The witness's state and counters. Counters start when the witness is first created, and the next
 * agent continues them, except where noted. */
struct witness_mirror_stats {
	uint32_t key_id;     /* number of the key in use; 0: no key yet */
	bool is_enabled;     /* a key and a route are known, so samples are sent */
	bool is_wanted[WITNESS_N_PATHS]; /* the gateway has an address in the path's network */
	bool has_way[WITNESS_N_PATHS];   /* there is a route to the gateway in the path's network */
	uint64_t to_guest;   /* frames sent to the guest through its taps */
	uint64_t sampled;    /* how many of the to_guest frames were sampled */
	uint64_t failed_clone; /* number of sampled frames that were lost before they could be
				* signed */
	uint64_t sent[WITNESS_N_PATHS];	    /* datagrams given to the path's device */
	uint64_t failed[WITNESS_N_PATHS];   /* samples for which the path sent no datagram */
	uint64_t sequence[WITNESS_N_PATHS]; /* last sequence number used with the current key */
};

/* Create the witness of one VM, or take over the witness that an earlier agent left. A new witness
 * counts frames, but sends nothing before witness_mirror_set_key(). Blocks for tens of ms
 * (rtnetlink, loading the programs). The caller owns *ret and ends it with witness_mirror_close()
 * or witness_mirror_leave().
 * Returns 0;
 * -EINVAL: a value of @config is out of range;
 * -ENODEV: there is no such tap;
 * -ENOENT: there is no hold in hold_pin_dir, or pin_dir is not on a bpffs;
 * -EBUSY: another process has this witness;
 * -EEXIST: another owner's device has one of our names;
 * -EPERM: we are not root;
 * other -errno of the kernel.
 * On error *ret_error says why, and nothing new is left. An existing witness continues to send. */
int witness_mirror_open(const struct witness_mirror_config *config, struct witness_mirror **ret,
			struct error *ret_error) __attribute__((warn_unused_result));

/* Sign the following datagrams with @key, and number them from 1. Send them to UDP @port of the
 * gateway's address in the backup network. Also send them to @client_be32, the gateway's address in
 * the client network; 0: there is none.
 * If the key is already in use, only port and address change. @key is copied. Blocks for an RCU
 * grace period (ms). Call witness_mirror_refresh() afterwards to find the routes.
 * Returns 0, or -EINVAL if @key_id or @port is 0. */
int witness_mirror_set_key(struct witness_mirror *w, uint32_t key_id, uint16_t port,
			   const uint8_t key[WITNESS_KEY_SIZE], uint32_t client_be32)
	__attribute__((warn_unused_result));

/* Look up the routes to the gateway again, and use them. Blocks for rtnetlink (ms). Sets each
 * path's element of @ret_ways to
 * - 0: datagrams can be sent by the path, or none are wanted;
 * - -ENOENT: the next hop's MAC address is not known yet, and the kernel asks for it. In the
 *   backup network the agent's own connection makes the kernel ask, in the client network this
 *   function does;
 * - -ENOTSUP: the gateway is this host, the device is not Ethernet, or both networks use the same
 *   device;
 * - -ENETUNREACH: there is no route;
 * - other -errno of the kernel.
 * After an error the earlier route stays in use. */
void witness_mirror_refresh(struct witness_mirror *w, int ret_ways[WITNESS_N_PATHS]);

/* Stop sending and remove everything. @w is freed in every case; NULL is allowed. Blocks for tens
 * of ms. If a step fails, the other steps are still tried. Returns 0, or the -errno of the first
 * step that failed. */
int witness_mirror_close(struct witness_mirror *w);

/* Free @w, but let the kernel continue to send datagrams after the agent's end. NULL is
 * allowed. */
void witness_mirror_leave(struct witness_mirror *w);

/* Returns true if witness_mirror_open() took over an existing witness. */
bool witness_mirror_is_taken_over(const struct witness_mirror *w);

/* Read state and counters. Only reads mapped memory. */
void witness_mirror_stats(const struct witness_mirror *w, struct witness_mirror_stats *ret);

/* Remove what an earlier agent left of this VM's witness, even if that witness was on another tap.
 * Blocks for tens of ms.
 * Returns 0, also if nothing was left;
 * -EBUSY: another process has this witness;
 * other -errno. */
int witness_mirror_remove_left(const char *vm, const struct tap_names *taps, const char *pin_dir)
	__attribute__((warn_unused_result));

#endif
