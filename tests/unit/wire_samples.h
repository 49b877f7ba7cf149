/* wire_samples.h - one example of every frame type, and "decode, then encode again" for any frame.
 *
 * Used by test_msg (bounds and truncations), test_vectors (golden bytes) and fuzz_msg (parse,
 * print, parse). Files are tests/vectors/NAME.hex; tests/vectors/generate.py makes them without
 * this code.
 */
#ifndef WIRE_SAMPLES_H
#define WIRE_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"
#include "wire/msg.h"

struct wire_sample {
	const char *name;	 /* of the vector's file */
	struct wire_header header;
	int (*encode)(struct bytes_writer *w); /* the payload; NULL: empty */
};

extern const struct wire_sample wire_samples[];
extern const size_t n_wire_samples;

/* Page limit that the samples' PAGES records obey. */
#define WIRE_SAMPLE_PAGES 65536

/* Build @sample's frame in @buffer of WIRE_FRAME_MAX bytes; its size, or 0 when it cannot. */
size_t wire_sample_build(const struct wire_sample *sample, uint8_t *buffer);

/* Decode @frame's payload by its type and encode the result to @w. 0; -EPROTO: a decoder refused
 * it,
 * *@error is set; other: an encoder refused what its decoder accepted, which is a bug. */
int wire_reencode(const struct wire_frame *frame, struct bytes_writer *w, struct wire_error *error);

#endif
