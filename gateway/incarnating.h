/* incarnating.h - the number of this start (vm/incarnation.h) in the daemon: taken at the start,
 * raised on an operator's request. Also remembers what the previous start may have granted.
 *
 * Where: main. Threads: the gateway's loop. Only incarnating_begin() blocks, before the loop. Later
 * records are written by the journal's thread (vm/journal_thread.h), one at a time, and take effect
 * once they are durable.
 */
#ifndef INCARNATING_H
#define INCARNATING_H

#include <stdint.h>

#include "fleet/fleet.h"
#include "vm/incarnation.h"
#include "vm/journal_thread.h"

struct incarnating {
	const char *state_dir; /* borrowed */
	struct journal_thread *thread; /* borrowed; set before the loop runs */
	uint64_t recording;    /* the number being written; 0: none */
	uint32_t release_ms;   /* the longer release_ms of this start and the
				* previous one, while the latter matters */
	uint64_t settle_at_ns; /* when the previous start stops mattering; 0: it does not matter */
};

/* Take this start's number into @config, with the functions that raise it. 0; -errno: logged.
 * Blocks for two fsyncs. */
int incarnating_begin(struct incarnating *i, const char *state_dir, struct fleet_config *config,
		      uint64_t now_ns) __attribute__((warn_unused_result));

/* Let nobody be promoted to own @vm while grants of the previous start may last. */
void incarnating_mute(const struct incarnating *i, struct fleet_vm *vm, uint64_t now_ns);

/* Remove the previous start's release_ms from the file once it is over. */
void incarnating_tick(struct incarnating *i, const struct fleet_config *config, uint64_t now_ns);

#endif
