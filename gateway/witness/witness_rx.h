/* witness_rx.h - takes witness datagrams (wire/witness.h). Authentic, new ones become evidence
 * about a VM; all others are only counted. Pure: bytes and time in, a view out.
 *
 * Why: anybody who reaches the port can send datagrams. Cheap checks come first, so that a flood
 * costs a few comparisons per datagram. The mac is checked last, a bounded number of times per
 * millisecond. State changes only after the mac was good.
 *
 *	size, magic, fields ─► came by its path ─► key_id known ─► from the key's address ─► sequence not seen
 *	   malformed             wrong_path          unknown_key      wrong_address there      replayed
 *	                                                                                        │
 *	                                                                  over_limit  within the bound on work
 *	                                           accepted ◄─ the window moves ◄─ mac ─────────────┘
 *	                                                                           bad_mac
 *
 * Paths: the same sample may come through the backup and through the client network, signed for
 * each. Each path of a key has its own address, window and share of the work. The copy that comes
 * first is the evidence.
 *
 * Bound on work: WITNESS_RX_CHECKS_PER_MS macs in all. Half of them are shared out among the VMs
 * that have a key, by path, and no other flood touches a share. The other half is for all, first
 * come first served. A flood may pass all checks before the mac (its sender sees the VM's
 * datagrams). Then as many true datagrams can go unread as the flood exceeds the bound; the VM's
 * others are still found.
 *
 * Keys: a VM has a current key and the previous one. The previous one stays valid until
 * WITNESS_RX_OVERLAP_NS after the first datagram of the current one. An agent may hang just as it
 * gets a new key, and its kernel then goes on signing with the old one; that is when the evidence
 * is needed. A new key replaces a current key that was never used.
 *
 * Time: a datagram says when it was made, by the primary's clock. The least difference ever seen
 * between the two clocks, in datagrams or in beats (witness_rx_clock()), is taken as their true
 * offset. A sample that came later than that was delayed, and its evidence is dated back by the
 * delay. So neither a full queue nor somebody who holds datagrams back makes old evidence look
 * fresh. The offset may grow by 1/1000, which is more than two slewed clocks drift apart.
 *
 * Where: fleet/witness_keys.c sets keys and clocks; main's loop feeds bursts; the detector and
 * control/ read views. Threads: the gateway's loop. Only ..._new() and ..._set_key() allocate
 * (a key's OpenSSL context); nothing blocks.
 */
#ifndef WITNESS_WITNESS_RX_H
#define WITNESS_WITNESS_RX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "wire/witness.h"

#define WITNESS_RX_VMS_MAX	 64
#define WITNESS_RX_SLOTS	 128 /* a current and a previous key for each VM */
#define WITNESS_RX_OVERLAP_NS	 CLOCK_NS_PER_S
#define WITNESS_RX_CHECKS_PER_MS 512 /* macs; one takes about 0.12 us (docs/threat-model.md) */
#define WITNESS_RX_BURST	 512 /* macs that a share or the common half can save
				      * up, since the loop comes by at intervals */

/* A sample delayed longer says nothing about the present. This is more than a queue that lets TLS
 * live, and less than the patience for a host that is probed. Somebody who holds datagrams back can
 * make a dead host look alive for at most this long. */
#define WITNESS_RX_LATE_NS CLOCK_NS_PER_S

enum witness_rx_verdict {
	WITNESS_RX_ACCEPTED,
	WITNESS_RX_MALFORMED,	  /* no witness datagram */
	WITNESS_RX_WRONG_PATH,	  /* came by another network than it was sent to */
	WITNESS_RX_UNKNOWN_KEY,	  /* no such key, or a replaced one */
	WITNESS_RX_WRONG_ADDRESS, /* not from the host's address there,
				   * or the key is not for that path */
	WITNESS_RX_REPLAYED,	  /* a sequence number already seen, or too old to tell */
	WITNESS_RX_OVER_LIMIT,	  /* the bound on work is reached */
	WITNESS_RX_BAD_MAC,
	WITNESS_RX_N_VERDICTS,
};

