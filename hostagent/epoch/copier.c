#include "epoch/copier.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Where a step (the pages that a thread copies at a time) begins. */
struct step {
	uint32_t range;	 /* index of the step's first range */
	uint32_t offset; /* index of the step's first page in that range */
};

struct copier {
	const struct guestmem *mem; /* borrowed */
	struct step *steps;
	uint32_t max_steps;

	/* The current copy. copier_run() writes these members only while is_open is false and
	 * n_inside is 0. */
	const struct page_range *ranges;
	uint32_t n_ranges;
	uint32_t n_steps;
	uint8_t *to;
	_Atomic uint32_t next_step;
	_Atomic int error; /* the first error; 0: none */

	/* shared by the two threads */
	_Atomic bool is_open;	   /* the helper may take steps */
	/* 1 while the helper uses the members above, or is about to read is_open; else 0 */
	_Atomic uint32_t n_inside;
	_Atomic bool must_end;
	sem_t wake;
	pthread_t thread;
	bool has_thread;
};

/* Copy step @index. */
static int copy_step(const struct copier *c, uint32_t index)
{
	struct page_range part[COPIER_STEP_PAGES];
	uint32_t i = c->steps[index].range, offset = c->steps[index].offset;
	uint32_t n = 0, n_pages = 0;

	while (i < c->n_ranges && n_pages < COPIER_STEP_PAGES) {
		uint32_t left = c->ranges[i].n_pages - offset;

		if (left > COPIER_STEP_PAGES - n_pages)
			left = COPIER_STEP_PAGES - n_pages;
		part[n++] = (struct page_range){c->ranges[i].first_page + offset, left};
		n_pages += left;
		offset = 0; /* only the first range of a step can begin in its middle */
		i++;
	}
	return guestmem_read(c->mem, part, n,
			     c->to + (size_t)index * COPIER_STEP_PAGES * VMM_PAGE_BYTES);
}

/* Take the next step and copy it. If no step is left, or an error has ended the copy, returns
 * false. */
static bool take_step(struct copier *c)
{
	uint32_t index;
	int none = 0, r;

	if (atomic_load(&c->error) != 0)
		return false;
	index = atomic_fetch_add(&c->next_step, 1);
	if (index >= c->n_steps)
		return false;
	r = copy_step(c, index);
	if (r < 0)
		/* keep only the first error */
		(void)atomic_compare_exchange_strong(&c->error, &none, r);
	return r == 0;
}

static void *help(void *arg)
{
	struct copier *c = arg;

	while (!atomic_load(&c->must_end)) {
		if (sem_wait(&c->wake) != 0)
			continue; /* sem_wait() was interrupted (EINTR) */
		/* The helper increments n_inside before it reads is_open. copier_run() clears
		 * is_open before it reads n_inside. So if the helper finds is_open set,
		 * copier_run() finds n_inside incremented, and waits for the helper. */
		atomic_fetch_add(&c->n_inside, 1);
		if (atomic_load(&c->is_open))
			while (take_step(c))
				;
		atomic_fetch_sub(&c->n_inside, 1);
	}
	return NULL;
}

static bool has_two_cores(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) > 1;
}

int copier_new(const struct guestmem *mem, uint32_t n_pages, struct copier **ret)
{
	struct copier *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->mem = mem;
	c->max_steps = n_pages / COPIER_STEP_PAGES + 1;
	c->steps = calloc(c->max_steps, sizeof(*c->steps));
	if (!c->steps) {
		free(c);
		return -ENOMEM;
	}
	(void)sem_init(&c->wake, 0, 0); /* cannot fail with a value of 0 */
	c->has_thread = has_two_cores() && pthread_create(&c->thread, NULL, help, c) == 0;
	*ret = c;
	return 0;
}

struct copier *copier_free(struct copier *copier)
{
	if (!copier)
		return NULL;
	if (copier->has_thread) {
		atomic_store(&copier->must_end, true);
		(void)sem_post(&copier->wake); /* fails only at a count of INT_MAX */
		pthread_join(copier->thread, NULL);
	}
	(void)sem_destroy(&copier->wake); /* cannot fail: no thread waits any more */
	free(copier->steps);
	free(copier);
	return NULL;
}

/* Record where each step begins. Returns 0, or -EINVAL if there are too many pages. */
static int divide(struct copier *c, const struct page_range *ranges, uint32_t n_ranges)
{
	uint64_t n_pages = 0, next = 0; /* next: page at which the next step begins */

	c->n_steps = 0;
	for (uint32_t i = 0; i < n_ranges; i++) {
		for (; next < n_pages + ranges[i].n_pages; next += COPIER_STEP_PAGES) {
			if (c->n_steps == c->max_steps)
				return -EINVAL;
			c->steps[c->n_steps++] = (struct step){i, (uint32_t)(next - n_pages)};
		}
		n_pages += ranges[i].n_pages;
	}
	return 0;
}

/* Wake the helper if enough steps are left for two threads. */
static void wake_helper(struct copier *c)
{
	uint32_t next = atomic_load(&c->next_step);

	if (!c->has_thread || atomic_load(&c->is_open) ||
	    next + COPIER_BOTH_PAGES / COPIER_STEP_PAGES > c->n_steps)
		return;
	atomic_store(&c->is_open, true);
	(void)sem_post(&c->wake); /* fails only at a count of INT_MAX */
}

int copier_run(struct copier *copier, const struct page_range *ranges, uint32_t n_ranges,
	       copier_between_fn between, void *arg, uint8_t *ret_pages)
{
	int r = divide(copier, ranges, n_ranges);

	if (r < 0)
		return r;
	copier->ranges = ranges;
	copier->n_ranges = n_ranges;
	copier->to = ret_pages;
	atomic_store(&copier->next_step, 0);
	atomic_store(&copier->error, 0);
	do {
		r = between ? between(arg) : 0;
		if (r == 1)
			wake_helper(copier);
	} while (r >= 0 && take_step(copier));
	atomic_store(&copier->is_open, false);
	while (atomic_load(&copier->n_inside) > 0)
		(void)sched_yield(); /* never fails on Linux */
	return r < 0 ? r : atomic_load(&copier->error);
}
