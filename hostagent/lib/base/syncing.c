#include "base/syncing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t goes_on;
	bool is_held; /* new syncs must wait */
	uint32_t n;   /* syncs that have begun and not ended */
} syncing = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};

static void begin(void)
{
	pthread_mutex_lock(&syncing.lock);
	while (syncing.is_held)
		pthread_cond_wait(&syncing.goes_on, &syncing.lock);
	syncing.n++;
	pthread_mutex_unlock(&syncing.lock);
}

static void end(void)
{
	int error = errno;

	pthread_mutex_lock(&syncing.lock);
	syncing.n--;
	pthread_mutex_unlock(&syncing.lock);
	errno = error;
}

int syncing_fdatasync(int fd)
{
	int r;

	begin();
	r = fdatasync(fd);
	end();
	return r;
}

int syncing_range(int fd, off_t offset, off_t size)
{
	int r;

	begin();
	r = sync_file_range(fd, offset, size, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			    SYNC_FILE_RANGE_WAIT_AFTER);
	end();
	return r;
}

void syncing_hold(bool is_wanted)
{
	pthread_mutex_lock(&syncing.lock);
	syncing.is_held = is_wanted;
	pthread_cond_broadcast(&syncing.goes_on);
	pthread_mutex_unlock(&syncing.lock);
}

uint32_t syncing_n(void)
{
	uint32_t n;

	pthread_mutex_lock(&syncing.lock);
	n = syncing.n;
	pthread_mutex_unlock(&syncing.lock);
	return n;
}
