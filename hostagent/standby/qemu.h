/* qemu.h - the standby's QEMU process: start it warm, adopt it after an agent's restart, watch it.
 *
 * Why: a QEMU that already has its devices built and its guest memory mapped needs only the device
 * state to take over. It must live longer than the agent (a promoted guest does not die with its
 * agent), so it runs in its own session, without any tie to us but files:
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

#include "standby/cmdline.h"
#include "vmm/describe.h"
#include "vmm/inspect.h"
#include "vmm/qmp.h"
#include "wire/msg.h"

struct progress;

#define QEMU_PATH_MAX 108 /* sockaddr_un.sun_path */
#define QEMU_TEXT_MAX 1024

struct qemu {
	struct cmdline cmdline; /* the whole argv; no words before qemu_set_command() */
	const char *ram_path;	/* borrowed */
	const char *tap;	/* the only one that a command may name; NULL: any. To be set after qemu_init(). Borrowed */
	char qmp_path[QEMU_PATH_MAX];
	char pid_path[QEMU_PATH_MAX];
	char log_path[QEMU_PATH_MAX];

	/* Valid while pid > 0. */
	pid_t pid;
	int pidfd;	 /* readable when it has exited */
	struct qmp *qmp; /* NULL: released (a promoted guest's monitor is for others) */
	bool adopted;	 /* an earlier agent started it */
	struct progress *progress; /* told of its start; NULL: nobody is. Borrowed */
	bool is_rehearsal; /* it is not compared: only what loading needs is asked */

	/* Valid while warm. */
	struct vmm_info info;	       /* as it is; block addresses for writing ROMs */
	struct wire_geometry geometry; /* the same as a GEOMETRY */

	struct vmm_machine machine; /* what it is made of, or what the last warm one was */
	bool is_other_machine;	    /* than the one before it; for who looks, who also clears it */
};

/* Nothing is started. @role: "standby" or "rehearsal", in the files' names. @ram_path: the RAM file, made before the start; borrowed for the life of *q.
 * 0, *q to be ended by qemu_done(); -ENAMETOOLONG: run_dir is too long for a socket's path, @ret_text
 * (QEMU_TEXT_MAX bytes) says so. */
int qemu_init(struct qemu *q, const char *vm, const char *role, const char *run_dir, const char *ram_path,
	      char *ret_text)
	__attribute__((warn_unused_result));

/* Check and complete @command, also against q->tap: what the next QEMU is started with. One that is
 * warm is not touched. 1: it is another one than before; 0: the same; -EINVAL with the reason in
 * @ret_text (QEMU_TEXT_MAX bytes), and
 * -ENOMEM: the one before stays. */
int qemu_set_command(struct qemu *q, const char *command, char *ret_text)
	__attribute__((warn_unused_result));

/* Let go of the process (it goes on) and free. */
void qemu_done(struct qemu *q);

/* Have a warm QEMU: keep the one at hand, adopt the one that an earlier agent left if it was started
 * with the same words and still waits, else end that one and start anew. Blocks until its monitor
 * answers and it was inspected, @timeout_ms at most.
 * 0: q->pid, qmp, info and geometry are valid; -EIO: it died, @ret_text has the end of its log;
 * -EINVAL: there is no command; -ETIMEDOUT; -ENOTSUP: such a VM cannot be protected (the text names why); -errno.
 * On error no process is left and @ret_text (QEMU_TEXT_MAX bytes) says why. */
int qemu_start(struct qemu *q, unsigned timeout_ms, char *ret_text)
	__attribute__((warn_unused_result));

/* Find the process of an earlier agent, whatever it does: a promoted guest. Blocks up to 1 s.
 * 0: pid, pidfd and qmp are valid; -ESRCH: it is gone; -errno. */
int qemu_find(struct qemu *q) __attribute__((warn_unused_result));

/* Is there a live process, at hand or left by an earlier agent? Changes nothing. */
bool qemu_is_left(struct qemu *q);

/* Has it exited? Then forget it; @ret_text (QEMU_TEXT_MAX bytes) gets how, and the end of its log. */
bool qemu_exited(struct qemu *q, char *ret_text);

/* Close the monitor connection, so that another client can have it. */
void qemu_release_monitor(struct qemu *q);

/* Kill it and wait for its end (5 s at most). No-op without a process. 0; -ETIMEDOUT; -errno. */
int qemu_kill(struct qemu *q) __attribute__((warn_unused_result));

/* End the warm process, at hand or left by an earlier agent; one in which a guest runs that we know
 * nothing of is left alone. 0: there is none any more; -EBUSY: such a guest, named in @ret_text;
 * -ETIMEDOUT; -errno. */
int qemu_end(struct qemu *q, char *ret_text) __attribute__((warn_unused_result));

#endif
