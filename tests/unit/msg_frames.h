/* msg_frames.h - helps tests of messages (test_msg.c, test_page_records.c): it puts a payload into
 * a frame, and makes a writer for a payload. Only one thread may use it.
 */
#ifndef TESTS_MSG_FRAMES_H
#define TESTS_MSG_FRAMES_H

#include <stdlib.h>

#include "exact.h"
#include "wire/frame.h"

/* Put a copy of @payload into a frame. wire_frame_decode() might refuse such a frame. The tests use
 * it to show that the decoders of payloads do not rely on wire_frame_decode()'s checks. */
static inline struct wire_frame frame_of(uint8_t type, const uint8_t *payload, size_t size,
					 uint64_t epoch)
{
	return (struct wire_frame){
		.h = {.type = type, .payload_size = (uint32_t)size, .epoch = epoch},
		.payload = exact_copy(payload, size)};
}

static inline void frame_done(struct wire_frame *frame)
{
	free((void *)frame->payload);
}

static uint8_t scratch[WIRE_FRAME_MAX];
/* Returns a writer for the first @size bytes of `scratch`. */
static inline struct bytes_writer writer(size_t size)
{
	return (struct bytes_writer){.at = scratch, .end = scratch + size};
}

#endif
