/* letgo.h - a tiny process that releases QEMU at once when the agent dies inside a pause.
 *
 * Why: in a pause QEMU sleeps in a write to our full pipe (gate.h). When the agent is killed, the
 * kernel first frees the agent's memory, which takes 200 ms per GiB. Only then it closes the pipe,
 * and until then the guest stands still. Most ways to learn of the agent's death (pidfd, PDEATHSIG,
 * closed sockets) are even slower. A robust mutex is faster: before the kernel frees the memory, it
 * marks the robust mutexes of the ending thread, and wakes their waiters.
 *
 *	agent, engine's thread		the process, made at the agent's start, a thread for each pipe
 *	makes and locks a mutex ──────► waits for the mutex
 *      seals, seals, ... dies          gets the mutex, as its owner is dead; empties the pipe:
 *					the guest runs
 *
 * The process is forked while the agent has little memory, and keeps none of the agent's
 * descriptors. Without this process the guest also resumes after the agent's death, but later.
 *
 * Where: main.c makes the process, the engine's thread registers a pipe.
 * Threads: call letgo_init() before any other thread is made. Call letgo_open() from the thread
 * whose end must release QEMU.
 */
#ifndef VMM_LETGO_H
#define VMM_LETGO_H

struct letgo;

/* Fork the process that releases QEMU. After the agent has ended, this process ends too, as soon as
 * it has emptied all its pipes. Returns 0, or -errno; after -errno, letgo_open() will refuse. */
int letgo_init(void) __attribute__((warn_unused_result));

/* Make the releasing process empty the pipe when the calling thread ends. @pipe_read: the pipe's
 * reading end, borrowed for the call. Returns 0; -ENOTCONN if letgo_init() was not called or
 * failed; or -errno. */
int letgo_open(int pipe_read, struct letgo **ret_letgo) __attribute__((warn_unused_result));

/* Stop watching the thread, and free @letgo. The process closes its copy of the pipe soon after.
 * Call it from the thread that called letgo_open(), or, once that thread has ended, from any
 * thread. Accepts NULL, returns NULL. */
struct letgo *letgo_close(struct letgo *letgo);

#endif
