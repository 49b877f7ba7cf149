/* fuzz_msg.c - decodes any bytes as the payload of a message of any type. If the decoder accepts a
 * message, the encoder must encode it. Decoding the result must give the same message.
 *
 * The input is a whole frame, so that frames can be seeds. The frame's checksum and payload size
 * are ignored. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire_samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t first[WIRE_PAYLOAD_MAX], second[WIRE_PAYLOAD_MAX];

static int reencode(const struct wire_frame *frame, uint8_t *out, size_t *ret_size)
{
	struct bytes_writer w = {.at = out, .end = out + WIRE_PAYLOAD_MAX};
	char text[WIRE_ERROR_TEXT_SIZE];
	struct wire_error error = {0};
	int r			= wire_reencode(frame, &w, &error);

	if (r == -EPROTO) {
		if (!error.field || !error.reason || error.offset > frame->h.payload_size)
			abort();
		(void)wire_error_text(&error, text, sizeof(text));
		return r;
	}
	if (r < 0)
		abort(); /* the encoder refuses what the decoder accepted */
	*ret_size = (size_t)(w.at - out);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_frame frame = {0};
	size_t first_size, second_size;
	uint8_t *payload;

	if (size < WIRE_HEADER_SIZE || size - WIRE_HEADER_SIZE > WIRE_PAYLOAD_MAX ||
	    strcmp(wire_type_name(data[0]), "UNKNOWN") == 0)
		return 0;
	frame.h.type	     = data[0];
	frame.h.flags	     = data[1];
	frame.h.epoch	     = bytes_get_be64(data + 16);
	frame.h.payload_size = (uint32_t)(size - WIRE_HEADER_SIZE);
	/* Allocate exactly the payload's size, to notice a read past its end. */
	payload = malloc(frame.h.payload_size ? frame.h.payload_size : 1);
	if (!payload)
		return 0;
	memcpy(payload, data + WIRE_HEADER_SIZE, frame.h.payload_size);
	frame.payload = payload;
	if (reencode(&frame, first, &first_size) == 0) {
		/* The encoded payload equals the input, except that HELLO loses what a later
		 * version appended. */
		if (frame.h.type == WIRE_HELLO ? first_size > frame.h.payload_size
					       : first_size != frame.h.payload_size ||
							 memcmp(first, payload, first_size) != 0)
			abort();
		frame.payload	     = first;
		frame.h.payload_size = (uint32_t)first_size;
		if (reencode(&frame, second, &second_size) < 0 || second_size != first_size ||
		    memcmp(first, second, first_size) != 0)
			abort();
	}
	free(payload);
	return 0;
}
