/* Tests the store of epochs that are not committed yet: their order, how they are sent again, and
 * the limits. */
#include "epoch/retain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define PAYLOAD_MAX ((size_t)128 << 10)

static struct retain *make(size_t bytes_max)
{
	struct retain *retain;

	assert_int_equal(retain_new(PAYLOAD_MAX, bytes_max, &retain), 0);
	return retain;
}

static uint8_t byte_of(uint64_t epoch, uint32_t seq)
{
	return (uint8_t)(epoch * 31 + seq * 7 + 1);
}

static void add_frame(struct retain *retain, uint64_t epoch, uint32_t seq, size_t size)
{
	uint8_t *payload;

	assert_int_equal(retain_reserve(retain, &payload), 0);
	memset(payload, byte_of(epoch, seq), size);
	retain_add(retain, 0x23, (uint8_t)(seq & 1), size);
}

static size_t size_of(uint64_t epoch, uint32_t seq)
{
	return (epoch * 7919 + seq * 104729) % (PAYLOAD_MAX + 1);
}

static void add_epoch(struct retain *retain, uint64_t epoch, bool is_kept, uint32_t n_frames)
{
	assert_int_equal(retain_begin(retain, epoch, is_kept), 0);
	for (uint32_t seq = 0; seq < n_frames; seq++)
		add_frame(retain, epoch, seq, size_of(epoch, seq));
	assert_int_equal(retain_frames_in_epoch(retain), n_frames);
}

static void expect_frame(struct retain *retain, uint64_t epoch, uint32_t seq)
{
	struct retain_frame frame;

	assert_int_equal(retain_next(retain, &frame), 0);
	assert_int_equal(frame.epoch, epoch);
	assert_int_equal(frame.seq, seq);
	assert_int_equal(frame.flags, seq & 1);
	assert_int_equal(frame.size, size_of(epoch, seq));
	for (size_t i = 0; i < frame.size; i++)
		assert_int_equal(frame.payload[i], byte_of(epoch, seq));
	retain_sent(retain);
}

static void expect_epochs(struct retain *retain, uint64_t first, uint64_t last, uint32_t n_frames)
{
	struct retain_frame frame;
	uint64_t unsent = 0;

	for (uint64_t epoch = first; epoch <= last; epoch++) {
		for (uint32_t seq = 0; seq < n_frames; seq++)
			unsent += size_of(epoch, seq);
	}
	for (uint64_t epoch = first; epoch <= last; epoch++) {
		for (uint32_t seq = 0; seq < n_frames; seq++) {
			assert_int_equal(retain_unsent_bytes(retain), unsent);
			expect_frame(retain, epoch, seq);
			unsent -= size_of(epoch, seq);
		}
	}
	assert_int_equal(retain_unsent_bytes(retain), 0);
	assert_int_equal(retain_next(retain, &frame), -EAGAIN);
}

static void frames_come_out_in_order(void **state)
{
	struct retain *retain = make((size_t)64 << 20);

	(void)state;
	for (uint64_t epoch = 5; epoch <= 8; epoch++)
		add_epoch(retain, epoch, true, 9);
	assert_int_equal(retain_n_epochs(retain), 4);
	expect_epochs(retain, 5, 8, 9);
	retain_free(retain);
}

static void sending_may_overtake_encoding(void **state)
{
	struct retain *retain = make((size_t)64 << 20);
	struct retain_frame frame;

	(void)state;
	assert_int_equal(retain_begin(retain, 1, true), 0);
	assert_int_equal(retain_next(retain, &frame), -EAGAIN);
	for (uint32_t seq = 0; seq < 20; seq++) {
		add_frame(retain, 1, seq, size_of(1, seq));
		expect_frame(retain, 1, seq);
		assert_int_equal(retain_next(retain, &frame), -EAGAIN);
	}
	add_epoch(retain, 2, true, 3);
	expect_epochs(retain, 2, 2, 3);
	retain_free(retain);
}

static void rewind_sends_again_what_is_uncommitted(void **state)
{
	struct retain *retain = make((size_t)64 << 20);

	(void)state;
	for (uint64_t epoch = 5; epoch <= 8; epoch++)
		add_epoch(retain, epoch, true, 6);
	expect_epochs(retain, 5, 8, 6);
	retain_drop(retain, 5);
	assert_int_equal(retain_rewind(retain, 6), 0);
	expect_epochs(retain, 7, 8, 6);
	assert_int_equal(retain_rewind(retain, 8), 0);
	assert_int_equal(retain_n_epochs(retain), 0);
	add_epoch(retain, 9, true, 2);
	expect_epochs(retain, 9, 9, 2);
	retain_free(retain);
}

static void rewind_refuses_what_it_does_not_have(void **state)
{
	struct retain *retain = make((size_t)64 << 20);

	(void)state;
	/* the agent is new and has no retained epochs, but the standby is at epoch 3 */
	assert_int_equal(retain_rewind(retain, 3), -ESTALE);
	add_epoch(retain, 1, false, 6);
	expect_epochs(retain, 1, 1, 6);
	assert_int_equal(retain_rewind(retain, 0), -ESTALE); /* FULL frames are not kept */
	retain_drop_all(retain);
	for (uint64_t epoch = 2; epoch <= 4; epoch++)
		add_epoch(retain, epoch, true, 2);
	retain_drop(retain, 3);
	assert_int_equal(retain_rewind(retain, 2), -ESTALE); /* epoch 3 was dropped */
	retain_free(retain);
}

