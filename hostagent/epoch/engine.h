/* engine.h - the primary side of one VM: seals epochs, sends them, and releases the frames of
 * committed epochs.
 *
 * What: attaches to a running QEMU and copies the whole guest while it runs (a FULL epoch). Then
 * ends ("seals") epoch after epoch when the pacer says so, and releases the guest's frames when
 * their epoch is committed.
 *
 * Sealing, encoding, sending, committing and releasing share state (reference, retained epochs,
 * hold). So one thread does them all, without locks. This thread also handles COMMITs between two
 * frames that it encodes, so a COMMIT waits only briefly. Threads that help to encode (workers.h)
 * touch only their own pages.
 *
 *       engine_open ──► ATTACHING ──RESUME──► SYNCING ──commit of the first held epoch──► PROTECTED
 *	                     ▲                    ▲                                     │
 *	                     └─ stream lost ──────┴─────────────────────────────────────┘
 *       If the stream is lost in mode HOLD, the next state is SYNCING, and held frames wait. If it
 *       is lost in mode PASS, the next state is ATTACHING.
 *
 * The hold has two modes. In PASS the guest's frames leave at once. In HOLD the frames of epoch n
 * leave after COMMIT(n). The first mode is PASS. When the first copy of the guest is committed, the
 * seal of the next short epoch changes the mode to HOLD. The mode never changes back to PASS.
 *
 * If the lease (lease.h) expires in mode HOLD, the guest is stopped and nothing is released. The
 * same happens if the gateway says that we were outvoted. When a lease is renewed in the same term,
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
	uint64_t clock_step_max_ns; /* the clock is set forward by at most this much at a time */
	uint32_t clock_alarm_percent; /* warn if the guest's clock lost more than this share of the
				       * last minute */
	uint64_t reference_bytes;   /* size of the reference; 0: a quarter of guest RAM */
	/* the names (vmm/disks.h) of the guest's disks that are replicated; the guest must have no
	 * other writable disk */
	const char *const *disks;
	uint32_t n_disks;
	const char *run_dir;	  /* directory for the sockets of the disks' servers */
	uint64_t disk_ring_bytes; /* for each disk: limit of its writes that are not committed, in
				   * bytes */
	/* true: while the guest is protected, QEMU ignores flushes of the disks' images, so that no
	 * flush makes a pause longer. An fsync in the guest is then made safe by the standby's
	 * commit, not by this host's disk */
	bool skips_flushes;
	uint64_t disk_copy_bytes_per_s; /* limit of a disk's first copy; 0: no limit */
	uint64_t disk_verify_bytes_per_s; /* limit of the verification of the disks' copies; 0: they
					   * are not verified */
	uint64_t disk_verify_every_ns; /* time from the end of one pass of the verification to the
					* next pass; 0: only one pass after each copy */
	uint64_t ram_copy_bytes_per_s; /* limit of the first round of a copy of RAM, while output is
					* not held; 0: no limit */
	uint64_t ram_verify_bytes_per_s; /* limit of the verification of the standby's copy of RAM;
					  * 0: it is not verified */
	uint64_t ram_verify_every_ns; /* time from the end of one pass of the verification to the
				       * next pass; 0: only one pass after each FULL epoch */
	uint64_t backlog_bytes_max; /* limit of the size of encoded epochs that are not committed */
	uint32_t encode_threads; /* number of threads that encode, the engine's own included; 0:
				  * workers_default_threads() decides */
	enum stage_mode second_stage;
	uint64_t codec;             /* PAGE_FEATURE_* of the delta classes to use, if they are
				     * negotiated */
	/* true if an earlier agent protected this guest in the same term. If the engine then finds
	 * the guest stopped, that agent died during a pause, so the engine resumes the guest */
	bool is_restart;

	/* the description that this host's standby made of the guest's QEMU, before the guest ran
	 * there; NULL: not known. Borrowed; only engine_open() uses it */
	const struct vmm_description *known;

	/* what the agent's previous program handed on (handed.h); NULL: nothing. Only engine_open()
	 * uses this struct. engine_open() takes descriptors out of it, and sets those to -1 */
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

	/* the VM's other hosts, for engine_go_direct(); if there are fewer, the name of an item is
	 * NULL */
	struct engine_peer {
		const char *name, *address;
		uint16_t port;
	} peers[ENGINE_PEERS_MAX];

	struct progress *progress; /* receives the progress of attaching and of FULL epochs; NULL:
				    * not wanted */

	/* Called on the engine's thread after each change of state. This function must only wake
	 * the owner thread. */
	void (*changed)(void *arg);
	void *changed_arg;
};

