/* test_inbox.c - tests the queue of inputs for a VM's state machine. The queue keeps their order
 * and has a bounded size. It loses no input that still matters. */
#include "fleet/inbox.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct inbox box;
static struct inbox_entry entry;

static int empty(void **state)
{
	(void)state;
	memset(&box, 0, sizeof(box));
	return 0;
}

static void put(enum vm_input_kind kind, uint8_t host, uint8_t role, uint64_t n)
{
	const struct vm_input in = {.kind = kind, .host = host, .role = role, .term = 1, .epoch = n,
				    .order_id = n, .op_id = n, .now_ns = n};

	assert_int_equal(inbox_put(&box, &in), 0);
}

static void took(enum vm_input_kind kind, uint8_t host, uint64_t now_ns)
{
	assert_true(inbox_take(&box, &entry));
	assert_int_equal(entry.in.kind, kind);
	assert_int_equal(entry.in.host, host);
	assert_int_equal(entry.in.now_ns, now_ns);
}

static void test_order_is_kept(void **state)
{
	(void)state;
	put(VM_IN_CONTROL_UP, 0, 0, 1);
	put(VM_IN_COMMAND, 0, 0, 2);
	put(VM_IN_STREAM_UP, 1, 2, 3);
	put(VM_IN_TICK, 0, 0, 4);
	put(VM_IN_COMMAND, 0, 0, 5);
	took(VM_IN_CONTROL_UP, 0, 1);
	took(VM_IN_COMMAND, 0, 2);
	took(VM_IN_STREAM_UP, 1, 3);
	took(VM_IN_COMMAND, 0, 5);
	assert_false(inbox_take(&box, &entry));
}

static void test_newer_ones_replace(void **state)
{
	(void)state;
	for (uint64_t n = 1; n < 1000; n++) {
		put(VM_IN_SEEN, 0, 0, n);
		put(VM_IN_SEEN, 1, 0, n);
		put(VM_IN_REPORT, 1, 0, n);
		put(VM_IN_EPOCH_ACK, 1, 0, n);
		put(VM_IN_ORDER_DONE, 0, 0, 7);
	}
	assert_int_equal(box.n, 5);
	took(VM_IN_SEEN, 0, 999);
	took(VM_IN_SEEN, 1, 999);
	took(VM_IN_REPORT, 1, 999);
	took(VM_IN_EPOCH_ACK, 1, 999);
	took(VM_IN_ORDER_DONE, 0, 7);
}

/* The queue must copy all strings of a report. The sender's strings are on its stack and are gone
 * when it returns. */
static void test_strings_are_copied(void **state)
{
	char text[] = "text", throttle[] = "throttle", clock[] = "clock", way[] = "way";
	char step[] = "step";
	char *const all[] = {text, throttle, clock, way, step};
	const struct vm_input in = {.kind = VM_IN_REPORT, .text = text, .throttle_why = throttle,
				    .clock_why = clock, .way = way, .step = step};

	(void)state;
	put(VM_IN_SEEN, 0, 0, 1);
	assert_int_equal(inbox_put(&box, &in), 0);
	for (size_t i = 0; i < 5; i++)
		memset(all[i], '?', 1);
	/* Taking the first entry moves the report up in the list. */
	took(VM_IN_SEEN, 0, 1);
	took(VM_IN_REPORT, 0, 0);
	assert_string_equal(entry.in.text, "text");
	assert_string_equal(entry.in.throttle_why, "throttle");
	assert_string_equal(entry.in.clock_why, "clock");
	assert_string_equal(entry.in.way, "way");
	assert_string_equal(entry.in.step, "step");
}

/* A connection repeatedly goes down and up. For each connection, the queue keeps only one "down"
 * and the last "up". They tell the state machine that the connection it knows has ended, and that
 * the newest has begun. */
static void test_connections_that_come_and_go(void **state)
{
	(void)state;
	for (uint64_t n = 1; n < 1000; n++) {
		put(VM_IN_CONTROL_DOWN, 0, 0, n);
		put(VM_IN_STREAM_DOWN, 1, 2, n);
		put(VM_IN_STREAM_DOWN, 1, 1, n);
		put(VM_IN_CONTROL_UP, 0, 0, n);
		put(VM_IN_STREAM_UP, 1, 2, n);
	}
	assert_int_equal(box.n, 5);
	took(VM_IN_CONTROL_DOWN, 0, 999);
	took(VM_IN_STREAM_DOWN, 1, 999);
	assert_int_equal(entry.in.role, 2);
	took(VM_IN_STREAM_DOWN, 1, 999);
	took(VM_IN_CONTROL_UP, 0, 999);
	took(VM_IN_STREAM_UP, 1, 999);
}

static void test_it_is_bounded(void **state)
{
	const struct vm_input in = {.kind = VM_IN_COMMAND};

	(void)state;
	for (size_t i = 0; i < INBOX_MAX; i++)
		put(VM_IN_COMMAND, 0, 0, i);
	assert_int_equal(inbox_put(&box, &in), -EBUSY);
	for (size_t i = 0; i < INBOX_MAX; i++)
		took(VM_IN_COMMAND, 0, i);
}

static void test_texts_are_copied(void **state)
{
	char text[2000], why[500];
	const struct vm_input in = {
		.kind = VM_IN_REPORT, .host = 1, .text = text, .throttle_why = why};

	(void)state;
	put(VM_IN_COMMAND, 0, 0, 1);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memset(why, 'y', sizeof(why));
	why[sizeof(why) - 1] = '\0';
	assert_int_equal(inbox_put(&box, &in), 0);
	memset(text, 'z', sizeof(text) - 1);
	memset(why, 'z', sizeof(why) - 1);
	took(VM_IN_COMMAND, 0, 1); /* the report moves up in the list */
	assert_true(inbox_take(&box, &entry));
	memset(&box, 0, sizeof(box));
	assert_int_equal(strlen(entry.in.text), WIRE_TEXT_MAX);
	assert_int_equal(entry.in.text[0], 'x');
	assert_int_equal(strlen(entry.in.throttle_why), WIRE_STATS_VALUE_MAX);
	assert_int_equal(entry.in.throttle_why[5], 'y');
}

#define TEST(name) cmocka_unit_test_setup(name, empty)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order_is_kept),      TEST(test_newer_ones_replace),
		TEST(test_strings_are_copied), TEST(test_connections_that_come_and_go),
		TEST(test_it_is_bounded),      TEST(test_texts_are_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
