/* engine_disks_private.h - what the engine knows about the guest's disks, and the functions of the
 * files that handle them. engine_private.h includes this file, and lists those files.
 *
 * Threads: the engine's.
 */
#ifndef EPOCH_ENGINE_DISKS_PRIVATE_H
#define EPOCH_ENGINE_DISKS_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "disk/ring.h"
#include "disk/server.h"
#include "epoch/blocks.h"
#include "epoch/condition.h"
#include "epoch/ring_epochs.h"
#include "vmm/disks.h"
#include "vmm/mirror.h"
#include "wire/msg.h"

struct engine;
struct handed;

/* must be greater than pacer_config.in_flight_max */
#define ENGINE_SEALED_AT_SLOTS 64u
#define ENGINE_COPY_BYTES_PER_S_MIN (UINT64_C(1) << 20) /* the smallest value of copy_bytes_per_s */

/* One disk of the guest; see engine_disks.c. */
struct engine_disk {
	struct vmm_disk found; /* the disk as the engine found it when it attached */
	char socket[108];      /* path of the NBD server's socket */
	struct disk_ring *ring;
	struct disk_server *server; /* NULL: none runs */
	struct mirror mirror;
	/* the ring's counts when the mirror was begun; more disconnections or overflows mean that
	 * a write did not arrive */
	struct disk_ring_counts counts;
	/* the blocks whose records were put into the current or last FULL epoch */
	struct ring_early early;
	uint64_t encoded; /* position in the ring up to which the records are in frames */
	/* position in the ring at which the copy ends; valid unless engine_disks.copy_sent_ns is
	 * 0 */
	uint64_t copy_end;
	/* position in the ring at which epoch n ends; index: n % ENGINE_SEALED_AT_SLOTS */
	uint64_t cut[ENGINE_SEALED_AT_SLOTS];
	/* Offsets of the blocks in which the standby's image differs; the next copy sends these
	 * blocks. n_bad is their number. If n_bad is larger than the array, not all of them are
	 * known, and the next copy sends all blocks. */
	uint64_t bad[WIRE_DISK_DIFFER_MAX];
	uint32_t n_bad;
	/* Bit i is set if block i (of BLOCKS_BYTES) differed, and has not been found equal since.
	 * The array has a bit for each block of the disk. */
	uint64_t *unproven;
	/* True when the mirror may begin: the hashes of the standby's image are in the ring's
	 * table, or the copy is made without them. */
	bool is_base_known;
	enum flush_condition flush;
	int image_fd; /* descriptor of the image's file; valid in FLUSH_IGNORED and FLUSH_BETWEEN;
		       * -1: none */
};

struct engine_disks {
	struct engine_disk *disk; /* array of n items */
	uint32_t n;
	enum disks_condition condition;
	struct error trouble; /* for the operator: why the disks are APART; "" if nothing is
			       * wrong */
	uint64_t retry_ns;    /* when the mirrors may begin; valid in DISKS_APART */
	uint64_t wait_ns;     /* length of the wait that ends at retry_ns; 0: none yet */
	uint64_t look_ns;     /* when to check whether the servers still run */
	uint64_t begun_ns;    /* when the mirrors were begun */
	/* our own limit of a copy, in bytes/s; 0: none. After a copy that filled a ring, it is half
	 * that copy's rate. It doubles while the rings have room (engine_progress.c) */
	uint64_t copy_bytes_per_s;
	/* The progress of the current copy, which began at begun_ns, or of the last copy: of
	 * copy_bytes that QEMU must read, it has read copied_bytes. Both are sums over all
	 * disks. */
	uint64_t copied_bytes, copy_bytes;
	/* when the last bytes of the copy were put into the rings; 0: not yet, or the whole copy is
	 * committed */
	uint64_t copy_sent_ns;
	uint64_t copy_ms;      /* from begun_ns until the last copy was committed; 0: none yet */
	uint64_t copy_look_ns; /* when to ask QEMU again how far the copy is */
	uint32_t copy_tenths;  /* how many tenths of the copy were reported as done */
	char copy_news[WIRE_STATS_VALUE_MAX + 1]; /* the last news of a copy, for events; "": no
						   * copy yet */
	uint64_t flush_retry_ns; /* when to try again to switch flushes on */
};

