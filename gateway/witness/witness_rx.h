/* witness_rx.h - takes witness datagrams (wire/witness.h): authentic, new ones become evidence about a
 * VM, all others are counted and change nothing. Pure: bytes and time in, a view out.
 *
 * Why: the datagrams come from anybody who reaches the port. What is cheap is asked first, so that a
 * flood is thrown away at the price of a few comparisons each; the mac is asked of what is left, a
 * bounded number of times per millisecond; state moves only behind the mac.
 *
 *	size, magic, fields ─► came by its path ─► key_id known ─► from the key's address ─► sequence not seen
 *	   malformed             wrong_path          unknown_key      wrong_address there      replayed
 *	                                                                                        │
 *	                                                                  over_limit  within the bound on work
 *	                                           accepted ◄─ the window moves ◄─ mac ─────────────┘
 *	                                                                           bad_mac
 *
 * Paths: the same sample may come through the backup and through the client network, signed for each. Each
 * path of a key has an address, a window and a share of the work of its own; the evidence is that of
 * whatever came first.
 *
 * Bound on work: WITNESS_RX_CHECKS_PER_MS macs in all. Half of them are shared out among the VMs that
 * have a key, by path, and no other flood touches a share; the other half goes to whoever comes. A
 * flood that passes all checks before the mac (its sender sees the VM's datagrams) can make true ones
 * go unread, as many as it sends more than the bound; the others of that VM are still found.
 *
 * Keys: a VM has a current one and the one before. The one before stays good until
 * WITNESS_RX_OVERLAP_NS after the first datagram of the current one: an agent that hangs as it gets a
 * new key leaves its kernel signing with the old one, and that is when it is needed. A current key
 * that was never used is what a newer one replaces.
 *
 * Time: a datagram says when it was made, by the primary's clock. The least difference between the
 * two clocks that was seen, in datagrams or in beats (witness_rx_clock()), is how they stand to each
 * other; what came later than that was on its way longer, and its evidence is dated back by as much.
 * So neither a full queue nor somebody who holds datagrams back makes old evidence look fresh. That
 * difference may grow by 1/1000, which is more than two slewed clocks drift apart.
 *
 * Where: session/witness_keys.c sets keys and clocks; main's loop feeds bursts; the detector and
 * control/ read views. Threads: the gateway's loop. Only ..._new() and ..._set_key() allocate
 * (a key's OpenSSL context); nothing blocks.
 */
#ifndef WITNESS_WITNESS_RX_H
#define WITNESS_WITNESS_RX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/witness.h"

#define WITNESS_RX_VMS_MAX	 64
#define WITNESS_RX_SLOTS	 128 /* a current and a replaced key for each */
#define WITNESS_RX_OVERLAP_NS	 UINT64_C(1000000000)
#define WITNESS_RX_CHECKS_PER_MS 512 /* macs; one takes about 0.12 us (docs/threat-model.md) */
#define WITNESS_RX_BURST	 512 /* macs that a share or the common half can save up: the loop
				  * comes by in lumps */

/* A sample that was longer under way says nothing of now. More than a queue on the way that lets TLS
 * live, less than the patience for a host that is asked for: what somebody holds back makes a dead host
 * look alive for this long at most. */
#define WITNESS_RX_LATE_NS UINT64_C(1000000000)

enum witness_rx_verdict {
	WITNESS_RX_ACCEPTED,
	WITNESS_RX_MALFORMED,	  /* no witness datagram */
	WITNESS_RX_WRONG_PATH,	  /* came in by another network than it was sent to */
	WITNESS_RX_UNKNOWN_KEY,	  /* or one that was replaced */
	WITNESS_RX_WRONG_ADDRESS, /* not from that host's address there, or its key is not for that path */
	WITNESS_RX_REPLAYED,	  /* a sequence that was there, or too far behind */
	WITNESS_RX_OVER_LIMIT,	  /* no time left to look at it */
	WITNESS_RX_BAD_MAC,
	WITNESS_RX_N_VERDICTS,
};

