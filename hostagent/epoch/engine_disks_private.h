/* engine_disks_private.h - what the engine knows of the guest's disks, and the functions of the
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

#define ENGINE_SEALED_AT_SLOTS 64u /* must be greater than in_flight_max */
#define ENGINE_COPY_BYTES_PER_S_MIN (UINT64_C(1) << 20) /* a copy is not made slower than this */

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
	struct ring_early early; /* the blocks in the current or last FULL epoch */
	uint64_t encoded; /* position in the ring: records before it are in frames */
	uint64_t copy_end; /* position in the ring at which the copy ends; valid unless
			    * copy_sent_ns is 0 */
	/* position in the ring at which an epoch ends; index: epoch % slots */
	uint64_t cut[ENGINE_SEALED_AT_SLOTS];
	/* Offsets of blocks in which the standby's image differs: the next copy sends these blocks.
	 * The first n_bad items are valid. If n_bad is larger than the array, the next copy sends
	 * all blocks */
	uint64_t bad[WIRE_DISK_DIFFER_MAX];
	uint32_t n_bad;
	/* Bit i is set if block i (of BLOCKS_BYTES) differed, and was not compared equal since. The
	 * array has a bit for each block of the disk. */
	uint64_t *unproven;
	/* The hashes of the standby's image are in the ring's table, or the copy does without them.
	 * So the mirror may begin. */
	bool is_base_known;
	enum flush_condition flush;
	int image_fd; /* descriptor of the image's file; valid in FLUSH_IGNORED and FLUSH_BETWEEN;
		       * -1: none */
};

struct engine_disks {
	struct engine_disk *disk; /* array of n disks */
	uint32_t n;
	enum disks_condition condition;
	struct error trouble; /* for the operator: why the disks are APART; "" if nothing is
			       * wrong */
	uint64_t retry_ns;    /* when to begin the mirrors; valid in DISKS_APART */
	uint64_t wait_ns;     /* length of the wait that ends at retry_ns; 0: none yet */
	uint64_t look_ns;     /* when to check whether the servers still run */
	uint64_t begun_ns;    /* when the mirrors were begun */
	/* our own limit of a copy, in bytes/s: it falls while a ring is nearly full; 0: none */
	uint64_t copy_bytes_per_s;
	/* The progress of the present copy, which began at begun_ns, or of the last copy.
	 * `copied_bytes` is what QEMU has read, `copy_bytes` what it must read; both are sums over
	 * all disks. */
	uint64_t copied_bytes, copy_bytes;
	uint64_t copy_sent_ns; /* when the copy was whole in the rings; 0: it is not yet, or it is
				* committed */
	uint64_t copy_ms;      /* from begun_ns until the last copy was committed; 0: none yet */
	uint64_t copy_look_ns; /* when to ask QEMU again */
	uint32_t copy_tenths;  /* tenths of the copy that were reported */
	char copy_news[WIRE_STATS_VALUE_MAX + 1]; /* for events; "": no copy yet */
	uint64_t flush_retry_ns; /* when to retry to switch flushes on */
};

/* The verification of the disks' copies; see engine_verify.c. */
struct engine_verify {
	struct blocks *blocks; /* the blocks of disk number `disk`; NULL: not opened */
	enum verify_condition condition;
	enum finding_condition finding;
	uint32_t disk;	       /* which disk's turn it is; n: the pass has ended */
	uint64_t block;	       /* first block of the batch, or of the next batch */
	uint64_t first;        /* the first block that is read; with n, valid while
				* there is a batch */
	uint32_t n;
	uint64_t touched;      /* bit i: block i of the batch was written since the read began */
	uint64_t epoch;        /* the epoch of the hashes; valid in VERIFY_READ, VERIFY_REREAD
				* and VERIFY_SENT */
	uint64_t sent;         /* bit i: the hash of block i of the batch is in that epoch */
	uint64_t answer_ns;    /* VERIFY_SENT: when to give up waiting for the standby's answer */
	uint64_t next_ns;      /* when the next batch, or the next pass, may begin */
	struct wire_disk_checked answer; /* the standby's answer; if n_differ > 0, it is not handled
					  * yet */
	struct wire_disk_checked bad; /* the last difference, in the batch that is not equal yet;
				       * n_differ 0: none */
	uint32_t bad_at;       /* index of the next block in `bad` to send again */
	uint64_t n_unproven;   /* blocks of all disks that are unproven */
	uint32_t n_tries;      /* how many times in a row blocks of this batch still differed after
				* a repair. If the disk was copied again, all batches of the pass
				* are counted together. A repair that left out a block does not
				* count */
	uint32_t n_skipped;    /* blocks that the last repair of this batch left out, because the
				* guest was writing them */
	/* of this pass. n_checked: blocks that were equal; n_busy: blocks that were written
	 * meanwhile; n_unread: other blocks that could not be read */
	uint64_t n_checked, n_busy, n_unread;
	uint32_t n_left_out;   /* disks of this pass that cannot be verified */
	uint64_t n_differ;     /* blocks that differed, in all passes */
	struct error why;      /* why a disk or a block cannot be verified, or why the verification
				* has failed; "": no reason */
	uint64_t told_ns;      /* when `news` last reported a difference */
	char news[WIRE_STATS_VALUE_MAX + 1]; /* what happened last; "": nothing yet */
};

