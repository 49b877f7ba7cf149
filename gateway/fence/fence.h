/* fence.h - run an operator's fence command, and say how it ended.
 *
 * Why: output commit keeps an outvoted primary silent, so Holdfast needs no fencing to be safe. Where
 * something else is shared - a disk, a licence, a power budget - operators want the old host off before
 * the new one runs. Any program will do; fence-agents have one for each kind of power switch.
 *
 * The command is run by /bin/sh -c, in a process group of its own, with standard input empty, output and
 * errors in LOG_DIR/fence-VM.log (of the last run; nowhere if that cannot be had), and in its
 * environment
 *
 *	HOLDFAST_VM  HOLDFAST_HOST (to be isolated)  HOLDFAST_TERM (the new one)
 *
 * Exit status 0 means: that host can do nothing any more. It may be asked again for the same host.
 *
 * Where: main. Threads: the gateway's loop. fence_start() blocks for the start of a process (about a
 * millisecond), nothing else does.
 */
#ifndef FENCE_FENCE_H
#define FENCE_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#define FENCE_RUNS_MAX 64 /* at one time */
#define FENCE_TEXT_MAX 200

struct fence;

/* How a command ended: @ok is exit status 0, @text says what else ("exit status 2: no such plug").
 * 0; -errno: it could not be taken, say it again later. */
typedef int (*fence_ended_fn)(void *arg, const char *vm, const char *host, uint64_t term, bool ok,
			       const char *text);

/* @epoll_fd: the loop's. 0: *ret_fence is the caller's; -ENOMEM; -ENAMETOOLONG: @log_dir. */
int fence_open(int epoll_fd, const char *log_dir, fence_ended_fn ended, void *arg,
	       struct fence **ret_fence) __attribute__((warn_unused_result));

/* Ends what still runs (SIGKILL to its group); nothing is told of it. Accepts NULL. */
void fence_close(struct fence *fence);

/* Start @command. How it ended is told by fence_poll(), never from here: also that it could not be
 * started, or took longer than @timeout_ns and was killed. Strings are copied; names as in wire/limits.h. */
void fence_start(struct fence *fence, const char *command, const char *vm, const char *host,
		 uint64_t term, uint64_t timeout_ns, uint64_t now_ns);

/* Tell of those that ended. Once each turn of the loop. */
void fence_poll(struct fence *fence, uint64_t now_ns);

/* When fence_poll() has something to do at the latest; UINT64_MAX: nothing runs. */
uint64_t fence_deadline_ns(const struct fence *fence);

#endif
