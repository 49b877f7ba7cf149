/* drains.h - the drains of all hosts: gives the machines of drain.h their inputs, carries their
 * actions out, keeps them on the disk.
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

/* Read the drains that the last gateway recorded in @state_dir, and record them there from now on.
 * Call after all VMs were added. A file that is damaged is logged and not used: no host is drained
 * then. */
void fleet_drains_open(struct fleet *fleet, const char *state_dir, uint64_t now_ns);

/* A VM was added after fleet_drains_open(): a drained host gets nothing of it. */
void fleet_drains_added(struct fleet *fleet, struct fleet_vm *vm);

/* Give the drain of @host an input. The members now_ns, views and n_views are filled in. */
void fleet_drains_step(struct fleet *fleet, const struct fleet_host *host,
		       const struct drain_input *in, uint64_t now_ns);

/* Returns the drain of @host; never NULL. */
const struct drain *fleet_drains_of(const struct fleet *fleet, const struct fleet_host *host);

/* Write to @text (@size bytes) what became of the drain of @host, for its guard and for operators.
 * Returns the number of guests that may still run there. */
unsigned int fleet_drains_describe(const struct fleet *fleet, const struct fleet_host *host,
				   uint64_t now_ns, char *text, size_t size);

/* Is @op_id the number of a drain's own request? If so, notes its reply and returns true. */
bool fleet_drains_own(struct fleet *fleet, uint64_t op_id, bool ok, const char *text);

/* The journal's thread has written the file, or could not. */
void fleet_drains_stored(struct fleet *fleet, int result, uint64_t now_ns);

void fleet_drains_tick(struct fleet *fleet, uint64_t now_ns);
/* Must fleet_drains_tick() be called now, and not only with the next VM's tick? */
bool fleet_drains_are_due(const struct fleet *fleet);

#endif
