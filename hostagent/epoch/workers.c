#include "epoch/workers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

/* Number of units for each thread: one that it encodes, and one that it can begin right after that.
 * (workers_start() adds one more unit, which the owner fills.) */
#define UNITS_PER_THREAD 2u

#define CPUS_PER_THREAD	    4
#define DEFAULT_THREADS_MAX 4

struct worker {
	struct workers *workers;
	pthread_t thread;
	struct packer packer;
};

struct workers {
	struct worker *worker; /* array of n_worker threads */
	uint32_t n_worker;     /* number of threads that were started */
	struct unit *units;
	bool *is_done; /* for each unit: is it finished? Valid between head and begun; guarded by
			* lock */
	uint32_t n_units;
	struct unit *mine; /* the unit that the owner runs; NULL: none */
	int done_fd;
	_Atomic bool must_stop_units; /* the units are being dropped, so each thread must stop after
				       * its current frame */

	pthread_mutex_t lock;
	pthread_cond_t work; /* signalled when a unit waits or must_end is set */
	pthread_cond_t idle; /* signalled when n_running becomes 0 */

	/* How many units have so far been put back (head), begun (begun) and submitted (tail). Unit
	 * number n is at place n % n_units of the ring. Guarded by `lock`. Only the owner writes
	 * head and tail, so the owner reads these two without the lock. */
	uint64_t head, begun, tail;
	uint32_t n_running;
	bool is_awaited; /* write to done_fd when the oldest unit is finished */
	bool must_end;
};

static struct unit *at(const struct workers *w, uint64_t n)
{
	return &w->units[n % w->n_units];
}

/* Return the next waiting unit, which the caller must run; NULL: no unit waits. Called with the
 * lock held. */
static struct unit *begin(struct workers *w)
{
	if (w->begun == w->tail)
		return NULL;
	w->n_running++;
	return at(w, w->begun++);
}

