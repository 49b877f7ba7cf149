/* idler.h - decides when a polling loop spins and when it sleeps. Pure: the caller passes the time.
 *
 * A DPDK loop that never sleeps uses a whole core even when no frames arrive. A loop that sleeps
 * after every frame needs tens of microseconds to wake up for the next frame. So the loop should
 * spin only while the next frame is near.
 *
 * The rule is the one that KVM uses for halt polling: spin for `spin_ns` after the last work, then
 * sleep. After each sleep the idler changes spin_ns:
 *
 *      a frame ended the sleep within spin_max_ns   double spin_ns: a longer spin would have
 *                                                   caught the frame
 *      any other end of the sleep                   halve spin_ns; below spin_floor_ns, set it to 0
 *
 * So during a stream of frames the loop spins. If only 20 beats per second come, the loop does not
 * spin, and each beat costs one wake-up.
 *
 *	work  work   spin_ns       sleep in epoll                 work
 *	 |     |-------------|·······························|     ...
 *	         IDLER_AGAIN  IDLER_SLEEP                     idler_woke()
 *
 * While frames keep coming, the loop never sleeps. So idler_turn() returns IDLER_CHECK once per
 * check_ns. The loop then looks at its other descriptors without waiting.
 *
 * Threads: one idler per loop. Never blocks, never allocates.
 */
#ifndef PORT_IDLER_H
#define PORT_IDLER_H

#include <stdbool.h>
#include <stdint.h>

struct idler_limits {
	uint64_t spin_max_ns;	/* longest spin; 0: never spin */
	uint64_t spin_floor_ns; /* shortest spin; a shorter spin_ns becomes 0 */
	uint64_t check_ns;	/* longest time between two polls of the other descriptors */
};

/* The defaults, in the order of the members, are 50, 5 and 100 microseconds. A wake-up from epoll
 * takes 10 to 60 microseconds on the machines that we tried. */
extern const struct idler_limits IDLER_LIMITS_DEFAULT;

enum idler_verdict {
	IDLER_AGAIN, /* look for frames again at once */
	IDLER_CHECK, /* call epoll with timeout 0, then look for frames again */
	/* call port_arm(), sleep in epoll until the next timer is due, then call idler_woke() */
	IDLER_SLEEP,
};

struct idler {
	struct idler_limits limits;
	uint64_t spin_ns;	/* how long to spin after the last work */
	/* when the loop last moved a frame or byte, or was last woken by a frame */
	uint64_t last_work_ns;
	uint64_t last_check_ns; /* when the descriptors besides the port were last polled */
	uint64_t slept_at_ns;	/* when IDLER_SLEEP was last returned */
};

void idler_init(struct idler *idler, const struct idler_limits *limits, uint64_t now_ns);

/* Call this after each turn of the loop. @worked: the turn moved at least one frame or byte. */
enum idler_verdict idler_turn(struct idler *idler, uint64_t now_ns, bool worked)
	__attribute__((warn_unused_result));

/* Call this after the sleep. @by_frame: did a frame end the sleep? */
void idler_woke(struct idler *idler, uint64_t now_ns, bool by_frame);

#endif
