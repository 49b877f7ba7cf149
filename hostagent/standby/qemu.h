/* qemu.h - starts the standby's QEMU process warm, adopts it after an agent's restart, and watches
 * it.
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
 * Where: used by orders.c, promote.c and rehearsal.c. Uses cmdline.h, vmm/qmp.h, vmm/inspect.h.
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

struct qemu {
	struct cmdline cmdline; /* the whole argv; empty until qemu_set_command() */
	const char *ram_path;	/* path of the file with guest RAM; borrowed */
	const struct tap_names *taps; /* the guest's taps; NULL: any. Set this after qemu_init() */
	char qmp_path[QEMU_PATH_MAX];
	char pid_path[QEMU_PATH_MAX];
	char log_path[QEMU_PATH_MAX];

	/* Valid while pid > 0. */
	pid_t pid;
	int pidfd;	 /* readable when the process has exited */
	/* NULL: the monitor's connection is closed, so that other clients can use it */
	struct qmp *qmp;
	bool adopted;	 /* an earlier agent started this process */
	/* the signal that ended the last process; 0: it exited by itself, or is not our child */
	int end_signal;
	struct progress *progress; /* reports the progress of the start; NULL: not wanted.
				    * Borrowed */
	/* this QEMU is used for a rehearsal: ask it only for what loading a state needs, and do not
	 * list its machine */
	bool is_rehearsal;
	/* the next qemu_start() starts a QEMU that boots (-S, without -incoming); it adopts none */
	bool boots;
	/* the QEMU of a drill: if this becomes true, qemu_start() gives up. NULL: it never does.
	 * If memory runs out, the kernel ends such a QEMU first. Borrowed */
	const _Atomic bool *cancel;

	/* Valid while warm. */
	/* facts about this QEMU, with the addresses of the blocks that a promotion writes */
	struct vmm_info info;
	struct wire_geometry geometry; /* `info` in the form of a GEOMETRY */

	struct vmm_description is; /* the machine of this QEMU, or of the last warm QEMU */
	/* the machine has changed; cleared by the code that handles the change */
	bool is_other_machine;
};

/* Make the GEOMETRY of a guest from @info, which its monitor has reported. */
void qemu_describe(const struct vmm_info *info, struct wire_geometry *ret_geometry);

/* Initialize *q, without starting a process. @role: "standby" or "rehearsal", part of the files'
 * names. @ram_path: the RAM file, borrowed for the life of *q. The file must exist before
 * qemu_start().
 * Returns 0 (free *q with qemu_done());
 * -ENAMETOOLONG: run_dir is too long for a socket's path; *ret_error says so. */
int qemu_init(struct qemu *q, const char *vm, const char *role, const char *run_dir,
	      const char *ram_path, struct error *ret_error) __attribute__((warn_unused_result));

/* Set the command for the next QEMU that is started. Checks @command, and that it uses the taps
 * q->taps. Adds the options of a standby. A QEMU that is already warm is not affected.
 * Returns 1 if the command has changed; 0 if it has not;
 * -EINVAL: the command is refused, and *ret_error says why;
 * -ENOMEM.
 * On error the old command stays. */
int qemu_set_command(struct qemu *q, const char *command, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Free *q; the process continues. */
void qemu_done(struct qemu *q);

/* Ensure that *q has a warm QEMU. If *q has none, look for a QEMU that an earlier agent left. If
 * that QEMU has the same arguments and still waits for its state, adopt it. If not, end that QEMU
 * and start a new one. Blocks until QEMU's monitor has answered and the machine was inspected,
 * @timeout_ms at most.
 * Returns 0, and q->pid, qmp, info and geometry are valid;
 * -EIO: QEMU died; *ret_error has the end of its log;
 * -EINVAL: no command was set;
 * -ETIMEDOUT: QEMU did not answer in time;
 * -ENOTSUP: this VM cannot be protected;
 * -ECANCELED: *q->cancel became true;
 * other -errno.
 * On error no process is left and *ret_error says why. */
int qemu_start(struct qemu *q, unsigned timeout_ms, struct error *ret_error)
	__attribute__((warn_unused_result));

/* The two halves of qemu_start(), for a caller that has other work while QEMU starts. qemu_spawn()
 * adopts a warm QEMU or starts the process, and does not wait for it. Then call qemu_await() or
 * qemu_kill(). qemu_await() blocks until the QEMU is warm, @timeout_ms at most. Both return the
 * same errors as qemu_start(). */
int qemu_spawn(struct qemu *q, struct error *ret_error) __attribute__((warn_unused_result));
int qemu_await(struct qemu *q, unsigned timeout_ms, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Find the QEMU that an earlier agent started, whether it is warm or runs a promoted guest. Blocks
 * up to 1 s. Returns 0 (q->pid and q->pidfd are then valid; q->qmp is NULL if another client uses
 * the monitor); -ESRCH if the process is gone; other -errno. */
int qemu_find(struct qemu *q) __attribute__((warn_unused_result));

/* Is a QEMU process alive, either the process in *q or a process that an earlier agent left?
 * Changes nothing. */
bool qemu_is_left(struct qemu *q);

/* Has the process exited? If so, remove it from *q; *ret_error then says how it exited, and has the
 * end of its log. */
bool qemu_exited(struct qemu *q, struct error *ret_error);

/* For a QEMU that should exit by itself: wait until it has exited (3 s at most, which a busy host
 * may need). Then returns what qemu_exited() returns. */
bool qemu_await_exit(struct qemu *q, struct error *ret_error);

/* Call this after a QMP command has failed, to find out whether QEMU has ended. If the connection
 * to the monitor is lost, does what qemu_await_exit() does. If not, returns false at once. */
bool qemu_died(struct qemu *q, struct error *ret_error);

/* Close the monitor connection, so that another client can have it. */
void qemu_release_monitor(struct qemu *q);

/* Kill the process and wait until it has ended (5 s at most). Does nothing if there is no process.
 * Returns 0, -ETIMEDOUT or -errno. */
int qemu_kill(struct qemu *q) __attribute__((warn_unused_result));

/* End the warm process: the one in *q, or one that an earlier agent left. If a guest runs in an
 * earlier agent's process, does not end it.
 * Returns 0 if there is no process any more;
 * -EBUSY: a guest runs in the process; *ret_error names the process;
 * -ETIMEDOUT: the process did not end in time;
 * other -errno. */
int qemu_end(struct qemu *q, struct error *ret_error) __attribute__((warn_unused_result));

#endif
