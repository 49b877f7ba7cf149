/* Tests hold_fifo.h, the queue of held frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "net/hold_check.h"
#include "net/hold_fifo.h"
#include "net/hold_ring.h"

static int push(struct hold_fifo *f, uint64_t addr, uint64_t epoch, uint32_t size_bytes)
{
	struct hold_frame frame = {.addr = addr, .epoch = epoch, .size_bytes = size_bytes};

	return hold_fifo_push(f, &frame);
}

static void test_releases_epochs_in_order(void **state)
{
	static const uint64_t epochs[] = {7, 7, 8, 8, 8, 10};
	struct hold_fifo f;
	uint64_t n = 0;

	(void)state;
	assert_int_equal(hold_fifo_init(&f, 8, 1000), 0);
	assert_null(hold_fifo_peek(&f, UINT64_MAX));
	for (uint64_t i = 0; i < 6; i++)
		assert_int_equal(push(&f, i, epochs[i], 10), 0);
	assert_null(hold_fifo_peek(&f, 6));
	for (; hold_fifo_peek(&f, 9); n++) {
		assert_int_equal(hold_fifo_peek(&f, 9)->addr, n);
		hold_fifo_pop(&f);
	}
	assert_int_equal(n, 5);
	assert_int_equal(hold_fifo_count(&f), 1);
	assert_int_equal(f.bytes, 10);
	hold_fifo_done(&f);
}

/* A frame of a lower epoch follows a frame of a higher epoch. This happens in a new term if
 * hold_discard() was not called. The frame of the lower epoch must not overtake the other. */
static void test_never_reorders(void **state)
{
	struct hold_fifo f;

	(void)state;
	assert_int_equal(hold_fifo_init(&f, 4, 1000), 0);
	assert_int_equal(push(&f, 0, 9, 10), 0);
	assert_int_equal(push(&f, 1, 2, 10), 0);
	assert_null(hold_fifo_peek(&f, 5));
	assert_int_equal(hold_fifo_peek(&f, 9)->addr, 0);
	hold_fifo_done(&f);
}

static void test_limits(void **state)
{
	struct hold_fifo f;

	(void)state;
	assert_int_equal(hold_fifo_init(&f, 0, 1), -EINVAL);
	assert_int_equal(hold_fifo_init(&f, 1, 0), -EINVAL);
	/* the limit of 5 frames is exact, although 5 is no power of two */
	assert_int_equal(hold_fifo_init(&f, 5, 100), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(push(&f, 0, 1, 10), 0);
	assert_false(hold_fifo_needs_seal(&f));
	assert_int_equal(push(&f, 0, 1, 10), 0);
	assert_true(hold_fifo_needs_seal(&f)); /* 4 of 5 frames are held */
	assert_int_equal(push(&f, 0, 1, 61), -EDQUOT);
	assert_int_equal(push(&f, 0, 1, 60), 0);
	assert_int_equal(f.bytes, 100);
	assert_int_equal(push(&f, 0, 1, 0), -ENOBUFS);
	assert_int_equal(f.frames_peak, 5);
	hold_fifo_pop(&f);
	assert_int_equal(push(&f, 0, 1, 10), 0);
	hold_fifo_done(&f);
}

static void test_counters_wrap(void **state)
{
	struct hold_fifo f;

	(void)state;
	assert_int_equal(hold_fifo_init(&f, 4, 1000), 0);
	f.head = f.tail = UINT32_MAX - 1;
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(push(&f, i, 1, 1), 0);
	assert_int_equal(push(&f, 4, 1, 1), -ENOBUFS);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(hold_fifo_peek(&f, 1)->addr, i);
		hold_fifo_pop(&f);
	}
	assert_int_equal(hold_fifo_count(&f), 0);
	hold_fifo_done(&f);
}

static void test_chunk_fits_mtu(void **state)
{
	(void)state;
	assert_int_equal(hold_ring_chunk_bytes(1500), 2048);
	assert_int_equal(hold_ring_chunk_bytes(1754), 2048);
	assert_int_equal(hold_ring_chunk_bytes(1755), 4096);
	assert_int_equal(hold_ring_chunk_bytes(3802), 4096);
	assert_int_equal(hold_ring_chunk_bytes(3803), 0);
	assert_int_equal(hold_ring_chunk_bytes(9000), 0);
}

static void test_config_is_checked(void **state)
{
	const struct hold_config good = {
		.vm = "web-1", .tap = "tap0", .pin_dir = "/sys/fs/bpf/holdfast/web-1",
		.frames_max = 1, .bytes_max = 1,
	};
	struct hold_config bad[11];
	struct hold_config further = good;
	struct error error;

	(void)state;
	further.vm = "web-1+7"; /* the hold of a further card */
	assert_int_equal(hold_check_config(&further, &error), 0);
	assert_int_equal(hold_check_config(&good, &error), 0);
	for (size_t i = 0; i < 11; i++)
		bad[i] = good;
	bad[0].vm = "../etc";
	bad[1].vm = "";
	bad[2].tap = "a-name-of-more-than-15";
	bad[3].pin_dir = "relative";
	bad[4].frames_max = 0;
	bad[5].frames_max = HOLD_FRAMES_MAX_LIMIT + 1;
	bad[6].bytes_max = 0;
	bad[7].vm = "web-1+0";
	bad[8].vm = "web-1+12";
	bad[9].vm = "+1";
	bad[10].vm = "web+1+1";
	for (size_t i = 0; i < 11; i++) {
		error.text[0] = '\0';
		assert_int_equal(hold_check_config(&bad[i], &error), -EINVAL);
		assert_true(error.text[0] != '\0');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_releases_epochs_in_order),
		cmocka_unit_test(test_never_reorders),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_counters_wrap),
		cmocka_unit_test(test_chunk_fits_mtu),
		cmocka_unit_test(test_config_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
