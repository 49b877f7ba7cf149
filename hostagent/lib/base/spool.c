#include "base/spool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* maximum number of bytes per write: the ring gets room again only when a write has ended */
#define CHUNK_MAX 65536

struct spool {
	spool_write_fn write_fn;
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all members below; never held in write_fn */
	pthread_cond_t change;
	bool stop, ended;
	/* spool_close() waits no longer for the thread, so the thread frees the spool at its end */
	bool is_given_up;
	uint64_t n_dropped;
	/* the ring's size; the `used` bytes from offset `at` are queued or being written */
	size_t size, at, used;
	char *ring;
};

static void free_spool(struct spool *s)
{
	(void)pthread_cond_destroy(&s->change);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->ring);
	free(s);
}

static void *run(void *arg)
{
	struct spool *s = arg;
	bool is_given_up;

	(void)pthread_mutex_lock(&s->lock);
	while (s->used > 0 || !s->stop) {
		size_t n = s->used;
		const char *data = s->ring + s->at;

		if (n == 0) {
			(void)pthread_cond_wait(&s->change, &s->lock);
			continue;
		}
		if (n > s->size - s->at)
			n = s->size - s->at;
		if (n > CHUNK_MAX)
			n = CHUNK_MAX;
		(void)pthread_mutex_unlock(&s->lock);
		/* safe without the lock: these bytes still count as used, so spool_put() does not
		 * overwrite them */
		s->write_fn(s->arg, data, n);
		(void)pthread_mutex_lock(&s->lock);
		s->at = (s->at + n) % s->size;
		s->used -= n;
		(void)pthread_cond_broadcast(&s->change);
	}
	s->ended = true;
	is_given_up = s->is_given_up;
	(void)pthread_cond_broadcast(&s->change);
	(void)pthread_mutex_unlock(&s->lock);
	if (is_given_up)
		free_spool(s);
	return NULL;
}

int spool_open(size_t bytes, spool_write_fn write_fn, void *arg, struct spool **ret_spool)
{
	struct spool *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	sigset_t all, before;
	int r;

	if (!s)
		return -ENOMEM;
	s->ring = malloc(bytes);
	if (!s->ring) {
		free(s);
		return -ENOMEM;
	}
	s->write_fn = write_fn;
	s->arg = arg;
	s->size = bytes;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->change, &attr);
	(void)pthread_condattr_destroy(&attr);
	sigfillset(&all); /* block all signals in the new thread, which inherits the mask */
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->thread, NULL, run, s);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		free_spool(s);
		return -r;
	}
	*ret_spool = s;
	return 0;
}

bool spool_put(struct spool *s, const void *data, size_t size)
{
	size_t to, first;
	bool fits;

	(void)pthread_mutex_lock(&s->lock);
	fits = size <= s->size - s->used;
	if (fits) {
		to = (s->at + s->used) % s->size;
		first = size < s->size - to ? size : s->size - to;
		memcpy(s->ring + to, data, first);
		memcpy(s->ring, (const char *)data + first, size - first);
		s->used += size;
		(void)pthread_cond_broadcast(&s->change);
	} else {
		s->n_dropped++;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return fits;
}

uint64_t spool_dropped(struct spool *s)
{
	uint64_t n;

	(void)pthread_mutex_lock(&s->lock);
	n = s->n_dropped;
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}

/* Wait for at most @timeout_ns until the ring is empty. If @for_end, wait until the thread has
 * ended instead. Returns true if this happened in time. The caller must have the lock. */
static bool wait_until(struct spool *s, bool for_end, uint64_t timeout_ns)
{
	uint64_t end_ns = clock_mono_ns() + timeout_ns;
	const struct timespec end = {.tv_sec = (time_t)(end_ns / CLOCK_NS_PER_S),
				     .tv_nsec = (long)(end_ns % CLOCK_NS_PER_S)};

	while (for_end ? !s->ended : s->used > 0) {
		if (pthread_cond_timedwait(&s->change, &s->lock, &end) == ETIMEDOUT)
			return for_end ? s->ended : s->used == 0;
	}
	return true;
}

bool spool_flush(struct spool *s, uint64_t timeout_ns)
{
	bool done;

	(void)pthread_mutex_lock(&s->lock);
	done = wait_until(s, false, timeout_ns);
	(void)pthread_mutex_unlock(&s->lock);
	return done;
}

bool spool_close(struct spool *s, uint64_t timeout_ns)
{
	bool ended;

	if (!s)
		return true;
	(void)pthread_mutex_lock(&s->lock);
	s->stop = true;
	(void)pthread_cond_broadcast(&s->change);
	ended = wait_until(s, true, timeout_ns);
	s->is_given_up = !ended;
	if (!ended)
		(void)pthread_detach(s->thread);
	(void)pthread_mutex_unlock(&s->lock);
	if (!ended)
		return false;
	(void)pthread_join(s->thread, NULL);
	free_spool(s);
	return true;
}
