/* child.h - starts a child that will run another program, without copying our memory.
 *
 * Why: fork() copies the page tables. For an agent that keeps a large part of a guest's memory this
 * takes long. It also makes the agent's first write to each page cause a fault, even after the
 * child has begun to run its program. (Measured with 380 MiB on a virtual machine: fork() took 12
 * to 41 ms of CPU time, and writing each page once after that took 2.5 s. With vfork() these were
 * 0.3 ms and 16 ms.)
 *
 *	our thread  child_start() ──────── waits ────────┐ goes on
 *	child                      └ run() ... exec() ───┘ the program
 *
 * Threads: any. Our other threads continue meanwhile.
 */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include <spawn.h>
#include <sys/types.h>

/* Start a child that calls run(@arg). The calling thread waits until the child has begun to run
 * another program, or has ended. Until then the child uses our memory. So @run must not return,
 * must only make async-signal-safe calls, and must change nothing in our memory that we need. All
 * signals are blocked when @run begins: it must call child_signals() before it runs the program.
 * Returns the child's pid or -errno. */
pid_t child_start(void (*run)(void *arg), void *arg) __attribute__((warn_unused_result));

/* In the child: unblock all signals, and ignore none, as another program expects. The daemons block
 * some signals and ignore others (signals.h). */
void child_signals(void);

/* Set *ret_attributes to attributes for posix_spawn() with which the child's signals are as after
 * child_signals(). The attributes also do what @flags say (POSIX_SPAWN_SETSID,
 * POSIX_SPAWN_SETPGROUP, or 0). On success the caller must call posix_spawnattr_destroy(). Returns
 * 0 or -errno. */
int child_attributes(posix_spawnattr_t *ret_attributes, short flags)
	__attribute__((warn_unused_result));

/* In the child: if memory runs out, let the kernel end this process before others. Source: proc(5),
 * oom_score_adj; a child of vfork() has a value of its own. */
void child_dies_first(void);

#endif
