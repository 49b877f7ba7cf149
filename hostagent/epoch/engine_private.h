/* engine_private.h - the engine's state, shared by its files and by nobody else.
 *
 *	engine.c         thread, loop, QEMU's events, status
 *	engine_open.c    begin, and the three ways to end
 *	engine_stream.c  connection to the gateway: RESUME, COMMIT, sending
 *	engine_epoch.c   FULL and ordinary epochs: seal, encode
 *	engine_lease.c   stops the guest while there is no lease
 *	engine_condition.c  changes the conditions of condition.h, each by one function
 *	engine_machine.c  describes the guest's machine, for the standby to compare
 *	engine_direct.c  the stream to the VM's other host, without a gateway
 *	engine_throttle.c  stops and resumes the vCPUs by throttle.h's timetable
 *	engine_watch.c   did the guest's devices or taps change since it was attached to?
 *	engine_stats.c   figures
 *
 * Seven conditions say what the engine is doing. condition.h has their values and the allowed
 * changes; the function engine_set_X() is the only one that changes X. Its callers run on the
 * engine's thread, before that begins or after it has ended:
 *
 *	guest	who keeps the guest from running	engine.c (QEMU's events, its end),
 *							engine_epoch.c (our pauses),
 *							engine_lease.c (our stop and cont),
 *							engine_watch.c (somebody else's pause)
 *	output	where its frames go			engine_open.c, engine_epoch.c,
 *							engine_lease.c (closed)
 *	voice	may this host speak for it		engine_lease.c
 *	stream	to whom it streams, did RESUME come	engine_stream.c
 *	direct	is there an agreement with the other	engine_direct.c
 *		host, without a gateway
 *	sync	are standby and reference in step	engine_epoch.c; engine_lose_sync()
 *	cover	is the guest still what it was		engine_watch.c
 *
 * The conditions are independent, but these rules hold at all times: GUEST_STOPPING* and
 * GUEST_STOPPED only while this host may not speak; OUTPUT_CLOSED only with VOICE_OUTVOTED;
 * STREAM_DIRECT* never with DIRECT_OFF. engine_may_release() decides whether held frames may leave;
 * it asks the lease, too.
 */
#ifndef EPOCH_ENGINE_PRIVATE_H
#define EPOCH_ENGINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hist.h"
#include "epoch/condition.h"
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
#include "supervision/lease.h"
#include "link/link.h"
#include "net/hold.h"
#include "vmm/describe.h"
#include "vmm/guestclock.h"
#include "vmm/inspect.h"
#include "vmm/inventory.h"
#include "vmm/vcpus.h"

#define ENGINE_SEALED_AT_SLOTS 64u /* > in_flight_max */
#define ENGINE_RECONNECT_NS    (100 * CLOCK_NS_PER_MS)
#define ENGINE_HANDSHAKE_NS    (2 * CLOCK_NS_PER_S)
#define ENGINE_PUBLISH_NS      (200 * CLOCK_NS_PER_MS)

struct engine_figures {
	struct hist pause_ns;
	struct hist stop_ns, scan_ns, copy_ns, device_ns, cont_ns; /* its parts */
	struct hist dirty_pages; /* per epoch */
	struct hist commit_ns;	 /* from the end of the pause to the commit */
	struct hist interval_ns; /* from one seal to the next */
	uint64_t n_epochs;	  /* sealed, FULL ones not counted */
	uint64_t n_full;
	uint64_t full_pause_ns;	  /* of the last FULL epoch */
	uint32_t full_rounds;	  /* of the last FULL epoch: copies before its pause */
	uint64_t n_kept;	  /* of n_epochs: seals that left the pages writable */
	enum seal_kind last_kind; /* of the last seal */
	struct encoder_counts full; /* FULL epochs, sent whole or not: only records of pages */
	uint64_t n_dirty_pages;	  /* in the n_epochs, without stale ones */
	uint64_t n_stale_pages;	  /* copied since they were writable, but not changed */
	uint64_t n_precopied_pages; /* of n_dirty_pages: copied early, not written again */
	uint64_t n_let_go;   /* epochs that filled the backlog alone, so were not kept */
	uint64_t bytes_sent; /* frames of the n_epochs, headers counted */
	uint64_t bytes_full; /* frames of the FULL epochs */
	uint64_t n_reconnects;
	uint64_t paused_ns; /* in all */
	uint64_t last_resumed_ns;
	uint64_t last_commit_ns;  /* as commit_ns, of the last epoch */
	uint64_t throttled_ns;	  /* how long we kept the vCPUs still */
	uint32_t throttle_peak;	  /* percent */
	uint64_t n_lease_ended;
	uint64_t n_looks; /* looks at QEMU's lists: watch.h */
};

