/* fake_disk.h - lets a test make disks stall or fail: it replaces libc's fsync() and fdatasync().
 *
 * Only one file of a test program may include this header. Any thread may call fsync() and
 * fdatasync(); only the test's own thread calls set_disk().
 */
#ifndef TESTS_FAKE_DISK_H
#define TESTS_FAKE_DISK_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t disk_change = PTHREAD_COND_INITIALIZER;
static bool disk_stalls;
static int disk_error;

static int sync_disk(void)
{
	int r;

	pthread_mutex_lock(&disk_lock);
	while (disk_stalls)
		pthread_cond_wait(&disk_change, &disk_lock);
	r = disk_error;
	pthread_mutex_unlock(&disk_lock);
	errno = r;
	return r ? -1 : 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return sync_disk();
}

int fsync(int fd)
{
	(void)fd;
	return sync_disk();
}

/* Choose what fsync() and fdatasync() do from now on. If @stalls, they do not return. Otherwise
 * they fail with errno @error, or succeed if @error is 0. */
static void set_disk(bool stalls, int error)
{
	pthread_mutex_lock(&disk_lock);
	disk_stalls = stalls;
	disk_error = error;
	pthread_cond_broadcast(&disk_change);
	pthread_mutex_unlock(&disk_lock);
}

#endif