static void a_full_epoch_needs_little_memory(void **state)
{
	struct retain *retain = make((size_t)1 << 20);

	(void)state;
	assert_int_equal(retain_begin(retain, 1, false), 0);
	for (uint32_t seq = 0; seq < 500; seq++) {
		add_frame(retain, 1, seq, size_of(1, seq));
		expect_frame(retain, 1, seq);
		assert_true(retain_bytes(retain) <= (size_t)1 << 20);
	}
	retain_free(retain);
}

static void the_backlog_is_bounded(void **state)
{
	struct retain *retain = make((size_t)2 << 20);
	uint8_t *payload;
	int r, n = 0;

	(void)state;
	assert_int_equal(retain_begin(retain, 1, true), 0);
	while ((r = retain_reserve(retain, &payload)) == 0) {
		retain_add(retain, 1, 0, PAYLOAD_MAX);
		assert_true(++n < 100);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_true(retain_bytes(retain) <= (size_t)2 << 20);
	retain_drop(retain, 1);
	assert_int_equal(retain_bytes(retain), 0);
	assert_int_equal(retain_begin(retain, 2, true), 0);
	assert_int_equal(retain_reserve(retain, &payload), 0);
	retain_free(retain);
}

/* An incompressible epoch consists of frames of full size. They must not leave half of each chunk
 * empty, since the limit counts whole chunks. */
static void full_frames_fill_the_chunks(void **state)
{
	struct retain *retain = make((size_t)64 << 20);

	(void)state;
	assert_int_equal(retain_begin(retain, 1, true), 0);
	for (uint32_t seq = 0; seq < 64; seq++)
		add_frame(retain, 1, seq, PAYLOAD_MAX);
	assert_true(retain_bytes(retain) < 64 * PAYLOAD_MAX * 11 / 10);
	retain_free(retain);
}

/* An epoch larger than the limit is sent in pieces that are not kept, so it cannot be sent
 * again. */
static void an_epoch_above_the_limit_is_let_go(void **state)
{
	struct retain *retain = make((size_t)2 << 20);
	uint32_t n_sent = 0;
	uint8_t *payload;
	int n_let_go = 0;

	(void)state;
	add_epoch(retain, 1, true, 1);
	expect_epochs(retain, 1, 1, 1);
	assert_int_equal(retain_begin(retain, 2, true), 0);
	for (uint32_t seq = 0; seq < 200; seq++) {
		while (retain_reserve(retain, &payload) < 0) {
			/* While the commit of an older epoch can still make room, retain_let_go()
			 * refuses. */
			if (retain_n_epochs(retain) == 2) {
				assert_false(retain_let_go(retain));
				retain_drop(retain, 1);
				continue;
			}
			n_let_go += retain_let_go(retain);
			assert_false(retain_let_go(retain));
			expect_frame(retain, 2, n_sent++);
			assert_true(n_sent <= seq);
		}
		add_frame(retain, 2, seq, size_of(2, seq));
		assert_true(retain_bytes(retain) <= (size_t)2 << 20);
		if (seq < 5)
			/* sent, but kept until retain_let_go() */
			expect_frame(retain, 2, n_sent++);
	}
	assert_int_equal(n_let_go, 1);
	while (n_sent < 200)
		expect_frame(retain, 2, n_sent++);
	assert_int_equal(retain_unsent_bytes(retain), 0);
	assert_int_equal(retain_rewind(retain, 1), -ESTALE);
	retain_drop(retain, 2);
	assert_int_equal(retain_bytes(retain), 0);
	add_epoch(retain, 3, true, 2); /* the next epoch is kept again */
	expect_epochs(retain, 3, 3, 2);
	assert_int_equal(retain_rewind(retain, 2), 0);
	retain_free(retain);
}

/* A store continues where the store of the agent's previous program ended. If the standby has the
 * last epoch, deltas can follow. Otherwise a FULL epoch must follow. */
static void test_continued(void **state)
{
	struct retain *retain = make((size_t)8 << 20);

	(void)state;
	assert_int_equal(retain_rewind(retain, 7), -ESTALE);
	retain_continue(retain, 7);
	assert_int_equal(retain_rewind(retain, 6), -ESTALE);
	assert_int_equal(retain_rewind(retain, 7), 0);
	add_epoch(retain, 8, true, 2);
	assert_int_equal(retain_rewind(retain, 7), 0);
	expect_frame(retain, 8, 0);
	retain_free(retain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_in_order),
		cmocka_unit_test(sending_may_overtake_encoding),
		cmocka_unit_test(rewind_sends_again_what_is_uncommitted),
		cmocka_unit_test(rewind_refuses_what_it_does_not_have),
		cmocka_unit_test(a_full_epoch_needs_little_memory),
		cmocka_unit_test(the_backlog_is_bounded),
		cmocka_unit_test(full_frames_fill_the_chunks),
		cmocka_unit_test(an_epoch_above_the_limit_is_let_go),
		cmocka_unit_test(test_continued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
