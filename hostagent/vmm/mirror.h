/* mirror.h - makes a running QEMU copy one disk, and each write to it, to an NBD server.
 *
 * Why: the standby needs the guest's disk as it was at each seal. QEMU's block job "mirror" with
 * copy-mode=write-blocking copies the disk once and then ends no write of the guest before the
 * server has it too. So at a seal, when the guest is stopped and its requests are drained, the
 * server has seen every write.
 *
 *	mirror_begin()	 BLOCK_JOB_READY	    BLOCK_JOB_ERROR, any end of the job
 *	OFF ------> COPYING ------------> READY --------------------+
 *	 ^		 |		    |			     v
 *	 |		 +------------------+--------------------> BROKEN
 *	 +------------------- mirror_end() from any of these --------+
 *
 * The caller passes every event of QEMU's to every mirror (mirror_take_event), from its one event
 * handler, also while mirror_begin() and mirror_end() run.
 *
 * What QEMU does (7.2.22: block/mirror.c, blockjob.c, block/nbd.c, softmmu/cpus.c, monitor/), on
 * which the engine relies:
 *
 *  - A failed write to the server: the guest's write succeeds all the same, BLOCK_JOB_ERROR is sent
 *    before that write ends, and no later write goes to the server. The job itself runs on for up
 *    to 100 ms and looks ready for so long, with len > offset; then it ends (BLOCK_JOB_COMPLETED
 *    with `error`). The source's node is then as it was; ours stays until mirror_end().
 *  - The events on a monitor are not delayed (only 7 others are), and events and answers go through
 *    one buffer under one lock. `stop` and `xen-save-devices-state` drain all requests before they
 *    answer. So if a write that ended before or during such a command is missing on the server, its
 *    BLOCK_JOB_ERROR is on the monitor before the command's answer.
 *  - But QEMU sends STOP before it drains: at that event the guest's last writes may still be on
 *    their way to the server. They are there when the command is answered, and also when QEMU has
 *    opened the file of xen-save-devices-state, so when the first byte of the state has come. Cut
 *    the disk's log then, not at STOP.
 *  - With an idle guest nobody notices that the server is gone: no event comes before the next
 *    write. Nothing is missed by then. Whoever starts the server should watch it.
 *  - When the server hangs, QEMU waits for it without a limit: the guest's writes and `stop` hang,
 *    and during mirror_begin() all of QEMU. Kill it then: when its socket closes, all requests fail
 *    at once (reconnect-delay 0), and the guest runs on.
 *  - While the job starts, QEMU may let a write pass that it had held back, before the job sees the
 *    guest's writes. If the copy reads that place before the write is done, the server never gets
 *    it. So call mirror_begin() while the guest is stopped: there are no such writes then. (Read in
 *    7.2, not provoked; 8.2 to 10.0.8 are known to miss writes at the start.)
 *  - The guest's flushes are not passed on, nor are its discards: what a guest reads after a
 *    discard is undefined. If our node let discards through, sync=full would first write zeroes to
 *    the whole target, which has most of the data after an interruption.
 *
 * In QEMU: a node (the NBD client) and a job, both with the id of mirror_id(). They stay when the
 * agent is killed. The job ends at the first write after the server is gone, the node stays until
 * the next mirror_begin() or mirror_remove().
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

/* QEMU's limit for the name of a node, with the NUL. */
#define MIRROR_ID_BYTES 32u

enum mirror_condition {
	MIRROR_OFF = 0, /* not begun, or ended */
	MIRROR_COPYING, /* the first copy; the guest's writes are copied too */
	MIRROR_READY,	/* the server has the whole disk, and gets every write */
	MIRROR_BROKEN,	/* the server misses writes, until mirror_end() and mirror_begin() */
};

/* What query-block-jobs says about a mirror. */
struct mirror_progress {
	uint64_t bytes;	      /* to copy, over the job's life: grows with each write of the guest */
	uint64_t done_bytes;  /* of these */
	bool is_ready;	      /* the first copy is done */
	/* QEMU 8.2 and later: does every write reach the server before it ends? Older: true. */
	bool is_active;
};

