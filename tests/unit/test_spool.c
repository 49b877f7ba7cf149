/* test_spool.c - tests a spool with slow output: callers that add lines never wait, and lost
 * lines are counted. Also tests the rate limit. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/rate.h"
#include "base/spool.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static bool stuck;
static char got[65536];
static size_t n_got;

static void set_stuck(bool is)
{
	pthread_mutex_lock(&lock);
	stuck = is;
	pthread_cond_broadcast(&change);
	pthread_mutex_unlock(&lock);
}

static void slow_write(void *arg, const char *data, size_t size)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	while (stuck)
		pthread_cond_wait(&change, &lock);
	if (n_got + size <= sizeof(got)) {
		memcpy(got + n_got, data, size);
		n_got += size;
	}
	pthread_mutex_unlock(&lock);
}

static void test_order_and_wrap(void **state)
{
	struct spool *s;
	char expected[4000] = "";

	(void)state;
	n_got = 0;
	assert_int_equal(spool_open(64, slow_write, NULL, &s), 0);
	for (int i = 0; i < 100; i++) {
		char line[16];

		(void)snprintf(line, sizeof(line), "line %d\n", i);
		strcat(expected, line);
		while (!spool_put(s, line, strlen(line)))
			assert_true(spool_flush(s, 20 * CLOCK_NS_PER_S));
	}
	assert_true(spool_close(s, 20 * CLOCK_NS_PER_S));
	assert_int_equal(n_got, strlen(expected));
	assert_memory_equal(got, expected, n_got);
}

static void test_a_stuck_place(void **state)
{
	struct spool *s;
	size_t n = 0;

	(void)state;
	n_got = 0;
	set_stuck(true);
	assert_int_equal(spool_open(64, slow_write, NULL, &s), 0);
	while (spool_put(s, "12345678", 8))
		n++;
	assert_int_equal(n, 8); /* a line that is being written still counts towards the limit */
	assert_false(spool_put(s, "12345678", 8));
	assert_int_equal(spool_dropped(s), 2);
	assert_false(spool_flush(s, CLOCK_NS_PER_MS));
	set_stuck(false);
	assert_true(spool_flush(s, 20 * CLOCK_NS_PER_S));
	assert_int_equal(n_got, 64);
	assert_true(spool_put(s, "x", 1));
	assert_true(spool_close(s, 20 * CLOCK_NS_PER_S));
	assert_int_equal(n_got, 65);
	set_stuck(true);
	assert_int_equal(spool_open(64, slow_write, NULL, &s), 0);
	assert_true(spool_put(s, "x", 1));
	/* gives up after the timeout, although lines are left */
	assert_false(spool_close(s, CLOCK_NS_PER_MS));
	set_stuck(false);
}

static void test_rate(void **state)
{
	struct rate r = {0};
	uint64_t now_ns = 1;
	unsigned int n = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		n += rate_pass(&r, 10, 5, now_ns);
	assert_int_equal(n, 5);
	assert_int_equal(rate_take_suppressed(&r), 95);
	assert_int_equal(rate_take_suppressed(&r), 0);
	assert_true(rate_pass(&r, 10, 5, now_ns + 10));
	assert_false(rate_pass(&r, 10, 5, now_ns + 10));
	for (n = 0, now_ns += 10; now_ns < 1011; now_ns++)
		n += rate_pass(&r, 10, 5, now_ns);
	assert_in_range(n, 99, 101);
	n = 0; /* a long pause allows one burst, not more */
	for (int i = 0; i < 100; i++)
		n += rate_pass(&r, 10, 5, 1000000);
	assert_int_equal(n, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_wrap), cmocka_unit_test(test_a_stuck_place),
		cmocka_unit_test(test_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
