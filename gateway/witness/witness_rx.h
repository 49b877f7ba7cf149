/* witness_rx.h - checks witness datagrams (wire/witness.h). Datagrams that are authentic and new
 * become evidence about a VM; all others are only counted. Pure: the caller passes in bytes and the
 * time, and reads the result as a view.
 *
 * Anybody who can reach the port can send datagrams. The cheap checks come first, so that a flood
 * costs only a few comparisons per datagram. The mac (message authentication code) is checked last,
 * at most a bounded number of times per millisecond. Only a datagram with a good mac changes the
 * state.
 *
 *	the checks, in order                                      counted, if the check fails, as
 *	  size, magic number and fields are well-formed             malformed
 *	  it came through the network for which it was signed       wrong_path
 *	  its key_id is known, and the key is still valid           unknown_key
 *	  it came from the host's address                           wrong_address
 *	  its sequence number was not seen before                   replayed
 *	  the bound on work allows one more mac check               over_limit
 *	  its mac is right                                          bad_mac
 *	all passed: the window moves, the datagram is counted as    accepted
 *
 * Paths: the primary's kernel can send each sample twice: one datagram through the backup network
 * and one through the client network. Each datagram has its own signature. The datagram that
 * arrives first is the evidence; the second one adds nothing. For each path, each key has the
 * address from which datagrams must come, and a window of the sequence numbers that were seen.
 *
 * Bound on work: in all, at most WITNESS_RX_CHECKS_PER_MS macs are checked per millisecond. Half of
 * these checks are divided equally among the paths of the VMs that have a key. So a flood against
 * one VM cannot use up the checks of another VM. The other half is common: first come, first
 * served. Somebody who sees a VM's datagrams can build a flood that passes all checks before that
 * of the mac. Then some of this VM's true datagrams are dropped unchecked, but not all.
 *
 * Keys: a VM has a current and a previous key. If the agent hangs before it uses a new key, the
 * host's kernel continues to sign with the old key. And while the agent hangs, the evidence is
 * needed most. So the previous key stays valid until WITNESS_RX_OVERLAP_NS after the first datagram
 * that is signed with the current key. When a new key is set, the new key becomes the current key.
 * If the old current key was used, the old one becomes the previous key. If the old current key was
 * never used, it is dropped, and the previous key stays.
 *
 * Time: a datagram says when it was made, by the primary's clock. From each datagram and each beat
 * (witness_rx_clock()) the gateway computes the difference between its own clock and the primary's.
 * The smallest difference seen so far counts as the true offset between the clocks. If a datagram
 * has a larger difference, it was delayed on the way by the excess. The receiver then subtracts
 * this delay from the evidence's time, so that delayed evidence does not look fresh. The two clocks
 * can drift apart by up to 1/1000 of the time. So the offset grows by 1/1000 of the time that
 * passes, until a smaller difference is seen.
 *
 * Where: fleet/ sets keys and clocks; networks/witnessing.c passes in the datagrams; the detector
 * and control/ read the views.
 * Threads: the gateway's loop. Only ..._new() and ..._set_key() allocate (a key's OpenSSL context);
 * nothing blocks.
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
/* maximum number of macs checked per millisecond; one check takes about 0.12 microseconds
 * (docs/threat-model.md) */
#define WITNESS_RX_CHECKS_PER_MS 512
/* The checks that the bound on work (above) allows but that are not used are kept for a later
 * burst: at most this number for each path of each VM, and at most this number for the common
 * half. */
#define WITNESS_RX_BURST	 512

/* A sample that was delayed by this much or more is not counted in n_timely, because it is too old
 * to be evidence. So an attacker who delays datagrams can make a dead host look alive for at most
 * this time. A lower limit would exclude samples that only waited in a full queue. */
#define WITNESS_RX_LATE_NS CLOCK_NS_PER_S

enum witness_rx_verdict {
	WITNESS_RX_ACCEPTED,
	WITNESS_RX_MALFORMED,	  /* not a witness datagram */
	WITNESS_RX_WRONG_PATH,    /* came through another network than it was signed for */
	WITNESS_RX_UNKNOWN_KEY,	  /* its key_id is unknown, or the key is no longer valid */
	/* not sent from the host's address in that network, or the key is not valid for that
	 * path */
	WITNESS_RX_WRONG_ADDRESS,
	/* its sequence number was seen before, or is too old to know whether it was */
	WITNESS_RX_REPLAYED,
	WITNESS_RX_OVER_LIMIT,	  /* the bound on work is reached */
	WITNESS_RX_BAD_MAC,
	WITNESS_RX_N_VERDICTS,
};

/* What the datagrams have said about one VM's guest. Members whose names end in _at_ns are times of
 * the gateway's clock. */
