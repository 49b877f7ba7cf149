/* linkwatch.h - notices when a network device appears, goes, or changes.
 *
 * Why: when a card is plugged, its tap comes up at the moment QEMU opens it. With this notice the
 * agent checks QEMU's taps at once, long before the guest has found its new card, instead of up to
 * a second later.
 *
 * The messages are not parsed: any of them leads to a full check (vmm/taps.h), and so do lost ones.
 * Only this process's network namespace is seen.
 *
 * Where: epoch engine. Threads: one at a time. Never blocks.
 */
#ifndef NET_LINKWATCH_H
#define NET_LINKWATCH_H

#include <stdbool.h>

/* Open a socket that becomes readable after a change. Returns a descriptor, which the caller
 * closes; -errno. */
int linkwatch_open(void) __attribute__((warn_unused_result));

/* Was there a change since the last call? Reads all messages from @fd. */
bool linkwatch_changed(int fd);

#endif
