/* clock.h - the clocks that Holdfast uses; all times are uint64_t nanoseconds.
 *
 *      clock       used for
 *      monotonic   timers, ages and durations
 *      boot time   leases and beats (lease.h): a lease must end on time even if the host was
 *                  suspended, and only boot time goes on meanwhile
 *      wall time   only shown to people, in events and logs
 *
 * Pure state machines never read a clock: their callers pass `now_ns` to them.
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

/* Returns the timeout for poll(2): the milliseconds from @now_ns until @deadline_ns, rounded up. If
 * the deadline has passed, returns 0. If @deadline_ns is UINT64_MAX, returns -1 (wait for ever). */
int clock_poll_ms(uint64_t now_ns, uint64_t deadline_ns);

#endif
