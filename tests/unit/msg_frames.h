/* msg_frames.h - puts payloads into frames, and gives a writer for payloads. For tests of messages.
 *
 * Where: test_msg.c, test_page_records.c. Threads: one.
 */
#ifndef TESTS_MSG_FRAMES_H
#define TESTS_MSG_FRAMES_H

#include <stdlib.h>

#include "exact.h"
#include "wire/frame.h"

/* Put a copy of @payload into a frame. wire_frame_decode() might refuse this frame, and the test is
 * that decoders do not rely on its checks. */
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
