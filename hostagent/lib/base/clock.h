/* clock.h - the clocks Holdfast uses, as uint64_t nanoseconds.
 *
 * Why: every timer, age and duration is monotonic ns; wall time is only for people (events, logs).
 * Boot time also runs while the host is suspended, so leases end by it (lease.h): other parties
 * count on them. Pure state machines never call this: their callers pass `now_ns` in.
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

/* The timeout for poll(2): milliseconds from @now_ns until @deadline_ns, rounded up. 0 when the
 * deadline has passed; -1 (wait for ever) when @deadline_ns is UINT64_MAX. */
int clock_poll_ms(uint64_t now_ns, uint64_t deadline_ns);

#endif
