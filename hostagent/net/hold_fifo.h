/* hold_fifo.h - a queue of held frames and their epochs, in the order in which the frames came. It
 * enforces the limits of the hold.
 *
 * Why: a hold must keep the order of frames, release exactly the frames of epochs <= n, and stay
 * within its limits. This queue has plain data and no sockets, so a unit test can check all of it.
 *
 * Where: hold.c pushes the frames that it receives and pops those that it releases.
 *
 *	       head = 5        tail = 9          (free-running counters, index = counter & mask)
 *	 ring: ... | e7 | e7 | e8 | e8 | ...     count = tail - head = 4
 *
 * Threads: one owner. Only hold_fifo_init() allocates.
 */
#ifndef NET_HOLD_FIFO_H
#define NET_HOLD_FIFO_H

#include <stdbool.h>
#include <stdint.h>

/* One held frame. */
struct hold_frame {
	uint64_t addr;    /* where the lane has stored the frame (hold_lane.h) */
	uint64_t epoch;	  /* the epoch in which the frame was sent */
	uint64_t time_ns; /* when the frame left the guest (CLOCK_MONOTONIC) */
	uint32_t size_bytes; /* size without the stamp */
};

struct hold_fifo {
	struct hold_frame *ring; /* owned */
	uint32_t mask;		 /* the number of slots - 1; the number of slots is a power of
				  * two */
	uint32_t head, tail;	 /* the oldest frame; the next free slot */
	uint32_t frames_max;
	uint64_t bytes_max;
	uint64_t bytes;		 /* bytes of the held frames */
	uint32_t frames_peak;	 /* highest number of frames held at one time */
};

/* Initialize @f with room for @frames_max frames (1..2^31). Returns 0; -EINVAL if a limit is 0 or
 * too large; -ENOMEM. */
int hold_fifo_init(struct hold_fifo *f, uint32_t frames_max, uint64_t bytes_max)
	__attribute__((warn_unused_result));
void hold_fifo_done(struct hold_fifo *f); /* accepts a zeroed struct */

/* Append a copy of @frame. Returns 0;
 * -ENOBUFS: frames_max is reached;
 * -EDQUOT: bytes_max would be exceeded.
 * On error nothing has changed. */
int hold_fifo_push(struct hold_fifo *f, const struct hold_frame *frame)
	__attribute__((warn_unused_result));

/* Returns the oldest frame if its epoch is <= @epoch, else NULL. The pointer is valid until the
 * next call on @f. Only the oldest frame is checked, to keep the order: frames behind a frame of a
 * newer epoch must wait for that frame. */
const struct hold_frame *hold_fifo_peek(const struct hold_fifo *f, uint64_t epoch);

/* Remove the oldest frame; the FIFO must not be empty. */
void hold_fifo_pop(struct hold_fifo *f);

/* Returns true if the FIFO has reached 3/4 of one of its limits. */
bool hold_fifo_needs_seal(const struct hold_fifo *f);

static inline uint32_t hold_fifo_count(const struct hold_fifo *f)
{
	return f->tail - f->head;
}

#endif
