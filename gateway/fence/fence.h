/* fence.h - runs an operator's fence command and reports how it ended.
 *
 * Holdfast itself does not need fencing, because a primary that was replaced can release no output.
 * But the hosts can share something that Holdfast does not control: a disk, a licence, a power
 * budget. In this case the old host must be off before the guest runs on the new host. Any program
 * can be the fence command. The package fence-agents has one for each kind of power switch.
 *
 * The command is run by /bin/sh -c in its own process group, with an empty standard input. Its
 * standard output and standard error go to LOG_DIR/fence-VM.log, which holds only the last run. If
 * the file cannot be opened, the output is discarded. The command's environment has
 *
 *	HOLDFAST_VM    name of the VM
 *	HOLDFAST_HOST  name of the host to isolate
 *	HOLDFAST_TERM  the new term, in which the guest will run on the other host
 *
 * Exit status 0 means that the host can no longer do anything. The gateway may run the command more
 * than once for the same host.
 *
 * Where: main calls it. Threads: the gateway's loop. fence_start() blocks while a process starts
 * (about a millisecond); fence_close() waits for the killed commands.
 */
#ifndef FENCE_FENCE_H
#define FENCE_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define FENCE_RUNS_MAX 64 /* number of commands that can run at one time */
#define FENCE_TEXT_MAX 200

struct fence;

/* Check that the program with which @command begins exists. The program is the first word, either a
 * path or a name in PATH. Returns 0 if the program exists, or if this cannot be determined: the
 * word has shell syntax, or is a command that is built into the shell. Returns -ENOENT, with the
 * reason in *ret_error, if there is no such program. Calls stat(), so it can block. */
int fence_check(const char *command, struct error *ret_error) __attribute__((warn_unused_result));

/* A callback that gets the result of a command. @ok is true if the exit status was 0. @text gives
 * details, such as "exit status 2: no such plug". The callback returns 0, or -errno if it could not
 * handle the result. After an error, fence_poll() calls the callback again later. */
typedef int (*fence_ended_fn)(void *arg, const char *vm, const char *host, uint64_t term, bool ok,
			       const char *text);

/* Make a runner of fence commands. @epoll_fd is the loop's epoll. Returns 0 and sets *ret_fence,
 * which the caller then owns. Errors: -ENOMEM; -ENAMETOOLONG if @log_dir is too long. */
int fence_open(int epoll_fd, const char *log_dir, fence_ended_fn ended, void *arg,
	       struct fence **ret_fence) __attribute__((warn_unused_result));

/* Kill the commands that still run (SIGKILL to their process groups), and free @fence. Does not
 * call the callback. NULL is fine. */
void fence_close(struct fence *fence);

/* Start @command, and kill it if it still runs after @timeout_ns. fence_poll() later reports the
 * result, even if the command could not be started. Strings are copied. Names must not be longer
 * than wire/limits.h allows. */
void fence_start(struct fence *fence, const char *command, const char *vm, const char *host,
		 uint64_t term, uint64_t timeout_ns, uint64_t now_ns);

/* Kill commands whose time has expired, and report those that ended. Call once each turn of the
 * loop. */
void fence_poll(struct fence *fence, uint64_t now_ns);

/* Returns when fence_poll() must next be called, or UINT64_MAX if no command runs. */
uint64_t fence_deadline_ns(const struct fence *fence);

#endif
