/* Tests frame.c: headers, checksums and bounds, and that a decoder that returns an error consumes
 * no bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exact.h"
#include "wire/frame.h"

static const struct wire_header beat_header = {.type = WIRE_BEAT,
					       .seq = 7,
					       .generation = 0x01020304,
					       .term = 1ULL << 40,
					       .epoch = WIRE_EPOCH_MAX};

/* Write a sealed BEAT of 48 bytes to @buffer. */
static size_t build_beat(uint8_t buffer[WIRE_FRAME_MAX])
{
	struct bytes_writer w;
	size_t size = 0;

	assert_int_equal(wire_frame_begin(buffer, 64, &w), 0);
	bytes_write_be64(&w, 0x1122334455667788);
	assert_int_equal(wire_frame_finish(buffer, &w, &beat_header, &size), 0);
	return size;
}

static void round_trip(void **state)
{
	uint8_t buffer[WIRE_FRAME_MAX];
	const uint8_t *at = buffer;
	struct wire_frame f;
	size_t size = build_beat(buffer);

	(void)state;
	assert_int_equal(size, 48);
	assert_int_equal(wire_frame_decode(&at, buffer + size, &f, NULL), 0);
	assert_ptr_equal(at, buffer + size);
	assert_int_equal(f.h.type, WIRE_BEAT);
	assert_int_equal(f.h.flags, 0);
	assert_int_equal(f.h.seq, 7);
	assert_int_equal(f.h.generation, 0x01020304);
	assert_true(f.h.term == 1ULL << 40 && f.h.epoch == WIRE_EPOCH_MAX);
	assert_int_equal(f.h.payload_size, 8);
	assert_ptr_equal(f.payload, buffer + WIRE_HEADER_SIZE);
	assert_ptr_equal(wire_frame_start(&f), buffer);
	assert_int_equal(wire_frame_size(&f), 48);
}

static void short_input_consumes_nothing(void **state)
{
	uint8_t buffer[WIRE_FRAME_MAX];
	size_t size = build_beat(buffer);
	struct wire_frame f;

	(void)state;
	for (size_t n = 0; n < size; n++) {
		uint8_t *copy	  = exact_copy(buffer, n);
		const uint8_t *at = copy;

		assert_int_equal(wire_frame_decode(&at, copy + n, &f, NULL), -EAGAIN);
		assert_ptr_equal(at, copy);
		free(copy);
	}
}