/* In the caller's storage. An all-zero struct is OFF; set it to zero if the monitor is lost. The
 * members are the module's own. */
struct mirror {
	enum mirror_condition condition;
	bool is_ending;		  /* mirror_end() ended the job: its end is no error */
	bool has_reason;	  /* QEMU said why the mirror is BROKEN */
	char name[VMM_DISK_NAME_MAX + 1u];
	char id[MIRROR_ID_BYTES]; /* of our node and job; "" if not begun */
	struct error error;	  /* while BROKEN: why */
};

/* Write the id of our node and job for the disk @name: "holdfast-NAME". A name of more than 22
 * characters is cut and gets a hash. */
void mirror_id(const char *name, char ret_id[MIRROR_ID_BYTES]);

/* Is @id the id of a node or job of ours, for any disk? */
bool mirror_is_our_id(const char *id);

/* Connect QEMU to the NBD server that listens on the unix socket @socket_path (an absolute path, as
 * QEMU sees it; its export "" must have the disk's size), and start the copy of @disk. Removes what
 * a killed agent left behind. @m must be OFF. @speed limits the first copy, in bytes/s; 0: no
 * limit. On success @m is COPYING, or what QEMU's events have made of it since. After an error it
 * is OFF, and QEMU is as it was. No command may be in flight on @q. Takes a few ms if the server
 * is quick.
 * Returns 0; -EALREADY if @m is not OFF; -EBUSY if another job uses the disk; -EREMOTEIO if QEMU
 * refused; -ETIMEDOUT if a leftover job does not end; or another error of qmp_execute(). *ret_error
 * has the text of each error. */
int mirror_begin(struct mirror *m, struct qmp *q, const struct vmm_disk *disk,
		 const char *socket_path, uint64_t speed, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Take one of QEMU's events; those of other jobs are ignored. @data (or NULL) is borrowed. Pure.
 * Returns whether the condition changed. */
bool mirror_take_event(struct mirror *m, const char *event, const json_t *data);

enum mirror_condition mirror_condition(const struct mirror *m);
const char *mirror_condition_name(enum mirror_condition condition); /* "copying"; static */

/* Returns why the mirror is BROKEN, for the operator; "" otherwise. Borrowed from @m. */
const char *mirror_error(const struct mirror *m);

/* Ask QEMU for the progress and judge it with mirror_judge(); -EIO also makes @m BROKEN. Takes some
 * 0.5 ms. Returns what mirror_judge() does, or an error of qmp_execute() with *ret_error. */
int mirror_check(struct mirror *m, struct qmp *q, struct mirror_progress *ret_progress,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* Is the server in step with the disk? Pure, on the answer to query-block-jobs.
 * Returns 0 if it is, provided that the guest's requests are drained; -EAGAIN if it is not yet;
 * -EIO if the job is gone or has failed, -EPROTO if the answer is not understood, both with
 * *ret_error. *ret_progress is set for 0 and -EAGAIN. */
int mirror_judge(const json_t *query_block_jobs, const char *id,
		 struct mirror_progress *ret_progress, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Change the limit of the first copy, in bytes/s; 0: no limit. Returns 0, or an error of
 * qmp_execute() with *ret_error. */
int mirror_set_speed(struct mirror *m, struct qmp *q, uint64_t speed, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the job, if it runs, and remove the node. @m is OFF then, and QEMU's block nodes are as they
 * were before mirror_begin(). No command may be in flight on @q. Blocks until the job has ended, a
 * few ms. If the server hangs, kill it first. An OFF mirror is left as it is.
 * Returns 0; -ETIMEDOUT if the job does not end; or an error of qmp_execute(). *ret_error has the
 * text of each error. After an error, call it again. */
int mirror_end(struct mirror *m, struct qmp *q, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Remove node and job of the disk @name that a killed agent left behind, for a VM that is not
 * replicated any more. Returns what mirror_end() does. */
int mirror_remove(struct qmp *q, const char *name, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
