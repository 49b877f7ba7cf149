/* linkwatch.h - notices when a network device appears, disappears or changes.
 *
 * Why: when a network card is hot-plugged, QEMU opens the card's tap, and the tap comes up. This
 * module reports that, so the agent checks QEMU's taps at once, before the guest uses the new card.
 * Without this module, the agent would notice the card up to a second later.
 *
 * The module does not parse the kernel's messages. Any message leads to a full check (vmm/taps.h).
 * A lost message leads to a full check, too. Only devices of this process's network namespace are
 * noticed.
 *
 * Where: the epoch engine calls it. Threads: one at a time. Never blocks.
 */
#ifndef NET_LINKWATCH_H
#define NET_LINKWATCH_H

#include <stdbool.h>

/* Open a socket that becomes readable after a change. Returns a descriptor, which the caller
 * closes, or -errno. */
int linkwatch_open(void) __attribute__((warn_unused_result));

/* Returns true if there was a change since the last call. Reads all messages from @fd. */
bool linkwatch_changed(int fd);

#endif
