/* test_relay.c - tests which frames of an epoch stream the relay forwards, which it drops, and
 * which end the stream. */
#include "vm/relay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct vm_relay relay;
static uint8_t payload[WIRE_PAYLOAD_MAX];
static uint16_t code;
static struct error error;

/* Relay one frame of the current term and generation. Returns the verdict, or -EPROTO. */
static int feed(uint8_t type, uint64_t epoch, uint32_t seq, uint32_t size, uint8_t flags)
{
	struct wire_frame f = {.h = {.type = type, .flags = flags, .payload_size = size,
				     .seq = seq, .generation = 3, .term = 7, .epoch = epoch},
			       .payload = payload};
	enum vm_relay_verdict verdict;
	int r = vm_relay_frame(&relay, &f, 1000, &verdict, &code, &error);

	return r < 0 ? r : (int)verdict;
}

static int geometry(void)
{
	static const struct wire_geometry g = {
		.machine = "pc", .qemu_version = "7.2", .n_vcpus = 1, .ram_bytes = 4096,
		.n_blocks = 1, .blocks = {{.name = "pc.ram", .size_bytes = 4096}}};
	struct bytes_writer w = {payload, payload + sizeof(payload), false};

	assert_int_equal(wire_geometry_encode(&g, &w), 0);
	return feed(WIRE_GEOMETRY, 0, 0, (uint32_t)(w.at - payload), 0);
}

static int begin(uint64_t epoch, uint64_t previous, uint8_t flags)
{
	bytes_put_be64(payload, previous);
	return feed(WIRE_EPOCH_BEGIN, epoch, 0, 8, flags);
}

static int end(uint64_t epoch, uint32_t n_frames, uint64_t bytes)
{
	bytes_put_be32(payload, n_frames);
	bytes_put_be32(payload + 4, 1);
	bytes_put_be64(payload + 8, bytes);
	return feed(WIRE_EPOCH_END, epoch, n_frames, 16, 0);
}

static int epoch(uint64_t n, uint64_t previous, uint8_t flags)
{
	if (begin(n, previous, flags) != VM_RELAY_FORWARD ||
	    feed(WIRE_PAGES, n, 1, 100, 0) != VM_RELAY_FORWARD ||
	    feed(WIRE_DEVICE, n, 2, 50, 0) != VM_RELAY_FORWARD ||
	    feed(WIRE_CLOCK, n, 3, 48, 0) != VM_RELAY_FORWARD ||
	    feed(WIRE_DISK, n, 4, 30, WIRE_FLAG_LZ4) != VM_RELAY_FORWARD)
		return -EPROTO;
	return end(n, 5, 236);
}

static int machine(bool is_last)
{
	struct bytes_writer w = {payload, payload + sizeof(payload), false};

	assert_int_equal(wire_machine_encode(is_last, &w), 0);
	assert_int_equal(wire_machine_item_encode(&w, "CPU 0", "qemu64"), 0);
	return feed(WIRE_MACHINE, 0, 0, (uint32_t)(w.at - payload), 0);
}

/* Relay a request for the hashes of @n pages. If @n is 0, it breaks the format. */
static int want(uint32_t n)
{
	memset(payload, 0, 21);
	bytes_put_be32(payload + 17, n);
	return feed(WIRE_HASHES_WANT, 0, 0, 21, 0);
}

/* Relay an epoch with requests for hashes in between. These requests belong to no epoch, so they do
 * not change the numbers of the epoch's frames. */
static int epoch_with_questions(uint64_t n)
{
	if (want(1) != VM_RELAY_FORWARD || begin(n, n - 1, 0) != VM_RELAY_FORWARD ||
	    want(2) != VM_RELAY_FORWARD || feed(WIRE_PAGES, n, 1, 100, 0) != VM_RELAY_FORWARD ||
	    want(3) != VM_RELAY_FORWARD)
		return -EPROTO;
	return end(n, 2, 108);
}

static int want_before_geometry(void)
{
	vm_relay_resume(&relay, 7, 10, 3);
	return want(1);
}

static int start(void **state)
{
	(void)state;
	memset(&relay, 0, sizeof(relay));
	vm_relay_resume(&relay, 7, 10, 3);
	return geometry();
}

static void test_epochs(void **state)
{
	(void)state;
	assert_int_equal(epoch(11, 10, 0), VM_RELAY_FORWARD);
	assert_int_equal(epoch(12, 11, 0), VM_RELAY_FORWARD);
	assert_int_equal(epoch(40, 0, WIRE_FLAG_FULL), VM_RELAY_FORWARD);
	assert_int_equal(epoch_with_questions(41), VM_RELAY_FORWARD);
	assert_int_equal(relay.epochs_total, 4);
	assert_int_equal(vm_relay_ack(&relay, 11, 2000), 0);
	assert_int_equal(relay.last_ack_ns, 1000);
	assert_int_equal(relay.last_epoch_bytes, 236);
	assert_int_equal(vm_relay_ack(&relay, 41, 2000), 0);
	assert_int_equal(vm_relay_ack(&relay, 42, 2000), -EPROTO);
	assert_int_equal(vm_relay_ack(&relay, 0, 2000), -EPROTO);
}

static void test_ack_of_an_unfinished_epoch(void **state)
{
	(void)state;
	assert_int_equal(begin(11, 10, 0), VM_RELAY_FORWARD);
	assert_int_equal(vm_relay_ack(&relay, 11, 0), -EPROTO);
}

