/* fence.h - runs an operator's fence command and reports how it ended.
 *
 * Why: output commit keeps an outvoted primary silent, so Holdfast needs no fencing to be safe. But
 * if the hosts share something else (a disk, a licence, a power budget), operators want the old
 * host to be off before the guest runs on the new one. Any program can be the fence command; the
 * package fence-agents has one for each kind of power switch.
 *
 * The command is run by /bin/sh -c in its own process group, with an empty standard input. Its
 * output and errors go to LOG_DIR/fence-VM.log, which holds the last run only. If the file cannot
 * be opened, they are discarded. Its environment has
 *
 *	HOLDFAST_VM  HOLDFAST_HOST (to be isolated)  HOLDFAST_TERM (the new one)
 *
 * Exit status 0 means that the host is isolated: it can do nothing any more. The command may be run
 * again for the same host.
 *
 * Where: main calls it. Threads: the gateway's loop. fence_start() blocks while a process starts
 * (about a millisecond); fence_close() waits for the killed commands.
 */
#ifndef FENCE_FENCE_H
#define FENCE_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#define FENCE_RUNS_MAX 64 /* number of commands that can run at one time */
#define FENCE_TEXT_MAX 200

struct fence;

/* A function that is told how a command ended. @ok: the exit status was 0; @text gives details
 * ("exit status 2: no such plug"). Returns 0; -errno: the result could not be handled, so report
 * it again later. */
typedef int (*fence_ended_fn)(void *arg, const char *vm, const char *host, uint64_t term, bool ok,
			       const char *text);

/* Make a runner of fence commands. @epoll_fd: the loop's. Returns 0: *ret_fence is the caller's;
 * -ENOMEM; -ENAMETOOLONG: @log_dir is too long. */
int fence_open(int epoll_fd, const char *log_dir, fence_ended_fn ended, void *arg,
	       struct fence **ret_fence) __attribute__((warn_unused_result));

/* Kill the commands that still run (SIGKILL to their process groups), without reporting it, and
 * free @fence. Accepts NULL. */
void fence_close(struct fence *fence);

/* Start @command. Only fence_poll() reports how it ended, also if the command could not
 * be started, or ran longer than @timeout_ns and was killed. Strings are copied; names
 * are as in wire/limits.h. */
void fence_start(struct fence *fence, const char *command, const char *vm, const char *host,
		 uint64_t term, uint64_t timeout_ns, uint64_t now_ns);

/* Kill commands whose time has expired, and report those that ended. Call once each turn
 * of the loop. */
void fence_poll(struct fence *fence, uint64_t now_ns);

/* Returns when fence_poll() must next be called; UINT64_MAX: no command runs. */
uint64_t fence_deadline_ns(const struct fence *fence);

#endif
