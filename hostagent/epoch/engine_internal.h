/* engine_internal.h - the engine's state, shared by its files and by nobody else.
 *
 *	engine.c         open, end, thread, loop, status
 *	engine_stream.c  connection to the gateway: RESUME, COMMIT, sending
 *	engine_epoch.c   FULL and ordinary epochs: seal, encode
 *	engine_lease.c   the guest stands still without a lease
 *	engine_machine.c  what the guest's machine is made of, for the standby to compare
 *	engine_direct.c  the stream to the VM's other host, without a gateway
 *	engine_throttle.c  the guest stands still as throttle.h says
 *	engine_watch.c   is the guest still the one that is protected?
 *	engine_stats.c   figures
 */
#ifndef EPOCH_ENGINE_INTERNAL_H
#define EPOCH_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/hist.h"
#include "epoch/encoder.h"
#include "epoch/engine.h"
#include "epoch/pacer.h"
#include "epoch/protect.h"
#include "epoch/reference.h"
#include "epoch/retain.h"
#include "epoch/seal.h"
#include "epoch/stage.h"
#include "epoch/throttle.h"
#include "epoch/watch.h"
#include "lease.h"
#include "link/link.h"
#include "net/hold.h"
#include "vmm/describe.h"
#include "vmm/guestclock.h"
#include "vmm/inspect.h"
#include "vmm/inventory.h"
#include "vmm/vcpus.h"

#define ENGINE_SEALED_AT_SLOTS 64u /* > in_flight_max */
#define ENGINE_RECONNECT_NS    UINT64_C(100000000)
#define ENGINE_HANDSHAKE_NS    UINT64_C(2000000000)
#define ENGINE_PUBLISH_NS      UINT64_C(200000000)

struct engine_figures {
	struct hist pause_ns;
	struct hist stop_ns, scan_ns, copy_ns, device_ns, cont_ns; /* its parts */
	struct hist dirty_pages; /* per epoch */
	struct hist commit_ns;	 /* from the end of the pause to the commit */
	struct hist interval_ns; /* from one seal to the next */
	uint64_t n_epochs;	  /* sealed, FULL ones not counted */
	uint64_t n_full;
	uint64_t full_pause_ns;	  /* of the last FULL epoch */
	uint32_t full_rounds;	  /* the same: copies before its pause */
	uint64_t n_kept;	  /* of these: left the pages writable */
	bool is_kept;		  /* the last one did */
	struct encoder_counts full; /* of the FULL epochs, sent whole or not: records of pages only */
	uint64_t n_dirty_pages;	  /* of the n_epochs; without stale ones */
	uint64_t n_stale_pages;	  /* copied as they were writable, but not changed */
	uint64_t n_precopied_pages; /* of these: copied before the pause and not written again */
	uint64_t n_let_go;   /* epochs that filled the backlog alone, not kept to be sent again */
	uint64_t bytes_sent; /* frames of the n_epochs, headers counted */
	uint64_t bytes_full; /* frames of the FULL epochs */
	uint64_t n_reconnects;
	uint64_t paused_ns; /* in all */
	uint64_t last_resumed_ns;
	uint64_t last_commit_ns;  /* as commit_ns, of the last epoch */
	uint64_t throttled_ns;	  /* the vCPUs stood still by our will */
	uint32_t throttle_peak;	  /* percent */
	uint64_t n_lease_ended;
	uint64_t n_looks; /* at QEMU's lists: watch.h */
};

struct engine {
	struct engine_config config;
	uint64_t term;

	/* the guest; thread only after open */
	struct qmp *qmp;
	struct vmm_info info;
	struct vmm_machine machine; /* as it is described to the standby */
	struct vmm_machine devices; /* of these, what may change */
	struct track *track; /* NULL, as seal: tracking is lost; then needs_full, and no epoch but a FULL one */
	struct guestmem *mem;
	struct devstate *device;
	struct seal *seal;
	struct vcpus *vcpus;	/* NULL: its threads are not known */
	struct guestclock *clock;
	struct clock_loss clock_loss;
	bool tells_clock; /* WIRE_FEATURE_CLOCK is in use */
	bool is_sealing;	/* STOP and RESUME events may be ours... */
	bool is_left_stopped;	/* ...but the last one since the seal began was STOP */
	uint64_t pipe_retry_ns; /* try to seal through a pipe again then; 0: it is in use, or never was */
	uint64_t pipe_wait_ns;	/* ... and so long after that */
	const char *end_text;	/* constant: who ended this QEMU, by its SHUTDOWN event; NULL: nobody said */
	bool is_guest_lost;	/* QEMU or its monitor is gone: qmp is of no more use */
	bool is_paused_by_other; /* no seals until RESUME */
	bool wants_runstate;	 /* why it stands still is to be asked */
	bool is_track_fresh;	/* nothing was scanned since track_open(); then track and seal are there */
	uint64_t epoch_retry_ns; /* an epoch failed: none is tried before; 0: the last one did not fail */
	uint64_t epoch_wait_ns;	/* ... and so long after the last failure */