static void test_ack_over_a_resume(void **state)
{
	(void)state;
	assert_int_equal(epoch(11, 10, 0), VM_RELAY_FORWARD);
	vm_relay_resume(&relay, 7, 10, 4);
	/* the acknowledged epoch was sent before the stream resumed, so the acknowledgement is
	 * valid */
	assert_int_equal(vm_relay_ack(&relay, 11, 0), 0);
	vm_relay_standby_reset(&relay, 10);
	/* a new standby cannot have epoch 11 */
	assert_int_equal(vm_relay_ack(&relay, 11, 0), -EPROTO);
}

static void test_unheld(void **state)
{
	(void)state;
	assert_int_equal(epoch(11, 10, WIRE_FLAG_UNHELD), VM_RELAY_FORWARD);
	assert_int_equal(epoch(12, 11, 0), VM_RELAY_FORWARD);
	assert_int_equal(relay.unheld_epoch, 11);
	vm_relay_resume(&relay, 8, 12, 5);
	assert_int_equal(relay.unheld_epoch, 0);
}

static void test_machine(void **state)
{
	(void)state;
	for (int i = 1; i < WIRE_MACHINE_FRAMES_MAX; i++)
		assert_int_equal(machine(false), VM_RELAY_FORWARD);
	assert_int_equal(machine(true), VM_RELAY_FORWARD);
	assert_int_equal(epoch(11, 10, 0), VM_RELAY_FORWARD);
}

static int many_machines(void)
{
	for (int i = 0; i < WIRE_MACHINE_FRAMES_MAX; i++)
		assert_int_equal(machine(false), VM_RELAY_FORWARD);
	return machine(true);
}

static void test_drops(void **state)
{
	(void)state;
	relay.generation = 4;
	assert_int_equal(begin(11, 10, 0), VM_RELAY_DROP);
	vm_relay_close(&relay);
	relay.generation = 3;
	assert_int_equal(begin(11, 10, 0), VM_RELAY_DROP);
	assert_int_equal(relay.dropped_total, 2);
}

#define BREAKS(what, want_code)                                                                    \
	do {                                                                                       \
		assert_int_equal(start(NULL), VM_RELAY_FORWARD);                                   \
		assert_int_equal(what, -EPROTO);                                                   \
		assert_int_equal(code, want_code);                                                 \
		assert_true(error.text[0]);                                                        \
		assert_int_equal(relay.phase, VM_RELAY_CLOSED);                                    \
	} while (0)

/* Evaluate @first before @second. C does not define the order in which a function's arguments are
 * evaluated. */
#define WITH(first, second) ((first) == VM_RELAY_FORWARD ? (second) : 99)

static int in_term(uint64_t term)
{
	relay.term = term;
	return begin(11, 10, 0);
}

static int in_generation(uint32_t generation)
{
	relay.generation = generation;
	return begin(11, 10, 0);
}

static void test_breaks(void **state)
{
	(void)state;
	BREAKS(begin(12, 11, 0), WIRE_STREAM_ERROR_EPOCH);
	BREAKS(begin(11, 9, 0), WIRE_STREAM_ERROR_EPOCH);
	BREAKS(begin(10, 9, WIRE_FLAG_FULL), WIRE_STREAM_ERROR_EPOCH);
	BREAKS(geometry(), WIRE_STREAM_ERROR_ORDER);
	BREAKS(feed(WIRE_PAGES, 11, 1, 10, 0), WIRE_STREAM_ERROR_ORDER);
	BREAKS(feed(WIRE_DISK, 11, 1, 10, 0), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(begin(11, 10, 0), feed(WIRE_DISK, 11, 2, 10, 0)), WIRE_STREAM_ERROR_ORDER);
	BREAKS(end(11, 1, 8), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(begin(11, 10, 0), begin(11, 10, 0)), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(begin(11, 10, 0), feed(WIRE_PAGES, 11, 2, 10, 0)), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(begin(11, 10, 0), feed(WIRE_PAGES, 12, 1, 10, 0)), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(begin(11, 10, 0), end(11, 1, 9)), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(begin(11, 10, 0), end(11, 2, 8)), WIRE_STREAM_ERROR_ORDER);
	BREAKS(feed(WIRE_HELLO, 11, 0, 0, 0), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(machine(true), machine(true)), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(machine(false), begin(11, 10, 0)), WIRE_STREAM_ERROR_ORDER);
	BREAKS(WITH(epoch(11, 10, 0), machine(true)), WIRE_STREAM_ERROR_ORDER);
	/* the item has no label */
	BREAKS(feed(WIRE_MACHINE, 0, 0, 1, 0), WIRE_STREAM_ERROR_FORMAT);
	BREAKS(want(0), WIRE_STREAM_ERROR_FORMAT);
	BREAKS(want_before_geometry(), WIRE_STREAM_ERROR_ORDER);
	BREAKS(many_machines(), WIRE_STREAM_ERROR_LIMIT);
	BREAKS(in_term(8), WIRE_STREAM_ERROR_TERM);
	BREAKS(in_generation(2), WIRE_STREAM_ERROR_ORDER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_epochs, start),
		cmocka_unit_test_setup(test_ack_of_an_unfinished_epoch, start),
		cmocka_unit_test_setup(test_ack_over_a_resume, start),
		cmocka_unit_test_setup(test_unheld, start),
		cmocka_unit_test_setup(test_machine, start),
		cmocka_unit_test_setup(test_drops, start),
		cmocka_unit_test(test_breaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
