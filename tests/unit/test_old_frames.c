/* Decodes frames that the daemons of an older commit sent (tests/vectors/old). Today's decoder must
 * accept each frame from its sender, and the frame must keep its meaning when it is encoded again.
 * Today's standby must acknowledge the recorded epoch. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "standby/epochcheck.h"
#include "wire_samples.h"

#define FILE_MAX_BYTES (128 << 10)

static const struct row {
	const char *name;
	unsigned sender; /* enum wire_sender */
} rows[] = {
	{"primary-control", WIRE_SENDER_AGENT_CONTROL},
	{"primary-control-answers", WIRE_SENDER_GATEWAY_CONTROL},
	{"primary-stream", WIRE_SENDER_PRIMARY},
	{"primary-stream-answers", WIRE_SENDER_GATEWAY_PRIMARY},
	{"standby-control", WIRE_SENDER_AGENT_CONTROL},
	{"standby-control-answers", WIRE_SENDER_GATEWAY_CONTROL},
	{"standby-stream", WIRE_SENDER_STANDBY},
};

static size_t read_old(const char *name, uint8_t *data)
{
	char path[1024];
	unsigned byte;
	size_t n = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/old/%s.hex", VECTORS_DIR, name);
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s: cannot be read", path);
	while (n < FILE_MAX_BYTES && fscanf(f, "%2x", &byte) == 1)
		data[n++] = (uint8_t)byte;
	assert_true(feof(f));
	fclose(f);
	return n;
}

static void check(const struct row *row, const struct wire_frame *frame, const uint8_t *from,
		  size_t size)
{
	static uint8_t again[WIRE_FRAME_MAX];
	char text[WIRE_ERROR_TEXT_SIZE];
	struct wire_error error;
	struct bytes_writer w;
	size_t again_size;

	if (frame->h.type != WIRE_HELLO && !wire_type_allowed(frame->h.type, row->sender))
		fail_msg("%s: %s is not allowed any more", row->name,
			 wire_type_name(frame->h.type));
	assert_int_equal(wire_frame_begin(again, sizeof(again), &w), 0);
	if (wire_reencode(frame, &w, &error) < 0)
		fail_msg("%s: %s", row->name, wire_error_text(&error, text, sizeof(text)));
	assert_int_equal(wire_frame_finish(again, &w, &frame->h, &again_size), 0);
	assert_int_equal(again_size, size);
	assert_memory_equal(again, from, size);
}

static void frames_are_taken(void **state)
{
	static uint8_t data[FILE_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t size = read_old(rows[i].name, data), n = 0;

		for (const uint8_t *at = data; at < data + size; n++) {
			const uint8_t *from = at;
			struct wire_error error;
			struct wire_frame frame;

			assert_int_equal(wire_frame_decode(&at, data + size, &frame, &error), 0);
			check(&rows[i], &frame, from, (size_t)(at - from));
		}
		assert_true(n >= 3);
	}
}

/* A recorded delta epoch builds on the previous epoch. It passes the check that a standby makes
 * before it acknowledges an epoch. */
static void epoch_is_acknowledged(void **state)
{
	static uint8_t data[FILE_MAX_BYTES];
	size_t size = read_old("primary-stream", data);
	struct epochcheck_error error;
	struct wire_frame frame;
	struct epochcheck *c = calloc(1, sizeof(*c));
	bool is_begun = false;
	int r = -EAGAIN;

	(void)state;
	assert_non_null(c);
	for (const uint8_t *at = data; at < data + size;) {
		assert_int_equal(wire_frame_decode(&at, data + size, &frame, NULL), 0);
		if (frame.h.type == WIRE_HELLO)
			continue;
		if (frame.h.type == WIRE_EPOCH_BEGIN)
			c->last_epoch = frame.h.epoch - 1;
		if (!is_begun)
			epochcheck_init(c, frame.h.term, 0, 64 << 20);
		is_begun = true;
		if (frame.h.type == WIRE_MACHINE) /* handled by stream.c, not by epochcheck */
			continue;
		r = epochcheck_frame(c, &frame, NULL, &error);
		if (r < 0)
			fail_msg("%s: %s", wire_type_name(frame.h.type), error.why.text);
	}
	assert_int_equal(r, EPOCHCHECK_COMPLETE);
	epochcheck_done(c);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_taken),
		cmocka_unit_test(epoch_is_acknowledged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
