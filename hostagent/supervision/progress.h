/* progress.h - the progress of a long step of an order on this host.
 *
 * Why: the gateway does not give up an order while it makes progress (gateway/vm/fsm_work.c). If an
 * order stands still, the report names host, step and amount. The thread that does the work is
 * busy, so another thread reports.
 *
 * Where: one in each struct vm. The engine and the standby write it, vm_report.c reads it.
 * Threads: any. The lock is held for a few instructions.
 *
 *	begin("copied", "of guest RAM", 5 GiB) ─► to(..) ─► to(..) ─► ... ─► end
 *	      a move                              a move     a move
 *
 *	step=copied 3.1 of 5.0 GiB of guest RAM
 *	step_moves=812
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

struct progress {
	pthread_mutex_t lock; /* of all members below */
	const char *did;      /* constant; NULL: no step is under way */
	const char *what;     /* constant */
	uint64_t done_bytes, total_bytes; /* total 0: the step has no amount, or it is not known */
	pid_t pid;	      /* process whose CPU time counts as moves; 0: none */
	uint64_t cpu_ns;      /* its CPU time as last seen */
	uint64_t n_moves;     /* since progress_init() */
};

void progress_init(struct progress *p);
void progress_done(struct progress *p);

/* The functions below do nothing when @p is NULL. */

/* A step begins, which counts as a move; the step before it ends. @did and @what are constants,
 * such as "copied" and "of guest RAM". @total_bytes 0: not known. */
void progress_begin(struct progress *p, const char *did, const char *what, uint64_t total_bytes);

/* A step begins whose work process @pid does. It is our child, or known to live until
 * progress_end(). */
void progress_watch(struct progress *p, const char *did, pid_t pid);

/* Report the bytes done so far. It counts as a move if there are more than before. */
void progress_to(struct progress *p, uint64_t done_bytes);
void progress_add(struct progress *p, uint64_t bytes);

/* No step is under way. */
void progress_end(struct progress *p);

/* Add keys `step` (while there is one) and `step_moves` to @stats, of WIRE_STATS_MAX + 1 bytes.
 * A key for which there is no room is left out. */
void progress_report(struct progress *p, char *stats);

#endif