/* Record that the caller has finished or abandoned @unit. Called with the lock held. */
static void finish(struct workers *w, const struct unit *unit)
{
	const uint64_t one = 1;

	w->is_done[unit - w->units] = true;
	if (w->is_awaited && unit == at(w, w->head)) {
		w->is_awaited = false;
		(void)!write(w->done_fd, &one, sizeof(one)); /* cannot fail: the count is 0 or 1 */
	}
	if (--w->n_running == 0)
		pthread_cond_signal(&w->idle);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct workers *w = worker->workers;
	struct unit *unit;

	pthread_mutex_lock(&w->lock);
	while (!w->must_end) {
		unit = begin(w);
		if (!unit) {
			pthread_cond_wait(&w->work, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		while (unit_run(unit, &worker->packer) && !atomic_load(&w->must_stop_units))
			;
		pthread_mutex_lock(&w->lock);
		finish(w, unit);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int start_thread(struct workers *w)
{
	struct worker *worker = &w->worker[w->n_worker];
	int r;

	worker->workers = w;
	r = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (r == 0)
		w->n_worker++;
	return r;
}

int workers_new(uint32_t n_threads, uint32_t n_units, struct workers **ret)
{
	struct workers *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	pthread_cond_init(&w->idle, NULL);
	w->n_units = n_units;
	w->worker = calloc(n_threads - 1, sizeof(*w->worker));
	w->units = calloc(n_units, sizeof(*w->units));
	w->is_done = calloc(n_units, sizeof(*w->is_done));
	w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->done_fd < 0)
		r = -errno;
	if (!w->worker || !w->units || !w->is_done)
		r = -ENOMEM;
	for (uint32_t i = 0; i < n_units && r == 0; i++)
		r = unit_init(&w->units[i]);
	for (uint32_t i = 0; i + 1 < n_threads && r == 0; i++)
		r = start_thread(w);
	if (r < 0) {
		workers_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

struct workers *workers_free(struct workers *w)
{
	if (!w)
		return NULL;
	workers_drop(w);
	pthread_mutex_lock(&w->lock);
	w->must_end = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
	for (uint32_t i = 0; i < w->n_worker; i++)
		pthread_join(w->worker[i].thread, NULL);
	for (uint32_t i = 0; w->units && i < w->n_units; i++)
		unit_done(&w->units[i]);
	fd_close(w->done_fd);
	pthread_cond_destroy(&w->idle);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	free(w->is_done);
	free(w->units);
	free(w->worker);
	free(w);
	return NULL;
}

uint32_t workers_default_threads(void)
{
	cpu_set_t cpus;
	int n = 1;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) ==
	    0) /* the call fails with over 1024 CPUs: use one thread */
		n = CPU_COUNT(&cpus) / CPUS_PER_THREAD;
	if (n < 1)
		return 1;
	return n > DEFAULT_THREADS_MAX ? DEFAULT_THREADS_MAX : (uint32_t)n;
}

int workers_start(uint32_t n_threads, uint32_t n_slots, uint32_t *ret_n_threads,
		  struct workers **ret)
{
	uint32_t n_units, n_max = n_slots / 2 / UNIT_PAGES;

	if (n_threads == 0)
		n_threads = workers_default_threads();
	if (n_threads > WORKERS_THREADS_MAX)
		n_threads = WORKERS_THREADS_MAX;
	*ret_n_threads = n_threads;
	if (n_threads == 1)
		return 0;
	n_units = n_threads * UNITS_PER_THREAD + 1;
	return workers_new(n_threads, n_units < n_max ? n_units : n_max, ret);
}

struct unit *workers_get(struct workers *w)
{
	return w->tail - w->head < w->n_units ? at(w, w->tail) : NULL;
}

void workers_submit(struct workers *w, bool wakes)
{
	pthread_mutex_lock(&w->lock);
	w->is_done[w->tail % w->n_units] = false;
	w->tail++;
	if (wakes)
		pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}

/* Is the oldest submitted unit finished? Called with the lock held. */
static bool is_oldest_done(const struct workers *w)
{
	return w->head < w->begun && w->is_done[w->head % w->n_units];
}

struct unit *workers_collect(struct workers *w)
{
	bool is_done;

	if (workers_is_idle(w))
		return NULL;
	pthread_mutex_lock(&w->lock);
	is_done = is_oldest_done(w);
	pthread_mutex_unlock(&w->lock);
	return is_done ? at(w, w->head) : NULL;
}

void workers_put(struct workers *w)
{
	pthread_mutex_lock(&w->lock);
	w->head++;
	pthread_mutex_unlock(&w->lock);
}

bool workers_is_idle(const struct workers *w)
{
	return w->head == w->tail;
}

/* Ensure that the owner has a unit to run (w->mine). Returns 0 if there is one. If not, returns
 * what workers_help() must return: 1 or -EAGAIN. */
static int need_mine(struct workers *w)
{
	uint64_t n;
	int r = 0;

	if (w->mine)
		return 0;
	pthread_mutex_lock(&w->lock);
	w->mine = begin(w);
	if (!w->mine && is_oldest_done(w)) {
		r = 1;
	} else if (!w->mine) {
		(void)!read(w->done_fd, &n, sizeof(n)); /* clear a signal left by an earlier wait */
		w->is_awaited = true;
		r = -EAGAIN;
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

int workers_help(struct workers *w, struct packer *packer)
{
	int r = need_mine(w);

	if (r != 0)
		return r;
	if (unit_run(w->mine, packer))
		return 1;
	pthread_mutex_lock(&w->lock);
	finish(w, w->mine);
	pthread_mutex_unlock(&w->lock);
	w->mine = NULL;
	return 1;
}

int workers_fd(const struct workers *w)
{
	return w->done_fd;
}

void workers_drop(struct workers *w)
{
	atomic_store(&w->must_stop_units, true);
	pthread_mutex_lock(&w->lock);
	w->begun = w->tail;
	if (w->mine)
		finish(w, w->mine);
	w->mine = NULL;
	while (w->n_running > 0)
		pthread_cond_wait(&w->idle, &w->lock);
	w->head = w->tail;
	w->is_awaited = false;
	pthread_mutex_unlock(&w->lock);
	atomic_store(&w->must_stop_units, false);
}
