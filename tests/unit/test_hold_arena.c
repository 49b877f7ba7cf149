/* test_hold_arena.c - tests that the arena keeps the bytes of each frame until the frame is given
 * back, and that it uses all of its memory again and again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/hold_arena.h"

#define N_FRAMES  8U
#define BYTES_MAX 4000U
#define ROOM	  1000U /* the largest frame */

static uint64_t put(struct hold_arena *a, size_t size_bytes, int fill)
{
	uint8_t *room = hold_arena_reserve(a, ROOM);

	assert_non_null(room);
	memset(room, fill, ROOM); /* a receiver may write to all the reserved bytes */
	return hold_arena_commit(a, size_bytes);
}

static void check(const struct hold_arena *a, uint64_t addr, size_t size_bytes, int fill)
{
	const uint8_t *data = hold_arena_data(a, addr);

	assert_int_equal(addr % HOLD_ARENA_ALIGN, 0);
	for (size_t i = 0; i < size_bytes; i++)
		assert_int_equal(data[i], fill);
}

static void test_holds_what_it_was_made_for(void **state)
{
	struct hold_arena a;
	uint64_t at[64];
	size_t head = 0, tail = 0, held = 0;

	(void)state;
	assert_int_equal(hold_arena_init(&a, N_FRAMES, BYTES_MAX, 2 * ROOM + 64), 0);
	/* Hold frames of 1 to 1000 bytes, always as many as the limits allow. Their sizes have no
	 * common divisor with the arena's size, so in the long run each position is used. */
	for (size_t i = 0; i < 20000; i++) {
		size_t size = 1 + i * 37 % ROOM;

		while (head - tail == N_FRAMES || held + size > BYTES_MAX) {
			size_t old = 1 + tail * 37 % ROOM;

			check(&a, at[tail % 64], old, (int)(tail & 0xff));
			hold_arena_free(&a, at[tail % 64] + tail % HOLD_ARENA_ALIGN);
			held -= old;
			tail++;
		}
		at[head % 64] = put(&a, size, (int)(head & 0xff));
		held += size;
		head++;
	}
	for (; tail < head; tail++) {
		check(&a, at[tail % 64], 1 + tail * 37 % ROOM, (int)(tail & 0xff));
		hold_arena_free(&a, at[tail % 64]);
	}
	assert_int_equal(a.head, 0);
	assert_int_equal(a.tail, 0);
	hold_arena_done(&a);
}

static void test_newest_given_back_first(void **state)
{
	struct hold_arena a;
	uint64_t first, second, third;

	(void)state;
	assert_int_equal(hold_arena_init(&a, N_FRAMES, BYTES_MAX, 2 * ROOM + 64), 0);
	first = put(&a, 100, 1);
	second = put(&a, 200, 2);
	third = put(&a, 300, 3);
	hold_arena_free(&a, third);
	hold_arena_free(&a, second);
	check(&a, first, 100, 1);
	assert_int_equal(a.tail, 0);
	hold_arena_free(&a, first);
	assert_int_equal(a.head, 0);
	hold_arena_done(&a);
}

static void test_full(void **state)
{
	struct hold_arena a;
	uint64_t at[16];
	int n = 0;

	(void)state;
	assert_int_equal(hold_arena_init(&a, N_FRAMES, BYTES_MAX, 0), 0);
	for (; n < 16 && hold_arena_reserve(&a, ROOM); n++)
		at[n] = put(&a, ROOM, n + 1);
	assert_in_range(n, 3, 4);
	for (int i = 0; i < n; i++)
		check(&a, at[i], ROOM, i + 1);
	/* Freeing the oldest slot makes room at the start of the arena. The next frame must not get
	 * all of this room, because head and tail must never meet. */
	hold_arena_free(&a, at[0]);
	assert_null(hold_arena_reserve(&a, ROOM));
	hold_arena_free(&a, at[1]);
	assert_non_null(hold_arena_reserve(&a, ROOM));
	hold_arena_done(&a);
}

static void test_too_large(void **state)
{
	struct hold_arena a;

	(void)state;
	assert_true(hold_arena_init(&a, 1, UINT64_MAX - 10, 4096) < 0);
	assert_true(hold_arena_init(&a, UINT32_MAX, UINT64_MAX / 2, 0) < 0);
	hold_arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holds_what_it_was_made_for),
		cmocka_unit_test(test_newest_given_back_first),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
