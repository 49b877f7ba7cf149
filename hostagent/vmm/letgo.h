/* letgo.h - a tiny process that lets QEMU go at once when the agent dies inside a pause.
 *
 * Why: in a pause QEMU sleeps in a write to our full pipe (gate.h). When the agent is killed, the
 * kernel first frees its memory, 200 ms per GiB, and only then closes the pipe; until then the
 * guest stands still. Most signs of a death come even later (pidfd, PDEATHSIG, closed sockets). But
 * before the kernel frees the memory, it marks the robust mutexes of an ending thread and wakes
 * their waiters.
 *
 *	agent, engine's thread		the process, made at the agent's start, a thread for each pipe
 *	makes and locks a mutex ──────► waits for the mutex
 *	seals, seals, ... dies		has it: the owner is dead; empties the pipe: the guest runs
 *
 * The process is forked while the agent is small, and has none of its descriptors. Without it the
 * guest still resumes, but later.
 *
 * Where: main.c makes it, the engine's thread registers a pipe. Threads: letgo_init() before any
 * other thread is made; letgo_open() from any: the end of its calling thread counts.
 */
#ifndef VMM_LETGO_H
#define VMM_LETGO_H

struct letgo;

/* Fork the process. It ends with this one, once none of its threads waits any more. 0; -errno:
 * letgo_open() will refuse. */
int letgo_init(void) __attribute__((warn_unused_result));

/* From now on the process empties the pipe when the calling thread ends. @pipe_read: the reading
 * end, borrowed for the call. 0; -ENOTCONN: no letgo_init(); -errno. */
int letgo_open(int pipe_read, struct letgo **ret_letgo) __attribute__((warn_unused_result));

/* Stop watching and free. The process closes its copy of the pipe soon after. Call it from the
 * thread that opened it, or from any once that thread has ended. Accepts NULL, returns NULL. */
struct letgo *letgo_close(struct letgo *letgo);

#endif
