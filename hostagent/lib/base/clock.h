/* clock.h - the clocks that Holdfast uses; all times are uint64_t nanoseconds.
 *
 * Why: every timer, age and duration is in monotonic nanoseconds; wall time is only shown to people
 * (events, logs). Leases and beats use boot time (lease.h), which continues while the host is
 * suspended: other parties rely on a lease to end on time. Pure state machines never read a clock:
 * their callers pass `now_ns` to them.
 * Threads: any. Blocks: never.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_NS_PER_US UINT64_C(1000)
#define CLOCK_NS_PER_MS UINT64_C(1000000)
#define CLOCK_NS_PER_S	UINT64_C(1000000000)

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC; the same for all processes of one host */
uint64_t clock_boot_ns(void); /* CLOCK_BOOTTIME; also the same for all processes of one host */
uint64_t clock_wall_ns(void); /* CLOCK_REALTIME, ns since 1970 */

/* Returns the timeout for poll(2): the milliseconds from @now_ns until @deadline_ns, rounded up.
 * This is 0 if the deadline has passed, and -1 (wait for ever) if @deadline_ns is UINT64_MAX. */
int clock_poll_ms(uint64_t now_ns, uint64_t deadline_ns);

#endif
