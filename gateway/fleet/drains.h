/* drains.h - the drains of all hosts: gives the machines of drain.h their inputs, carries their
 * actions out, and keeps the drains on the disk.
 *
 *	control/ ─ drain, undrain ─►┐                    ┌─► fleet_step(): MOVE, END_COPY
 *	session/ ─ guard, boot ────►├─► drain_step() ────┼─► sinks: events, progress, replies
 *	fleet_tick() ──────────────►┘       ▲            └─► journal's thread: STATE_DIR/drained
 *	                                    └── the VMs' machines (vm_drain_look), the health word
 *
 * Where: fleet/ itself, control/ and session/. Threads: the gateway's loop. Nothing here blocks,
 * except in tests without a journal_thread, and fleet_drains_open().
 */
#ifndef FLEET_DRAINS_H
#define FLEET_DRAINS_H

#include <stdbool.h>
#include <stdint.h>

#include "fleet/drain.h"
#include "fleet/fleet.h"

struct fleet_drains; /* opaque */

struct fleet_drains *fleet_drains_new(void); /* NULL: out of memory; free() frees it */

/* Read the drains that the gateway's previous process recorded in @state_dir, and record drains
 * there from now on. Call this after all VMs were added. If the file is damaged, logs that and does
 * not use the file: then no host is drained. */
void fleet_drains_open(struct fleet *fleet, const char *state_dir, uint64_t now_ns);

/* Call this when @vm is added, or gets a new spare, after fleet_drains_open(). Then a drained host
 * gets neither its guest nor its copy. */
void fleet_drains_added(struct fleet *fleet, struct fleet_vm *vm);

/* Give the drain of @host an input. The members now_ns, views, n_views and n_faults are
 * filled in. */
void fleet_drains_step(struct fleet *fleet, const struct fleet_host *host,
		       const struct drain_input *in, uint64_t now_ns);

/* Returns the drain of @host; never NULL. */
const struct drain *fleet_drains_of(const struct fleet *fleet, const struct fleet_host *host);

/* Describe in @text (@size bytes) what is left on @host, for the host's guard and for operators.
 * Returns the number of guests that may still run there. This number does not include VMs that the
 * gateway does not look after; the text mentions them. */
unsigned int fleet_drains_describe(const struct fleet *fleet, const struct fleet_host *host,
				   uint64_t now_ns, char *text, size_t size);

/* Is @op_id the number of a request that a drain itself made (MOVE, END_COPY)? If so, notes the
 * reply to that request and returns true. */
bool fleet_drains_own(struct fleet *fleet, uint64_t op_id, bool ok, const char *text);

/* Call this when the journal's thread has written the file. @result: 0, or -errno if it could
 * not. */
void fleet_drains_stored(struct fleet *fleet, int result, uint64_t now_ns);

void fleet_drains_tick(struct fleet *fleet, uint64_t now_ns);
/* Returns true if fleet_drains_tick() must be called now, without waiting for the next VM's
 * tick. */
bool fleet_drains_are_due(const struct fleet *fleet);

#endif
