/* Tests msg_stream.c: the records of PAGES and DEVICE, and the packed messages. Each limit is
 * tested with a value just inside it and a value just outside. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "msg_frames.h"
#include "wire_samples.h"

/* Decode one record that has header @head and @n_data data bytes. If decoding fails, the error must
 * contain @words, unless @words is NULL. */
static int one_record(const uint8_t head[8], size_t n_data, uint64_t n_pages, const char *words)
{
	static uint8_t payload[8 + 2 * WIRE_PAGE_SIZE];
	struct wire_record_iter iter;
	struct wire_record record;
	struct wire_error error;
	struct wire_frame frame;
	char text[WIRE_ERROR_TEXT_SIZE];
	int r;

	memcpy(payload, head, 8);
	frame = frame_of(WIRE_PAGES, payload, 8 + n_data, 1);
	assert_int_equal(wire_pages_begin(&frame, n_pages, &iter, &error), 0);
	r = wire_record_next(&iter, &record, &error);
	if (r < 0 && words && !strstr(wire_error_text(&error, text, sizeof(text)), words))
		fail_msg("%s", text);
	frame_done(&frame);
	return r;
}

static void record_bounds(void **state)
{
#define HEAD(class, reserved, size, index)                                                         \
	((const uint8_t[8]){class, reserved, (size) >> 8, (size)&0xff, (index) >> 24,              \
			    (index) >> 16 & 0xff, (index) >> 8 & 0xff, (index)&0xff})
	(void)state;
	assert_int_equal(one_record(HEAD(1, 0, 0, 9), 0, 10, NULL), 1);
	assert_int_equal(one_record(HEAD(1, 0, 0, 10), 0, 10, "index at payload offset 4: past"),
			 -EPROTO);
	assert_int_equal(one_record(HEAD(1, 0, 0, 0xffffffffu), 0, 10, "index"), -EPROTO);
	assert_int_equal(one_record(HEAD(1, 0, 1, 0), 1, 10, "size at payload offset 2"), -EPROTO);
	assert_int_equal(one_record(HEAD(1, 1, 0, 0), 0, 10, "reserved"), -EPROTO);
	assert_int_equal(one_record(HEAD(0, 0, 0, 0), 0, 10, "class"), -EPROTO);
	assert_int_equal(one_record(HEAD(7, 0, 0, 0), 0, 10, "class"), -EPROTO);
	assert_int_equal(one_record(HEAD(6, 0, 0, 0), 0, 10, ""), 1); /* KEEP has no data */
	assert_int_equal(one_record(HEAD(6, 0, 1, 0), 1, 10, "size"), -EPROTO);
	/* DUP: the data after the header is 0, so its source is page 0. */
	assert_int_equal(one_record(HEAD(5, 0, 4, 1), 4, 10, NULL), 1);
	assert_int_equal(
		one_record(HEAD(5, 0, 4, 0), 4, 10, "source at payload offset 8: the page"),
		-EPROTO);
	assert_int_equal(one_record(HEAD(5, 0, 0, 1), 0, 10, "size"), -EPROTO);
	assert_int_equal(one_record(HEAD(5, 0, 5, 1), 5, 10, "size"), -EPROTO);
	assert_int_equal(one_record(HEAD(5, 0, 4, 1), 3, 10, "data at payload offset 8: trun"),
			 -EPROTO);
	assert_int_equal(one_record(HEAD(5, 0, 4, 10), 4, 10, "index"), -EPROTO);
	assert_int_equal(one_record(HEAD(2, 0, 4096, 0), 4096, 10, NULL), 1);
	assert_int_equal(one_record(HEAD(2, 0, 4095, 0), 4096, 10, "size"), -EPROTO);
	assert_int_equal(one_record(HEAD(2, 0, 4097, 0), 4097, 10, "size"), -EPROTO);
	assert_int_equal(
		one_record(HEAD(2, 0, 4096, 0), 4095, 10, "data at payload offset 8: trun"),
		-EPROTO);
	assert_int_equal(one_record(HEAD(3, 0, 0, 0), 0, 10, "size"), -EPROTO);
	assert_int_equal(one_record(HEAD(3, 0, 1, 0), 1, 10, NULL), 1);
	assert_int_equal(one_record(HEAD(3, 0, 4096, 0), 4096, 10, NULL), 1);
	assert_int_equal(one_record(HEAD(3, 0, 4097, 0), 4097, 10, "size"), -EPROTO);
	assert_int_equal(one_record(HEAD(3, 0, 65535, 0), 8000, 10, "size"), -EPROTO);
	assert_int_equal(one_record(HEAD(4, 0, 11, 0), 11, 10, "size"), -EPROTO);
	assert_int_equal(one_record(HEAD(4, 0, 12, 0), 12, 10, NULL), 1);
	assert_int_equal(one_record(HEAD(4, 0, 4032, 0), 4032, 10, NULL), 1);
	assert_int_equal(one_record(HEAD(4, 0, 4033, 0), 4033, 10, "size"), -EPROTO);
	assert_int_equal(one_record(HEAD(4, 0, 12, 10), 12, 10, "index"), -EPROTO);
#undef HEAD
}

