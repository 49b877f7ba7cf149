/* test_durable_power.c - tests a standby whose host loses its power at any moment. Each write that
 * no flush has covered can be on the disk or not; the test tries the choices of enum power_choice.
 * The disks must then be those of one acknowledged epoch.
 *
 * usage: test_durable_power [SECONDS [SEED]]
 * With SECONDS, the program makes only random runs until that time is over, each with the next
 * seed. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <xxhash.h>

#include "power_lab.h"

/* ---- the tests */

/* Record a standby that takes epochs of @kinds, and check all power failures. */
static void holds(struct power_lab *lab, const char *kinds, uint32_t seed, unsigned share)
{
	struct power_counts counts;

	power_lab_record(lab, kinds, seed);
	counts = power_lab_check(lab, share);
	if (counts.n_faults)
		fail_msg("epochs %s, seed %u, call %u on %s (kind %u) fails with %d: %s", kinds,
			 seed, power_fault.fail_nth,
			 power_fault.fail ? power_fault.fail : "no file", power_fault.fail_kind,
			 power_fault.fail_errno, lab->fault);
	lab->n_flushes += counts.n_flushes;
	lab->n_failures += counts.n_failures;
}

static void test_every_flush(void **state)
{
	struct power_lab *lab = *state;

	holds(lab, "uhehRhhfffffhLhuhR", 1, 2);
	assert_true(lab->n_flushes > 25);
	print_message("the power failed %u times, at %u flushes\n", lab->n_failures,
		      lab->n_flushes);
}

static void test_a_disk_that_cannot_zero(void **state)
{
	power_fault.cannot_zero = true;
	holds(*state, "uhhRh", 2, 8);
}

/* Without a log (disk_durability = memory) nothing is promised between two flushes of all images.
 * images_sync(), called before a promotion, brings all images to the state of one epoch. */
static void test_memory(void **state)
{
	static uint8_t disks[N_DISKS][DISK_BYTES];
	struct power_lab *lab = *state;
	struct power *power = &lab->power;
	struct error error;
	unsigned n_torn = 0;

	lab->has_log = false;
	power_lab_record(lab, "uhhhh", 4);
	power_rewind(power);
	while (power->at < power->n_ops) {
		(void)power_advance(power);
		if (power->named == 0)
			continue; /* the ops so far only record the initial files */
		power_leave(power, POWER_RANDOM, lab->left);
		power_lab_read_images(lab, disks);
		for (unsigned i = 0; i <= lab->n_epochs; i++) {
			if (power_lab_compare(lab, disks, i) == 0)
				break;
			n_torn += i == lab->n_epochs;
		}
	}
	assert_true(n_torn > 10);
	power_done(power);
	power_start(power, lab->x->dir, 4);
	assert_int_equal(images_sync(&lab->x->images, &error), 0);
	power_stop(power);
	for (unsigned i = 0; i < POWER_CHOICES; i++) {
		power_rewind(power);
		while (power->at < power->n_ops)
			(void)power_advance(power);
		power_leave(power, (enum power_choice)i, lab->left);
		power_lab_read_images(lab, disks);
		assert_int_equal(power_lab_compare(lab, disks, lab->n_epochs), 0);
	}
}

/* ---- calls that fail */

static const struct power_fault failures[] = {
	{.fail = "log", .fail_kind = POWER_FLUSH, .fail_errno = EIO},
	{.fail = "log", .fail_kind = POWER_WRITE, .fail_errno = EIO},
	{.fail = "log", .fail_kind = POWER_WRITE, .fail_errno = ENOSPC},
	{.fail = "log", .fail_kind = POWER_WRITE, .fail_errno = 0},
	{.fail = "vda.raw", .fail_kind = POWER_FLUSH, .fail_errno = EIO},
	{.fail = "vdb.raw", .fail_kind = POWER_WRITE, .fail_errno = EIO},
	{.fail = "vdc.raw", .fail_kind = POWER_WRITE, .fail_errno = ENOSPC},
	{.fail = "vda.raw", .fail_kind = POWER_WRITE, .fail_errno = 0},
};
#define N_FAILURES_KINDS (sizeof(failures) / sizeof(failures[0]))

/* Record a standby in which one call fails, and check all power failures: of the calls that @row
 * describes, number @nth. Adds the number of refused epochs to *n_errors. Returns false if there
 * were fewer calls. */
static bool one_failure(const struct power_fault *row, unsigned nth, const char *kinds,
			unsigned *n_errors)
{
	struct power_lab *lab;
	void *state;
	bool is_called;

	assert_int_equal(power_lab_set_up(&state), 0);
	lab = state;
	power_fault = *row;
	power_fault.fail_nth = nth;
	holds(lab, kinds, nth, 16);
	is_called = power_fault.n_calls >= nth;
	*n_errors += lab->n_errors;
	assert_int_equal(power_lab_tear_down(&state), 0);
	return is_called;
}

