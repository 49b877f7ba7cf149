/* shutdown.h - finds out from QEMU's SHUTDOWN event who wanted QEMU to end: the guest, the host or
 * an operator. Pure.
 *
 * Why: if a guest has shut itself down, the standby must not resume the guest. But if the host has
 * ended QEMU (with SIGTERM, when the host shuts down), the standby must take over. The event's
 * member `guest` says whether the guest wanted the shutdown. In all QEMU versions that we support,
 * the event also has a reason, which is more exact:
 *
 *      reason                  wanted by       verdict
 *      guest-shutdown          the guest       shutdown, so no failover
 *      guest-reset             the guest       shutdown: with -no-reboot a reset ends QEMU
 *      guest-panic             the guest       shutdown: the standby's copy would soon panic too
 *      host-signal             the host        exited, when the process has ended, so failover
 *      host-qmp-quit, host-ui, host-qmp-system-reset, subsystem-reset, snapshot-load
 *                              an operator     exited: to end a guest, unprotect it first
 *      host-error, others      nobody          exited
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
