/* child.h - starts a child that will run another program, without copying our memory.
 *
 * Why: fork() copies the page tables. For an agent that keeps a large part of a guest's memory this
 * takes long, and afterwards each page that the agent writes causes a fault, even if the child has
 * run its program at once. (Measured with 380 MiB on a virtual machine: 12 to 41 ms of CPU time for
 * fork(), then 2.5 s for writing each page once. With vfork() 0.3 ms, and 16 ms.)
 *
 *	our thread  child_start() ──────── waits ────────┐ goes on
 *	child                      └ run() ... exec() ───┘ the program
 *
 * Threads: any. Our other threads continue meanwhile.
 */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include <sys/types.h>

/* Start a child that calls run(@arg). The calling thread waits until the child has run another
 * program or has ended. Until then the child uses our memory. So @run must not return, must only
 * make async-signal-safe calls, and must change nothing in our memory that we need. All signals are
 * blocked when @run begins: it must unblock them before it runs the program.
 * Returns the child's pid or -errno. */
pid_t child_start(void (*run)(void *arg), void *arg) __attribute__((warn_unused_result));

/* In the child: if memory runs out, let the kernel end this process before others. Source: proc(5),
 * oom_score_adj; a child of vfork() has its own. */
void child_dies_first(void);

#endif