	/* is it still the one that was attached to; see engine_watch.c */
	struct watch watch;
	struct vmm_inventory inventory; /* when attached */
	int link_fd;			/* netlink; -1: none */
	int statm_fd;			/* /proc/PID/statm; -1: none */
	bool is_uncovered;		/* it is not: no seals */
	bool is_uncovered_net;		/* ... and frames could leave unheld: it may not run */
	uint64_t uncovered_look_ns;	/* look again then */

	/* frames */
	struct hold *hold;
	bool is_holding;     /* mode is HOLD */
	bool knows_unheld;   /* WIRE_FEATURE_UNHELD is in use */
	bool is_unheld;	     /* the seal of the epoch in work does not begin the hold */
	uint32_t n_unheld;   /* epochs since the first commit that did not, since they were long */
	uint64_t held_from;  /* the epoch whose seal began it; 0: an agent before this one */

	/* the right to let the guest run */
	struct lease lease;	 /* renewed by the control connection's thread */
	bool is_outvoted;	 /* the gateway said so: no lease helps any more */
	bool is_silenced;	 /* without a lease: no seals, no releases, guest to be stopped */
	bool is_stopped_here;	 /* while is_silenced: by our QMP stop... */
	uint64_t stop_sent_ns, stop_seen_ns; /* ...ordered and answered then; 0: we do not know when */
	bool is_stop_open;	 /* while is_silenced: QEMU did not answer our stop in time, and may yet take it */
	uint64_t lease_retry_ns; /* QEMU did not take our stop or cont: not before */
	uint64_t commit_waiting; /* newest COMMIT that came when nothing might leave */

	/* epochs */
	struct pacer pacer;
	struct encoder *encoder; /* owns the reference and writes into retain */
	struct retain *retain;
	struct stage stage; /* is the second stage worth its time */
	struct throttle throttle;
	bool is_held;		  /* the vCPUs stand still, or were told to go on and one has not yet */
	uint64_t held_at_ns;	  /* since then; valid while is_held */
	char throttle_why[WIRE_STATS_VALUE_MAX + 1]; /* of the last step up */
	uint64_t next_epoch;	  /* the running epoch's number; frames are stamped with it */
	uint64_t committed_epoch; /* 0: none */
	uint64_t complete_at_peer; /* RESUME's epoch: what the next frames stand on */
	uint32_t dirty_expected;  /* pages of the next epoch: running mean of the last ones */
	struct protect protect;	  /* are written pages protected again */
	bool needs_full;	  /* the standby's copy and the reference are not in step */
	bool is_full_running;	  /* a FULL epoch is being sent, in full_generation */
	uint32_t full_generation;
	uint64_t sealed_at_ns[ENGINE_SEALED_AT_SLOTS]; /* end of the pause, by epoch % slots */

	/* stream */
	struct link *link;
	uint64_t incarnation; /* of the gateway at its other end */
	bool is_resumed; /* RESUME came on this link */
	bool owes_geometry; /* GEOMETRY of this generation is not sent yet */
	bool has_machine;   /* MACHINE may be sent: the other end knows it */
	bool owes_machine;  /* MACHINE of this generation is not sent whole yet */
	uint32_t machine_at; /* next item of it */
	uint32_t generation;
	uint32_t backoff; /* failed connection attempts in a row */
	uint64_t connect_at_ns;
	uint64_t drained_bytes; /* acknowledged by the other end's TCP ... */
	uint64_t drained_at_ns; /* ... when that last grew, or nothing waited */

