/* qemu.h - the standby's QEMU process: start it warm, adopt it after an agent's restart, watch it.
 *
 * Why: a QEMU that has built its devices and mapped its guest memory needs only the device state to
 * take over. It must outlive the agent (a promoted guest does not die with its agent), so it runs
 * in its own session, and only files connect it with us:
 *
 *	RUN_DIR/VM.standby.qmp   its monitor            RUN_DIR/VM.standby.log  its stderr
 *	RUN_DIR/VM.standby.pid   written and locked by QEMU itself, removed when it exits
 *
 * The agent's service must not kill it either: systemd needs KillMode=process.
 *
 * Where: standby.c and promote.c. Uses cmdline.h, vmm/qmp.h, vmm/inspect.h.
 * Threads: one. Blocks as said per function.
 */
#ifndef STANDBY_QEMU_H
#define STANDBY_QEMU_H

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

#define QEMU_PATH_MAX 108 /* sockaddr_un.sun_path */

struct qemu {
	struct cmdline cmdline; /* the whole argv; no words before qemu_set_command() */
	const char *ram_path;	/* borrowed */
	const char *tap;	/* the only one allowed; NULL: any. Set it after qemu_init() */
	char qmp_path[QEMU_PATH_MAX];
	char pid_path[QEMU_PATH_MAX];
	char log_path[QEMU_PATH_MAX];

	/* Valid while pid > 0. */
	pid_t pid;
	int pidfd;	 /* readable when it has exited */
	struct qmp *qmp; /* NULL: released (a promoted guest's monitor is for others) */
	bool adopted;	 /* an earlier agent started it */
	struct progress *progress; /* reports its start; NULL: not wanted. Borrowed */
	bool is_rehearsal; /* ask it only what loading needs; it is not compared */

	/* Valid while warm. */
	struct vmm_info info;	       /* of this QEMU; block addresses for writing ROMs */
	struct wire_geometry geometry; /* info as a GEOMETRY */

	struct vmm_machine machine; /* of this QEMU, or of the last warm one */
	bool is_other_machine;	    /* machine has changed; the reader clears this */
};

/* Initialize *q; starts nothing. @role: "standby" or "rehearsal", part of the files' names.
 * @ram_path: the RAM file, made before the start; borrowed for the life of *q.
 * 0: end *q with qemu_done(); -ENAMETOOLONG: run_dir is too long for a socket's path, *ret_error
 * says so. */
int qemu_init(struct qemu *q, const char *vm, const char *role, const char *run_dir,
	      const char *ram_path, struct error *ret_error) __attribute__((warn_unused_result));

/* Set the command of the next QEMU: check @command, also against q->tap, and complete it. A warm
 * QEMU is not touched. 1: the command has changed; 0: it has not; -EINVAL with the reason in
 * *ret_error, -ENOMEM: the old command stays. */
int qemu_set_command(struct qemu *q, const char *command, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Free *q; the process goes on. */
void qemu_done(struct qemu *q);

/* Get a warm QEMU: keep the one that *q has; or adopt the one that an earlier agent left, if it was
 * started with the same words and still waits; else end that one and start a new one. Blocks until
 * its monitor answers and it was inspected, @timeout_ms at most.
 * 0: q->pid, qmp, info and geometry are valid; -EIO: it died, *ret_error has the end of its log;
 * -EINVAL: there is no command; -ETIMEDOUT; -ENOTSUP: such a VM cannot be protected (the text names
 * why); -errno. On error no process is left and *ret_error says why. */
int qemu_start(struct qemu *q, unsigned timeout_ms, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Find the QEMU of an earlier agent, whatever state it is in, such as a promoted guest. Blocks up
 * to 1 s.
 * 0: pid, pidfd and qmp are valid; -ESRCH: it is gone; -errno. */
int qemu_find(struct qemu *q) __attribute__((warn_unused_result));

/* Is there a live process, in *q or left by an earlier agent? Changes nothing. */
bool qemu_is_left(struct qemu *q);

/* Has it exited? If so, forget it; *ret_error says how, with the end of its
 * log. */
bool qemu_exited(struct qemu *q, struct error *ret_error);

/* Close the monitor connection, so that another client can have it. */
void qemu_release_monitor(struct qemu *q);

/* Kill it and wait for its end (5 s at most). No-op without a process. 0; -ETIMEDOUT; -errno. */
int qemu_kill(struct qemu *q) __attribute__((warn_unused_result));

/* End the warm process, in *q or left by an earlier agent. A process in which an unknown guest runs
 * is left alone. 0: there is no process any more; -EBUSY: such a guest, named in *ret_error;
 * -ETIMEDOUT; -errno. */
int qemu_end(struct qemu *q, struct error *ret_error) __attribute__((warn_unused_result));

#endif
