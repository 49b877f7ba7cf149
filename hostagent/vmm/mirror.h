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
 * The caller's event handler passes every event of QEMU to every mirror (mirror_take_event()), also
 * while mirror_begin() and mirror_end() run.
 *
 * What QEMU does (7.2.22: block/mirror.c, blockjob.c, block/nbd.c, softmmu/cpus.c, monitor/), on
 * which the engine relies:
 *
 *  - If a write to the server fails, the guest's own write still succeeds. QEMU sends
 *    BLOCK_JOB_ERROR before the guest's write ends, and sends no later write to the server. The job
 *    runs on for up to 100 ms, and still looks ready in this time, but with len > offset. Then it
 *    ends (BLOCK_JOB_COMPLETED with `error`). The disk's own node is then as it was before the job.
 *    The node that we added stays until mirror_end().
 *  - QEMU does not delay these events (it delays 7 other events). It writes events and answers to a
 *    monitor through one buffer under one lock. `stop` and `xen-save-devices-state` drain all
 *    requests before they answer. So if a write ended before or during such a command, and the
 *    server lacks it, we receive its BLOCK_JOB_ERROR before the command's answer.
 *  - QEMU sends the event STOP before it drains. So when STOP arrives, the guest's last writes can
 *    still be on their way to the server. The server has them when the command is answered. The
 *    server also has them when QEMU has opened the file of xen-save-devices-state, and so when the
 *    first byte of the state has arrived. So note the seal's position in the disk's log at one of
 *    these two moments, not at STOP.
 *  - If the server ends while the guest writes nothing, QEMU sends no event until the guest's next
 *    write. Until then the server lacks no write. The code that starts the server should watch its
 *    process.
 *  - If the server hangs, QEMU waits for it without a limit: the guest's writes and `stop` hang,
 *    and during mirror_begin() the whole QEMU hangs. In this case kill the server: when its socket
 *    is closed, all requests to it fail at once (reconnect-delay 0), and the guest continues.
 *  - While the job starts, QEMU can carry out a write of the guest that the job does not see. If
 *    the first copy has read that part of the disk before the write, the server never receives the
 *    write. So call mirror_begin() while the guest is stopped. (We found this by reading the code
 *    of 7.2. QEMU 8.2 to 10.0.8 are known to miss writes at the start.)
 *  - The guest's flushes and discards are not sent to the server. Discards need not be sent,
 *    because it is undefined what a guest reads after a discard. If our node supported discards,
 *    sync=full would first write zeroes to the whole target, and so destroy the data that the
 *    target still has after an interruption.
 *
 * A mirror consists of two objects in QEMU: a node (the NBD client) and a job. Both have the id
 * that mirror_id() gives. They stay when the agent is killed. The job then ends at the first write
 * after the server has ended; the node stays until the next mirror_begin() or mirror_remove().
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
	uint64_t bytes; /* bytes to copy since the job began; grows with each write of the guest */
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
	bool is_ending;           /* mirror_end() is ending the job, so the job's end is no error */
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
 * disk's size. First removes the node and job that a killed agent has left, if there are any. @m
 * must be OFF. @speed limits the first copy, in bytes/s; 0: no limit. On success @m is COPYING, or
 * in a later condition if QEMU's events say so. After an error @m is OFF, and QEMU is as it was
 * before. Call it only while no command is in flight on @q. Takes a few ms if the server answers
 * quickly. Returns 0; -EALREADY if @m is not OFF; -EBUSY if another job uses the disk; -EREMOTEIO
 * if QEMU refused; -ETIMEDOUT if a leftover job does not end; or another error of qmp_execute().
 * *ret_error has the text of each error. */
int mirror_begin(struct mirror *m, struct qmp *q, const struct vmm_disk *disk,
		 const char *socket_path, uint64_t speed, struct error *ret_error)
	__attribute__((warn_unused_result));

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

/* Look in QEMU's answer to query-block-jobs whether the server has all of the disk's content. Pure.
 * Returns 0 if the server has all of it; -EAGAIN if it does not yet; -EIO if the job is gone or has
 * failed; or -EPROTO if the answer is not understood. A 0 is certain only while the guest's
 * requests are drained. *ret_progress is set with 0 and -EAGAIN, *ret_error with -EIO and
 * -EPROTO. */
int mirror_judge(const json_t *query_block_jobs, const char *id,
		 struct mirror_progress *ret_progress, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Change the limit of the first copy, in bytes/s; 0: no limit. Returns 0, or an error of
 * qmp_execute() with *ret_error. */
int mirror_set_speed(struct mirror *m, struct qmp *q, uint64_t speed, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the job, if it runs, and remove the node. Afterwards @m is OFF, and QEMU's block nodes are as
 * they were before mirror_begin(). Call it only while no command is in flight on @q. Blocks until
 * the job has ended, which takes a few ms. If the server hangs, kill it first. Does nothing if @m
 * is OFF. Returns 0; -ETIMEDOUT if the job does not end; or an error of qmp_execute(). *ret_error
 * has the text of each error. After an error, call it again. */
int mirror_end(struct mirror *m, struct qmp *q, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Remove the node and job that a killed agent has left for the disk @name. Used for a VM that is no
 * longer replicated. Returns what mirror_end() returns. */
int mirror_remove(struct qmp *q, const char *name, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
