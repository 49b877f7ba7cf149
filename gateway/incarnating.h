/* incarnating.h - the daemon's use of vm/incarnation.h: takes a number at the start, and a higher
 * one when an operator asks for a takeover. Also remembers how long leases may last that the
 * previous start gave.
 *
 * Where: main calls it. Threads: the gateway's loop. Only incarnating_begin() blocks, before the
 * loop runs. Later records are written by the journal's thread (vm/journal_thread.h), one at a
 * time, and take effect once they are durable.
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
	uint64_t recording;    /* the number that is being written to the file; 0: none */
	uint32_t release_ms;   /* the release_ms of this start; or the previous start's
				* while its leases may last, if that is longer */
	uint64_t settle_at_ns; /* when all leases of the previous start have expired, so that its
				* release_ms can be removed from the file; 0: nothing to remove */
};

/* Take a number for this start, and store it in @config together with the functions that can raise
 * it. Returns 0; -errno, which was logged. Blocks for two fsyncs. */
int incarnating_begin(struct incarnating *i, const char *state_dir, struct fleet_config *config,
		      uint64_t now_ns) __attribute__((warn_unused_result));

/* Promote nobody for @vm while leases of the previous start may last. */
void incarnating_mute(const struct incarnating *i, struct fleet_vm *vm, uint64_t now_ns);

/* Replace the previous start's release_ms in the file by this start's, once all leases of the
 * previous start have expired. */
void incarnating_tick(struct incarnating *i, const struct fleet_config *config, uint64_t now_ns);

#endif