static void device_bounds(void **state)
{
	struct wire_record_iter iter;
	struct wire_record record;
	struct bytes_writer w;
	struct wire_frame frame;

	(void)state;
	w = writer(64);
	assert_int_equal(wire_device_encode(0, &w), -EINVAL);
	w = writer(64);
	assert_int_equal(wire_device_encode(WIRE_BLOB_MAX + 1, &w), -EINVAL);
	frame = frame_of(WIRE_DEVICE, (const uint8_t[]){1, 0, 0, 1}, 4, 1);
	assert_int_equal(wire_device_begin(&frame, &iter, NULL), -EPROTO);
	frame_done(&frame);
	/* 4097 bytes are two pieces, with indices 0 and 1; index 2 is too large. */
	for (uint32_t index = 1; index <= 2; index++) {
		w = writer(64);
		assert_int_equal(wire_device_encode(4097, &w), 0);
		assert_int_equal(wire_sample_record(&w, WIRE_CLASS_ZERO, index, NULL, 0), 0);
		frame = frame_of(WIRE_DEVICE, scratch, (size_t)(w.at - scratch), 1);
		assert_int_equal(wire_device_begin(&frame, &iter, NULL), 0);
		assert_int_equal(iter.blob_size, 4097);
		assert_int_equal(wire_record_next(&iter, &record, NULL), index == 1 ? 1 : -EPROTO);
		frame_done(&frame);
	}
}

/* Tests packed frames: the limits of the unpacked size, and that records cannot be read without
 * unpacking. */
static void packed_bounds(void **state)
{
	uint8_t payload[6] = {0, 2, 0, 0, 0xaa, 0xbb};
	struct wire_frame frame = {.h = {.type = WIRE_PAGES, .payload_size = 6,
					 .flags = WIRE_FLAG_LZ4}, .payload = payload};
	struct wire_record_iter iter;
	struct wire_error error;
	struct bytes_writer w;
	struct wire_lz4 lz4;

	(void)state;
	assert_int_equal(wire_lz4_decode(&frame, &lz4, &error), 0);
	assert_int_equal(lz4.plain_size, WIRE_PAYLOAD_MAX);
	assert_int_equal(lz4.block_size, 2);
	assert_ptr_equal(lz4.block, payload + 4);
	payload[3] = 1; /* one byte above the maximum */
	assert_int_equal(wire_lz4_decode(&frame, &lz4, &error), -EPROTO);
	memset(payload, 0, 4);
	assert_int_equal(wire_lz4_decode(&frame, &lz4, &error), -EPROTO);
	payload[3] = 1;
	for (uint32_t size = 0; size < 5; size++) {
		frame.h.payload_size = size;
		assert_int_equal(wire_lz4_decode(&frame, &lz4, &error), -EPROTO);
	}
	frame.h.payload_size = 6;
	assert_int_equal(wire_pages_begin(&frame, 100, &iter, &error), -EPROTO);
	frame.h.type = WIRE_DEVICE;
	assert_int_equal(wire_lz4_decode(&frame, &lz4, &error), 0);
	assert_int_equal(wire_device_begin(&frame, &iter, &error), -EPROTO);
	frame.h.type = WIRE_EPOCH_BEGIN;
	assert_int_equal(wire_lz4_decode(&frame, &lz4, &error), -EPROTO);
	frame.h.type = WIRE_PAGES;
	frame.h.flags = 0;
	assert_int_equal(wire_lz4_decode(&frame, &lz4, &error), -EPROTO);
	w = writer(64);
	assert_int_equal(wire_lz4_encode(&(struct wire_lz4){0, payload, 2}, &w), -EINVAL);
	w = writer(64);
	assert_int_equal(wire_lz4_encode(&(struct wire_lz4){WIRE_PAYLOAD_MAX + 1, payload, 2}, &w),
			 -EINVAL);
}

static void a_full_frame_of_records(void **state)
{
	uint8_t page[WIRE_PAGE_SIZE] = {1, 2, 3};
	struct wire_record_iter iter;
	struct wire_record record;
	struct wire_frame frame;
	struct bytes_writer w;
	uint32_t n = 0;

	(void)state;
	w = writer(WIRE_PAYLOAD_MAX);
	/* Append records until the frame has no room for another raw page. That must not mark the
	 * writer as bad. */
	while (wire_sample_record(&w, n % 2 ? WIRE_CLASS_XRLE : WIRE_CLASS_RAW, n, page,
				  n % 2 ? 3 : WIRE_PAGE_SIZE) == 0)
		n++;
	assert_false(w.bad);
	frame = frame_of(WIRE_PAGES, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_pages_begin(&frame, n, &iter, NULL), 0);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(wire_record_next(&iter, &record, NULL), 1);
		assert_int_equal(record.index, i);
		assert_memory_equal(record.data, page, record.size);
	}
	assert_int_equal(wire_record_next(&iter, &record, NULL), 0);
	assert_int_equal(wire_record_next(&iter, &record, NULL), 0);
	frame_done(&frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_bounds),
		cmocka_unit_test(device_bounds),
		cmocka_unit_test(packed_bounds),
		cmocka_unit_test(a_full_frame_of_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
