/* letgo.h - a tiny process that lets QEMU go at once when the agent dies inside a pause.
 *
 * Why: in a pause QEMU sleeps in a write to our full pipe (gate.h). When the agent is killed the kernel takes its
 * memory down first, 200 ms for each GiB, and closes the pipe after that; so long the guest stands still. Nothing that
 * tells of a death comes earlier (pidfd, PDEATHSIG and closed sockets are all later), but one: the kernel marks a robust
 * mutex of a thread that ends, and wakes who waits for it, before it touches the memory.
 *
 *	agent, engine's thread		the process, made at the agent's start, a thread for each pipe
 *	makes and locks a mutex ──────► waits for the mutex
 *	seals, seals, ... dies		has it: the owner is dead; reads the pipe empty: QEMU's write ends, the guest runs
 *
 * It was forked when the agent was small, and has none of its descriptors. Without it all is as it was: slower.
 *
 * Where: main.c makes it, the engine's thread takes a pipe there. Threads: letgo_init() before there is any other;
 * letgo_open() from any, and its caller is whose death counts.
 */
#ifndef VMM_LETGO_H
#define VMM_LETGO_H

struct letgo;

/* Fork the process. It ends with this one, as soon as nobody waits any more. 0 or -errno: then letgo_open() refuses. */
int letgo_init(void) __attribute__((warn_unused_result));

/* From now on the pipe is read empty when the calling thread ends. @pipe_read: its reading end; is borrowed for the call.
 * 0; -ENOTCONN: no letgo_init(); -errno. */
int letgo_open(int pipe_read, struct letgo **ret_letgo) __attribute__((warn_unused_result));

/* No longer, and free; soon after the process has closed its copy of the pipe. By the thread that opened it, or by any once that one has ended. Accepts NULL, returns NULL. */
struct letgo *letgo_close(struct letgo *letgo);

#endif
