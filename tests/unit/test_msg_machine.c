/* Tests the MACHINE message: the limits of its items, and a full frame. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/msg.h"

static struct wire_frame frame_of(const uint8_t *payload, const struct bytes_writer *w)
{
	return (struct wire_frame){
		.h = {.type = WIRE_MACHINE, .payload_size = (uint32_t)(w->at - payload)},
		.payload = payload,
	};
}

static void machine_items(void **state)
{
	static uint8_t buffer[64];
	struct bytes_writer w = {buffer, buffer + sizeof(buffer), false};
	char longest[WIRE_LABEL_MAX + 2];
	bool is_last;

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(wire_machine_encode(false, &w), 0);
	assert_int_equal(wire_machine_item_encode(&w, "CPU 0", "qemu64"), 0);
	/* An item that does not fit is refused, and the frame stays valid. */
	assert_int_equal(wire_machine_item_encode(&w, longest + 200, longest + 200), -ENOBUFS);
	assert_int_equal(wire_machine_item_encode(&w, "ROM x", ""), 0);
	struct wire_frame frame = frame_of(buffer, &w);
	assert_int_equal(wire_machine_check(&frame, &is_last, NULL), 0);
	assert_false(is_last);
	buffer[0] = 2;
	frame = frame_of(buffer, &w);
	assert_int_equal(wire_machine_check(&frame, &is_last, NULL), -EPROTO);
	assert_int_equal(wire_machine_item_encode(&w, "", "x"), -EINVAL);
	w = (struct bytes_writer){buffer, buffer + sizeof(buffer), false};
	assert_int_equal(wire_machine_item_encode(&w, "a\nb", "x"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(machine_items)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
