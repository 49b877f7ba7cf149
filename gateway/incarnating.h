/* incarnating.h - the number of this start (vm/incarnation.h) in the daemon: taken at the start,
 * raised when an operator says so, and what the start before may have granted.
 *
 * Where: main. Threads: the gateway's loop. Only incarnating_begin() blocks, before the loop; what
 * the loop records is written by the journal's thread (vm/journal_thread.h), one record at a time,
 * and counts once it is durable.
 */
#ifndef INCARNATING_H
#define INCARNATING_H

#include <stdint.h>

#include "session/gateway.h"
#include "vm/incarnation.h"
#include "vm/journal_thread.h"

struct incarnating {
	const char *state_dir; /* borrowed */
	struct journal_thread *thread; /* borrowed; set before the loop runs */
	uint64_t recording;    /* the number that is being written; 0: none */
	uint32_t release_ms;   /* the longer one of this start and the one before, while that may count */
	uint64_t settle_at_ns; /* it counts no longer then; 0: it does not */
};

/* Take this start's number into @config, with what raises it. 0; -errno: logged. Blocks for two
 * fsyncs. */
int incarnating_begin(struct incarnating *i, const char *state_dir, struct gateway_config *config,
		      uint64_t now_ns) __attribute__((warn_unused_result));

/* Nobody is promoted to be @vm's owner while what the start before granted lasts. */
void incarnating_mute(const struct incarnating *i, struct gateway_vm *vm, uint64_t now_ns);

/* Let the file forget the release_ms of the start before, once it is over. */
void incarnating_tick(struct incarnating *i, const struct gateway_config *config, uint64_t now_ns);

#endif
