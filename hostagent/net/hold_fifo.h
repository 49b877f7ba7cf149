/* hold_fifo.h - the held frames in the order they came, with their epochs and the limits.
 *
 * Why: the hold promises order, "exactly the epochs <= n", and limits. Here these are plain data
 * without sockets, so that a unit test can try them all.
 * Where: hold.c pushes what it receives and pops what it releases.
 *
 *	       head = 5        tail = 9          (free-running counters, index = counter & mask)
 *	 ring: ... | e7 | e7 | e8 | e8 | ...     count = tail - head = 4
 *
 * Threads: one owner. Allocates in init only.
 */
#ifndef NET_HOLD_FIFO_H
#define NET_HOLD_FIFO_H

#include <stdbool.h>
#include <stdint.h>

/* One held frame. */
struct hold_frame {
	uint64_t addr;	  /* of the guest's frame in the UMEM, after the stamp */
	uint64_t epoch;	  /* in which it was sent */
	uint64_t time_ns; /* monotonic, when it left the guest */
	uint32_t size_bytes; /* without the stamp */
};

struct hold_fifo {
	struct hold_frame *ring; /* owned */
	uint32_t mask;		 /* ring slots - 1, slots are a power of two */
	uint32_t head, tail;	 /* oldest; next free */
	uint32_t frames_max;
	uint64_t bytes_max;
	uint64_t bytes;		 /* of the frames held */
	uint32_t frames_peak;	 /* most at one time */
};

/* Room for @frames_max frames (1..2^31). 0; -EINVAL: a limit is 0 or too large; -ENOMEM. */
int hold_fifo_init(struct hold_fifo *f, uint32_t frames_max, uint64_t bytes_max)
	__attribute__((warn_unused_result));
void hold_fifo_done(struct hold_fifo *f); /* a zeroed one is fine */

/* Append a copy of @frame. 0; -ENOBUFS: frames_max reached; -EDQUOT: bytes_max would be passed.
 * On error nothing changed. */
int hold_fifo_push(struct hold_fifo *f, const struct hold_frame *frame)
	__attribute__((warn_unused_result));

/* The oldest frame if its epoch is <= @epoch, else NULL. Borrowed until the next call on @f.
 * A frame queued after a frame of a newer epoch waits for that one: order always holds. */
const struct hold_frame *hold_fifo_peek(const struct hold_fifo *f, uint64_t epoch);

/* Forget the oldest frame; there must be one. */
void hold_fifo_pop(struct hold_fifo *f);

/* True from 3/4 of a limit on. */
bool hold_fifo_needs_seal(const struct hold_fifo *f);

static inline uint32_t hold_fifo_count(const struct hold_fifo *f)
{
	return f->tail - f->head;
}

#endif
