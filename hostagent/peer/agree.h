/* agree.h - two of three without a gateway: when the primary may ask, and what the standby answers.
 * Pure.
 *
 * Why: a primary that goes on by itself, or only with its standby, must be sure that the gateway
 * cannot promote that standby meanwhile. Only the standby can promise that: it records the next
 * term on file before it says yes. So everything depends on one answer, and its rules are here.
 *
 *	 P: silence of the gateway >= gateway_lost_ms, policy is not hold ──► CLAIM(t + 1, mode)
 *	 S: agree_vote() ──► yes: its file says t + 1 ──► VOTE yes
 *	                └──► no, with the reason
 *
 * docs/wire-format.md 6.4 has the rules. Where: standby/peer.c votes, hostagent/vm/vm_peer.c asks.
 * Threads: any; no state.
 */
#ifndef PEER_AGREE_H
#define PEER_AGREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "wire/msg.h"

/* `gateway_lost` of a VM's file. The two policies that need an agreement have the number of its
 * mode. */
enum agree_policy {
	AGREE_HOLD	  = 0,
	AGREE_UNPROTECTED = WIRE_CLAIM_UNPROTECTED,
	AGREE_DIRECT	  = WIRE_CLAIM_DIRECT,
};

const char *agree_policy_name(uint8_t policy); /* "hold", "unprotected", "direct"; else "unknown" */

/* How long a yes vote or a LEASE of the standby lets the primary's guest run, counted from when the
 * primary asked; and how long a LEASE (but not a vote) lets its output leave. lease.h says why
 * there are two lengths. */
#define AGREE_LEASE_MS	 ((uint32_t)WIRE_DIRECT_LEASE_MS)
#define AGREE_RELEASE_MS 300u /* three beats */

/* A standby that gave its last LEASE at @granted_ns (0: none) lets its own guest send nothing
 * before the time returned. The margin covers the time between the primary's check of its lease and
 * the frames' leaving. */
static inline uint64_t agree_mute_ns(uint64_t granted_ns)
{
	return granted_ns ? granted_ns + (AGREE_RELEASE_MS + 20) * CLOCK_NS_PER_MS : 0;
}

/* What the primary knows when it decides whether to ask. */
struct agree_primary {
	uint8_t policy;		     /* enum agree_policy */
	bool is_holding;	     /* the guest's output is held: it is protected */
	bool is_outvoted;
	uint64_t gateway_silence_ns; /* how long nothing has come from the gateway */
	uint64_t gateway_lost_ns;    /* from the VM's file */
};

/* True: ask the standby. */
bool agree_may_claim(const struct agree_primary *primary);

/* What the standby knows when it is asked. */
struct agree_standby {
	uint8_t policy;		 /* from its own file for the VM */
	bool stands_by;		 /* it is started: starting, warm or ready */
	bool is_copy;		 /* its copy was not promoted */
	uint64_t term;		 /* the term it holds */
	uint64_t promised_term;	 /* newest term a promotion was accepted for; 0: none */
	uint8_t voted_mode;	 /* `term` came by a vote for this mode; 0: it did not */
	uint64_t complete_epoch;
	uint64_t gateway_silence_ns;
	uint64_t gateway_lost_ns;
};

/* Should the standby say yes to a CLAIM of @term and @mode? @epoch: the last epoch that the primary
 * saw committed. False: *ret_error says why not. */
bool agree_vote(const struct agree_standby *standby, uint64_t term, uint8_t mode, uint64_t epoch,
		struct error *ret_error);

#endif
