/* claim.h - ask a VM's other host for the next term.
 *
 * Where: a VM's worker (hostagent/vm/vm_peer.c). Threads: runs on the caller's thread, which waits.
 */
#ifndef PEER_CLAIM_H
#define PEER_CLAIM_H

#include <stdint.h>

#include "base/error.h"
#include "link/link.h"

struct claim {
	const char *vm;
	uint64_t term;	/* the term held now; the claim is for the next one */
	uint64_t epoch; /* last epoch committed */
	uint8_t mode;	/* enum wire_claim_mode */
};

/* Connect by @config (its peer_name set), ask, take the answer. Blocks until @deadline_ns at most.
 * 0: yes, and the peer will keep its word; -EACCES: no; -EPROTO: the peer broke the protocol; other
 * -errno: no answer arrived, but the peer may have said yes. On error *ret_error says why. */
int claim_term(const struct link_config *config, const struct claim *claim, uint64_t deadline_ns,
	       struct error *ret_error) __attribute__((warn_unused_result));

#endif
