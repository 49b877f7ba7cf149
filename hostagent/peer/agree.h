/* agree.h - the rules by which a VM's two hosts agree to continue without the gateway. They say
 * when the primary asks for the standby's vote, and what the standby answers. Pure.
 *
 * Why: before a primary continues without a gateway, it must be sure that no gateway can promote
 * its standby. Only the standby can promise this. Before the standby says yes, it stores the next
 * term in a file. After that it refuses any promotion in that term. In the drawing P is the
 * primary, S the standby, t the current term:
 *
 *	 P: silence of the gateway >= gateway_lost_ms, policy is not hold ──► CLAIM(t + 1, mode)
 *	 S: agree_vote() ──► yes: its file says t + 1 ──► VOTE yes
 *	                └──► no, with the reason
 *
 * The rules come from docs/wire-format.md 6.4. Where: hostagent/vm/vm_peer.c asks, standby/peer.c
 * answers. Threads: any; no state.
 */
#ifndef PEER_AGREE_H
#define PEER_AGREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "wire/msg.h"

/* Values of `gateway_lost` in a VM's file. The two policies that need an agreement have the same
 * numbers as the modes of a CLAIM. */
enum agree_policy {
	AGREE_HOLD	  = 0,
	AGREE_UNPROTECTED = WIRE_CLAIM_UNPROTECTED,
	AGREE_DIRECT	  = WIRE_CLAIM_DIRECT,
};

const char *agree_policy_name(uint8_t policy); /* "hold", "unprotected", "direct"; else "unknown" */

/* AGREE_LEASE_MS: how long the primary's guest may run after the standby's yes vote, or after a
 * LEASE from the standby. AGREE_RELEASE_MS: how long its output may leave after a LEASE; after a
 * vote alone, none may leave. Both times begin when the primary sends the CLAIM or BEAT that is
 * answered. lease.h says why there are two lengths. */
#define AGREE_LEASE_MS	 ((uint32_t)WIRE_DIRECT_LEASE_MS)
#define AGREE_RELEASE_MS 300u /* three beats of 100 ms */

/* Returns the time before which a guest that is promoted on the standby must send nothing.
 * @granted_ns: when the standby last gave the primary a LEASE; 0: never. The primary checks its
 * lease, then sends frames. The margin of 20 ms covers the time between the check and the moment
 * when the frames have left. */
static inline uint64_t agree_mute_ns(uint64_t granted_ns)
{
	return granted_ns ? granted_ns + (AGREE_RELEASE_MS + 20) * CLOCK_NS_PER_MS : 0;
}

/* What the primary knows when it decides whether to ask. */
struct agree_primary {
	uint8_t policy;		     /* enum agree_policy */
	bool is_holding;	     /* the guest's output is held, so the guest is protected */
	bool is_outvoted;	     /* another host owns the guest: the primary must not ask */
	uint64_t gateway_silence_ns; /* silence of the gateway so far */
	/* a silence this long means that the gateway is lost (gateway_lost_ms) */
	uint64_t gateway_lost_ns;
};

/* Returns true if the primary may ask the standby for its vote. */
bool agree_may_claim(const struct agree_primary *primary);

/* What the standby knows when it is asked. */
struct agree_standby {
	uint8_t policy;          /* enum agree_policy, from this host's own file for the VM */
	bool stands_by;		 /* the standby is starting, warm or ready */
	/* the standby still has a copy of the guest, and has not promoted it */
	bool is_copy;
	uint64_t term;		 /* the standby's term */
	/* newest term in which this host has accepted a promotion; 0: none */
	uint64_t promised_term;
	/* the mode that this host voted for in `term`; 0: `term` came without a vote */
	uint8_t voted_mode;
	uint64_t complete_epoch;
	uint64_t gateway_silence_ns;
	uint64_t gateway_lost_ns;
};

/* Returns true if the standby should say yes to a CLAIM of @term and @mode. @epoch: the last epoch
 * that the primary knows to be committed. If the standby should say no, *ret_error says why. */
bool agree_vote(const struct agree_standby *standby, uint64_t term, uint8_t mode, uint64_t epoch,
		struct error *ret_error);

#endif
