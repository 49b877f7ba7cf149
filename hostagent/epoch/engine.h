/* engine.h - the primary side of one VM: seal epochs, send them, release what is committed.
 *
 * What: attaches to a running QEMU, copies it whole while it runs (a FULL epoch), then seals epoch
 * after epoch as the pacer says, and lets the guest's frames out as epochs are committed.
 *
 * Why one object with one thread: seal, encode, send, commit and release of one VM share state
 * (reference, retained epochs, hold) and follow each other; one thread needs no lock between them.
 * Commits wait only briefly: they are also taken between two frames of an epoch being encoded.
 * Threads that help to encode (workers.h) see nothing of that state but their own pages.
 *
 *	 engine_open ──► ATTACHING ──RESUME──► SYNCING ──commit of the first held epoch──► PROTECTED
 *	                     ▲                    ▲                                     │
 *	                     └── stream lost ─────┴─────────────────────────────────────┘
 *	                     (the hold stays as it is: held frames wait, nothing passes)
 *
 *	 If the lease (lease.h) ends in mode HOLD, or the gateway says that we were outvoted: the
 *	 guest is stopped, nothing is released, until the lease is renewed in the same term.
 *
 *	 frames:  PASS until the first copy is committed and a short epoch after it is sealed, then
 *	          HOLD for good; frames of epoch n leave after COMMIT(n)
 *
 * Where: hostagent/vm/vm.c owns one per protected VM. Uses vmm/ (QEMU), net/hold.h, link/link.h.
 * Threads: one owner thread calls engine_open() and the three ways to end; any thread may call
 * engine_status(). The engine's own thread checks the lease: while the lease lasts, it never blocks
 * beyond the lease's end.
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
struct gateway_view;
struct vmm_inventory;
struct wire_tls_context;

enum engine_clock { ENGINE_CLOCK_OFF, ENGINE_CLOCK_CORRECT };

/* Pointers are borrowed for the life of the engine. */
struct engine_config {
	const char *vm;	     /* name, as in its file */
	const char *qmp;     /* QMP socket of the running QEMU */
	const char *tap;     /* the guest's tap */
	const char *pin_dir; /* bpffs directory of this VM's hold */
	struct pacer_config pacer;
	struct throttle_config throttle;
	uint32_t held_frames_max;
	uint64_t held_bytes_max;
	enum engine_clock clock;    /* whether to correct its clock for pauses: vmm/guestclock.h */
	uint64_t clock_step_max_ns; /* largest correction in one jump */
	uint32_t clock_alarm_percent; /* warn if the clock lost more than this of the last minute */
	uint64_t reference_bytes;   /* for the reference; 0: a quarter of guest RAM */
	uint64_t backlog_bytes_max; /* encoded epochs not yet committed */
	uint32_t encode_threads; /* the engine's own included; 0: workers_default_threads() */
	enum stage_mode second_stage;
	uint64_t codec;		    /* PAGE_FEATURE_*: delta classes to use where negotiated */
	bool is_restart; /* an earlier agent protected this guest in the same term: if the guest is
			  * stopped, that agent died in a pause, and the guest is let run again */

	bool needs_lease; /* the gateway gives leases: no frame leaves before the first one */
	const char *gateway_address; /* numeric */
	uint16_t gateway_port;
	struct wire_tls_context *tls;
	struct gateway_view *view; /* records when this host last heard from the gateway */

	const char *peer_name; /* the VM's other host, for engine_go_direct(); NULL: none */
	const char *peer_address;
	uint16_t peer_port;

	struct progress *progress; /* reports attaching and FULL epochs; NULL: not wanted */

	/* Called on the engine's thread after each change of state; must only wake the owner. */
	void (*changed)(void *arg);
	void *changed_arg;
};

struct engine_status {
	uint8_t state;	 /* enum wire_state: ATTACHING, SYNCING, PROTECTED, FAILED */
	uint8_t verdict; /* enum wire_verdict */
	uint64_t term;
	uint64_t sealed_epoch;
	uint64_t committed_epoch;
	bool is_holding; /* output is held until its commit: the guest is, or was, protected */
	bool is_outvoted;
	bool is_direct;		/* streams to the other host, without a gateway */
	bool is_stopped_here;	/* we stopped the guest: its lease is over, or we were outvoted */
	/* How the guest differs from when it was attached to (a device was plugged, QEMU has
	 * another tap); no epochs are made then. "": it does not differ. */
	char uncovered[WIRE_TEXT_MAX + 1];
	char text[WIRE_TEXT_MAX + 1];	/* for people; "" when all is well */
	char stats[WIRE_STATS_MAX + 1]; /* "key=value\n" */
};

/* What the guest was made of when it was attached to. Borrowed for the life of @engine; any
 * thread. */
const struct vmm_inventory *engine_inventory(const struct engine *engine);
pid_t engine_guest_pid(const struct engine *engine); /* QEMU's process; any thread */

/* Attach to the running guest in term @term: QMP, checks, tracking, hold (mode PASS, or as a killed
 * agent left it), then start the thread. The guest is not stopped. Blocks for some tens of ms. 0;
 * -ENOTSUP: this guest cannot be protected as it is now; -ESHUTDOWN: it has shut itself down
 * (-no-shutdown); other -errno. On error nothing was changed, and *ret_error has a text for the
 * operator. */
int engine_open(const struct engine_config *config, uint64_t term, struct engine **ret_engine,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Let the guest go on unprotected: release everything held, remove the hold, end tracking, free.
 * Only when the gateway has agreed. 0; -errno with *ret_error: what could not be removed. */
int engine_detach(struct engine *engine, struct error *ret_error)
	__attribute__((warn_unused_result));

/* This host was outvoted: drop what is held, keep the hold closed, stop the guest, free.
 * 0; -errno with *ret_error: the guest could not be stopped (the hold is closed all the same). */
int engine_fence(struct engine *engine, struct error *ret_error)
	__attribute__((warn_unused_result));

/* The agent ends: nothing is released, the hold stays closed for the next agent, the guest runs on.
 * Frees @engine. Accepts NULL. */
void engine_close(struct engine *engine);

/* A LEASE message came: renew the lease, as lease_renew() does, and return its result. The guest
 * goes on within 10 ms. Any thread, but one at a time. */
int engine_renew_lease(struct engine *engine, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		       uint32_t release_ms,
		       uint64_t sent_ns) __attribute__((warn_unused_result));

/* The VM's other host voted for this one: go on in the newer @term, streaming to that host until
 * the gateway takes the stream again. Held frames stay held until that host has their epoch. That
 * host also gives the lease, which begins at @claimed_ns (boot time), when it was asked for its
 * vote. Any thread; carried out soon after. */
void engine_go_direct(struct engine *engine, uint64_t term, uint64_t claimed_ns);

/* The gateway gives no leases: the guest runs without one. Same thread as engine_renew_lease(). */
void engine_void_lease(struct engine *engine);

void engine_status(struct engine *engine, struct engine_status *ret_status);

#endif
