/* letgo.h - a tiny process that releases QEMU at once when the agent dies inside a pause.
 *
 * Why: in a pause QEMU sleeps in a write to our full pipe (gate.h). When the agent is killed, the
 * kernel first frees the agent's memory, which takes 200 ms per GiB. Only then does the kernel
 * close the pipe. Until then the guest stands still. Other signs of the agent's death (pidfd,
 * PDEATHSIG, closed sockets) come even later. A robust mutex is faster. Before the kernel frees the
 * memory, it marks the ending thread's robust mutexes, and wakes their waiters.
 *
 *	agent, engine's thread		the process, made at the agent's start, a thread for each pipe
 *	makes and locks a mutex ──────► waits for the mutex
 *	seals, seals, ... dies          gets the mutex, as its owner is dead; empties the pipe:
 *					the guest runs
 *
 * The process is forked while the agent has little memory, and keeps none of the agent's
 * descriptors. The process is not a child of the agent: when a child ends, it remains a zombie
 * until its parent reaps it (waitpid()), and the agent's next program, which the agent becomes by
 * exec, would not do so. Without this process the guest also resumes after the agent's death, but
 * later.
 *
 * Where: main.c makes the process, the engine's thread registers a pipe.
 * Threads: call letgo_init() before any other thread is made. Call letgo_open() from the thread
 * whose end must release QEMU.
 */
#ifndef VMM_LETGO_H
#define VMM_LETGO_H

#include <stdbool.h>

struct letgo;

/* Fork the process that releases QEMU. After the agent has ended, this process empties the pipes of
 * all QEMUs, and ends. If @may_wait is true, this function waits until the process was made, which
 * takes tens of ms on a busy host. So an agent whose guests stand still passes false; letgo_open()
 * then waits instead. Returns 0 or -errno. After -errno, letgo_open() fails. */
int letgo_init(bool may_wait) __attribute__((warn_unused_result));

/* Make the releasing process empty the pipe when the calling thread ends. @pipe_read: the pipe's
 * reading end, borrowed for the call. Returns 0;
 * -ENOTCONN: letgo_init() was not called, or has failed;
 * other -errno. */
int letgo_open(int pipe_read, struct letgo **ret_letgo) __attribute__((warn_unused_result));

/* Stop watching the thread, and free @letgo. The process closes its copy of the pipe soon after.
 * Call it from the thread that called letgo_open(). After that thread has ended, any thread can
 * call it. Accepts NULL, returns NULL. */
struct letgo *letgo_close(struct letgo *letgo);

#endif
