/* incarnating.h - chooses the gateway's incarnation, a number that is higher after each start
 * (vm/incarnation.h). When an operator asks for a takeover, this file chooses a number above that
 * of the younger gateway. Also remembers how long leases from the previous start can last.
 *
 * Where: main.c and vms.c call it. Threads: the gateway's loop. Only incarnating_begin() blocks;
 * it is called before the loop starts. The journal's thread (vm/journal_thread.h) writes later
 * incarnations to disk, one at a time. The gateway uses an incarnation only after it is on disk.
 */
#ifndef INCARNATING_H
#define INCARNATING_H

#include <stdint.h>

#include "fleet/fleet.h"
#include "vm/incarnation.h"
#include "vm/journal_thread.h"

struct incarnating {
	const char *state_dir; /* borrowed */
	/* thread that writes the records; borrowed; set before the loop runs */
	struct journal_thread *thread;
	uint64_t recording;    /* the incarnation that is being written to the file; 0: none */
	/* how long a lease can last, in ms: release_ms of this start. Until settle_at_ns: the
	 * release_ms of the previous start, if that is longer */
	uint32_t release_ms;
	/* when all leases of the previous start will have expired; its longer release_ms is then
	 * replaced in the file. 0: there is nothing to replace */
	uint64_t settle_at_ns;
};

/* Choose the incarnation of this start, make it durable in @state_dir, and store it in @config.
 * Also store in @config the callbacks by which the fleet can later raise the incarnation. Blocks
 * for two fsyncs. Returns 0; or logs the error and returns -errno. */
int incarnating_begin(struct incarnating *i, const char *state_dir, struct fleet_config *config,
		      uint64_t now_ns) __attribute__((warn_unused_result));

/* Let no host of @vm be promoted while leases of the previous start may still be valid. */
void incarnating_mute(const struct incarnating *i, struct fleet_vm *vm, uint64_t now_ns);

/* If all leases of the previous start have expired, begin to replace that start's release_ms in the
 * file with the release_ms of this start. Call this in each turn of the loop. */
void incarnating_tick(struct incarnating *i, const struct fleet_config *config, uint64_t now_ns);

#endif
