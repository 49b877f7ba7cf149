/* Tests the threads that encode units of pages. Every submitted unit must come back in order, with
 * the bytes that a single thread would have made. */
#include "epoch/workers.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "page_patterns.h"

#define N_UNITS	 5u
#define N_ROUNDS 40u
#define FEATURES (PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP)

struct fixture {
	struct workers *workers;
	struct packer packer;
	uint8_t *old, *new; /* UNIT_PAGES pages each, in pairs of all kinds of page_patterns.h */
	uint8_t *references; /* N_UNITS * UNIT_PAGES pages: the references of the present units */
	uint8_t *expected;   /* all records of a unit, one after another */
	size_t expected_size;
};

/* On entry, *state points to the number of threads. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct page_encoder encoder = {.features = FEATURES};
	uint64_t random = 1;

	assert_int_equal(workers_new(*(const uint32_t *)*state, N_UNITS, &f->workers), 0);
	f->old = malloc((size_t)UNIT_PAGES * PAGE_BYTES);
	f->new = malloc((size_t)UNIT_PAGES * PAGE_BYTES);
	f->references = malloc((size_t)N_UNITS * UNIT_PAGES * PAGE_BYTES);
	f->expected = malloc((size_t)UNIT_PAGES * PAGE_RECORD_ROOM);
	for (uint32_t i = 0; i < UNIT_PAGES; i++)
		pattern_pair(i % PATTERN_N_KINDS, &random, f->old + (size_t)i * PAGE_BYTES,
			     f->new + (size_t)i * PAGE_BYTES);
	memcpy(f->references, f->old, (size_t)UNIT_PAGES * PAGE_BYTES);
	for (uint32_t i = 0; i < UNIT_PAGES; i++)
		f->expected_size += page_encode(&encoder, i, f->new + (size_t)i * PAGE_BYTES,
						f->references + (size_t)i * PAGE_BYTES,
						f->expected + f->expected_size);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	workers_free(f->workers);
	free(f->old);
	free(f->new);
	free(f->references);
	free(f->expected);
	free(f);
	return 0;
}

/* Fill @unit as the @n-th unit, with its own reference pages. */
static void fill(struct fixture *f, struct unit *unit, uint32_t n)
{
	uint8_t *references = f->references + (size_t)(n % N_UNITS) * UNIT_PAGES * PAGE_BYTES;

	unit_begin(unit, FEATURES);
	unit->packs = false;
	memcpy(references, f->old, (size_t)UNIT_PAGES * PAGE_BYTES);
	for (uint32_t i = 0; i < UNIT_PAGES; i++) {
		assert_false(unit_is_full(unit));
		unit_add_item(unit, i, f->new + (size_t)i * PAGE_BYTES,
			      references + (size_t)i * PAGE_BYTES);
	}
	assert_true(unit_is_full(unit));
}

static void check(struct fixture *f, const struct unit *unit, uint32_t n)
{
	size_t at = 0;

	assert_ptr_equal(unit->items[0].reference,
			 f->references + (size_t)(n % N_UNITS) * UNIT_PAGES * PAGE_BYTES);
	for (uint32_t i = 0; i < unit->n_frames; i++) {
		assert_int_equal(unit->frames[i].size, unit->frames[i].plain_size);
		assert_true(at + unit->frames[i].size <= f->expected_size);
		assert_memory_equal(unit_payload(unit, i), f->expected + at, unit->frames[i].size);
		at += unit->frames[i].size;
	}
	assert_int_equal(at, f->expected_size);
	assert_memory_equal(unit->items[0].reference, f->new, (size_t)UNIT_PAGES * PAGE_BYTES);
}

static void wait_for_oldest(struct fixture *f)
{
	struct pollfd fd = {.fd = workers_fd(f->workers), .events = POLLIN};

	assert_int_equal(poll(&fd, 1, 10000), 1);
}

static void units_come_back_in_order(void **state)
{
	struct fixture *f = *state;
	uint32_t n_submitted = 0, n_collected = 0;
	struct unit *unit;
	int r;

	while (n_collected < N_ROUNDS) {
		while ((unit = workers_collect(f->workers))) {
			check(f, unit, n_collected++);
			workers_put(f->workers);
		}
		unit = n_submitted < N_ROUNDS ? workers_get(f->workers) : NULL;
		if (unit) {
			fill(f, unit, n_submitted++);
			workers_submit(f->workers, n_submitted % 4 != 0);
			continue;
		}
		if (workers_is_idle(f->workers))
			continue;
		r = workers_help(f->workers, &f->packer);
		assert_true(r == 1 || r == -EAGAIN);
		if (r == -EAGAIN)
			wait_for_oldest(f);
	}
	assert_true(workers_is_idle(f->workers));
	assert_null(workers_collect(f->workers));
}

/* After workers_drop(), no thread reads or writes the units, not even those that a thread had
 * begun. */
