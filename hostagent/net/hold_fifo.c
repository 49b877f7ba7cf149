#include "net/hold_fifo.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int hold_fifo_init(struct hold_fifo *f, uint32_t frames_max, uint64_t bytes_max)
{
	uint64_t slots = 1;

	*f = (struct hold_fifo){.frames_max = frames_max, .bytes_max = bytes_max};
	if (frames_max == 0 || frames_max > UINT32_C(1) << 31 || bytes_max == 0)
		return -EINVAL;
	while (slots < frames_max)
		slots *= 2;
	f->ring = calloc(slots, sizeof(*f->ring));
	if (!f->ring)
		return -ENOMEM;
	f->mask = (uint32_t)(slots - 1);
	return 0;
}

void hold_fifo_done(struct hold_fifo *f)
{
	free(f->ring);
	f->ring = NULL;
}

int hold_fifo_push(struct hold_fifo *f, const struct hold_frame *frame)
{
	uint32_t count = hold_fifo_count(f);

	if (count >= f->frames_max)
		return -ENOBUFS;
	if (frame->size_bytes > f->bytes_max - f->bytes)
		return -EDQUOT;
	f->ring[f->tail & f->mask] = *frame;
	f->tail++;
	f->bytes += frame->size_bytes;
	if (count + 1 > f->frames_peak)
		f->frames_peak = count + 1;
	return 0;
}

const struct hold_frame *hold_fifo_peek(const struct hold_fifo *f, uint64_t epoch)
{
	const struct hold_frame *frame = &f->ring[f->head & f->mask];

	return f->head != f->tail && frame->epoch <= epoch ? frame : NULL;
}

void hold_fifo_pop(struct hold_fifo *f)
{
	assert(f->head != f->tail);
	f->bytes -= f->ring[f->head & f->mask].size_bytes;
	f->head++;
}

bool hold_fifo_needs_seal(const struct hold_fifo *f)
{
	return hold_fifo_count(f) >= f->frames_max - f->frames_max / 4 ||
	       f->bytes >= f->bytes_max - f->bytes_max / 4;
}
