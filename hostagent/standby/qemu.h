/* qemu.h - starts the standby's warm QEMU, adopts it after a restart of the agent, and watches it.
 *
 * Why: a warm QEMU has built its devices and mapped its guest memory. To take over, it needs only
 * the device state. QEMU must outlive the agent, because a promoted guest must not die with the
 * agent. So QEMU runs in its own session, and a new agent finds it by these files:
 *
 *	RUN_DIR/VM.standby.qmp   its monitor            RUN_DIR/VM.standby.log  its stderr
 *	RUN_DIR/VM.standby.pid   written and locked by QEMU itself, removed when it exits
 *
 * The service manager must not kill QEMU when it stops the agent: for systemd, this needs
 * KillMode=process.
 *
 * Where: used by orders.c, promote.c, rehearsal.c and drill.c. Uses cmdline.h, vmm/qmp.h,
 * vmm/inspect.h.
 * Threads: one. The comment of each function says how long it blocks.
 */
#ifndef STANDBY_QEMU_H
#define STANDBY_QEMU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "standby/cmdline.h"
#include "vmm/describe.h"
#include "vmm/inspect.h"
#include "vmm/qmp.h"
#include "wire/msg.h"

struct progress;

#define QEMU_PATH_MAX 108 /* size of sockaddr_un.sun_path */

/* The end of a QEMU process. Only qemu_exited() and qemu_find() record it. */
struct qemu_end {
	bool is_set;	  /* the process has ended, and there was no other since */
	int signal;	  /* the signal that ended it; 0: none did, or it is not our child */
	struct error how; /* how it ended, with the end of its log */
};

struct qemu {
	struct cmdline cmdline; /* the whole argv; empty until qemu_set_command() */
	const char *ram_path;	/* path of the file with guest RAM; borrowed */
	/* the taps that the command must name; NULL: any. Set this after qemu_init() */
	const struct tap_names *taps;
	char qmp_path[QEMU_PATH_MAX];
	char pid_path[QEMU_PATH_MAX];
	char log_path[QEMU_PATH_MAX];

	/* Valid while pid > 0. */
	pid_t pid;
	int pidfd;	 /* readable when the process has exited */
	/* NULL: the monitor's connection is closed, so that other clients can use it */
	struct qmp *qmp;
	/* an earlier agent started the process, not this agent */
	bool adopted;
	struct qemu_end end; /* of the last process; cleared when one is started or found */
	struct progress *progress; /* reports the progress of the start; NULL: not wanted.
				    * Borrowed */
	/* this QEMU is for a rehearsal or a drill: ask it only for what loading a state needs, and
	 * do not list its machine */
	bool is_rehearsal;
	/* the next qemu_start() starts a QEMU that boots (-S, without -incoming), and adopts
	 * none */
	bool boots;
	/* Set for the QEMU of a drill only. When *cancel becomes true, qemu_start() gives up. If
	 * memory runs out, the kernel ends such a QEMU first. NULL: any other QEMU. Borrowed */
	const _Atomic bool *cancel;

	/* Valid while warm. */
	/* facts about this QEMU, with the addresses of the blocks that a promotion writes */
	struct vmm_info info;
	struct wire_geometry geometry; /* `info` in the form of a GEOMETRY */

	struct vmm_description is; /* the machine of this QEMU, or of the last warm QEMU */
	/* the machine has changed; cleared by the code that handles the change */
	bool is_other_machine;
};

/* Make a GEOMETRY from @info, which the guest's monitor has reported. */
void qemu_describe(const struct vmm_info *info, struct wire_geometry *ret_geometry);

/* Initialize *q, without starting a process. @role: "standby", "rehearsal" or "drill", a part of
 * the files' names. @ram_path: the RAM file, borrowed for the life of *q; it must exist before
 * qemu_start().
 * Returns 0 (free *q with qemu_done());
 * -ENAMETOOLONG: run_dir is too long for a socket's path; *ret_error says so. */