struct witness_view {
	/* The following members are always valid. */
	uint64_t n_accepted;
	/* accepted datagrams that had the newest sequence number of their path, and were delayed by
	 * less than WITNESS_RX_LATE_NS. As soon as the current key was used, datagrams with the
	 * previous key no longer count */
	uint64_t n_timely;
	uint64_t n_bad_mac;	/* forged datagrams: they named one of the VM's keys,
				 * but the mac was wrong */
	struct {
		uint64_t n_accepted;
		uint64_t made_at_ns; /* when the newest sample of this path was made; 0: none */
	} paths[WIRE_WITNESS_N_PATHS];
	/* The following members are about the newest sample, and valid if n_accepted > 0. */
	uint64_t arrived_at_ns;
	/* when the primary's kernel made the sample; at most arrived_at_ns; never decreases */
	uint64_t made_at_ns;
	uint64_t mono_ns;	/* when the sample was made, by the primary's clock */
	uint64_t to_guest, from_guest; /* frames to and from the guest, as the
					* primary's kernel counts them */
	/* Frames since the previous sample. 0 in the first sample, and when the counters have
	 * restarted. */
	uint64_t to_delta, from_delta;
	/* time between the previous sample and this one, by the primary's clock */
	uint64_t interval_ns;
	/* The following members are about all samples together. */
	uint64_t answered_at_ns; /* when the guest last sent a frame; 0: never yet */
	uint64_t n_unanswered;	/* frames that reached the guest since the guest last sent one */
	/* when the first sample with n_unanswered > 0 was made; 0 while n_unanswered is 0 */
	uint64_t asked_at_ns;
};

struct witness_rx; /* opaque */

/* Make a receiver without keys. Returns 0 and sets *ret_rx, which the caller then owns; or
 * -ENOMEM. */
int witness_rx_new(struct witness_rx **ret_rx) __attribute__((warn_unused_result));
/* Wipe all keys and free @rx. NULL is fine. Returns NULL. */
struct witness_rx *witness_rx_free(struct witness_rx *rx);

/* Give @vm (0..WITNESS_RX_VMS_MAX-1) a new key, which the caller sends to the VM's host.
 * @addresses has the host's address for each enum wire_witness_path, in host byte order. If an
 * address is 0, nothing is accepted on that path. @key_id must not be 0 or in use. @key is copied.
 * @clock_new is true if the host has connected again. The receiver then learns the offset of the
 * host's clock again, because that clock can have restarted. Returns 0. On error the keys stay as
 * they were:
 *      -EINVAL  @vm or @key_id is invalid
 *      -ENOMEM  memory is short, or this OpenSSL has no SipHash */
int witness_rx_set_key(struct witness_rx *rx, size_t vm, uint32_t key_id,
		       const uint8_t key[WIRE_WITNESS_KEY_SIZE],
		       const uint32_t addresses[WIRE_WITNESS_N_PATHS], bool clock_new,
		       uint64_t now_ns) __attribute__((warn_unused_result));

/* Wipe @vm's keys and forget its evidence. Call this when the VM's term or owner has changed. */
void witness_rx_clear(struct witness_rx *rx, size_t vm);

/* Update the offset of the clock of @vm's host, from an authentic message of that host. The host
 * sent the message when its clock said @mono_ns; the message arrived at @now_ns of our clock. */
void witness_rx_clock(struct witness_rx *rx, size_t vm, uint64_t mono_ns, uint64_t now_ns);

/* Wipe previous keys that are no longer valid. Call this a few times a second. */
void witness_rx_tick(struct witness_rx *rx, uint64_t now_ns);

/* Check one UDP payload that came from @source (host byte order) through the network of @path.
 * @data is only read. If the datagram is not accepted, only counters and the bound on work
 * change. */
enum witness_rx_verdict witness_rx_input(struct witness_rx *rx, enum wire_witness_path path,
					 uint32_t source, const uint8_t *data, size_t size,
					 uint64_t now_ns);

/* Returns what is known of @vm's guest. Never NULL, valid as long as @rx. */
const struct witness_view *witness_rx_view(const struct witness_rx *rx, size_t vm);

/* A key as the kernel's program needs it to check datagrams before witness_rx_input() does. */
struct witness_rx_key {
	uint32_t key_id;
	uint32_t address; /* host byte order */
	uint64_t newest;  /* highest sequence number accepted; 0: none */
	uint8_t key[WIRE_WITNESS_KEY_SIZE];
};

/* Get the key in @slot (0..WITNESS_RX_SLOTS-1), with its address and its newest sequence number on
 * @path. Returns false if the slot has no key for this path. The caller must wipe *ret_key. */
bool witness_rx_get_key(const struct witness_rx *rx, size_t slot, enum wire_witness_path path,
			struct witness_rx_key *ret_key);

/* Count @n datagrams of @path that the shield (shield.h) has dropped for the reason @verdict. */
void witness_rx_add_refused(struct witness_rx *rx, enum wire_witness_path path,
			    enum witness_rx_verdict verdict, uint64_t n);
/* Count @n datagrams of @path that the shield has dropped because they named the key in @slot but
 * had a wrong mac. */
void witness_rx_add_bad_macs(struct witness_rx *rx, size_t slot, enum wire_witness_path path,
			     uint64_t n);

/* Returns the number of datagrams refused so far on @path, that is, all that were not accepted. */
uint64_t witness_rx_refused(const struct witness_rx *rx, enum wire_witness_path path);

/* Returns the number of datagrams so far on @path with @verdict, for all VMs together. */
uint64_t witness_rx_count(const struct witness_rx *rx, enum wire_witness_path path,
			  enum witness_rx_verdict verdict);

#endif
