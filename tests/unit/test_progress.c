/* test_progress.c - tests the reports about a long step: how far the step has come, and the number
 * of moves (signs of progress). A move is counted when a step begins and whenever its amount grows.
 * The standby's file operations report moves, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "supervision/progress.h"
#include "standby/ramfile.h"
#include "wire/msg.h"

#define MIB (UINT64_C(1) << 20)

static struct progress p;
static char stats[WIRE_STATS_MAX + 1];

static int setup(void **state)
{
	(void)state;
	progress_init(&p);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	progress_done(&p);
	return 0;
}

static const char *said(void)
{
	stats[0] = '\0';
	progress_report(&p, stats);
	assert_true(wire_stats_is_valid(stats));
	return stats;
}

static uint64_t rate(void)
{
	const char *at = strstr(said(), "\nstep_bytes_per_s=");

	return at ? strtoull(strchr(at, '=') + 1, NULL, 10) : 0;
}

static void test_moves(void **state)
{
	(void)state;
	assert_string_equal(said(), "step_moves=0\n");
	progress_begin(&p, "copied", "of guest RAM", 5120 * MIB);
	assert_string_equal(said(), "step=copied 0.0 of 5.0 GiB of guest RAM\nstep_percent=0\n"
			    "step_moves=1\n");
	progress_to(&p, 3174 * MIB);
	progress_to(&p, 3174 * MIB); /* no more than before, so no move */
	progress_to(&p, 1000 * MIB);
	assert_string_equal(said(), "step=copied 3.1 of 5.0 GiB of guest RAM\nstep_percent=62\n"
			    "step_moves=2\n");
	/* The step has taken 10 s for 62 %, so the rest takes 6 s more. */
	p.begun_ns -= 10 * CLOCK_NS_PER_S;
	assert_non_null(strstr(said(), "step_percent=62\nstep_s_left=6\n"));
	assert_in_range(rate(), 200 * MIB, 318 * MIB);
	progress_begin(&p, "copied again", "that was written meanwhile", 0);
	assert_string_equal(said(), "step=copied again that was written meanwhile\nstep_moves=3\n");
	progress_add(&p, 3 * MIB);
	progress_add(&p, 0);
	assert_string_equal(said(),
			    "step=copied again 3.0 MiB that was written meanwhile\nstep_moves=4\n");
	progress_end(&p); /* the count of moves stays */
	assert_string_equal(said(), "step_moves=4\n");
}

static void test_nobody_wants_to_know(void **state)
{
	(void)state;
	progress_begin(NULL, "copied", "of guest RAM", 1);
	progress_watch(NULL, "started QEMU", 1);
	progress_to(NULL, 1);
	progress_add(NULL, 1);
	progress_end(NULL);
	stats[0] = '\0';
	progress_report(NULL, stats);
	assert_string_equal(stats, "");
}

/* CPU time that a process uses counts as moves. A process that waits makes no moves. */
static void test_a_process_works(void **state)
{
	volatile uint64_t sum = 0;
	uint64_t before;

	(void)state;
	progress_watch(&p, "started QEMU", getpid());
	/* Each move needs 10 ms of CPU time. So a report directly after a move counts no other
	 * move. */
	for (int moves = 0; moves < 2; moves++) {
		before = p.n_moves;
		while (p.n_moves == before) {
			for (int i = 0; i < 100000; i++)
				sum += (uint64_t)i;
			(void)said();
		}
		before = p.n_moves;
		(void)said();
		assert_int_equal(p.n_moves, before);
	}
	assert_true(sum > 0);
	assert_non_null(strstr(said(), "step=started QEMU (pid "));
	assert_non_null(strstr(stats, "s of CPU time"));
}

/* The standby's RAM is reserved piece by piece, and each piece counts as a move. */
static void test_reserving_tells(void **state)
{
	char dir[] = "/dev/shm/holdfast-test-progress-XXXXXX";
	struct ramfile rf;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(ramfile_open(dir, &rf), 0);
	rf.progress = &p;
	assert_int_equal(ramfile_reserve(&rf, 160 * MIB), 0);
	assert_int_equal(p.n_moves,
			 /* reserving and mapping each report at 0, 64, 128 and 160 MiB */
			 2 * (1 + 3));
	assert_non_null(strstr(said(), "step=mapped 160.0 of 160.0 MiB of guest RAM\n"));
	assert_int_equal(ramfile_purge(&rf), 0);
	ramfile_close(&rf);
	(void)snprintf(stats, sizeof(stats), "rm -rf %s", dir);
	assert_int_equal(system(stats), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_wants_to_know, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_process_works, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reserving_tells, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
