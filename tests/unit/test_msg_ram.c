/* Tests msg_ram.c beyond what test_msg.c does with every message: the limits of RAM_HASH and
 * RAM_CHECKED. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exact.h"
#include "msg_frames.h"
#include "wire/msg.h"

static void ram_checked_rules(void **state)
{
	struct wire_ram_checked checked = {.n_checked = 70, .n_differ = 65}, got;
	struct bytes_writer w = writer(1024);
	struct wire_frame frame;
	struct wire_error error;

	(void)state;
	for (uint32_t i = 0; i < WIRE_RAM_DIFFER_MAX; i++)
		checked.page[i] = i * 3;
	assert_int_equal(wire_ram_checked_encode(&checked, &w), 0);
	frame = frame_of(WIRE_RAM_CHECKED, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_ram_checked_decode(&frame, &got, &error), 0);
	assert_memory_equal(&got, &checked, sizeof(got));
	/* First the frame has one page fewer than n_differ says, then one more. */
	free((void *)frame.payload);
	frame = frame_of(WIRE_RAM_CHECKED, scratch, (size_t)(w.at - scratch) - 4, 1);
	assert_int_equal(wire_ram_checked_decode(&frame, &got, &error), -EPROTO);
	free((void *)frame.payload);
	frame = frame_of(WIRE_RAM_CHECKED, scratch, (size_t)(w.at - scratch) + 4, 1);
	assert_int_equal(wire_ram_checked_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "end");
	free((void *)frame.payload);
	checked.n_differ = 71;
	w = writer(1024);
	assert_int_equal(wire_ram_checked_encode(&checked, &w), -EINVAL);
	checked = (struct wire_ram_checked){0};
	w = writer(1024);
	assert_int_equal(wire_ram_checked_encode(&checked, &w), -EINVAL);
	frame = frame_of(WIRE_RAM_CHECKED, (const uint8_t[]){0, 0, 0, 1, 0, 0, 0, 2}, 8, 1);
	assert_int_equal(wire_ram_checked_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "pages that differ");
	free((void *)frame.payload);
}

static void ram_hash_rules(void **state)
{
	static uint8_t hashes[(WIRE_RAM_HASHES_MAX + 1) * WIRE_HASH_SIZE];
	struct wire_ram_hash hash = {.first_page = UINT32_MAX - WIRE_RAM_HASHES_MAX,
				     .n_pages = WIRE_RAM_HASHES_MAX, .hashes = hashes}, got;
	uint8_t page[WIRE_PAGE_SIZE] = {1}, one[WIRE_HASH_SIZE], other[WIRE_HASH_SIZE];
	struct bytes_writer w = writer(32768);
	struct wire_frame frame;
	struct wire_error error;

	(void)state;
	assert_int_equal(wire_ram_hash_encode(&hash, &w), 0);
	frame = frame_of(WIRE_RAM_HASH, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_ram_hash_decode(&frame, &got, &error), 0);
	assert_int_equal(got.n_pages, WIRE_RAM_HASHES_MAX);
	assert_int_equal(got.first_page, hash.first_page);
	free((void *)frame.payload);
	/* the last page's index must be below WIRE_PAGES_MAX */
	scratch[10]++;
	frame = frame_of(WIRE_RAM_HASH, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_ram_hash_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "hashes");
	free((void *)frame.payload);
	hash.first_page++;
	w = writer(32768);
	assert_int_equal(wire_ram_hash_encode(&hash, &w), -EINVAL);
	hash.first_page = 0;
	hash.n_pages++;
	w = writer(32768);
	assert_int_equal(wire_ram_hash_encode(&hash, &w), -EINVAL);
	hash.n_pages = 0;
	w = writer(32768);
	assert_int_equal(wire_ram_hash_encode(&hash, &w), -EINVAL);
	/* no hash: only the 12 bytes before the hashes */
	frame = frame_of(WIRE_RAM_HASH, scratch, 12, 1);
	assert_int_equal(wire_ram_hash_decode(&frame, &got, &error), -EPROTO);
	free((void *)frame.payload);
	/* The hash depends on the seed and on the page's last byte. */
	wire_hash(1, page, WIRE_PAGE_SIZE, one);
	wire_hash(2, page, WIRE_PAGE_SIZE, other);
	assert_memory_not_equal(one, other, sizeof(one));
	page[WIRE_PAGE_SIZE - 1] = 1;
	wire_hash(1, page, WIRE_PAGE_SIZE, other);
	assert_memory_not_equal(one, other, sizeof(one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_checked_rules),
		cmocka_unit_test(ram_hash_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