/* engine_disks.c. Make a ring for each disk that the VM's file names, or continue with the ring
 * that an earlier agent left. engine_disks_tick() begins the mirrors later. Returns 0; -EBUSY if a
 * block job uses a disk; errors of vmm_disks_list() and disk_ring_new(). On error *ret_error is
 * set. */
int engine_disks_open(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Called when the protection ends. End all mirrors, which leaves QEMU's block nodes as they were
 * found, and remove the rings' files. */
void engine_disks_detach(struct engine *e);
/* Free everything. A mirror that was not ended breaks, since its server ends. The rings' files stay
 * for the next engine. */
void engine_disks_free(struct engine_disks *disks);
bool engine_disks_are_direct(const struct engine *e); /* does QEMU open any of the disks with
						       * O_DIRECT? */
/* May epochs be sent on this stream? Not if the guest has disks and the stream cannot carry
 * them. */
bool engine_disks_may_stream(const struct engine *e);
/* May the hold begin with the next seal? Only if the disks are in step and few bytes wait in the
 * rings. */
bool engine_disks_may_hold(const struct engine *e);
/* Call this with true before a `stop` of ours, for a seal or any other reason, and with false
 * afterwards. Meanwhile writes do not wait for room in the rings, because QEMU's `stop` waits until
 * the guest's writes are answered. */
void engine_disks_sealing(struct engine *e, bool is_sealing);
/* Record that @epoch ends at the rings' heads. Called by the seal's hook: the guest is stopped, its
 * requests are done. */
void engine_disks_cut(struct engine *e, uint64_t epoch);
/* Put what the guest wrote up to the end of @epoch into that epoch. Returns 0; errors of
 * encoder_disk(); -EBADMSG if a ring is not valid. */
int engine_disks_encode(struct engine *e, uint64_t epoch) __attribute__((warn_unused_result));
void engine_disks_committed(struct engine *e, uint64_t epoch);
/* engine_disks_full_begins(): a FULL epoch begins, and replaces all epochs that are not committed.
 * engine_disks_full_take(): put the records that wait in the rings into this epoch; call it from
 * time to time while RAM is copied. engine_disks_full_wait(): call it before the seal; if the
 * output is held, it waits until the disks are in step. The last two return 0, or an error after
 * which the epoch is lost. */
void engine_disks_full_begins(struct engine *e);
int engine_disks_full_take(struct engine *e) __attribute__((warn_unused_result));
int engine_disks_full_wait(struct engine *e) __attribute__((warn_unused_result));
/* Record that the standby has only the epochs up to @epoch. If a committed epoch is lost, the
 * content of the standby's images is unknown, so the disks are copied whole. */
void engine_disks_resumed(struct engine *e, uint64_t epoch);
/* Called when a ring is full because the first copy was faster than epochs are committed. Make the
 * next copy half as fast. */
void engine_copy_slow_down(struct engine *e, const struct engine_disk *disk);
/* Return the limit of a disk's copy, in bytes/s; 0: none. */
uint64_t engine_copy_limit(const struct engine *e);

/* engine_mirrors.c. Begin the mirrors, or record that they are in step or broken. Called between
 * two epochs. */
void engine_disks_tick(struct engine *e);
uint64_t engine_disks_wake_ns(const struct engine *e, uint64_t now_ns); /* when the next tick is
									 * due */
/* Check that every write so far has arrived. Call this after each seal, before its epoch is
 * encoded. Returns 0 if all have arrived, or if the mirrors are not in step anyway. If a write is
 * missing, ends the mirrors and returns -EPIPE; if the output is held, only a FULL epoch may
 * follow. */
int engine_disks_check(struct engine *e) __attribute__((warn_unused_result));
/* Called when QEMU did not stop the guest in time. QEMU may be waiting for a server that hangs, so
 * kill all servers. */
void engine_disks_hung(struct engine *e);
/* Called when the mirror of @disk is not whole, or the standby's image differs, because of @why:
 * end all mirrors, and begin them again later. While the output is held, no epoch may be sent until
 * the mirrors have begun again. */
void engine_disks_fell_apart(struct engine *e, const struct engine_disk *disk, const char *why);
/* End all mirrors, so that QEMU's block nodes are as they were found. Changes no condition. */
void engine_mirrors_end(struct engine *e);
/* Is more than 1/RING_SEAL_SHARE of the ring of @disk filled? */
bool engine_disk_is_filling(const struct engine *e, const struct engine_disk *disk);

/* engine_verify.c. Begin or end a batch or a pass, when it is time. Called between two epochs. */
void engine_verify_tick(struct engine *e);
/* Called when the disks are not in step, and in any case before a copy of them begins. Leaves the
 * blocks that differed to that copy. Later all blocks are compared again. */
void engine_verify_apart(struct engine *e);
/* Note that @record of @disk is put into the epoch: its blocks were written lately. */
void engine_verify_saw(struct engine *e, const struct engine_disk *disk,
		       const struct disk_record *record);
/* Called by the seal's hook: hashes that are computed by now will be put into @epoch. */
void engine_verify_cut(struct engine *e, uint64_t epoch);
/* Put hashes into @epoch, after all its changes of disks. Returns 0, or an error after which the
 * epoch is lost. */
int engine_verify_encode(struct engine *e, uint64_t epoch) __attribute__((warn_unused_result));
/* Handle DISK_CHECKED. Returns 0 or -EPROTO. */
int engine_verify_answer(struct engine *e, const struct wire_frame *frame)
	__attribute__((warn_unused_result));
/* Add figures of the verification to @stats. Returns 0 or an error of wire_stats_add(). */
int engine_verify_stats(const struct engine *e, char *stats) __attribute__((warn_unused_result));
/* Begin a pass now, even if the verification had failed. */
void engine_verify_begin(struct engine *e);
/* Has the pass ended, or can there be none? */
bool engine_verify_is_over(const struct engine *e);
void engine_verify_close(struct engine_verify *verify);

/* engine_progress.c. engine_copy_begun(): report that the copy of the disks has begun.
 * engine_copy_look(): report how far it has come; call it between two epochs, or while a FULL epoch
 * waits for the copy. engine_copy_ended(): report that it has ended (@why is NULL), or why it was
 * given up. */
void engine_copy_begun(struct engine *e);
void engine_copy_look(struct engine *e);
void engine_copy_ended(struct engine *e, const char *why);
/* engine_copy_sent(): the whole copy is in the rings: note where it ends. engine_copy_arrived():
 * find out whether the standby has all of it. */
void engine_copy_sent(struct engine *e);
void engine_copy_arrived(struct engine *e);
/* Add a text to @stats. Cut it to the length of a value, and put '?' for characters that a value
 * must not have. Adds nothing if the text is "". Returns 0 or an error of wire_stats_add(). */
int engine_add_text(char *stats, const char *key, const char *text)
	__attribute__((warn_unused_result));
/* Add figures of the disks to @stats. Returns 0 or an error of
 * wire_stats_add(). */
int engine_disks_stats(const struct engine *e, char *stats) __attribute__((warn_unused_result));

/* engine_flushes.c. Make QEMU ignore or obey flushes of the images, as the disks' condition and the
 * hold require. Called between two epochs. */
void engine_flushes_tick(struct engine *e);
/* Make QEMU obey flushes, and bring the images to the disk. Call this before output can pass
 * without a commit. Returns 0, also if flushes were never off. Returns an error of flushes_on()
 * with *ret_error if output must stay held. */
int engine_flushes_on(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
bool engine_flushes_are_off(const struct engine *e); /* are the flushes of every disk off? */
bool engine_flushes_are_any_off(const struct engine *e); /* are those of any disk off? */

/* engine_disks_handed.c. engine_disks_hand_on(): leave rings, servers and mirrors to the agent's
 * next program. engine_ring_resume(): continue with those of @disk; returns 0, or an error after
 * which nothing can be taken over. */
void engine_disks_hand_on(struct engine *e, struct handed *handed);
int engine_ring_resume(struct engine *e, struct engine_disk *disk, struct error *ret_error)
	__attribute__((warn_unused_result));

/* engine_ring.c. Make the ring of @disk, or continue with the ring that an earlier agent left.
 * Returns 0; errors of disk_ring_new(), with *ret_error. */
int engine_ring_open(struct engine *e, struct engine_disk *disk, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Record that the standby keeps its copy in the engine's new term. */
void engine_disks_term(struct engine *e);

#endif
