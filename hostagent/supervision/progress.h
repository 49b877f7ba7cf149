/* progress.h - tracks the progress of a long step of an order on this host.
 *
 * Why: the gateway gives up an order only if the order makes no progress any more
 * (gateway/vm/fsm_work.c), and then tells the operator the host, the step, and how much was done.
 * The thread that does the work records its progress here. Another thread sends it in the VM's
 * reports. Each sign of progress is called a move. A report has the number of moves so far.
 *
 * Where: each struct vm has a struct progress. The engine and the standby write it, vm_report.c
 * reads it. Threads: any; the lock is held for a few instructions only.
 *
 *	begin("copied", "of guest RAM", 5 GiB) ─► to(..) ─► to(..) ─► ... ─► end
 *	      1 move                              1 move     1 move
 *
 *	step=copied 3.1 of 5.0 GiB of guest RAM
 *	step_percent=62
 *	step_s_left=31
 *	step_bytes_per_s=65758000
 *	step_moves=812
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

struct progress {
	pthread_mutex_t lock; /* guards the members below */
	/* verb of the step, such as "copied" (a constant); NULL if no step is under way */
	const char *did;
	const char *what;     /* object of the step, such as "of guest RAM" (a constant) */
	/* total_bytes is 0 if the step has no amount, or if the amount is not known */
	uint64_t done_bytes, total_bytes;
	uint64_t begun_ns;    /* when the step began */
	/* process whose use of CPU time counts as moves; 0: none */

	pid_t pid;
	uint64_t cpu_ns;      /* that process's CPU time when the last move was counted */
	uint64_t n_moves;     /* moves since progress_init() */
};

void progress_init(struct progress *p);
void progress_done(struct progress *p);

/* The functions below do nothing when @p is NULL. */

/* Begin a step, which counts as a move, and end the previous step. @did and @what are constants,
 * such as "copied" and "of guest RAM". @total_bytes: 0 if it is not known. */
void progress_begin(struct progress *p, const char *did, const char *what, uint64_t total_bytes);

/* Begin a step that process @pid works on. No other process may get this pid before progress_end():
 * so @pid must be a child of ours that is not reaped yet, or a process that the caller knows to
 * exist. */
void progress_watch(struct progress *p, const char *did, pid_t pid);

/* Report the total of bytes done so far. If it has grown, this counts as a move. */
void progress_to(struct progress *p, uint64_t done_bytes);
/* Report the bytes done since the last call. If there are any, this counts as a move. */
void progress_add(struct progress *p, uint64_t bytes);

/* End the step. */
void progress_end(struct progress *p);

/* Add keys to @stats, which has WIRE_STATS_MAX + 1 bytes. Always: `step_moves`. During a step:
 * `step`. If the step's total is known: `step_percent`. If it is known and the step has lasted for
 * a second: `step_bytes_per_s` (its speed so far) and `step_s_left` (computed from this speed). A
 * key for which there is no room is left out. */
void progress_report(struct progress *p, char *stats);

#endif
