/* engine.h - the primary side of one VM: seals epochs, sends them, and releases the frames of
 * committed epochs.
 *
 * What: attaches to a running QEMU and copies the whole guest while it runs (a FULL epoch). Then
 * ends ("seals") epoch after epoch when the pacer says so, and releases the guest's frames when
 * their epoch is committed.
 *
 * Sealing, encoding, sending, committing and releasing share state (reference, retained epochs,
 * hold). So one thread does them all, without locks. It handles COMMITs also between two frames
 * that it encodes, so a COMMIT waits only briefly. Threads that help to encode (workers.h) touch
 * only their own pages.
 *
 *       engine_open ──► ATTACHING ──RESUME──► SYNCING ──commit of the first held epoch──► PROTECTED
 *	                     ▲                    ▲                                     │
 *	                     └─ stream lost ──────┴─────────────────────────────────────┘
 *       If the stream is lost in mode HOLD, the next state is SYNCING, and held frames wait. If it
 *       is lost in mode PASS, the next state is ATTACHING.
 *
 * The hold has two modes. In PASS the guest's frames leave at once. In HOLD the frames of epoch n
 * leave after COMMIT(n). The first mode is PASS. After the first copy of the guest is committed,
 * the seal of the next short epoch changes the mode to HOLD, for good.
 *
 * If the lease (lease.h) expires in mode HOLD, the guest is stopped and nothing is released. This
 * also happens if the gateway says that we were outvoted. When a lease is renewed in the same term,
 * the guest resumes and frames are released again.
 *
 * Where: hostagent/vm/vm.c owns one per protected VM. Uses vmm/ (QEMU), net/holds.h, link/link.h.
 * Threads: one owner thread calls engine_open() and the three functions that end an engine
 * (engine_detach(), engine_fence(), engine_close()); any thread may call engine_status(). The
 * engine's own thread checks the lease, and never blocks beyond the end of a valid lease.
 */
#ifndef EPOCH_ENGINE_H
#define EPOCH_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "epoch/pacer.h"
#include "epoch/stage.h"
#include "epoch/throttle.h"
#include "wire/msg.h"

struct engine;
struct handed;
struct gateway_view;
struct tap_names;
struct vmm_inventory;
struct wire_tls_context;
struct vmm_description;

enum engine_clock { ENGINE_CLOCK_OFF, ENGINE_CLOCK_CORRECT };

#define ENGINE_PEERS_MAX 2

/* Pointers are borrowed for the life of the engine. */
struct engine_config {
	const char *vm;	     /* the VM's name, as in its file */
	const char *qmp;     /* QMP socket of the running QEMU */
	const struct tap_names *taps; /* the guest's taps: one for each of its cards */
	const char *pin_dir; /* bpffs directory of this VM's holds (net/holds.h) */
	struct pacer_config pacer;
	struct throttle_config throttle;
	uint32_t held_frames_max;
	uint64_t held_bytes_max;
	enum engine_clock clock;    /* whether to correct the guest's clock for pauses (see
				     * vmm/guestclock.h) */
	uint64_t clock_step_max_ns; /* largest correction in one jump */
	uint32_t clock_alarm_percent; /* warn if the guest's clock lost more than this share of the
				       * last minute */
	uint64_t reference_bytes;   /* size of the reference; 0: a quarter of guest RAM */
	/* the names (vmm/disks.h) of the guest's disks that are replicated; the guest must have no
	 * other writable disk */
	const char *const *disks;
	uint32_t n_disks;
	const char *run_dir;	  /* directory for the sockets of the disks' servers */
	uint64_t disk_ring_bytes; /* for each disk: limit in bytes of its writes that are not
				   * committed */
	/* true: QEMU ignores flushes of the disks' images, so that no flush makes a pause longer.
	 * An fsync of the protected guest is then only as safe as the standby's commit */
	bool skips_flushes;
	uint64_t disk_copy_bytes_per_s; /* limit of a disk's first copy; 0: none */
	uint64_t disk_verify_bytes_per_s; /* limit of the verification of the copies; 0: there is
					   * none */
	uint64_t disk_verify_every_ns; /* time from the end of one verification to the next; 0: one
					* after each copy */
	uint64_t ram_copy_bytes_per_s; /* limit of what a copy of RAM sends while output is not
					* held; 0: none */
	uint64_t ram_verify_bytes_per_s; /* limit of the verification of the standby's copy of RAM;
					  * 0: there is none */
	uint64_t ram_verify_every_ns; /* time from the end of one pass to the next; 0: one after
				       * each FULL epoch */
	uint64_t backlog_bytes_max; /* limit of encoded epochs not yet committed */
	uint32_t encode_threads; /* threads that encode, the engine's own included; 0:
				  * workers_default_threads() */
	enum stage_mode second_stage;
	uint64_t codec;             /* PAGE_FEATURE_*: delta classes to use where negotiated */
	bool is_restart; /* true if an earlier agent protected this guest in the same term. If the
			  * engine finds the guest stopped, that agent died during a pause: the
			  * engine resumes the guest */

