/* Tests lib/base/syncing: while syncing is held, no thread begins to sync. */
#include "base/syncing.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static _Atomic int n_done;

static void *sync_it(void *arg)
{
	int r = syncing_fdatasync(*(int *)arg);

	atomic_fetch_add(&n_done, 1);
	return r == 0 ? arg : NULL;
}

static void nobody_begins_while_it_is_held(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	const struct timespec soon = {.tv_nsec = 20000000};
	struct timespec until;
	pthread_t thread;
	void *result;

	(void)state;
	assert_int_equal(syncing_n(), 0);
	assert_int_equal(syncing_fdatasync(fd), 0);
	syncing_hold(true);
	assert_int_equal(pthread_create(&thread, NULL, sync_it, &fd), 0);
	/* A thread that wrongly begins to sync causes no event to wait for, so wait for some
	 * time. */
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
	until.tv_nsec += soon.tv_nsec;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	assert_int_equal(pthread_timedjoin_np(thread, NULL, &until), ETIMEDOUT);
	assert_int_equal(atomic_load(&n_done), 0);
	assert_int_equal(syncing_n(), 0);
	syncing_hold(false);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &fd);
	assert_int_equal(atomic_load(&n_done), 1);
	assert_int_equal(syncing_n(), 0);
	close(fd);
}

static void errors_are_the_callers(void **state)
{
	(void)state;
	errno = 0;
	assert_int_equal(syncing_range(-1, 0, 0), -1);
	assert_int_equal(errno, EBADF);
	errno = 0;
	assert_int_equal(syncing_fdatasync(-1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(syncing_n(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_begins_while_it_is_held),
		cmocka_unit_test(errors_are_the_callers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
