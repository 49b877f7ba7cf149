/* fuzz_frame.c - decodes any bytes as a stream of frames. The decoder must consume whole frames or
 * nothing, and must never read past the end. If an accepted frame is sealed again, its header must
 * stay the same. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Correct the first frame's checksum, which a fuzzer cannot guess. The caller tries the bytes both
 * with and without this correction. */
static void mend(uint8_t *bytes, size_t size)
{
	struct wire_header h;
	struct iovec piece;
	uint32_t payload;

	if (size < WIRE_HEADER_SIZE)
		return;
	payload = bytes_get_be32(bytes + 4);
	if (payload > size - WIRE_HEADER_SIZE)
		return;
	h = (struct wire_header){
		.type	    = bytes[0],
		.flags	    = bytes[1],
		.seq	    = bytes_get_be32(bytes + 24),
		.generation = bytes_get_be32(bytes + 28),
		.term	    = bytes_get_be64(bytes + 8),
		.epoch	    = bytes_get_be64(bytes + 16),
	};
	piece = (struct iovec){bytes + WIRE_HEADER_SIZE, payload};
	(void)!wire_frame_seal(bytes, &h, &piece, 1); /* fails if the bytes are not a frame */
}

static void walk(const uint8_t *bytes, size_t size)
{
	const uint8_t *at = bytes, *end = bytes + size, *before;
	char text[WIRE_ERROR_TEXT_SIZE];
	uint8_t head[WIRE_HEADER_SIZE];
	struct wire_error error;
	struct wire_frame frame;
	struct iovec piece;
	int r;

	do {
		before = at;
		r      = wire_frame_decode(&at, end, &frame, &error);
		if (r == 0) {
			piece = (struct iovec){(void *)frame.payload, frame.h.payload_size};
			if (at != before + wire_frame_size(&frame) || at > end ||
			    wire_frame_start(&frame) != before ||
			    wire_frame_seal(head, &frame.h, &piece, 1) < 0 ||
			    memcmp(head, before, sizeof(head)) != 0)
				abort();
		} else if (at != before || (r != -EAGAIN && r != -EPROTO && r != -EBADMSG)) {
			abort();
		} else if (r != -EAGAIN) {
			(void)wire_error_text(&error, text, sizeof(text));
		}
	} while (r == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	walk(copy, size);
	mend(copy, size);
	walk(copy, size);
	free(copy);
	return 0;
}