/* QEMU and the guest in it. */
struct engine_guest {
	struct qmp *qmp;
	struct vmm_info info;
	struct vcpus *vcpus; /* NULL: QEMU's vCPU threads are not known */
	struct guestclock *clock;
	struct clock_loss clock_loss;
	const char *end_text; /* constant: who ended QEMU, by its SHUTDOWN event; or NULL */
	enum guest_condition condition;
};

/* The guest's machine, as it is described to the standby; see engine_machine.c. */
struct engine_machine {
	struct vmm_machine described;
	struct vmm_machine devices; /* the part of it that may change */
	uint32_t at;		    /* the next item of MACHINE to send */
};

/* What takes the guest's state in a pause. */
struct engine_capture {
	struct track *track; /* NULL, as seal: tracking is lost; then sync is SYNC_LOST */
	struct guestmem *mem;
	struct devstate *device;
	struct seal *seal;
	bool is_fresh;		/* not scanned since track_open(); then track and seal are set */
	uint64_t pipe_retry_ns; /* when to try the pipe again; 0: it is in use, or never was */
	uint64_t pipe_wait_ns;	/* the wait that ends at pipe_retry_ns */
};

/* Did the guest change since it was attached to? See engine_watch.c. */
struct engine_watch {
	struct watch plan;		/* when to look */
	struct vmm_inventory inventory; /* when attached */
	int link_fd;			/* netlink; -1: none */
	int statm_fd;			/* /proc/PID/statm; -1: none */
	enum cover_condition cover;
	uint64_t look_ns;		/* unless it is COVER_WHOLE: when to look again */
};

/* The guest's frames. */
struct engine_output {
	struct hold *hold;
	enum output_condition condition;
	uint32_t n_unheld;  /* epochs since the first commit, too long to begin the hold */
	uint64_t held_from; /* the epoch whose seal began the hold; 0: an earlier agent began it */
};

/* The right to let the guest run; see engine_lease.c. */
struct engine_lease {
	struct lease lease;	 /* renewed by the control connection's thread */
	enum voice_condition voice;
	uint64_t stop_sent_ns;	 /* when our `stop` was sent ... */
	uint64_t stop_seen_ns;	 /* ... and answered; 0: not known */
	uint64_t retry_ns;	 /* when to retry a stop or cont that QEMU did not obey */
	uint64_t commit_waiting; /* newest COMMIT that came while no frame might be released */
};

struct engine_epochs {
	struct pacer pacer;
	struct encoder *encoder; /* owns the reference and writes into retain */
	struct retain *retain;
	uint64_t next;		 /* the running epoch's number; frames are stamped with it */
	uint64_t committed;	 /* 0: none */
	uint32_t dirty_expected; /* pages of the next epoch: running mean of the last ones */
	struct protect protect;	 /* whether to protect written pages again */
	enum sync_condition sync;
	uint32_t full_generation; /* in which the FULL epoch of SYNC_FULL is sent */
	uint64_t sealed_at_ns[ENGINE_SEALED_AT_SLOTS]; /* end of the pause, by epoch % slots */
	uint64_t retry_ns; /* try no epoch before then; 0: the last one did not fail */
	uint64_t wait_ns;  /* the wait that ends at retry_ns */
};

/* See engine_throttle.c. */
struct engine_throttle {
	struct throttle plan;		    /* when the guest must stand still */
	bool is_held;			    /* the vCPUs stand still, or not all go on yet */
	uint64_t held_at_ns;		    /* when they were stopped; valid while is_held */
	char why[WIRE_STATS_VALUE_MAX + 1]; /* reason of the last step up */
};

