#include "supervision/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "wire/msg.h"

/* When the step's process has used this much more CPU time, this counts as a move. A process that
 * only waits uses less, and must not count. */
#define CPU_MOVE_NS (10 * CLOCK_NS_PER_MS)
#define SPEED_NS (1e9) /* before a step has lasted for this long, its speed is not known */

void progress_init(struct progress *p)
{
	memset(p, 0, sizeof(*p));
	pthread_mutex_init(&p->lock, NULL);
}

void progress_done(struct progress *p)
{
	pthread_mutex_destroy(&p->lock);
}

static void begin(struct progress *p, const char *did, const char *what, uint64_t total_bytes,
		  pid_t pid)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->did = did;
	p->what = what;
	p->done_bytes = p->cpu_ns = 0;
	p->total_bytes = total_bytes;
	p->begun_ns = did ? clock_mono_ns() : 0;
	p->pid = pid;
	p->n_moves += did != NULL;
	pthread_mutex_unlock(&p->lock);
}

void progress_begin(struct progress *p, const char *did, const char *what, uint64_t total_bytes)
{
	begin(p, did, what, total_bytes, 0);
}

void progress_watch(struct progress *p, const char *did, pid_t pid)
{
	begin(p, did, "", 0, pid);
}

void progress_end(struct progress *p)
{
	begin(p, NULL, NULL, 0, 0);
}

static void move_to(struct progress *p, uint64_t done_bytes)
{
	if (done_bytes <= p->done_bytes)
		return;
	p->done_bytes = done_bytes;
	p->n_moves++;
}

void progress_to(struct progress *p, uint64_t done_bytes)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	move_to(p, done_bytes);
	pthread_mutex_unlock(&p->lock);
}

void progress_add(struct progress *p, uint64_t bytes)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	move_to(p, p->done_bytes + bytes);
	pthread_mutex_unlock(&p->lock);
}

/* If the step's process has used CPU_MOVE_NS since this was last counted, count a move. The caller
 * holds the lock. */
static void look_at_process(struct progress *p)
{
	struct timespec t;
	uint64_t cpu_ns;
	clockid_t clock;

	if (p->pid <= 0 || clock_getcpuclockid(p->pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return;
	cpu_ns = (uint64_t)t.tv_sec * CLOCK_NS_PER_S + (uint64_t)t.tv_nsec;
	if (cpu_ns < p->cpu_ns + CPU_MOVE_NS)
		return;
	p->cpu_ns = cpu_ns;
	p->n_moves++;
}

/* Write a text such as "copied 3.1 of 5.0 GiB of guest RAM" to @text. The caller holds the lock. */
static void describe(const struct progress *p, char *text, size_t size)
{
	uint64_t most = p->total_bytes > p->done_bytes ? p->total_bytes : p->done_bytes;
	bool is_large = most >= UINT64_C(1) << 30;
	double unit = is_large ? (double)(1 << 30) : (double)(1 << 20);
	const char *name = is_large ? "GiB" : "MiB";

	if (p->pid > 0)
		(void)snprintf(text, size, "%s (pid %d), which took %.1f s of CPU time", p->did,
			       (int)p->pid, (double)p->cpu_ns / (double)CLOCK_NS_PER_S);
	else if (p->total_bytes > 0)
		(void)snprintf(text, size, "%s %.1f of %.1f %s %s", p->did,
			       (double)p->done_bytes / unit, (double)p->total_bytes / unit, name,
			       p->what);
	else if (p->done_bytes > 0)
		(void)snprintf(text, size, "%s %.1f %s %s", p->did, (double)p->done_bytes / unit,
			       name, p->what);
	else
		(void)snprintf(text, size, "%s %s", p->did, p->what);
}

/* Add the step's percentage, its speed so far, and the time that is left at this speed. The caller
 * holds the lock. */
static void add_rest(const struct progress *p, char *stats)
{
	uint64_t done = p->done_bytes < p->total_bytes ? p->done_bytes : p->total_bytes;
	double ns = (double)(clock_mono_ns() - p->begun_ns);

	if (p->total_bytes == 0)
		return;
	(void)!wire_stats_add(stats, "step_percent", "%.0f",
			      100.0 * (double)done / (double)p->total_bytes);
	if (ns < SPEED_NS || done == 0)
		return;
	(void)!wire_stats_add(stats, "step_s_left", "%.0f",
			      ns * (double)(p->total_bytes - done) / (double)done / 1e9);
	(void)!wire_stats_add(stats, "step_bytes_per_s", "%.0f", (double)done * 1e9 / ns);
}

void progress_report(struct progress *p, char *stats)
{
	char text[WIRE_STATS_VALUE_MAX + 1] = "";
	uint64_t n_moves;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	if (p->did) {
		look_at_process(p);
		describe(p, text, sizeof(text));
	}
	if (*text)
		(void)!wire_stats_add(stats, "step", "%s", text);
	add_rest(p, stats);
	n_moves = p->n_moves;
	pthread_mutex_unlock(&p->lock);
	(void)!wire_stats_add(stats, "step_moves", "%" PRIu64, n_moves);
}
