/* mirror.h - makes a running QEMU copy one disk, and each later write to it, to an NBD server.
 *
 * Why: the standby needs the guest's disk as it was at each seal. QEMU's block job "mirror" with
 * copy-mode=write-blocking copies the whole disk once. It also sends each write of the guest to the
 * server. The guest's write ends only when the server has confirmed it. At a seal the guest is
 * stopped, and its requests are drained (all have ended). So the server then has every write.
 *
 *	mirror_begin()	 BLOCK_JOB_READY	    BLOCK_JOB_ERROR, any end of the job
 *	OFF ------> COPYING ------------> READY --------------------+
 *	 ^		 |		    |			     v
 *	 |		 +------------------+--------------------> BROKEN
 *	 +------------------- mirror_end() from any of these --------+
 *
 * The caller's event handler passes every event of QEMU to every mirror (mirror_take_event()). It
 * must do this also while mirror_begin() and mirror_end() run.
 *
 * The engine relies on the following behaviour of QEMU (7.2.22: block/mirror.c, blockjob.c,
 * block/nbd.c, softmmu/cpus.c, monitor/):
 *
 *  - If a write to the server fails, the guest's own write still succeeds. QEMU sends
 *    BLOCK_JOB_ERROR before the guest's write ends, and sends no later write to the server. For up
 *    to 100 ms the job still exists and looks ready, but with len > offset. Then it ends
 *    (BLOCK_JOB_COMPLETED with `error`), and the disk's own node is as it was before the job. The
 *    node that we added stays until mirror_end().
 *  - QEMU does not delay these events. It writes events and answers to a monitor through one buffer
 *    under one lock. `stop` and `xen-save-devices-state` drain all requests before they answer. So
 *    if the server lacks a write that ended before or during such a command, we receive
 *    BLOCK_JOB_ERROR before the command's answer.
 *  - QEMU sends the event STOP before it drains. At that moment the guest's last writes can still
 *    be on their way to the server. The server has them when the command is answered. For
 *    xen-save-devices-state, it already has them when the first byte of the saved state arrives.
 *    So note the seal's position in the disk's log at one of these two moments, not at STOP.
 *  - If the server ends while the guest writes nothing, QEMU sends no event until the guest's next
 *    write. Until then the server lacks no write. The code that starts the server should watch its
 *    process.
 *  - If the server hangs, QEMU waits for it without a limit. The guest's writes and `stop` hang,
 *    and during mirror_begin() the whole QEMU hangs. In this case kill the server. Its socket
 *    closes, all requests to it fail at once (reconnect-delay 0), and the guest continues.
 *  - While the job starts, QEMU can carry out a write of the guest that the job does not see. If
 *    the first copy has already read that part of the disk, the server never receives the write.
 *    So call mirror_begin() while the guest is stopped. (The code of 7.2 shows this. QEMU 8.2 to
 *    10.0.8 are known to miss writes at the start.)
 *  - QEMU does not send the guest's flushes and discards to the server. The server needs no
 *    discards, because a guest can read anything after a discard. Our node must not support
 *    discards: with them, sync=full would first write zeroes to the whole target. This would
 *    destroy the data that the target still has after an interruption.
 *
 * A mirror consists of two objects in QEMU: a node (the NBD client) and a job. Both have the id
 * that mirror_id() gives. Both stay when the agent is killed. After the server has ended, the job
 * ends at the guest's next write. The node of a killed agent stays until the next mirror_begin() or
 * mirror_remove().
 *
 * Where: the epoch engine. Threads: only the thread that uses the qmp client.
 */
#ifndef VMM_MIRROR_H
#define VMM_MIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "vmm/disks.h"
#include "vmm/qmp.h"

/* Size of an id, with the NUL: the longest name that QEMU allows for a node. */
#define MIRROR_ID_BYTES 32u

enum mirror_condition {
	MIRROR_OFF = 0, /* not begun, or ended */
	MIRROR_COPYING, /* the first copy is being made, and the guest's writes are copied too */
	MIRROR_READY,	/* the server has received the whole disk, and receives every write */
	/* the server lacks writes; call mirror_end(), then mirror_begin() to copy again */
	MIRROR_BROKEN,
};

/* What query-block-jobs says about a mirror. */
struct mirror_progress {
	uint64_t bytes; /* total to copy since the job began; grows with each write of the guest */
	uint64_t done_bytes;  /* how many of `bytes` are copied */
	bool is_ready;	      /* the first copy is done */
	/* true if each write of the guest ends only when the server has it. Always true with a QEMU
	 * before 8.2, which does not report this */
	bool is_active;
};

