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

/* Make the drains: no host is drained. Returns NULL if memory is short. The caller frees the result
 * with free(). */
struct fleet_drains *fleet_drains_new(void);

/* Read the drains that the gateway's previous process recorded in @state_dir, and record drains
 * there from now on. Call this after all VMs were added. If the file is damaged, logs that and does
 * not use the file: then no host is drained. */
void fleet_drains_open(struct fleet *fleet, const char *state_dir, uint64_t now_ns);

/* Bar the drained hosts of @vm, so that they get neither the VM's guest nor its copy. Call this
 * when @vm was added or got a new spare after fleet_drains_open(). */
void fleet_drains_added(struct fleet *fleet, struct fleet_vm *vm);

/* Give the input @in to the drain of @host. This function itself fills in the members now_ns,
 * views, n_views and n_faults. */
void fleet_drains_step(struct fleet *fleet, const struct fleet_host *host,
		       const struct drain_input *in, uint64_t now_ns);

/* Returns the drain of @host; never NULL. */
const struct drain *fleet_drains_of(const struct fleet *fleet, const struct fleet_host *host);

/* Describe in @text (@size bytes) what is left on @host, for the host's guard and for operators.
 * Returns the number of guests that may still run there. This number does not include VMs that the
 * gateway does not look after; the text mentions them. */
unsigned int fleet_drains_describe(const struct fleet *fleet, const struct fleet_host *host,
				   uint64_t now_ns, char *text, size_t size);

/* Returns true if a drain itself, and not an operator, made the request @op_id (a MOVE or an
 * END_COPY). In this case @ok and @text are the reply; the drain gets it at the next
 * fleet_drains_tick(). */
bool fleet_drains_own(struct fleet *fleet, uint64_t op_id, bool ok, const char *text);

/* Call this when the journal's thread has finished a write of the file. @result is 0 if the file is
 * on the disk, or -errno. */
void fleet_drains_stored(struct fleet *fleet, int result, uint64_t now_ns);

/* Continue all drains, pass replies on to them, and write the file if its content has changed. */
void fleet_drains_tick(struct fleet *fleet, uint64_t now_ns);
/* Returns true if fleet_drains_tick() must be called at once, not only when the next VM's tick is
 * due. */
bool fleet_drains_are_due(const struct fleet *fleet);

#endif