	/* without a gateway; see engine_direct.c */
	bool is_direct;	      /* the term came by the other host's vote, and no gateway took the stream since */
	bool is_peer_link;    /* link is to the other host */
	bool tries_peer;      /* the gateway did not take the stream: the other host is next */
	uint64_t beat_ns;     /* last BEAT on it */
	uint64_t beat_boot_ns; /* the same by clock_boot_ns(): what it said */
	_Atomic uint64_t direct_term; /* set by engine_go_direct(), after claimed_ns */
	_Atomic uint64_t claimed_ns;

	/* figures, thread only */
	struct engine_figures figures;
	uint64_t publish_at_ns;

	/* shared */
	pthread_t thread;
	bool has_thread;
	_Atomic bool must_stop;
	int wake_fd; /* eventfd: must_stop was set */
	pthread_mutex_t status_lock;
	struct engine_status status;
};

/* engine.c */
void engine_set_state(struct engine *e, uint8_t state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void engine_set_verdict(struct engine *e, uint8_t verdict, const char *text);
/* Take everything that arrived (frames to hold, commits, QEMU's events) and send what waits.
 * 0; -EINTR: the engine must stop; -ESTALE: the epoch being encoded is of no more use. */
int engine_service(struct engine *e) __attribute__((warn_unused_result));

/* engine_stream.c */
void engine_stream_connect(struct engine *e);
void engine_stream_close(struct engine *e, const char *why);
void engine_stream_receive(struct engine *e); /* take what arrived; may close the stream */
void engine_stream_send(struct engine *e); /* send retained frames as far as the link takes them */
/* The backlog is full: wait until the link takes more, serving everything meanwhile. An epoch that
 * fills it alone is from here on kept only until it is sent, since no commit could make room.
 * 0: try again; errors of engine_service(); -EPIPE: there is no stream that could take any. */
int engine_stream_wait(struct engine *e) __attribute__((warn_unused_result));
uint64_t engine_stream_waiting(const struct engine *e); /* bytes encoded, not acknowledged by TCP */
/* Other threads encode: wait until encoder_pages() has something to do, serving everything meanwhile.
 * 0: try again; errors of engine_service(). */
int engine_encoder_wait(struct engine *e) __attribute__((warn_unused_result));
/* Until something came, the link takes more or @fd is readable (-1: none), at most for @wait_ns; then serve.
 * Returns as engine_service(). */
int engine_wait_and_serve(struct engine *e, int fd, uint64_t wait_ns) __attribute__((warn_unused_result));
void engine_committed(struct engine *e, uint64_t epoch);
void engine_stream_pace(struct engine *e); /* tell the pacer what is uncommitted */
void engine_stream_watch(struct engine *e);   /* begin anew when TCP alone stands still */
void engine_stream_measure(struct engine *e); /* link and second stage, for the pacer and the latter */

/* engine_epoch.c. 0; -errno: the epoch was not sent whole (needs_full says whether that matters). */
int engine_full_epoch(struct engine *e) __attribute__((warn_unused_result));
int engine_epoch(struct engine *e) __attribute__((warn_unused_result));
/* Track anew: what was written before is not known. On error tracking is lost: neither track nor seal is there. */
int engine_restart_tracking(struct engine *e, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));

/* engine_machine.c. At the start: describe the guest's machine. 0; -errno with the text for the operator. */
int engine_machine_open(struct engine *e, struct vmm_error *ret_error) __attribute__((warn_unused_result));
void engine_machine_done(struct engine *e);
/* Ahead of a FULL epoch: is it still the machine that was described? 0; -ESTALE: it was not, and is described
 * anew when the stream, now closed, is there again; -errno: QEMU did not answer. */
int engine_machine_check(struct engine *e) __attribute__((warn_unused_result));
/* A generation begins. */
void engine_machine_resumed(struct engine *e);
/* Send what is owed. 0; -EAGAIN and other errors of link_send_frame(). */
int engine_machine_send(struct engine *e) __attribute__((warn_unused_result));

