/* linkwatch.h - told by the kernel when a network device appears, goes, or changes.
 *
 * Why: a tap that QEMU opens, for a card that is plugged, comes up at that moment. Who is told of it looks at
 * once which taps QEMU has, long before the guest has found its new card, instead of up to a second
 * later.
 *
 * What happened is not read: a look at everything follows (vmm/taps.h), and lost messages
 * count as one. Only this process's network namespace is seen.
 *
 * Where: epoch engine. Threads: one at a time. Never blocks.
 */
#ifndef NET_LINKWATCH_H
#define NET_LINKWATCH_H

#include <stdbool.h>

/* A socket that is readable after a change, to be closed by the caller. A descriptor; -errno. */
int linkwatch_open(void) __attribute__((warn_unused_result));

/* Was there a change since the last call? Takes all that is there from @fd. */
bool linkwatch_changed(int fd);

#endif