	/* the description of the guest's QEMU that this host's standby made before the guest ran
	 * there; NULL: not known. Borrowed, used only by engine_open() */
	const struct vmm_description *known;

	/* what the agent's previous program handed on (handed.h); NULL: nothing. Only engine_open()
	 * uses this struct. It takes descriptors out of the struct, and sets those to -1 */
	struct handed *handed;

	bool needs_lease; /* true if the gateway gives leases: no frame leaves before the first
			   * lease arrives */
	/* the lease of the same term that the agent's previous program had (lease_resume()); 0:
	 * none */
	uint64_t lease_until_ns, lease_release_ns;
	const char *gateway_address; /* numeric IP address */
	uint16_t gateway_port;
	struct wire_tls_context *tls;
	struct gateway_view *view; /* records when this host last heard from the gateway */

	/* the VM's other hosts, for engine_go_direct(); name is NULL where there is none */
	struct engine_peer {
		const char *name, *address;
		uint16_t port;
	} peers[ENGINE_PEERS_MAX];

	struct progress *progress; /* receives the progress of attaching and of FULL epochs; NULL:
				    * not wanted */

	/* Called on the engine's thread after each change of state. It must only wake the owner. */
	void (*changed)(void *arg);
	void *changed_arg;
};

/* What a pass of engine_verify_now() has found; a larger value is worse. */
enum engine_found {
	ENGINE_FOUND_EQUAL,
	ENGINE_FOUND_TOO_LITTLE, /* nothing differed, but a part of RAM or of a disk could not be
				  * read, or RAM or all disks were not compared */
	ENGINE_FOUND_DIFFERENT,	 /* something differed, even if it was put right */
};

struct engine_status {
	uint8_t state;	 /* enum wire_state: ATTACHING, SYNCING, PROTECTED, FAILED */
	uint8_t verdict; /* enum wire_verdict */
	uint64_t term;
	uint64_t sealed_epoch;
	uint64_t committed_epoch;
	bool is_holding; /* frames are held until their epoch is committed: the guest is, or
			  * was, protected */
	bool is_outvoted;
	bool is_direct;		/* the stream leads to the other host, without a gateway */
	bool is_stopped_here;   /* we stopped the guest, because its lease has expired, or we were
				 * outvoted, or for a move */
	/* when we stopped the guest for a move (CLOCK_MONOTONIC); 0: it is not stopped for a
	 * move */
	uint64_t move_stopped_ns;
	uint64_t yielded_move;	/* the move for which we let go of the guest; 0: none */
	uint64_t yielded_epoch; /* the guest's last epoch here; valid if yielded_move is not 0 */
	uint64_t failed_move;	/* the number of the last move that was given up; 0: none */
	char move_text[WIRE_TEXT_MAX + 1]; /* why failed_move was given up */
	/* how the guest has changed since the engine attached to it, for example by a new device;
	 * "": it has not changed. After such a change, no epochs are made. */
	char uncovered[WIRE_TEXT_MAX + 1];
	char text[WIRE_TEXT_MAX + 1];	/* human-readable problem; "" when all is well */
	/* the last pass of engine_verify_now() that has ended; number 0: none */
	struct {
		uint64_t number;
		enum engine_found found;
		char text[WIRE_TEXT_MAX + 1];
	} verified;
	char stats[WIRE_STATS_MAX + 1]; /* figures, as lines "key=value\n" */
};

/* Return the guest's devices and taps as they were when the engine attached to it. The result is
 * valid until @engine is freed. Can be called on any thread. */
const struct vmm_inventory *engine_inventory(const struct engine *engine);
pid_t engine_guest_pid(const struct engine *engine); /* pid of QEMU's process; may be called on any
						      * thread */

/* Attach to the running guest in term @term: connect to QMP, check the guest, track its dirty
 * pages, open the hold and start the thread. The hold's mode is PASS, or the mode that a killed
 * agent left. The guest is not stopped. Blocks for some tens of ms. Returns 0. On error nothing has
 * changed, and *ret_error has a text for the operator:
 *      -ENOTSUP        this guest cannot be protected as it is now
 *      -ESHUTDOWN      the guest has shut itself down (QEMU runs with -no-shutdown)
 *      another -errno  a system call failed */