/* What is known of one VM's guest. Times ending in _at_ns are the gateway's clock. */
struct witness_view {
	/* always valid */
	uint64_t n_accepted;
	uint64_t n_timely;	/* of these, those that were new and less
				 * than WITNESS_RX_LATE_NS old on arrival */
	uint64_t n_bad_mac;	/* datagrams that named one of the VM's keys: forgeries */
	struct {
		uint64_t n_accepted;
		uint64_t made_at_ns; /* as below, of the newest sample by this path; 0: none */
	} paths[WIRE_WITNESS_N_PATHS];
	/* valid when n_accepted > 0: the newest sample */
	uint64_t arrived_at_ns;
	uint64_t made_at_ns;	/* when the primary's kernel made it; never
				 * after arrived_at_ns, never decreases */
	uint64_t mono_ns;	/* the same, by the primary's clock */
	uint64_t to_guest, from_guest; /* as the primary's kernel counts them */
	/* since the sample before; 0 for the first one, or when the counters restarted */
	uint64_t to_delta, from_delta;
	uint64_t interval_ns;	/* between the two, by the primary's clock */
	/* over all samples */
	uint64_t answered_at_ns; /* the guest's last frame; 0: none so far */
	uint64_t n_unanswered;	/* frames that reached the guest since
				 * it was last seen to send one */
	uint64_t asked_at_ns;	/* when the first of these was reported; 0: none */
};

struct witness_rx; /* opaque */

/* 0: *ret_rx is the caller's; -ENOMEM. */
int witness_rx_new(struct witness_rx **ret_rx) __attribute__((warn_unused_result));
/* Wipes all keys. NULL is fine. Returns NULL. */
struct witness_rx *witness_rx_free(struct witness_rx *rx);

/* Give @vm (0..WITNESS_RX_VMS_MAX-1) a new key. The key was sent to the host that has @addresses in
 * the networks of enum wire_witness_path (host byte order; 0: take nothing by that path). @key_id:
 * not 0, not in use. @key is copied. @clock_new: the host's clock may be a different one now (it
 * connected again). 0; -EINVAL: vm or key_id; -ENOMEM: also when this OpenSSL has no SipHash. On
 * error the keys stay as before. */
int witness_rx_set_key(struct witness_rx *rx, size_t vm, uint32_t key_id,
		       const uint8_t key[WIRE_WITNESS_KEY_SIZE],
		       const uint32_t addresses[WIRE_WITNESS_N_PATHS], bool clock_new,
		       uint64_t now_ns) __attribute__((warn_unused_result));

/* Wipe @vm's keys and forget its evidence: it has another owner, or is not protected any more. */
void witness_rx_clear(struct witness_rx *rx, size_t vm);

/* An authentic message of @vm's host arrived now and gives @mono_ns as its time. */
void witness_rx_clock(struct witness_rx *rx, size_t vm, uint64_t mono_ns, uint64_t now_ns);

/* Wipe previous keys that are no longer valid. Call it a few times a second. */
void witness_rx_tick(struct witness_rx *rx, uint64_t now_ns);

/* Take one UDP payload from @source (host byte order) that came by @path's network. Read only. Any
 * verdict but WITNESS_RX_ACCEPTED changes only counters. */
enum witness_rx_verdict witness_rx_input(struct witness_rx *rx, enum wire_witness_path path,
					 uint32_t source, const uint8_t *data, size_t size,
					 uint64_t now_ns);

/* Never NULL; valid as long as @rx. */
const struct witness_view *witness_rx_view(const struct witness_rx *rx, size_t vm);

/* For code that checks datagrams ahead of witness_rx_input(), in the kernel. */
struct witness_rx_key {
	uint32_t key_id;
	uint32_t address; /* host byte order */
	uint64_t newest;  /* highest sequence taken; 0: none */
	uint8_t key[WIRE_WITNESS_KEY_SIZE];
};

/* The key in @slot (0..WITNESS_RX_SLOTS-1), in its form for @path. False: the slot has none for it.
 * The caller wipes *ret_key. */
bool witness_rx_get_key(const struct witness_rx *rx, size_t slot, enum wire_witness_path path,
			struct witness_rx_key *ret_key);

/* Count @n datagrams that the kernel refused with @verdict;
 * or with @slot's key_id and a wrong mac. */
void witness_rx_add_refused(struct witness_rx *rx, enum wire_witness_path path,
			    enum witness_rx_verdict verdict, uint64_t n);
void witness_rx_add_bad_macs(struct witness_rx *rx, size_t slot, enum wire_witness_path path,
			     uint64_t n);

/* The number of datagrams by @path so far with any verdict but WITNESS_RX_ACCEPTED. */
uint64_t witness_rx_refused(const struct witness_rx *rx, enum wire_witness_path path);

/* The number of datagrams by @path so far with @verdict, of all VMs. */
uint64_t witness_rx_count(const struct witness_rx *rx, enum wire_witness_path path,
			  enum witness_rx_verdict verdict);

#endif