/* engine_lease.c */
bool engine_may_speak(const struct engine *e); /* no lease was given, or it is not over; not outvoted */
bool engine_may_release(const struct engine *e); /* the same for what is committed: a shorter time */
void engine_lease_tick(struct engine *e);      /* stop the guest or let it go on, as it is time */
uint64_t engine_lease_wake_ns(const struct engine *e, uint64_t now_ns); /* of the next tick */
/* The latest that the thread may wait elsewhere until, of what it would like. */
uint64_t engine_lease_bound_ns(const struct engine *e, uint64_t wanted_ns);
/* Serve everything until the engine may speak. 0; errors of engine_service(). */
int engine_lease_wait(struct engine *e) __attribute__((warn_unused_result));
/* The gateway refused our term: silent for good, until it orders what to do. */
void engine_outvoted(struct engine *e, const char *why);
/* Without the thread: the guest that we stopped is to run. 0; -errno: it does not. */
int engine_lease_let_run(struct engine *e) __attribute__((warn_unused_result));

/* engine_direct.c */
void engine_direct_tick(struct engine *e); /* enter a term that was voted for; beats */
bool engine_direct_is_next(struct engine *e); /* the next connection goes to the other host */
void engine_direct_connected(struct engine *e, bool is_peer, int result);
uint64_t engine_direct_wake_ns(const struct engine *e);
/* A frame of the other host that no gateway sends. 0; -ENOENT: none of these; -EPROTO. */
int engine_direct_frame(struct engine *e, const struct wire_frame *frame) __attribute__((warn_unused_result));

/* engine_epoch.c: between two epochs. Seal through a pipe again, when that failed a while ago. */
void engine_retry_pipe(struct engine *e);
/* Make the pipe (gate.h): its trial is a pause of ours. */
void engine_open_pipe(struct engine *e);

/* engine_watch.c. What the guest is made of, and QEMU's taps against the VM's file; before anything is changed.
 * 0; -ENOTSUP: other taps, or a writable disk; others as vmm_inventory_take(); all with *ret_error. */
int engine_watch_open(struct engine *e, struct vmm_error *ret_error) __attribute__((warn_unused_result));
void engine_watch_close(struct engine *e);
/* The taps once more. As above. */
int engine_watch_check_taps(struct engine *e, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));
/* After a seal, before its epoch is encoded: look when there is a reason. 0; -ESTALE: the guest is another one, or
 * errors of QEMU's monitor: the epoch must not be sent. */
int engine_watch_sealed(struct engine *e, const struct seal_result *result)
	__attribute__((warn_unused_result));
void engine_watch_tick(struct engine *e);  /* at taps, when it is time */
void engine_watch_again(struct engine *e); /* while it is another one: is it again what it was? */
uint64_t engine_watch_wake_ns(const struct engine *e);
/* No epochs until the guest runs again; engine_watch_runstate() asks QEMU why, and says so. */
void engine_paused_by_other(struct engine *e);
void engine_watch_runstate(struct engine *e);

/* engine_throttle.c */
void engine_throttle_tick(struct engine *e); /* stop the vCPUs or let them go on, as it is time */
uint64_t engine_throttle_wake_ns(const struct engine *e, uint64_t now_ns); /* of the next tick */
/* Let the vCPUs go on for now: before QEMU is asked for anything, and before waiting long. Blocks for
 * some 10 us as a rule. 0; -ETIMEDOUT: one waits in the kernel for longer than SEAL_TIMEOUT_NS. */
int engine_throttle_release(struct engine *e) __attribute__((warn_unused_result));
/* No throttle any more, until epochs say so again. Returns as engine_throttle_release(). */
int engine_throttle_end(struct engine *e) __attribute__((warn_unused_result));
/* An ordinary epoch, for which the guest ran @run_ns, was encoded to @bytes. */
void engine_throttle_sealed(struct engine *e, uint64_t run_ns, const struct seal_result *result,
			    uint64_t bytes);
/* A round of a FULL epoch that began at @began_ns found @n_pages, the one before @n_before. True:
 * another round is worth it. */
bool engine_throttle_round(struct engine *e, uint32_t n_pages, uint32_t n_before, uint64_t began_ns);

/* engine_stats.c */
/* A FULL epoch was encoded, or was given up; @before: the encoder's counts of before. */
void engine_figures_full(struct engine *e, const struct encoder_counts *before);
/* The encoder's counts, its pages (by class) without those of FULL epochs. */
void engine_ordinary_counts(const struct engine *e, struct encoder_counts *ret_counts);
void engine_figures_sealed(struct engine *e, const struct seal_result *result, enum seal_kind kind,
			   uint32_t n_stale);
void engine_publish(struct engine *e);

#endif