/* A generation of the stream begins with these frames, in this order. */
enum stream_opening {
	OPENING_GEOMETRY, /* all of them are still to be sent */
	OPENING_MACHINE,  /* the rest of MACHINE, from engine_machine.at on */
	OPENING_SENT,
};

/* The stream to the gateway or to the other host; see engine_stream.c. */
struct engine_stream {
	struct link *link; /* NULL while it is STREAM_NONE */
	enum stream_condition condition;
	enum stream_opening opening; /* what of the generation's beginning is still to be sent */
	uint64_t features;	     /* WIRE_FEATURE_* of the last WELCOME: in use */
	uint64_t incarnation;	     /* of the gateway at the link's other end */
	uint32_t generation;
	uint64_t complete_at_peer; /* RESUME's epoch: the next frames build on it */
	struct stage stage;	   /* is the second stage worth its time */
	uint32_t backoff;	   /* failed connection attempts in a row */
	uint64_t connect_at_ns;
	uint64_t drained_bytes;	   /* acknowledged by the other end's TCP */
	uint64_t drained_at_ns;	   /* when drained_bytes last grew, or nothing waited */
};

/* Without a gateway; see engine_direct.c. */
struct engine_direct {
	enum direct_condition condition;
	uint64_t beat_ns;      /* when the last BEAT was sent to the other host */
	uint64_t beat_boot_ns; /* its time by clock_boot_ns(), as the BEAT says */
	_Atomic uint64_t term; /* set on any thread by engine_go_direct(), after claimed_ns */
	_Atomic uint64_t claimed_ns;
};

struct engine {
	struct engine_config config;
	uint64_t term;

	/* the thread's, after open; lease.lease and direct have members for other threads */
	struct engine_guest guest;
	struct engine_machine machine;
	struct engine_capture capture;
	struct engine_watch watch;
	struct engine_output output;
	struct engine_lease lease;
	struct engine_epochs epochs;
	struct engine_throttle throttle;
	struct engine_stream stream;
	struct engine_direct direct;
	struct engine_figures figures;
	uint64_t publish_at_ns;

	/* shared */
	pthread_t thread;
	_Atomic bool must_stop;
	int wake_fd; /* eventfd: must_stop was set */
	pthread_mutex_t status_lock;
	struct engine_status status;
};