/* The verification of the disks' copies; see engine_verify.c. */
struct engine_verify {
	struct blocks *blocks; /* the blocks of disk number `disk`; NULL: not opened */
	enum verify_condition condition;
	enum finding_condition finding;
	uint32_t disk;	       /* index of the disk whose blocks are compared; engine_disks.n: none
				* is left */
	uint64_t block;	       /* first block of the batch, or of the next batch */
	uint64_t first;        /* the batch has the blocks first .. first + n - 1; valid while
				* there is a batch */
	uint32_t n;
	uint64_t touched;      /* bit i: the i-th block of the batch was written since the read
				* began */
	uint64_t epoch;        /* the epoch of the hashes; valid in VERIFY_READ, VERIFY_REREAD
				* and VERIFY_SENT */
	uint64_t sent;         /* bit i: epoch `epoch` has the hash of the batch's i-th block */
	uint64_t answer_ns;    /* VERIFY_SENT: when to give up waiting for the standby's answer */
	uint64_t next_ns;      /* when the next batch, or the next pass, may begin */
	struct wire_disk_checked answer; /* the standby's answer; if n_differ > 0, it is not handled
					  * yet */
	/* the standby's last answer by which blocks of the current batch differ; n_differ 0: there
	 * was none, or the batch was found equal since */
	struct wire_disk_checked bad;
	uint32_t bad_at;       /* index in bad.offset of the next block to send again */
	uint64_t n_unproven;   /* number of unproven blocks of all disks */
	/* how many times in a row blocks of this batch differed, the first time included. A
	 * difference after a repair that left out a block does not count. After a new copy of the
	 * disk, all batches of the pass are counted together */
	uint32_t n_tries;
	uint32_t n_skipped;    /* blocks that the last repair of this batch left out, because the
				* guest was writing them */
	/* Of this pass. n_checked: blocks that were equal; n_busy: blocks that the guest wrote
	 * while they were compared; n_unread: other blocks that could not be read. */
	uint64_t n_checked, n_busy, n_unread;
	uint32_t n_left_out;   /* disks of this pass that cannot be verified */
	uint64_t n_differ;     /* blocks that differed, in all passes */
	struct error why;      /* why a disk or a block cannot be verified, or why the verification
				* has failed; "": no reason */
	uint64_t told_ns;      /* when `news` last reported a difference */
	char news[WIRE_STATS_VALUE_MAX + 1]; /* what happened last; "": nothing yet */
};

/* engine_disks.c. Make a ring for each disk that the VM's file names, or continue with the ring
 * that an earlier agent left. engine_disks_tick() begins the mirrors later.
 * Returns 0;
 * -EBUSY: a block job uses a disk;
 * or an error of flushes_on_again(), vmm_disks_list() or disk_ring_new(), or of
 * engine_ring_resume() for a guest that was handed on.
 * On error *ret_error is set. */