int qemu_init(struct qemu *q, const char *vm, const char *role, const char *run_dir,
	      const char *ram_path, struct error *ret_error) __attribute__((warn_unused_result));

/* Set the command for the next QEMU that is started. Checks @command, and that it uses the taps
 * q->taps. Adds the options of a standby. Does not change a QEMU that is warm already.
 * Returns 1 if the command has changed; 0 if it has not;
 * -EINVAL: the command is refused, and *ret_error says why;
 * -ENOMEM.
 * On error the old command stays. */
int qemu_set_command(struct qemu *q, const char *command, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Free *q. Its process runs on. */
void qemu_done(struct qemu *q);

/* Ensure that *q has a warm QEMU. If it has none, look for a QEMU that an earlier agent left. If
 * that QEMU has the same arguments and still waits for its state, adopt it. If not, end it and
 * start a new one. Blocks until QEMU's monitor has answered and the machine was inspected, for
 * about @timeout_ms at most.
 * Returns 0, and q->pid, qmp, info and geometry are valid;
 * -EBUSY: a guest runs in the QEMU that an earlier agent left, so that QEMU was not ended;
 * -EIO: QEMU died; *ret_error has the end of its log;
 * -EINVAL: no command was set;
 * -ETIMEDOUT: QEMU did not answer in time;
 * -ENOTSUP: this VM cannot be protected;
 * -ECANCELED: *q->cancel became true;
 * other -errno.
 * On error except -ECANCELED *ret_error says why. After any error except -EBUSY no process is
 * left. */
int qemu_start(struct qemu *q, unsigned timeout_ms, struct error *ret_error)
	__attribute__((warn_unused_result));

/* The first half of qemu_start(), for a caller that has other work while QEMU starts: adopt a warm
 * QEMU, or start the process without waiting for it. After success call qemu_await() or
 * qemu_kill(). Returns the errors of qemu_start(). */
int qemu_spawn(struct qemu *q, struct error *ret_error) __attribute__((warn_unused_result));
/* The second half of qemu_start(): wait until the QEMU is warm, for about @timeout_ms at most.
 * Returns like qemu_start(). */
int qemu_await(struct qemu *q, unsigned timeout_ms, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Find the QEMU that an earlier agent started, whether it is warm or runs a promoted guest. Blocks
 * up to 1 s. Returns 0: q->pid and q->pidfd are valid; q->qmp is NULL if the monitor cannot be had,
 * for example because another client uses it;
 * -ESRCH: there is no such process, and q->end says so. */
int qemu_find(struct qemu *q) __attribute__((warn_unused_result));

/* Is a QEMU process alive, either the process in *q or one that an earlier agent left? Changes
 * nothing. */
bool qemu_is_left(struct qemu *q);

/* Has the last process ended? If it has ended since the last call, record this in q->end, and
 * remove the process from *q. Returns true until the next process is started or found. */
bool qemu_exited(struct qemu *q);

/* For a QEMU that should exit by itself: wait until it has exited, for up to 3 s (a busy host may
 * need that long). Then return what qemu_exited() returns. */
bool qemu_await_exit(struct qemu *q);

/* After a failed QMP command: has QEMU ended? If the connection to the monitor is lost, does what
 * qemu_await_exit() does. If not, returns q->end.is_set. */
bool qemu_died(struct qemu *q);

/* Close the monitor connection, so that another client can have it. */
void qemu_release_monitor(struct qemu *q);

/* Kill the process and wait until it has ended, for up to 5 s. Does nothing if there is no process.
 * Returns 0, -ETIMEDOUT or -errno. */
int qemu_kill(struct qemu *q) __attribute__((warn_unused_result));

/* End the warm QEMU: the process in *q, or one that an earlier agent left. A process that an
 * earlier agent left is not ended if a guest runs in it. Returns 0 if there is no process any more;
 * -EBUSY: a guest runs in the process; *ret_error names the process;
 * -ETIMEDOUT: the process did not end in time;
 * other -errno. */
int qemu_end(struct qemu *q, struct error *ret_error) __attribute__((warn_unused_result));

#endif
