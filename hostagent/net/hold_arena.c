#include "net/hold_arena.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* The header in front of each slot's bytes. */
struct slot {
	uint64_t size_bytes; /* size of the whole slot, including this header; a multiple of
			      * ALIGN */
	uint64_t is_free;
};

#define ALIGN HOLD_ARENA_ALIGN
_Static_assert(sizeof(struct slot) == ALIGN, "a slot's bytes are aligned as the slot is");

static size_t slot_bytes(size_t size_bytes)
{
	return (sizeof(struct slot) + size_bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static struct slot *slot_at(const struct hold_arena *a, size_t at)
{
	return (struct slot *)(void *)(a->area + at);
}

int hold_arena_init(struct hold_arena *a, uint32_t n_frames, uint64_t bytes_max,
		    uint64_t slack_bytes)
{
	/* A slot has its header, and up to 2 * ALIGN for the caller's own header and
	 * rounding. */
	uint64_t size, headers = (uint64_t)n_frames * 3 * ALIGN;
	void *area;

	*a = (struct hold_arena){0};
	if (__builtin_add_overflow(bytes_max, headers, &size) ||
	    __builtin_add_overflow(size, slack_bytes + ALIGN, &size) || size > SIZE_MAX / 2)
		return -EOVERFLOW;
	size = size / ALIGN * ALIGN;
	area = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return -errno;
	a->area = area;
	a->size_bytes = (size_t)size;
	return 0;
}

void hold_arena_done(struct hold_arena *a)
{
	if (a->area)
		(void)munmap(a->area, a->size_bytes); /* cannot fail: this is our mapping */
	*a = (struct hold_arena){0};
}

/* Free the slots at the tail that were given back. If the arena is empty then, begin again at its
 * start, so that it uses few pages while few frames are held. */
static void advance_tail(struct hold_arena *a)
{
	while (a->tail != a->head && slot_at(a, a->tail)->is_free) {
		a->tail += slot_at(a, a->tail)->size_bytes;
		if (a->tail == a->size_bytes)
			a->tail = 0;
	}
	if (a->tail == a->head)
		a->tail = a->head = 0;
}

/* Mark the rest of the memory behind the head as a free slot, and go on at the start. */
static void wrap(struct hold_arena *a)
{
	*slot_at(a, a->head) = (struct slot){.size_bytes = a->size_bytes - a->head, .is_free = 1};
	a->head = 0;
}

uint8_t *hold_arena_reserve(struct hold_arena *a, size_t size_bytes)
{
	size_t need = slot_bytes(size_bytes);

	/* The head must not reach the tail from behind, because equal offsets mean that the arena
	 * is empty. */
	if (a->head >= a->tail && a->size_bytes - a->head <= need) {
		if (a->tail == 0 || a->tail <= need)
			return NULL;
		wrap(a);
	}
	if (a->head < a->tail && a->tail - a->head <= need)
		return NULL;
	return a->area + a->head + sizeof(struct slot);
}

uint64_t hold_arena_commit(struct hold_arena *a, size_t used_bytes)
{
	size_t at = a->head;

	*slot_at(a, at) = (struct slot){.size_bytes = slot_bytes(used_bytes)};
	a->head += slot_bytes(used_bytes);
	assert(a->head < a->size_bytes);
	return at + sizeof(struct slot);
}

void hold_arena_free(struct hold_arena *a, uint64_t addr)
{
	addr -= addr % ALIGN;
	slot_at(a, (size_t)addr - sizeof(struct slot))->is_free = 1;
	advance_tail(a);
}
