/* wire_samples.h - one example of every frame type, and a function that decodes and re-encodes any
 * frame.
 *
 * Used by test_msg (bounds and truncations), test_vectors (golden bytes) and fuzz_msg (parse,
 * print, parse). The golden bytes are in tests/vectors/NAME.hex; tests/vectors/generate.py makes
 * those files without using this code.
 */
#ifndef WIRE_SAMPLES_H
#define WIRE_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"
#include "wire/msg.h"

struct wire_sample {
	const char *name;	 /* NAME of tests/vectors/NAME.hex */
	struct wire_header header;
	int (*encode)(struct bytes_writer *w); /* writes the payload; NULL: the payload is empty */
};

extern const struct wire_sample wire_samples[];
extern const size_t n_wire_samples;

/* Page indexes in the samples' PAGES records are below this number. */
#define WIRE_SAMPLE_PAGES 65536

/* Build @sample's frame in @buffer, which has WIRE_FRAME_MAX bytes. Returns the frame's size, or 0
 * on failure. */
size_t wire_sample_build(const struct wire_sample *sample, uint8_t *buffer);

/* Append one record to a PAGES or DEVICE payload. Returns 0; or -ENOBUFS if @w has no room for the
 * record: then @w is unchanged. */
int wire_sample_record(struct bytes_writer *w, uint8_t class, uint32_t index, const uint8_t *data,
		       size_t size);

/* Decode @frame's payload as its type requires, and encode the result to @w. Returns 0, or -EPROTO
 * if the decoder refused the payload (*@error says why). Any other error means that an encoder
 * refused what its decoder had accepted, which is a bug. */
int wire_reencode(const struct wire_frame *frame, struct bytes_writer *w, struct wire_error *error);

#endif