static void dropped_units_are_left_alone(void **state)
{
	struct fixture *f = *state;
	struct unit *unit;

	for (uint32_t round = 0; round < N_ROUNDS; round++) {
		for (uint32_t i = 0; i < round % (N_UNITS + 1); i++) {
			unit = workers_get(f->workers);
			assert_non_null(unit);
			fill(f, unit, i);
			workers_submit(f->workers, true);
		}
		if (round % 3 == 0 && !workers_is_idle(f->workers))
			assert_true(workers_help(f->workers, &f->packer) != 0);
		/* Wait until another thread has finished one unit and works on the next. */
		while (round % 3 == 1 && !workers_is_idle(f->workers) &&
		       !workers_collect(f->workers))
			sched_yield();
		workers_drop(f->workers);
		assert_true(workers_is_idle(f->workers));
		assert_null(workers_collect(f->workers));
		/* No thread may write now. A sanitizer always notices a thread that does; this
		 * check notices it most of the time. */
		memset(f->references, 0x5a, (size_t)N_UNITS * UNIT_PAGES * PAGE_BYTES);
		for (size_t i = 0; i < (size_t)N_UNITS * UNIT_PAGES * PAGE_BYTES; i += 64)
			assert_int_equal(f->references[i], 0x5a);
	}
}

/* A page that blocks its first reader until the test lets the reader continue. Reading the page
 * faults; the fault handler reports through `reached` and waits for a byte from `go`. */
static struct {
	uint8_t *page;
	int reached[2], go[2];
} barrier;

static void at_barrier(int signal_number)
{
	char c = 0;

	(void)signal_number;
	if (write(barrier.reached[1], &c, 1) != 1 || read(barrier.go[0], &c, 1) != 1)
		_exit(1);
	if (mprotect(barrier.page, PAGE_BYTES, PROT_READ) != 0)
		_exit(1);
}

static void make_barrier(void)
{
	const struct sigaction action = {.sa_handler = at_barrier};

	barrier.page = mmap(NULL, PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(barrier.page, MAP_FAILED);
	assert_int_equal(pipe(barrier.reached), 0);
	assert_int_equal(pipe(barrier.go), 0);
	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
}

static void drop_barrier(void)
{
	assert_int_not_equal(signal(SIGSEGV, SIG_DFL), SIG_ERR);
	munmap(barrier.page, PAGE_BYTES);
	for (int i = 0; i < 2; i++) {
		close(barrier.reached[i]);
		close(barrier.go[i]);
	}
}

/* The owner (here, the test's thread) waits for a unit that another thread is encoding. It must be
 * woken when that unit is finished, but not earlier. */
static void the_owner_is_woken(void **state)
{
	struct fixture *f = *state;
	struct pollfd fd = {.fd = workers_fd(f->workers), .events = POLLIN};
	struct unit *unit;
	char c;

	make_barrier();
	for (uint32_t round = 0; round < 2; round++) {
		assert_int_equal(mprotect(barrier.page, PAGE_BYTES, PROT_NONE), 0);
		unit = workers_get(f->workers);
		unit_begin(unit, FEATURES);
		unit->packs = false;
		unit_add_item(unit, 0, barrier.page, f->references);
		workers_submit(f->workers, true);
		/* the other thread has begun the unit */
		assert_int_equal(read(barrier.reached[0], &c, 1), 1);
		assert_int_equal(workers_help(f->workers, &f->packer), -EAGAIN);
		assert_int_equal(poll(&fd, 1, 0), 0);
		assert_null(workers_collect(f->workers));
		assert_int_equal(write(barrier.go[1], &c, 1), 1);
		wait_for_oldest(f);
		assert_ptr_equal(workers_collect(f->workers), unit);
		workers_put(f->workers);
	}
	drop_barrier();
}

/* The ring hands out all its units, then no more. */
static void the_ring_has_an_end(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < N_UNITS; i++) {
		struct unit *unit = workers_get(f->workers);

		assert_non_null(unit);
		assert_ptr_equal(unit, workers_get(f->workers)); /* not submitted yet */
		fill(f, unit, i);
		workers_submit(f->workers, false);
	}
	assert_null(workers_get(f->workers));
	while (!workers_collect(f->workers)) {
		if (workers_help(f->workers, &f->packer) == -EAGAIN)
			wait_for_oldest(f);
	}
	workers_put(f->workers);
	assert_non_null(workers_get(f->workers));
}

static void the_default_is_modest(void **state)
{
	(void)state;
	assert_in_range(workers_default_threads(), 1, 4);
}

#define TEST(name, n_threads)                                                                      \
	cmocka_unit_test_prestate_setup_teardown(name, setup, teardown, &(n_threads))

int main(void)
{
	static uint32_t two = 2, four = 4;
	const struct CMUnitTest tests[] = {
		TEST(units_come_back_in_order, two),
		TEST(units_come_back_in_order, four),
		TEST(dropped_units_are_left_alone, two),
		TEST(dropped_units_are_left_alone, four),
		TEST(the_owner_is_woken, two),
		TEST(the_ring_has_an_end, two),
		cmocka_unit_test(the_default_is_modest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