/* What a pass of engine_verify_now() has found, from good to bad. */
enum engine_found {
	ENGINE_FOUND_EQUAL,
	ENGINE_FOUND_TOO_LITTLE, /* nothing differed, but a part of RAM or of a disk could not be
				  * read, or RAM or the disks were not compared at all */
	ENGINE_FOUND_DIFFERENT,	 /* something differed; perhaps it was put right */
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
	bool is_stopped_here;   /* we stopped the guest, for a move, or because its lease has
				 * expired or we were outvoted */
	/* when we stopped the guest for a move (CLOCK_MONOTONIC); 0: the guest is not stopped for a
	 * move */
	uint64_t move_stopped_ns;
	/* number of the move for which we let go of the guest; 0: none */
	uint64_t yielded_move;
	uint64_t yielded_epoch; /* the guest's last epoch here; valid if yielded_move is not 0 */
	uint64_t failed_move;	/* the number of the last move that was given up; 0: none */
	char move_text[WIRE_TEXT_MAX + 1]; /* why failed_move was given up */
	/* how the guest has changed since the engine attached to it, for example by a new device;
	 * "": it has not changed. After such a change, no epochs are made */
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

/* Return the guest's devices and taps as they were when the engine attached to the guest. The
 * result is valid until @engine is freed. Can be called on any thread. */
const struct vmm_inventory *engine_inventory(const struct engine *engine);
/* Return the pid of QEMU's process. Can be called on any thread. */
pid_t engine_guest_pid(const struct engine *engine);

/* Attach to the running guest in term @term: connect to QMP, check the guest, track its dirty
 * pages, open the hold and start the thread. The hold's mode is PASS, or the mode that a killed
 * agent left. The guest is not stopped. Blocks for some tens of ms. Returns 0. On error *ret_error
 * has a text for the operator. Nothing has changed then, except that what a killed agent left may
 * be repaired (a stopped guest resumed, flushes switched on). A guest that was handed on stands
 * still, and its hold stays closed. Errors:
 *      -ENOTSUP        this guest cannot be protected as it is now
 *      -EAGAIN         the guest is paused
 *      -EBUSY          a block job of QEMU uses one of the guest's disks
 *      -ESHUTDOWN      the guest has shut itself down (QEMU runs with -no-shutdown), or was
 *                      migrated away
 *      another -errno  a system call or a command to QEMU failed */
int engine_open(const struct engine_config *config, uint64_t term, struct engine **ret_engine,
		struct error *ret_error) __attribute__((warn_unused_result));

/* End the protection and let the guest run unprotected: release all held frames, remove the hold,
 * end tracking, free @engine. Call this only when the gateway has agreed. Returns 0. If a part
 * failed, returns -errno, and *ret_error says which: the hold could not be removed whole, QEMU's
 * flushes could not be switched on (then the hold is closed), or the guest does not go on. @engine
 * is freed in any case. */
int engine_detach(struct engine *engine, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the engine of a host that was outvoted: drop all held frames, close the hold for good, stop
 * the guest, free @engine. Returns 0. If the guest could not be stopped, returns -errno and sets
 * *ret_error; the hold is closed and @engine is freed all the same. */
int engine_fence(struct engine *engine, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the engine because the agent ends, and free @engine. The guest continues to run. If its
 * output is held, no frame is released, and the hold stays closed for the next agent. If not, the
 * hold is removed, and frames pass as without protection. Accepts NULL. */
void engine_close(struct engine *engine);

/* Hand the guest on to the agent's next program, and free @engine. Call this when engine_status()
 * says that a move has yielded. The hold stays closed. Returns 0: the guest stands still, and
 * *ret_handed has what engine_config.handed needs. On error returns -errno, and *ret_error says
 * why; the next program must then begin as after any restart. @engine is freed in both cases. */
int engine_hand_on(struct engine *engine, struct handed *ret_handed, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Remove the file of a disk's ring (the log of the disk's writes) that an engine has left in
 * @run_dir. (engine_detach() and engine_fence() remove these files themselves.) */
void engine_remove_ring(const char *run_dir, const char *vm, const char *disk);

/* Renew the lease because of a LEASE message. Returns what lease_renew() returns. If the guest was
 * stopped because it had no lease, it resumes within 10 ms. Can be called on any thread, but by
 * only one thread at a time. */
int engine_renew_lease(struct engine *engine, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		       uint32_t release_ms,
		       uint64_t sent_ns) __attribute__((warn_unused_result));

/* Continue without a gateway in the newer @term, to which host @peer of config.peers has agreed by
 * its vote. The engine streams to that host until the gateway takes the stream again. Held frames
 * stay held until that host has their epoch. The vote is also a lease. The lease begins at
 * @claimed_ns (CLOCK_BOOTTIME), when we asked for the vote. Can be called on any thread; the
 * engine's thread carries the change out soon after. */
void engine_go_direct(struct engine *engine, uint64_t term, uint64_t claimed_ns, uint8_t peer);

/* Begin the move with the number @number (not 0; a new number each time): stop the guest, end its
 * epoch, wait for the commit, and let go of the guest. When the move has ended, config.changed is
 * called, and engine_status() says how:
 * - yielded_move is @number: this host has let go of the guest. The guest stays stopped, and this
 *   host releases nothing more, even if it gets a lease.
 * - failed_move is @number: the move was given up, and the guest goes on here.
 *
 * If @number has the bit ENGINE_MOVE_HANDS_ON, the guest is stopped for engine_hand_on(), not to
 * run on the other host. If this program knows something that it cannot hand on
 * (engine_hand_obstacle()), such a move is given up before the guest is touched.
 *
 * Can be called on any thread. Returns 0; -EBUSY: another move is under way, and that move or
 * @number has the bit ENGINE_MOVE_HANDS_ON; nothing was done. */
#define ENGINE_MOVE_HANDS_ON (UINT64_C(1) << 63)
int engine_move(struct engine *engine, uint64_t number) __attribute__((warn_unused_result));
/* End the move, however far it has come: the guest goes on here. Does nothing if there is no move.
 * If engine_status() has already reported yielded_move, call this only if the gateway says that
 * this host still owns the guest. Can be called on any thread. */
void engine_move_end(struct engine *engine);

/* If @is_wanted, give back most of the reference's memory, a part between every two epochs. Call
 * this before the guest is stopped to be handed on. Otherwise the guest would stand still while the
 * kernel frees this memory. Later epochs are larger, because more pages are sent whole. If
 * @is_wanted is false, the reference may grow again. Can be called on any thread. */
void engine_shed(struct engine *engine, bool is_wanted);
/* Has engine_shed() given the memory back? Can be called on any thread. */
bool engine_has_shed(struct engine *engine);

/* Is a move wanted, or is the guest still stopped for a move? Can be called on any thread. */
bool engine_is_moving(struct engine *engine);

/* Let the guest run without a lease, because the gateway gives none. Call this on the same thread
 * as engine_renew_lease(). */
void engine_void_lease(struct engine *engine);

/* Begin to compare the standby's whole copy (RAM and disks) with the guest. Returns the number of
 * this pass. When the pass has ended, `verified` of engine_status() has this number. If this
 * function is called again before that, a new pass begins, and `verified` never gets the earlier
 * number. Can be called on any thread. */
uint64_t engine_verify_now(struct engine *engine);

void engine_status(struct engine *engine, struct engine_status *ret_status);

#endif