/* One mirror, in the caller's storage. An all-zero struct is OFF. If the monitor is lost, set the
 * struct to zero. Only this module uses the members. */
struct mirror {
	enum mirror_condition condition;
	bool is_ending;           /* mirror_end() is ending the job, so the job's end is not an
				   * error */
	bool has_reason;	  /* QEMU said why the mirror is BROKEN */
	char name[VMM_DISK_NAME_MAX + 1u];
	char id[MIRROR_ID_BYTES]; /* id of our node and job; "" before mirror_begin() */
	struct error error;	  /* why the mirror is BROKEN; valid only then */
};

/* Write the id of our node and job for the disk @name: "holdfast-NAME". If the name has more than
 * 22 characters, it is cut, and a hash is added. */
void mirror_id(const char *name, char ret_id[MIRROR_ID_BYTES]);

/* Is @id the id of one of our nodes or jobs, whatever the disk? */
bool mirror_is_our_id(const char *id);

/* Connect QEMU to the NBD server on the unix socket @socket_path, and start the copy of @disk. The
 * path is absolute, as QEMU sees it. The server's export with the empty name "" must have the
 * disk's size. @speed limits the first copy, in bytes/s; 0: no limit. First removes the node and
 * job that a killed agent left.
 * @m must be OFF. On success @m is COPYING, or in a later condition if QEMU's events say so. After
 * an error @m is OFF, and QEMU is as it was before. Call it only while no command is in flight on
 * @q. Takes a few ms if the server answers quickly.
 * Returns 0;
 * -EALREADY: @m is not OFF;
 * -EBUSY: another job uses the disk;
 * -EREMOTEIO: QEMU refused;
 * -ETIMEDOUT: a leftover job does not end;
 * or another error of qmp_execute().
 * On error *ret_error has the text. */
int mirror_begin(struct mirror *m, struct qmp *q, const struct vmm_disk *disk,
		 const char *socket_path, uint64_t speed, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Take over the mirror of @disk that the agent's previous program began and that was READY. @m must
 * be OFF. On success @m is READY.
 * Returns 0;
 * -EIO: the mirror no longer exists, or the server lacks writes;
 * or an error of mirror_check().
 * On error *ret_error has the text, and @m is OFF. */
int mirror_resume(struct mirror *m, struct qmp *q, const struct vmm_disk *disk,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Handle one of QEMU's events; events of other jobs are ignored. @data (or NULL) is borrowed. Pure.
 * Returns true if the mirror's condition has changed. */
bool mirror_take_event(struct mirror *m, const char *event, const json_t *data);

enum mirror_condition mirror_condition(const struct mirror *m);
/* such as "copying"; a static text */
const char *mirror_condition_name(enum mirror_condition condition);

/* Returns why the mirror is BROKEN, for the operator; "" otherwise. Borrowed from @m. */
const char *mirror_error(const struct mirror *m);

/* Ask QEMU for the progress, and check it with mirror_judge(). If that returns -EIO, @m becomes
 * BROKEN. Takes some 0.5 ms. Returns what mirror_judge() returns, or an error of qmp_execute() with
 * *ret_error. */
int mirror_check(struct mirror *m, struct qmp *q, struct mirror_progress *ret_progress,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* Find out from QEMU's answer to query-block-jobs whether the server has all of the disk's content.
 * Pure.
 * Returns 0 if the server has all of it. This is certain only while the guest's requests are
 * drained;
 * -EAGAIN: the server does not yet have all of it;
 * -EIO: the job is gone or has failed;
 * -EPROTO: the answer is not understood.
 * *ret_progress is set with 0 and -EAGAIN. *ret_error is set with -EIO and -EPROTO. */
int mirror_judge(const json_t *query_block_jobs, const char *id,
		 struct mirror_progress *ret_progress, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Change the limit of the first copy, in bytes/s; 0: no limit. Returns 0, or an error of
 * qmp_execute() with *ret_error. */
int mirror_set_speed(struct mirror *m, struct qmp *q, uint64_t speed, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the job, if it runs, and remove the node. Afterwards @m is OFF, and QEMU's block nodes are as
 * they were before mirror_begin(). Does nothing if @m is OFF. Call it only while no command is in
 * flight on @q. Blocks until the job has ended, which takes a few ms. If the server hangs, kill the
 * server first.
 * Returns 0;
 * -ETIMEDOUT: the job does not end;
 * or an error of qmp_execute().
 * On error *ret_error has the text; call this again. */
int mirror_end(struct mirror *m, struct qmp *q, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Remove the node and job that a killed agent has left for the disk @name. Used for a VM that is no
 * longer replicated. Returns what mirror_end() returns. */
int mirror_remove(struct qmp *q, const char *name, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