/* What is known of one VM's guest. Times ending in _at_ns are the gateway's clock. */
struct witness_view {
	/* always valid */
	uint64_t n_accepted;
	uint64_t n_timely;	/* of these, news and not WITNESS_RX_LATE_NS old as they arrived */
	uint64_t n_bad_mac;	/* with one of the VM's keys named: somebody forges */
	struct {
		uint64_t n_accepted;
		uint64_t made_at_ns; /* as below, of the newest sample that came by it; 0: none */
	} paths[WIRE_WITNESS_N_PATHS];
	/* valid when n_accepted > 0: the newest sample */
	uint64_t arrived_at_ns;
	uint64_t made_at_ns;	/* when the primary's kernel made it, never after arrived_at_ns; never
				 * goes back */
	uint64_t mono_ns;	/* the same, by the primary's clock */
	uint64_t to_guest, from_guest; /* as the primary's kernel counts them */
	/* against the sample before; 0 with the first one, or when the counters began anew */
	uint64_t to_delta, from_delta;
	uint64_t interval_ns;	/* between the two, by the primary's clock */
	/* over all samples */
	uint64_t answered_at_ns; /* the guest's last frame; 0: none so far */
	uint64_t n_unanswered;	/* frames that reached the guest since a sample showed one from it */
	uint64_t asked_at_ns;	/* when the first of these was shown; 0: there are none */
};

struct witness_rx; /* opaque */

/* 0: *ret_rx is the caller's; -ENOMEM. */
int witness_rx_new(struct witness_rx **ret_rx) __attribute__((warn_unused_result));
/* Wipes all keys. NULL is fine. Returns NULL. */
struct witness_rx *witness_rx_free(struct witness_rx *rx);

/* @vm (0..WITNESS_RX_VMS_MAX-1) gets a new key, sent to the host that has @addresses in the networks of enum
 * wire_witness_path (host byte order; 0: what comes by that path is not taken).
 * @key_id: not 0, of no other key. @key is copied. @clock_new: the host's clock may be another one
 * than before (it connected again). 0; -EINVAL: vm or key_id; -ENOMEM: also when this OpenSSL has no
 * SipHash; the keys are as before then. */
int witness_rx_set_key(struct witness_rx *rx, size_t vm, uint32_t key_id,
		       const uint8_t key[WIRE_WITNESS_KEY_SIZE],
		       const uint32_t addresses[WIRE_WITNESS_N_PATHS], bool clock_new,
		       uint64_t now_ns) __attribute__((warn_unused_result));

/* Wipe @vm's keys and forget what was known of it: another owner, or no protection. */
void witness_rx_clear(struct witness_rx *rx, size_t vm);

/* An authentic message of @vm's host arrived now that says @mono_ns is its time. */
void witness_rx_clock(struct witness_rx *rx, size_t vm, uint64_t mono_ns, uint64_t now_ns);

/* Wipe what is replaced and no longer good. At any time, some times a second. */
void witness_rx_tick(struct witness_rx *rx, uint64_t now_ns);

/* One UDP payload, from @source (host byte order), that came in by @path's network. Read only. What is not
 * WITNESS_RX_ACCEPTED had no effect but on counters. */
enum witness_rx_verdict witness_rx_input(struct witness_rx *rx, enum wire_witness_path path,
					 uint32_t source, const uint8_t *data, size_t size,
					 uint64_t now_ns);

/* Never NULL; valid as long as @rx. */
const struct witness_view *witness_rx_view(const struct witness_rx *rx, size_t vm);

/* For who checks datagrams ahead of witness_rx_input(), in the kernel. */
struct witness_rx_key {
	uint32_t key_id;
	uint32_t address; /* host byte order */
	uint64_t newest;  /* highest sequence taken; 0: none */
	uint8_t key[WIRE_WITNESS_KEY_SIZE];
};

/* The key in @slot (0..WITNESS_RX_SLOTS-1), as it is for @path. False: none for it. The caller wipes *ret_key. */
bool witness_rx_get_key(const struct witness_rx *rx, size_t slot, enum wire_witness_path path,
			struct witness_rx_key *ret_key);

/* @n datagrams were refused ahead of us, with @verdict; or with @slot's key_id and another mac. */
void witness_rx_add_refused(struct witness_rx *rx, enum wire_witness_path path,
			    enum witness_rx_verdict verdict, uint64_t n);
void witness_rx_add_bad_macs(struct witness_rx *rx, size_t slot, enum wire_witness_path path,
			     uint64_t n);

/* How many that came in by @path had another verdict than WITNESS_RX_ACCEPTED so far. */
uint64_t witness_rx_refused(const struct witness_rx *rx, enum wire_witness_path path);

/* How many of them had @verdict so far, all VMs. */
uint64_t witness_rx_count(const struct witness_rx *rx, enum wire_witness_path path,
			  enum witness_rx_verdict verdict);

#endif
