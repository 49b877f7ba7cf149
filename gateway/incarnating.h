/* incarnating.h - the number of this start (vm/incarnation.h) in the daemon: taken at the start, raised when an
 * operator says so, and what the start before may have granted.
 *
 * Where: main. Threads: the gateway's loop; blocks for two fsyncs at start, at takeover, and once after a start
 * that shortened release_ms.
 */
#ifndef INCARNATING_H
#define INCARNATING_H

#include <stdint.h>

#include "session/gateway.h"
#include "vm/incarnation.h"

struct incarnating {
	const char *state_dir; /* borrowed */
	uint32_t release_ms;   /* the longer one of this start and the one before, while that may count */
	uint64_t settle_at_ns; /* it counts no longer then; 0: it does not */
};

/* Take this start's number into @config, with what raises it. 0; -errno: logged. */
int incarnating_begin(struct incarnating *i, const char *state_dir, struct gateway_config *config,
		      uint64_t now_ns) __attribute__((warn_unused_result));

/* Nobody is promoted to be @vm's owner while what the start before granted lasts. */
void incarnating_mute(const struct incarnating *i, struct gateway_vm *vm, uint64_t now_ns);

/* Let the file forget the release_ms of the start before, once it is over. */
void incarnating_tick(struct incarnating *i, const struct gateway_config *config, uint64_t now_ns);

#endif
