/* clock.h - the clocks Holdfast uses, as uint64_t nanoseconds.
 *
 * Why: every timer, age and duration is monotonic ns; wall time is only for people (events, logs). Boot time
 * goes on while the host is suspended: a lease that others count on ends by it (lease.h).
 * Pure state machines never call this: their callers pass `now_ns` in.
 * Threads: any. Blocks: never.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_NS_PER_US UINT64_C(1000)
#define CLOCK_NS_PER_MS UINT64_C(1000000)
#define CLOCK_NS_PER_S	UINT64_C(1000000000)

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC; the same for all processes of one host */
uint64_t clock_boot_ns(void); /* CLOCK_BOOTTIME, the same */
uint64_t clock_wall_ns(void); /* CLOCK_REALTIME, ns since 1970 */

/* Milliseconds from @now_ns until @deadline_ns for poll(2), rounded up; 0 when it has passed;
 * -1 (wait for ever) when @deadline_ns is UINT64_MAX. */
int clock_poll_ms(uint64_t now_ns, uint64_t deadline_ns);

#endif