int engine_disks_open(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Called when the protection ends. End all mirrors, so that QEMU's block nodes are as they were
 * found, and remove the rings' files. */
void engine_disks_detach(struct engine *e);
/* Free everything. This ends the disks' servers, so a mirror that was not ended breaks. The rings'
 * files stay for the next engine. */
void engine_disks_free(struct engine_disks *disks);
/* Does QEMU open any of the disks with O_DIRECT? */
bool engine_disks_are_direct(const struct engine *e);
/* May epochs be sent on the stream? Not if the guest has disks and the stream cannot carry their
 * changes. */
bool engine_disks_may_stream(const struct engine *e);
/* May the hold begin with the next seal? Only if the disks are in step and few bytes wait in the
 * rings. */
bool engine_disks_may_hold(const struct engine *e);
/* Call this with @is_sealing true before a `stop` of ours, for a seal or any other reason, and with
 * false afterwards. Between the two calls, writes do not wait for room in the rings, because QEMU's
 * `stop` waits until the guest's writes are answered. */
void engine_disks_sealing(struct engine *e, bool is_sealing);
/* Record that @epoch ends at the rings' heads. Called by the seal's hook, when the guest is stopped
 * and its requests are done. */
void engine_disks_cut(struct engine *e, uint64_t epoch);
/* Put into @epoch what the guest wrote up to the end of @epoch.
 * Returns 0;
 * -EBADMSG: a ring is damaged;
 * or an error of encoder_disk(), engine_stream_wait() or engine_service(). */
int engine_disks_encode(struct engine *e, uint64_t epoch) __attribute__((warn_unused_result));
/* Release the records up to the end of @epoch, because @epoch is committed. */
void engine_disks_committed(struct engine *e, uint64_t epoch);
/* Called when a FULL epoch begins, which replaces all epochs that are not committed. */
void engine_disks_full_begins(struct engine *e);
/* Put the records that wait in the rings into the FULL epoch. Call this from time to time while RAM
 * is copied. Returns 0, or an error after which the epoch is lost. */
int engine_disks_full_take(struct engine *e) __attribute__((warn_unused_result));
/* Call this before the seal of a FULL epoch. If the output is held, waits until the disks are in
 * step. Returns 0, or an error after which the epoch is lost. */
int engine_disks_full_wait(struct engine *e) __attribute__((warn_unused_result));
/* Called at each RESUME: record that @epoch is the standby's last epoch. If the standby has lost a
 * committed epoch, the content of its images is unknown, so the disks are copied whole. */
void engine_disks_resumed(struct engine *e, uint64_t epoch);
/* Called when the ring of @disk is full because the first copy was faster than epochs are
 * committed. Make the next copy half as fast. */
void engine_copy_slow_down(struct engine *e, const struct engine_disk *disk);
/* Return the limit of a disk's copy, in bytes/s; 0: none. */
uint64_t engine_copy_limit(const struct engine *e);

/* engine_mirrors.c. When it is time, begin the mirrors. When they are in step or broken, record
 * that. Called between two epochs. */
void engine_disks_tick(struct engine *e);
/* Return when engine_disks_tick() is due. */
uint64_t engine_disks_wake_ns(const struct engine *e, uint64_t now_ns);
/* Check that every write so far is in the rings. Call this after each seal, before its epoch is
 * encoded. Returns 0 if no write is missing, or if the mirrors were not running anyway. If a write
 * is missing, ends the mirrors and returns -EPIPE; if the output is held, only a FULL epoch may
 * follow then. */
int engine_disks_check(struct engine *e) __attribute__((warn_unused_result));
/* Called when QEMU did not stop the guest in time. QEMU may be waiting for a server that hangs, so
 * kill all servers. */
void engine_disks_hung(struct engine *e);
/* End all mirrors, and begin them again later. Called when the mirror of @disk has missed a write
 * or is broken, or when the standby's image differs; @why says which, for the operator. While the
 * output is held, no epoch may be sent until the mirrors have begun again. */
void engine_disks_fell_apart(struct engine *e, const struct engine_disk *disk, const char *why);
/* End all mirrors, so that QEMU's block nodes are as they were found. Changes no condition. */
void engine_mirrors_end(struct engine *e);
/* Is more than a quarter (1/RING_SEAL_SHARE) of the ring of @disk filled? */
bool engine_disk_is_filling(const struct engine *e, const struct engine_disk *disk);

/* engine_verify.c. Begin or end a batch or a pass, when it is time. Called between two epochs. */
void engine_verify_tick(struct engine *e);
/* Called while the disks are not in step, and in any case before a copy of them begins. Leaves it
 * to that copy to send the blocks that differed. After the copy, all blocks are compared again. */
void engine_verify_apart(struct engine *e);
/* Called when @record of @disk is put into an epoch: note that the guest has written its blocks. */
void engine_verify_saw(struct engine *e, const struct engine_disk *disk,
		       const struct disk_record *record);
/* Called by the seal's hook of @epoch: the hashes that are ready by now will be put into @epoch. */
void engine_verify_cut(struct engine *e, uint64_t epoch);
/* Put hashes into @epoch, after all its changes of disks. Returns 0, or an error after which the
 * epoch is lost. */
int engine_verify_encode(struct engine *e, uint64_t epoch) __attribute__((warn_unused_result));
/* Handle a DISK_CHECKED frame. Returns 0; -EPROTO: the frame is not valid. */
int engine_verify_answer(struct engine *e, const struct wire_frame *frame)
	__attribute__((warn_unused_result));
/* May hashes be sent? Only while the disks are in step, and epochs follow each other without a
 * gap. */
bool engine_verify_may_send(const struct engine *e);
/* Begin a pass now, even if the verification has failed before. */
void engine_verify_begin(struct engine *e);
void engine_verify_close(struct engine_verify *verify);

/* engine_progress.c. Add figures of the disks' verification to @stats. Returns 0 or an error of
 * wire_stats_add(). */
int engine_verify_stats(const struct engine *e, char *stats) __attribute__((warn_unused_result));
/* Has the current pass over the disks ended, or is no pass possible? */
bool engine_verify_is_over(const struct engine *e);
/* Report that the copy of the disks has begun. */
void engine_copy_begun(struct engine *e);
/* Ask QEMU how far the copy is, when it is time; report it, and adjust the copy's speed. Call this
 * between two epochs, or while a FULL epoch waits for the copy. */
void engine_copy_look(struct engine *e);
/* Report that the copy is complete (@why is NULL), or why it was given up. */
void engine_copy_ended(struct engine *e, const char *why);
/* Called when the whole copy is in the rings: note where it ends there. */
void engine_copy_sent(struct engine *e);
/* Called at each commit: if the standby has the whole copy now, record how long that took. */
void engine_copy_arrived(struct engine *e);
/* Add @text to @stats. Cut it to the length of a value, and replace each character that a value
 * must not have by '?'. Add nothing if @text is "". Returns 0 or an error of wire_stats_add(). */
int engine_add_text(char *stats, const char *key, const char *text)
	__attribute__((warn_unused_result));
/* Add figures of the disks to @stats. Returns 0 or an error of
 * wire_stats_add(). */
int engine_disks_stats(const struct engine *e, char *stats) __attribute__((warn_unused_result));

/* engine_flushes.c. Make QEMU ignore flushes of the images, or obey them, depending on the
 * condition of the disks and on the hold. Called between two epochs. */
void engine_flushes_tick(struct engine *e);
/* Make QEMU obey flushes again, and write the images to the disk. Call this before output may pass
 * without a commit. Returns 0, also if flushes were never off; or an error of flushes_on(), with
 * *ret_error: then output must stay held. */
int engine_flushes_on(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
bool engine_flushes_are_off(const struct engine *e); /* are the flushes of every disk off? */
bool engine_flushes_are_any_off(const struct engine *e); /* are the flushes of any disk off? */

/* engine_disks_handed.c. Leave rings, servers and mirrors to the agent's next program. */
void engine_disks_hand_on(struct engine *e, struct handed *handed);
/* Continue with the ring, the server and the mirror of @disk that the previous program left.
 * Returns 0, or an error (with *ret_error) after which nothing can be taken over. */
int engine_ring_resume(struct engine *e, struct engine_disk *disk, struct error *ret_error)
	__attribute__((warn_unused_result));

/* engine_ring.c. Make the ring of @disk, or continue with the ring that an earlier agent left.
 * Returns 0, or an error of disk_ring_new() with *ret_error. */
int engine_ring_open(struct engine *e, struct engine_disk *disk, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Record in the rings that the standby keeps its images in the engine's new term. */
void engine_disks_term(struct engine *e);

#endif
