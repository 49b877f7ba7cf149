/* fence.h - runs an operator's fence command and reports how it ended.
 *
 * Why: output commit keeps an outvoted primary silent, so Holdfast needs no fencing to be safe. But
 * if something else is shared (a disk, a licence, a power budget), operators want the old host off
 * before the new one runs. Any program will do; fence-agents have one for each kind of power
 * switch.
 *
 * The command is run by /bin/sh -c, in its own process group, with standard input empty. Output and
 * errors go to LOG_DIR/fence-VM.log (last run only; discarded if the file cannot be opened). Its
 * environment has
 *
 *	HOLDFAST_VM  HOLDFAST_HOST (to be isolated)  HOLDFAST_TERM (the new one)
 *
 * Exit status 0 means: that host can do nothing any more. The command may be run again for the same
 * host.
 *
 * Where: main. Threads: the gateway's loop. Only fence_start() blocks, while a process starts
 * (about a millisecond).
 */
#ifndef FENCE_FENCE_H
#define FENCE_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#define FENCE_RUNS_MAX 64 /* at one time */
#define FENCE_TEXT_MAX 200

struct fence;

/* Reports how a command ended: @ok is exit status 0, @text gives details ("exit status 2: no such
 * plug"). 0; -errno: the result could not be taken, report it again later. */
typedef int (*fence_ended_fn)(void *arg, const char *vm, const char *host, uint64_t term, bool ok,
			       const char *text);

/* @epoll_fd: the loop's. 0: *ret_fence is the caller's; -ENOMEM; -ENAMETOOLONG: @log_dir. */
int fence_open(int epoll_fd, const char *log_dir, fence_ended_fn ended, void *arg,
	       struct fence **ret_fence) __attribute__((warn_unused_result));

/* Kill the commands that still run (SIGKILL to their groups), without a report. Accepts NULL. */
void fence_close(struct fence *fence);

/* Start @command. fence_poll() reports how it ended, never this function. This includes a command
 * that could not be started, or took longer than @timeout_ns and was killed. Strings are copied;
 * names as in wire/limits.h. */
void fence_start(struct fence *fence, const char *command, const char *vm, const char *host,
		 uint64_t term, uint64_t timeout_ns, uint64_t now_ns);

/* Report the commands that ended. Call once each turn of the loop. */
void fence_poll(struct fence *fence, uint64_t now_ns);

/* When fence_poll() will have something to do at the latest; UINT64_MAX: nothing runs. */
uint64_t fence_deadline_ns(const struct fence *fence);

#endif
