/* claim.h - asks a VM's other host to agree to the next term.
 *
 * Where: a VM's worker (hostagent/vm/vm_peer.c). Threads: any; blocks the caller's thread.
 */
#ifndef PEER_CLAIM_H
#define PEER_CLAIM_H

#include <stdint.h>

#include "base/error.h"
#include "link/link.h"

struct claim {
	const char *vm;
	uint64_t term;	/* the current term; the claim is for the next term */
	uint64_t epoch; /* last epoch committed */
	uint8_t mode;	/* enum wire_claim_mode */
};

/* Connect to the host in @config (whose peer_name must be set), ask it, and read the answer. Blocks
 * until @deadline_ns at most. Returns
 * 0: the answer is yes, and the other host will keep this promise;
 * -EACCES: the answer is no;
 * -EPROTO: the other host broke the protocol;
 * other -errno: no answer arrived, but the other host may have said yes all the same.
 * On error *ret_error says why. */
int claim_term(const struct link_config *config, const struct claim *claim, uint64_t deadline_ns,
	       struct error *ret_error) __attribute__((warn_unused_result));

#endif