int engine_open(const struct engine_config *config, uint64_t term, struct engine **ret_engine,
		struct error *ret_error) __attribute__((warn_unused_result));

/* End the protection and let the guest run unprotected: release all held frames, remove the hold,
 * end tracking, free @engine. Call this only when the gateway has agreed. Returns 0. If something
 * could not be removed, returns -errno, and *ret_error says what. */
int engine_detach(struct engine *engine, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the engine of a host that was outvoted: drop all held frames, close the hold for good, stop
 * the guest, free @engine. Returns 0. If the guest could not be stopped, returns -errno and sets
 * *ret_error. The hold is closed in both cases. */
int engine_fence(struct engine *engine, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the engine because the agent ends, and free @engine. No frame is released. The hold stays
 * closed for the next agent, and the guest continues to run. Accepts NULL. */
void engine_close(struct engine *engine);

/* Hand the guest on to the agent's next program, and free @engine, like engine_close() does. Call
 * it when engine_status() says that a move has yielded. Returns 0: the guest stands still, and
 * *ret_handed has what engine_config.handed needs. On error returns -errno, and *ret_error says
 * why: the next program must begin as after any restart. */
int engine_hand_on(struct engine *engine, struct handed *ret_handed, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Remove the log of a disk's writes that an engine has left in run_dir. (engine_detach() and
 * engine_fence() remove the log themselves.) */
void engine_remove_ring(const char *run_dir, const char *vm, const char *disk);

/* Renew the lease after a LEASE message, and return the result of lease_renew(). If the guest was
 * stopped because it had no lease, it resumes within 10 ms. Can be called on any thread, but by
 * only one thread at a time. */
int engine_renew_lease(struct engine *engine, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		       uint32_t release_ms,
		       uint64_t sent_ns) __attribute__((warn_unused_result));

/* Continue in the newer @term, for which host @peer of config.peers has voted. The engine streams
 * to that host until the gateway takes the stream again. Held frames stay held until that host has
 * their epoch. The vote is also a lease, which begins at @claimed_ns (CLOCK_BOOTTIME), when we
 * asked for the vote. Can be called on any thread; the engine's thread carries the change out soon
 * after. */
void engine_go_direct(struct engine *engine, uint64_t term, uint64_t claimed_ns, uint8_t peer);

/* Begin move number @number (not 0; a new number each time): stop the guest, end its epoch, wait
 * for the commit, let go of the guest. engine_status() says how it ends: yielded_move or
 * failed_move becomes @number, and config.changed is called. A guest that was let go of stays
 * stopped, and this host releases nothing more, even if it gets a lease. If the move fails, the
 * guest goes on. Both functions can be called on any thread.
 *
 * engine_move_end() ends a move at any point: the guest then goes on here. After a report that the
 * move has yielded, call this only if the gateway says that this host still owns the guest.
 * Does nothing if there is no move.
 *
 * If @number has the bit ENGINE_MOVE_HANDS_ON, the guest is stopped for engine_hand_on(). If this
 * program knows something that it cannot hand on (engine_hand_obstacle()), such a move is given up
 * before the guest is touched. Such a move and a move of the gateway never replace each other:
 * while one is under way, engine_move() for the other returns -EBUSY and does nothing. Otherwise
 * engine_move() returns 0. */
#define ENGINE_MOVE_HANDS_ON (UINT64_C(1) << 63)
int engine_move(struct engine *engine, uint64_t number) __attribute__((warn_unused_result));
void engine_move_end(struct engine *engine);

/* Give back most of the reference's memory before the guest is stopped to be handed on. Otherwise
 * the guest would stand still while the kernel frees this memory. Epochs go on meanwhile, and are
 * larger. If @is_wanted is false, the reference may grow again. engine_has_shed() returns true if
 * the memory was given back. Both can be called on any thread. */
void engine_shed(struct engine *engine, bool is_wanted);
bool engine_has_shed(struct engine *engine);

/* Is a move wanted, or is the guest still stopped for a move? Any thread. */
bool engine_is_moving(struct engine *engine);

/* Let the guest run without a lease, because the gateway gives none. Call this on the same thread
 * as engine_renew_lease(). */
void engine_void_lease(struct engine *engine);

/* Begin to compare the standby's whole copy (RAM and disks) with the guest. Returns the number of
 * this pass. When `verified` of engine_status() has this number, the pass has ended. A later call
 * begins a new pass, and then the earlier number never appears. Can be called on any thread. */
uint64_t engine_verify_now(struct engine *engine);

void engine_status(struct engine *engine, struct engine_status *ret_status);

#endif