/* A write or a flush fails. The error text names the file. If the power fails after that, the disks
 * must still be those of an acknowledged epoch. */
static void test_every_call_fails_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < N_FAILURES_KINDS; i++) {
		unsigned nth = 1, n_errors = 0;

		while (one_failure(&failures[i], nth, "uhhffRhLh", &n_errors))
			nth *= 2;
		assert_true(nth > 2);
		assert_int_equal(n_errors > 0, failures[i].fail_errno != 0);
	}
}

/* ---- mistakes that must be found */

static bool ignores_checksums;

XXH64_hash_t XXH3_64bits_digest(const XXH3_state_t *hash)
{
	static XXH64_hash_t (*next)(const XXH3_state_t *);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "XXH3_64bits_digest");
	return ignores_checksums ? 1 : next(hash);
}

static void finds(struct power_lab *lab, const char *what)
{
	struct power_counts counts;

	power_lab_record(lab, "uhhffffhh", 3);
	counts = power_lab_check(lab, 4);
	ignores_checksums = false;
	if (counts.n_faults == 0)
		fail_msg("not found in %u power failures: %s", counts.n_failures, what);
	print_message("%s: %s\n", what, lab->fault);
}

static void test_a_log_without_flushes_is_found(void **state)
{
	power_fault.no_flush = "log";
	finds(*state, "no flush of the log");
}

/* The lab must find that an image is never flushed. (The log may write to its other half only when
 * all images are on the disk.) */
static void test_an_image_without_flushes_is_found(void **state)
{
	power_fault.no_flush = "vdb.raw";
	finds(*state, "no flush of an image");
}

static void test_images_before_the_log_are_found(void **state)
{
	power_fault.late = "log";
	finds(*state, "images written before the log");
}

static void test_no_checksum_is_found(void **state)
{
	ignores_checksums = true;
	finds(*state, "checksums ignored");
}

static void test_no_log_is_found(void **state)
{
	((struct power_lab *)*state)->has_log = false;
	finds(*state, "no log");
}

/* ---- random runs */

static void one_random(uint32_t seed)
{
	static const char letters[] = "uhhhhhheefffLR";
	char kinds[41] = "";
	struct power_lab *lab;
	void *state;
	unsigned n;

	assert_int_equal(power_lab_set_up(&state), 0);
	lab = state;
	lab->power.seed = seed * 2654435761u;
	n = 5 + power_roll(&lab->power, sizeof(kinds) - 5);
	for (unsigned i = 0; i < n; i++)
		kinds[i] = letters[power_roll(&lab->power, sizeof(letters) - 1)];
	if (power_roll(&lab->power, 2)) {
		power_fault = failures[power_roll(&lab->power, N_FAILURES_KINDS)];
		power_fault.fail_nth = 1 + power_roll(&lab->power, 60);
	}
	power_fault.cannot_zero = power_roll(&lab->power, 4) == 0;
	holds(lab, kinds, seed, 8);
	assert_int_equal(power_lab_tear_down(&state), 0);
}

static void test_random(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 2; seed++)
		one_random(seed);
}

static struct {
	unsigned seconds;
	uint32_t seed;
} wanted = {0, 1};

static void test_random_for_long(void **state)
{
	time_t end = time(NULL) + (time_t)wanted.seconds;
	unsigned n = 0;

	(void)state;
	for (; time(NULL) < end; n++)
		one_random(wanted.seed + n);
	print_message("%u random runs, seeds %u to %u: no fault\n", n, wanted.seed,
		      wanted.seed + n - 1);
}

#define WITH_LAB(test) \
	cmocka_unit_test_setup_teardown(test, power_lab_set_up, power_lab_tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_LAB(test_every_flush),
		WITH_LAB(test_a_disk_that_cannot_zero),
		WITH_LAB(test_memory),
		cmocka_unit_test(test_every_call_fails_once),
		cmocka_unit_test(test_random),
		WITH_LAB(test_a_log_without_flushes_is_found),
		WITH_LAB(test_an_image_without_flushes_is_found),
		WITH_LAB(test_images_before_the_log_are_found),
		WITH_LAB(test_no_checksum_is_found),
		WITH_LAB(test_no_log_is_found),
	};
	const struct CMUnitTest longer[] = {cmocka_unit_test(test_random_for_long)};

	if (argc == 1)
		return cmocka_run_group_tests(tests, NULL, NULL);
	wanted.seconds = (unsigned)atoi(argv[1]);
	wanted.seed = argc > 2 ? (uint32_t)atoi(argv[2]) : 1;
	return cmocka_run_group_tests(longer, NULL, NULL);
}
