/* shutdown.h - finds out from QEMU's SHUTDOWN event who wanted the shutdown: the guest, the host or
 * an operator. Pure.
 *
 * Why: if a guest has shut itself down, the standby must not resume the guest. But if the host has
 * ended QEMU, the standby must take over. (When a host shuts down, each QEMU gets SIGTERM.) The
 * event's member `guest` says whether the guest wanted the shutdown. All QEMU versions that we
 * support also give a reason:
 *
 *	reason			wanted by	what follows
 *	guest-shutdown		the guest	verdict shutdown, no failover
 *      guest-reset             the guest       as guest-shutdown: with -no-reboot a reset ends QEMU
 *      guest-panic             the guest       as guest-shutdown: its copy would soon panic, too
 *	host-signal		the host	verdict exited when the process has ended: failover
 *	host-qmp-quit, host-ui, host-qmp-system-reset, subsystem-reset, snapshot-load
 *                              an operator     as host-signal: to end a guest, unprotect it first
 *	host-error, others	nobody		as host-signal
 *
 * Threads: any.
 */
#ifndef EPOCH_SHUTDOWN_H
#define EPOCH_SHUTDOWN_H

#include <stdbool.h>

/* Did the guest want the shutdown? @reason and @guest are the event's members; @reason may
 * be NULL. */
bool shutdown_is_guests(const char *reason, bool guest);

/* Return a human-readable sentence that says who wanted the shutdown; constant. */
const char *shutdown_text(const char *reason);

#endif
