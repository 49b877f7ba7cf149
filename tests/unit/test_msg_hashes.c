/* Tests msg_hashes.c: each limit with a value just inside it and a value just outside. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "msg_frames.h"
#include "wire/msg.h"

static void hashes_want_rules(void **state)
{
	struct wire_hashes_want want = {.disk = "", .first = WIRE_HASH_UNITS_MAX - 2, .n = 2}, got;
	struct bytes_writer w = writer(64);
	struct wire_frame frame;
	struct wire_error error;

	(void)state;
	assert_int_equal(wire_hashes_want_encode(&want, &w), 0);
	frame = frame_of(WIRE_HASHES_WANT, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_hashes_want_decode(&frame, &got, &error), 0);
	assert_memory_equal(&got, &want, sizeof(got));
	free((void *)frame.payload);
	/* one unit too many: the payload's last byte is the lowest byte of n */
	w.at[-1] = 3;
	frame = frame_of(WIRE_HASHES_WANT, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_hashes_want_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "units");
	free((void *)frame.payload);
	w.at[-1] = 0;
	frame = frame_of(WIRE_HASHES_WANT, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_hashes_want_decode(&frame, &got, &error), -EPROTO);
	free((void *)frame.payload);
	want.n = 3;
	w = writer(64);
	assert_int_equal(wire_hashes_want_encode(&want, &w), -EINVAL);
	want.n = 0;
	w = writer(64);
	assert_int_equal(wire_hashes_want_encode(&want, &w), -EINVAL);
}

static void hashes_rules(void **state)
{
	static uint8_t hash[(WIRE_HASHES_MAX + 1) * WIRE_HASH_SIZE];
	struct wire_hashes hashes = {.disk = "vda", .first = 9, .n = WIRE_HASHES_MAX, .hash = hash};
	struct wire_hashes got;
	struct bytes_writer w = writer(WIRE_PAYLOAD_MAX);
	struct wire_frame frame;
	struct wire_error error;
	size_t size;

	(void)state;
	hash[sizeof(hash) - WIRE_HASH_SIZE - 1] = 0x5a;
	assert_int_equal(wire_hashes_encode(&hashes, &w), 0);
	size = (size_t)(w.at - scratch);
	frame = frame_of(WIRE_HASHES, scratch, size, 1);
	assert_int_equal(wire_hashes_decode(&frame, &got, &error), 0);
	assert_int_equal(got.n, WIRE_HASHES_MAX);
	assert_memory_equal(got.hash, hash, WIRE_HASHES_MAX * WIRE_HASH_SIZE);
	free((void *)frame.payload);
	/* The payload is half a hash too short, then half a hash too long. */
	frame = frame_of(WIRE_HASHES, scratch, size - 8, 1);
	assert_int_equal(wire_hashes_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "hash");
	free((void *)frame.payload);
	frame = frame_of(WIRE_HASHES, scratch, size + 8, 1);
	assert_int_equal(wire_hashes_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "end");
	free((void *)frame.payload);
	hashes.n++;
	w = writer(WIRE_PAYLOAD_MAX);
	assert_int_equal(wire_hashes_encode(&hashes, &w), -EINVAL);
	hashes = (struct wire_hashes){.first = WIRE_HASH_UNITS_MAX - 2, .n_zero = 3};
	w = writer(WIRE_PAYLOAD_MAX);
	assert_int_equal(wire_hashes_encode(&hashes, &w), -EINVAL);
	/* an answer with neither hashes nor blocks of zeros */
	hashes.n_zero = 0;
	w = writer(64);
	assert_int_equal(wire_hashes_encode(&hashes, &w), 0);
	w.at[-5] = 3; /* the lowest byte of n_zero */
	frame = frame_of(WIRE_HASHES, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_hashes_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "hashes");
	free((void *)frame.payload);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_want_rules),
		cmocka_unit_test(hashes_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