/* engine.c */
void engine_set_state(struct engine *e, uint8_t state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void engine_set_verdict(struct engine *e, uint8_t verdict, const char *text);
/* Serve everything: take what arrived (frames to hold, commits, QEMU's events) and send what waits.
 * 0; -EINTR: the engine must stop; -ESTALE: the epoch being encoded is of no more use. */
int engine_service(struct engine *e) __attribute__((warn_unused_result));

/* The thread's main function; @arg: struct engine. */
void *engine_main(void *arg);
/* Runs inside qmp calls, so it only notes what happened. @arg: struct engine. */
void engine_on_qmp_event(void *arg, const char *event, const json_t *data);

/* engine_condition.c. Change a condition: nothing else changes it, and this logs the change. @why
 * is for the log; "": the change says it all. Nothing happens if @to is what it is already.
 * A change that condition.h does not allow is a bug: it is logged as an error and not made. No
 * frame gets out early by that: what is held leaves only after the COMMIT of its epoch, and nothing
 * here opens a hold. */
void engine_set_guest(struct engine *e, enum guest_condition to, const char *why);
void engine_set_output(struct engine *e, enum output_condition to, const char *why);
void engine_set_voice(struct engine *e, enum voice_condition to, const char *why);
void engine_set_stream(struct engine *e, enum stream_condition to, const char *why);
void engine_set_direct(struct engine *e, enum direct_condition to, const char *why);
void engine_set_sync(struct engine *e, enum sync_condition to, const char *why);
void engine_set_cover(struct engine *e, enum cover_condition to, const char *why);
/* Is the hold on, so that frames leave only after the commit of their epoch, or not at all? */
bool engine_is_holding(const struct engine *e);
/* Did RESUME come, so that frames may be sent? Is the stream's other end the other host? */
bool engine_stream_is_resumed(const struct engine_stream *stream);
bool engine_stream_is_direct(const struct engine_stream *stream);
/* Only a FULL epoch may follow. One that is being made stays valid; if it fails, another
 * follows. */
void engine_lose_sync(struct engine *e, const char *why);

/* engine_stream.c */
void engine_stream_connect(struct engine *e);
void engine_stream_close(struct engine *e, const char *why);
void engine_stream_receive(struct engine *e); /* take what arrived; may close the stream */
void engine_stream_send(struct engine *e); /* send retained frames as far as the link takes them */
/* The backlog is full: wait until the link takes more, serving everything meanwhile. If one epoch
 * fills it alone, no commit could make room: then its frames are kept only until they are sent.
 * 0: try again; errors of engine_service(); -EPIPE: there is no stream. */
int engine_stream_wait(struct engine *e) __attribute__((warn_unused_result));
uint64_t engine_stream_waiting(const struct engine *e); /* bytes encoded, not acknowledged by TCP */
/* Other threads encode: wait until encoder_pages() has something to do, serving everything
 * meanwhile. 0: try again; errors of engine_service(). */
int engine_encoder_wait(struct engine *e) __attribute__((warn_unused_result));
/* Wait until something arrives, the link takes more, @fd (-1: none) is readable, or @wait_ns are
 * over; then serve everything. Returns as engine_service(). */
int engine_wait_and_serve(struct engine *e, int fd, uint64_t wait_ns)
	__attribute__((warn_unused_result));
void engine_committed(struct engine *e, uint64_t epoch);
void engine_stream_pace(struct engine *e); /* tell the pacer what is uncommitted */
void engine_stream_watch(struct engine *e);   /* reconnect if only the stream's TCP is stuck */
void engine_stream_measure(struct engine *e); /* measure the link, for pacer and second stage */

/* engine_epoch.c. 0; -errno: the epoch was not sent whole (SYNC_LOST says that this matters). */
int engine_full_epoch(struct engine *e) __attribute__((warn_unused_result));
int engine_epoch(struct engine *e) __attribute__((warn_unused_result));
/* Start tracking anew; which pages were written before is not known. On error track and seal are
 * NULL. */
int engine_restart_tracking(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));

/* engine_machine.c. At the start: describe the guest's machine. 0; -errno with the text for the
 * operator. */
int engine_machine_open(struct engine_machine *machine, struct qmp *qmp, struct error *ret_error)
	__attribute__((warn_unused_result));
void engine_machine_done(struct engine_machine *machine);
/* Before a FULL epoch: is the machine still as described? 0: it is; -ESTALE: it is not: the stream
 * is closed now, and the machine is described anew on the next one; -errno: QEMU did not answer. */
int engine_machine_check(struct engine *e) __attribute__((warn_unused_result));
/* In OPENING_MACHINE: send the rest of MACHINE. 0; errors of link_send_frame(), -EAGAIN too. */
int engine_machine_send(struct engine *e) __attribute__((warn_unused_result));

/* engine_lease.c */
/* May the guest run? Not if we were outvoted or the lease is over; yes if no lease was ever
 * given. */
bool engine_may_speak(const struct engine *e);
bool engine_may_release(const struct engine *e); /* the same for releases, which must end earlier */
void engine_lease_tick(struct engine *e);      /* stop the guest or let it go on, when due */
uint64_t engine_lease_wake_ns(const struct engine *e, uint64_t now_ns); /* of the next tick */
/* Returns @wanted_ns, or an earlier time if the lease needs the thread earlier. */
uint64_t engine_lease_bound_ns(const struct engine *e, uint64_t wanted_ns);
/* Serve everything until the engine may speak. 0; errors of engine_service(). */
int engine_lease_wait(struct engine *e) __attribute__((warn_unused_result));
/* The gateway refused our term: no frame leaves and the guest stands still until the gateway gives
 * an order. */
void engine_outvoted(struct engine *e, const char *why);
/* Let the guest run again if we stopped it; only while there is no thread. 0; -errno: it does not
 * run. */
