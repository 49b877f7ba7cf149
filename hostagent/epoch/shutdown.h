/* shutdown.h - who wants the end that QEMU's SHUTDOWN event announces. Pure.
 *
 * Why: a guest that shut itself down is not to run on at the standby; one whose QEMU is ended by its host is what a
 * standby is for: at a host's shutdown each QEMU gets SIGTERM. `guest` of the event says whose will it was; the reasons,
 * where QEMU names one (all versions that we support do):
 *
 *	reason			wanted by	then
 *	guest-shutdown		the guest	verdict shutdown, no failover
 *	guest-reset		the guest	the same: -no-reboot makes its reset an end
 *	guest-panic		the guest	the same: its copy would soon panic, too
 *	host-signal		the host	verdict exited when the process has ended: failover
 *	host-qmp-quit, host-ui, host-qmp-system-reset, subsystem-reset, snapshot-load
 *				an operator	the same: who wants the guest's end unprotects it first
 *	host-error, others	nobody		the same
 *
 * Threads: any.
 */
#ifndef EPOCH_SHUTDOWN_H
#define EPOCH_SHUTDOWN_H

#include <stdbool.h>

/* @reason and @guest of the event; @reason may be NULL. */
bool shutdown_is_guests(const char *reason, bool guest);

/* A sentence for people; constant. */
const char *shutdown_text(const char *reason);

#endif
