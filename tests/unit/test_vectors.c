/* Encodes and decodes the golden frames of tests/vectors. Both results must match the
 * specification. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire_samples.h"

/* Read the bytes of tests/vectors/NAME.hex. */
static size_t read_vector(const char *name, uint8_t *data, size_t size)
{
	char path[1024];
	unsigned byte;
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.hex", VECTORS_DIR, name);
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s: cannot be read", path);
	while (n < size && fscanf(f, "%2x", &byte) == 1)
		data[n++] = (uint8_t)byte;
	assert_true(feof(f));
	fclose(f);
	return n;
}

static void encoders_match(void **state)
{
	static uint8_t golden[WIRE_FRAME_MAX], built[WIRE_FRAME_MAX];

	(void)state;
	for (size_t i = 0; i < n_wire_samples; i++) {
		size_t size = read_vector(wire_samples[i].name, golden, sizeof(golden));

		if (wire_sample_build(&wire_samples[i], built) != size ||
		    memcmp(built, golden, size) != 0)
			fail_msg("%s: encoded otherwise than the vector", wire_samples[i].name);
	}
}

static void decoders_match(void **state)
{
	static uint8_t golden[WIRE_FRAME_MAX], again[WIRE_FRAME_MAX];

	(void)state;
	for (size_t i = 0; i < n_wire_samples; i++) {
		size_t size	  = read_vector(wire_samples[i].name, golden, sizeof(golden));
		const uint8_t *at = golden;
		struct wire_frame frame;
		struct wire_error error;
		struct bytes_writer w;
		size_t again_size;

		assert_int_equal(wire_frame_decode(&at, golden + size, &frame, &error), 0);
		assert_ptr_equal(at, golden + size);
		assert_int_equal(frame.h.term, wire_samples[i].header.term);
		assert_int_equal(frame.h.epoch, wire_samples[i].header.epoch);
		assert_int_equal(frame.h.seq, wire_samples[i].header.seq);
		assert_int_equal(frame.h.generation, wire_samples[i].header.generation);
		assert_int_equal(wire_frame_begin(again, sizeof(again), &w), 0);
		assert_int_equal(wire_reencode(&frame, &w, &error), 0);
		assert_int_equal(wire_frame_finish(again, &w, &frame.h, &again_size), 0);
		assert_int_equal(again_size, size);
		assert_memory_equal(again, golden, size);
	}
}

static void every_type_has_one(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		size_t n = 0;

		for (size_t i = 0; i < n_wire_samples; i++)
			n += wire_samples[i].header.type == type;
		if (n == 0 && strcmp(wire_type_name((uint8_t)type), "UNKNOWN") != 0)
			fail_msg("%s has no vector", wire_type_name((uint8_t)type));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoders_match),
		cmocka_unit_test(decoders_match),
		cmocka_unit_test(every_type_has_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
