/* idler.h - when a polling loop spins and when it sleeps. Pure: the caller brings the clock.
 *
 * Why: a DPDK loop that never sleeps burns a core while nobody talks. One that sleeps after every
 * frame pays a wake-up (tens of microseconds here) for each. Spinning pays only when the next frame
 * comes sooner than a wake-up would take, and only the recent past can tell.
 *
 * How (the rule KVM uses for halt polling): spin for `spin_ns` after the last work, then sleep. If
 * a frame ends the sleep within spin_max_ns, spinning would have caught it: double spin_ns. A spin
 * that found nothing, or a long sleep, was waste: halve spin_ns, and below spin_floor_ns make it 0.
 * So a stream keeps the loop spinning, and beats of 20/s cost one wake-up each and no spin.
 *
 *	work  work   spin_ns       sleep                          work
 *	 |     |-------------|·······························|     ...
 *	             AGAIN    SLEEP            (epoll)        woke
 *
 * While frames keep coming the loop never sleeps, so CHECK tells it every check_ns to look at its
 * other descriptors without waiting.
 *
 * Threads: one idler per loop. Never blocks, never allocates.
 */
#ifndef PORT_IDLER_H
#define PORT_IDLER_H

#include <stdbool.h>
#include <stdint.h>

struct idler_limits {
	uint64_t spin_max_ns;	/* longest spin; 0: never spin */
	uint64_t spin_floor_ns; /* the first step when spinning starts to pay */
	uint64_t check_ns;	/* look at other descriptors at least this often */
};

/* 50 us, 5 us, 100 us: a wake-up from epoll costs 10-60 us on the machines we tried. */
extern const struct idler_limits IDLER_LIMITS_DEFAULT;

enum idler_verdict {
	IDLER_AGAIN, /* look for frames again at once */
	IDLER_CHECK, /* epoll with timeout 0, then look for frames again */
	IDLER_SLEEP, /* port_arm(), epoll with the next timer's timeout, idler_woke() */
};

struct idler {
	struct idler_limits limits;
	uint64_t spin_ns;	/* the present spin length */
	uint64_t last_work_ns;	/* when work was last seen; 0: never */
	uint64_t last_check_ns; /* when other descriptors were last looked at */
	uint64_t slept_at_ns;	/* when the last IDLER_SLEEP was given */
};

void idler_init(struct idler *idler, const struct idler_limits *limits, uint64_t now_ns);

/* After one turn of the loop. @worked: it moved at least one frame or byte. */
enum idler_verdict idler_turn(struct idler *idler, uint64_t now_ns, bool worked)
	__attribute__((warn_unused_result));

/* After the sleep. @by_frame: a frame (or any descriptor) ended it, not a timer. */
void idler_woke(struct idler *idler, uint64_t now_ns, bool by_frame);

#endif