int engine_lease_let_run(struct engine *e) __attribute__((warn_unused_result));

/* engine_direct.c */
void engine_direct_tick(struct engine *e); /* enter a term that was voted for; beats */
bool engine_direct_is_next(struct engine *e); /* the next connection goes to the other host */
/* A connection to the other host (@is_peer) or to the gateway was tried; @result: 0 or -errno. */
void engine_direct_connected(struct engine *e, bool is_peer, int result);
uint64_t engine_direct_wake_ns(const struct engine *e);
/* Handle a frame that only the other host sends, no gateway. 0; -ENOENT: it is no such frame;
 * -EPROTO. */
int engine_direct_frame(struct engine *e, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

/* engine_epoch.c: between two epochs. If sealing through a pipe failed a while ago, try it
 * again. */
void engine_retry_pipe(struct engine *e);
/* Make the pipe (gate.h). Trying it out pauses the guest briefly. */
void engine_open_pipe(struct engine *e);

/* engine_watch.c. Take the inventory of the guest and compare QEMU's taps with the VM's file,
 * before anything is changed. 0; -ENOTSUP: other taps, or a writable disk; others as
 * vmm_inventory_take(); all with *ret_error. */
int engine_watch_open(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
void engine_watch_close(struct engine_watch *watch);
/* Compare the taps once more. Returns as engine_watch_open(). */
int engine_watch_check_taps(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
/* After a seal, before its epoch is encoded: look at the guest's devices if there is a reason. 0;
 * -ESTALE: they have changed; or errors of QEMU's monitor. On error the epoch must not be sent. */
int engine_watch_sealed(struct engine *e, const struct seal_result *result)
	__attribute__((warn_unused_result));
void engine_watch_tick(struct engine *e);  /* look at the taps when it is time */
void engine_watch_again(struct engine *e); /* the guest had changed: is it again as it was? */
uint64_t engine_watch_wake_ns(const struct engine_watch *watch);
/* No epochs until the guest runs again; engine_watch_runstate() asks QEMU why, and reports it. */
void engine_paused_by_other(struct engine *e); /* unless it is GUEST_RUNS, nothing happens */
void engine_watch_runstate(struct engine *e);

/* engine_throttle.c */
void engine_throttle_tick(struct engine *e); /* stop the vCPUs or let them go on, when due */
/* When the next tick is due. */
uint64_t engine_throttle_wake_ns(const struct engine_throttle *throttle, uint64_t now_ns);
/* Let the vCPUs go on for now. Call this before asking QEMU for anything, and before waiting long.
 * Blocks for some 10 us as a rule. 0; -ETIMEDOUT: a vCPU is stuck in the kernel for longer than
 * SEAL_TIMEOUT_NS. */
int engine_throttle_release(struct engine *e) __attribute__((warn_unused_result));
/* End the throttle, until later epochs need it again. Returns as engine_throttle_release(). */
int engine_throttle_end(struct engine *e) __attribute__((warn_unused_result));
/* An ordinary epoch was encoded to @bytes; the guest ran @run_ns for it. */
void engine_throttle_sealed(struct engine *e, uint64_t run_ns, const struct seal_result *result,
			    uint64_t bytes);
/* A round of a FULL epoch began at @began_ns and found @n_pages; the round before it found
 * @n_before.
 * True: another round is worth it. */
bool engine_throttle_round(struct engine *e, uint32_t n_pages, uint32_t n_before,
			   uint64_t began_ns);

/* engine_stats.c */
/* A FULL epoch was encoded or given up; @before: the encoder's counts before it. */
void engine_figures_full(struct engine_figures *figures, const struct encoder *encoder,
			 const struct encoder_counts *before);
/* The encoder's counts; the counts of pages by class are without FULL epochs. */
void engine_ordinary_counts(const struct engine_figures *figures, const struct encoder *encoder,
			    struct encoder_counts *ret_counts);
void engine_figures_sealed(struct engine_figures *figures, const struct seal_result *result,
			   enum seal_kind kind, uint32_t n_stale);
void engine_publish(struct engine *e);

#endif
