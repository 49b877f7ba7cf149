/* idler.h - decides when a polling loop spins and when it sleeps. Pure: the caller passes the time.
 *
 * A DPDK loop that never sleeps burns a core even when no frames arrive. A loop that sleeps after
 * every frame pays a wake-up for each frame (tens of microseconds). Spinning is worth it only if
 * the next frame comes sooner than a wake-up would take. The idler predicts this from the recent
 * past.
 *
 * The rule is that of KVM's halt polling: spin for `spin_ns` after the last work, then sleep. If a
 * frame ends the sleep within spin_max_ns, a longer spin would have caught the frame, so spin_ns is
 * doubled. Otherwise the spin was wasted, so spin_ns is halved, and set to 0 below spin_floor_ns.
 * So during a stream of frames the loop spins until the next frame comes. If only 20 beats per
 * second come, the loop does not spin, and each beat costs one wake-up.
 *
 *	work  work   spin_ns       sleep in epoll                 work
 *	 |     |-------------|·······························|     ...
 *	         IDLER_AGAIN  IDLER_SLEEP                     idler_woke()
 *
 * While frames keep coming, the loop never sleeps. So every check_ns idler_turn() returns
 * IDLER_CHECK, and the loop looks at its other descriptors without waiting.
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
	uint64_t last_work_ns;  /* when the loop last moved a frame or byte, or a frame woke it */
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
