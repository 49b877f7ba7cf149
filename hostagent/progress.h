/* progress.h - how far this host has come with a long step of what it was ordered to do.
 *
 * Why: the gateway gives no order up while it moves on (gateway/vm/fsm_work.c), and what stands
 * still is to be named by host, step and amount. The thread that works is busy: another one tells.
 *
 * Where: one in each struct vm. The engine and the keeper write it, vm_report.c reads it.
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
	pthread_mutex_t lock; /* of all that follows */
	const char *did;      /* constant; NULL: nothing is under way */
	const char *what;     /* constant */
	uint64_t done_bytes, total_bytes; /* total 0: it has no amount, or none that is known */
	pid_t pid;	      /* its CPU time is what moves; 0: none */
	uint64_t cpu_ns;      /* as last seen */
	uint64_t n_moves;     /* since progress_init() */
};

void progress_init(struct progress *p);
void progress_done(struct progress *p);

/* The functions below do nothing when @p is NULL. */

/* A step begins, which is a move; the one before ends. @did and @what are constants, such as
 * "copied" and "of guest RAM". @total_bytes 0: not known. */
void progress_begin(struct progress *p, const char *did, const char *what, uint64_t total_bytes);

/* A step begins in which process @pid works: our child, or known to live until progress_end(). */
void progress_watch(struct progress *p, const char *did, pid_t pid);

/* So far. A move when it is more than before. */
void progress_to(struct progress *p, uint64_t done_bytes);
void progress_add(struct progress *p, uint64_t bytes);

/* No step is under way. */
void progress_end(struct progress *p);

/* Add keys `step` (while there is one) and `step_moves` to @stats, of WIRE_STATS_MAX + 1 bytes.
 * What has no room is left out. */
void progress_report(struct progress *p, char *stats);

#endif
