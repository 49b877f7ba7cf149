/* hold_arena.h - memory for held frames of any size, used as a ring.
 *
 * Why: frames of a guest with offloads have 14 to 65,557 bytes. Slots of the largest size would
 * waste nearly all memory. Frames leave in the order in which they came. So the arena is a ring of
 * bytes, and needs no allocator.
 *
 * Where: hold_lane_packet.c. Plain data, unit-tested.
 *
 *	     tail                 head
 *	 ... | 96 | 1536 | 65584 | free: the next frame is received here ...
 *	       each slot: a header with its size, then the frame's bytes
 *
 * If a frame does not fit between head and the end of the memory, that space becomes an empty slot.
 *
 * A frame can be dropped before older frames have left. Its slot becomes free only after the slots
 * of all older frames.
 *
 * Threads: one owner. Only hold_arena_init() allocates.
 */
#ifndef NET_HOLD_ARENA_H
#define NET_HOLD_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define HOLD_ARENA_ALIGN 16U /* alignment of each slot's bytes in the arena */

struct hold_arena {
	uint8_t *area; /* owned */
	size_t size_bytes;
	size_t head, tail; /* offsets; equal: the arena is empty */
};

/* Make an arena for up to @n_frames frames, of up to @bytes_max bytes in total, and for
 * @slack_bytes more. The caller may put up to 17 bytes of its own into each frame's slot. The
 * kernel provides the memory when it is first used. Returns 0, -EOVERFLOW or -ENOMEM. */
int hold_arena_init(struct hold_arena *a, uint32_t n_frames, uint64_t bytes_max,
		    uint64_t slack_bytes) __attribute__((warn_unused_result));
void hold_arena_done(struct hold_arena *a); /* accepts a zeroed struct */

/* Find room for @size_bytes. Takes nothing: call hold_arena_commit() when the bytes are there.
 * Returns the room, or NULL if there is not enough. */
uint8_t *hold_arena_reserve(struct hold_arena *a, size_t size_bytes);

/* Take the first @used_bytes of the room that hold_arena_reserve() found last. Returns the address
 * for hold_arena_data() and hold_arena_free(). */
uint64_t hold_arena_commit(struct hold_arena *a, size_t used_bytes);

static inline uint8_t *hold_arena_data(const struct hold_arena *a, uint64_t addr)
{
	return a->area + addr;
}

/* Give back the slot of the frame at @addr. @addr may be up to HOLD_ARENA_ALIGN - 1 more than what
 * hold_arena_commit() returned. */
void hold_arena_free(struct hold_arena *a, uint64_t addr);

#endif