static void every_flipped_bit_is_seen(void **state)
{
	uint8_t buffer[WIRE_FRAME_MAX];
	size_t size = build_beat(buffer);
	struct wire_frame f;

	(void)state;
	for (size_t bit = 0; bit < size * 8; bit++) {
		const uint8_t *at = buffer;
		int r;

		buffer[bit / 8] ^= (uint8_t)(1u << bit % 8);
		r = wire_frame_decode(&at, buffer + size, &f, NULL);
		assert_true(r == -EPROTO || r == -EBADMSG);
		assert_ptr_equal(at, buffer);
		buffer[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void expect_refusal(size_t offset, uint8_t value, int code, const char *text)
{
	uint8_t buffer[WIRE_FRAME_MAX];
	size_t size	  = build_beat(buffer);
	const uint8_t *at = buffer;
	struct wire_error e;
	struct wire_frame f;
	char got[WIRE_ERROR_TEXT_SIZE];

	buffer[offset] = value;
	assert_int_equal(wire_frame_decode(&at, buffer + size, &f, &e), code);
	assert_string_equal(wire_error_text(&e, got, sizeof(got)), text);
	/* A broken header is refused without waiting for its payload. */
	if (code == -EPROTO)
		assert_int_equal(wire_frame_decode(&at, buffer + WIRE_HEADER_SIZE, &f, &e), code);
}

static void refusals_name_the_place(void **state)
{
	(void)state;
	expect_refusal(0, 0x00, -EPROTO,
		       "unreadable frame: type at header offset 0: not a known frame type");
	expect_refusal(0, 0xff, -EPROTO,
		       "unreadable frame: type at header offset 0: not a known frame type");
	expect_refusal(0, 0x1f, -EPROTO,
		       "unreadable frame: type at header offset 0: not a known frame type");
	expect_refusal(1, 1, -EPROTO, "BEAT frame: flags at header offset 1: unknown bit set");
	expect_refusal(3, 1, -EPROTO, "BEAT frame: reserved at header offset 2: not zero");
	expect_refusal(7, 7, -EPROTO,
		       "BEAT frame: payload size at header offset 4: too small for this type");
	expect_refusal(4, 0x80, -EPROTO,
		       "BEAT frame: payload size at header offset 4: too large for this type");
	expect_refusal(8, 1, -EPROTO, "BEAT frame: term at header offset 8: out of range");
	expect_refusal(16, 1, -EPROTO, "BEAT frame: epoch at header offset 16: out of range");
	expect_refusal(47, 0, -EBADMSG,
		       "BEAT frame: checksum at header offset 32: does not match the content");
}

static void payload_bounds(void **state)
{
	static uint8_t buffer[WIRE_FRAME_MAX + 64];
	struct wire_header h = {.type = WIRE_PAGES};
	struct bytes_writer w;
	struct wire_frame f;
	const uint8_t *at = buffer;
	size_t size	  = 0;

	(void)state;
	assert_int_equal(wire_frame_begin(buffer, WIRE_HEADER_SIZE - 1, &w), -ENOBUFS);
	/* A larger buffer does not allow a larger frame. */
	assert_int_equal(wire_frame_begin(buffer, sizeof(buffer), &w), 0);
	assert_non_null(bytes_reserve(&w, WIRE_PAYLOAD_MAX));
	assert_int_equal(wire_frame_finish(buffer, &w, &h, &size), 0);
	assert_int_equal(size, WIRE_FRAME_MAX);
	assert_int_equal(wire_frame_decode(&at, buffer + size, &f, NULL), 0);
	assert_int_equal(f.h.payload_size, WIRE_PAYLOAD_MAX);
	bytes_write_u8(&w, 1);
	assert_int_equal(wire_frame_finish(buffer, &w, &h, &size), -ENOBUFS);
	/* No type allows a payload larger than a frame's maximum. */
	bytes_put_be32(buffer + 4, WIRE_PAYLOAD_MAX + 1);
	at = buffer;
	assert_int_equal(wire_frame_decode(&at, buffer + sizeof(buffer), &f, NULL), -EPROTO);
}

static void encoder_refuses_what_the_decoder_would(void **state)
{
	uint8_t bytes[WIRE_HEADER_SIZE];
	uint8_t zeros[9]      = {0};
	struct iovec piece    = {.iov_base = zeros, .iov_len = 8};
	struct wire_header ok = {.type = WIRE_BEAT}, bad_type = {.type = 0x1f},
			   bad_flag = {.type = WIRE_BEAT, .flags = 1},
			   full	    = {.type = WIRE_EPOCH_BEGIN, .flags = WIRE_FLAG_FULL};
	struct iovec large[2]	    = {{zeros, 1}, {zeros, SIZE_MAX}};

	(void)state;
	assert_int_equal(wire_frame_seal(bytes, &ok, &piece, 1), 0);
	assert_int_equal(wire_frame_seal(bytes, &full, &piece, 1), 0);
	assert_int_equal(wire_frame_seal(bytes, &bad_type, &piece, 1), -EINVAL);
	assert_int_equal(wire_frame_seal(bytes, &bad_flag, &piece, 1), -EINVAL);
	piece.iov_len = 9;
	assert_int_equal(wire_frame_seal(bytes, &ok, &piece, 1), -EINVAL);
	assert_int_equal(wire_frame_seal(bytes, &ok, large, 2), -EINVAL);
}

static void pieces_hash_as_one(void **state)
{
	uint8_t buffer[WIRE_FRAME_MAX], head[WIRE_HEADER_SIZE];
	size_t size = build_beat(buffer);
	struct iovec pieces[4] = {{buffer + 40, 3}, {NULL, 0}, {buffer + 43, 1}, {buffer + 44, 4}};

	(void)state;
	assert_int_equal(wire_frame_seal(head, &beat_header, pieces, 4), 0);
	assert_memory_equal(head, buffer, WIRE_HEADER_SIZE);
	assert_int_equal(size, 48);
}

static void senders(void **state)
{
	(void)state;
	assert_true(wire_type_allowed(WIRE_HELLO, WIRE_SENDER_STANDBY));
	assert_false(wire_type_allowed(WIRE_HELLO, WIRE_SENDER_GATEWAY_CONTROL));
	assert_true(wire_type_allowed(WIRE_PAGES, WIRE_SENDER_PRIMARY));
	assert_true(wire_type_allowed(WIRE_PAGES, WIRE_SENDER_GATEWAY_STANDBY));
	assert_false(wire_type_allowed(WIRE_PAGES, WIRE_SENDER_STANDBY));
	assert_false(wire_type_allowed(WIRE_EPOCH_ACK, WIRE_SENDER_PRIMARY));
	assert_false(wire_type_allowed(WIRE_COMMIT, WIRE_SENDER_PRIMARY));
	assert_false(wire_type_allowed(WIRE_ORDER, WIRE_SENDER_AGENT_CONTROL));
	assert_false(wire_type_allowed(0x1f, 0xff));
	assert_string_equal(wire_type_name(WIRE_EPOCH_ACK), "EPOCH_ACK");
	assert_string_equal(wire_type_name(0x1f), "UNKNOWN");
	assert_string_equal(wire_type_name(0xff), "UNKNOWN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(short_input_consumes_nothing),
		cmocka_unit_test(every_flipped_bit_is_seen),
		cmocka_unit_test(refusals_name_the_place),
		cmocka_unit_test(payload_bounds),
		cmocka_unit_test(encoder_refuses_what_the_decoder_would),
		cmocka_unit_test(pieces_hash_as_one),
		cmocka_unit_test(senders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
