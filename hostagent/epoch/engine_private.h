/* engine_private.h - the engine's state, private to the engine's own files:
 *
 *	engine.c         thread, loop, QEMU's events, status
 *	engine_open.c    attaches to a guest; the three ways to end
 *	engine_stream.c  connection to the gateway: RESUME, COMMIT, sending
 *	engine_epoch.c   FULL and ordinary epochs: seal, encode
 *	engine_lease.c   stops the guest while there is no lease
 *	engine_base.c    asks what the standby has already, before a copy
 *	engine_condition.c  changes the conditions of condition.h, each by one function
 *	engine_machine.c  describes the guest's machine, for the standby to compare
 *	engine_direct.c  the stream to the VM's other host, without a gateway
 *	engine_disks.c   puts the writes to the guest's disks into epochs
 *	engine_mirrors.c  begins, watches and ends the mirrors of the disks
 *	engine_condition_private.h  the functions of engine_condition.c
 *	engine_disks_private.h  the parts of this header that concern disks
 *	engine_ring.c    the files of the disks' rings
 *	engine_verify.c  compares the disks' copies on the standby with the disks
 *	engine_verify_ram.c  compares the standby's copy of RAM with the guest's
 *	engine_verify_asked.c  both comparisons, because an operator asked
 *	engine_ram_private.h  the parts of this header that concern the two files above
 *	engine_progress.c  figures and news of the disks
 *	engine_flushes.c  makes QEMU ignore flushes of the disks' images, and obey them again
 *	engine_throttle.c  stops and resumes the vCPUs according to throttle.h's timetable
 *	engine_watch.c   checks whether the guest's devices or taps have changed since attaching
 *	engine_move.c    stops the guest so that the VM's other host can run it
 *	engine_handed.c  hands the guest on to the agent's next program
 *	engine_stats.c   figures
 *
 * engine_condition_private.h explains the conditions of the engine. The structs below have six
 * booleans, each a fact that no condition implies: other threads set must_stop and must_shed, and
 * read has_shed; has_holds and has_link are of two threads; each disk has its is_base_known.
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
#include "epoch/engine_condition_private.h"
#include "epoch/engine_disks_private.h"
#include "epoch/engine_ram_private.h"
#include "epoch/facts.h"
#include "epoch/handed.h"
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
#include "link/redial.h"
#include "net/holds.h"
#include "vmm/describe.h"
#include "vmm/guestclock.h"
#include "vmm/inspect.h"
#include "vmm/inventory.h"
#include "vmm/vcpus.h"

#define ENGINE_RECONNECT_NS    (100 * CLOCK_NS_PER_MS)
#define ENGINE_HANDSHAKE_NS    (2 * CLOCK_NS_PER_S)
#define ENGINE_PUBLISH_NS      (200 * CLOCK_NS_PER_MS)

struct engine_figures {
	struct hist pause_ns; /* pauses of epochs whose output was held */
	struct hist stop_ns, scan_ns, copy_ns, device_ns, cont_ns; /* parts of pause_ns */
	/* Pauses of epochs whose output left at once: the disks are copied during these. */
	struct hist unheld_pause_ns;
	struct hist dirty_pages; /* number of dirty pages of each epoch in pause_ns */
	struct hist commit_ns;	 /* time from the end of the pause to the commit */
	struct hist interval_ns; /* time from one seal in pause_ns to the next */
	uint64_t n_epochs;	  /* number of sealed epochs, without FULL epochs */
	uint64_t n_full;
	uint64_t full_pause_ns;	  /* length of the pause of the last FULL epoch */
	uint32_t full_rounds;     /* rounds of copying before the pause of the last FULL epoch */
	uint64_t n_kept;	  /* how many of the n_epochs seals left the written pages writable
				   * (SEAL_KEEP) */
	enum seal_kind last_kind; /* kind of the last seal */
	struct encoder_counts full; /* page records of all FULL epochs, completely sent or not */
	uint64_t n_dirty_pages;   /* number of dirty pages of the n_epochs, without stale pages */
	uint64_t n_stale_pages;   /* pages copied because they were left writable, although they had
				   * not changed */
	uint64_t n_precopied_pages; /* how many of the n_dirty_pages were copied before the pause,
				     * and not written again */
	uint64_t n_let_go;   /* number of epochs that filled the backlog alone, so that their sent
			      * frames were freed before the commit */
	uint64_t bytes_sent; /* size of the frames of the n_epochs, with headers */
	uint64_t bytes_full; /* size of the frames of the FULL epochs, with headers */
	uint64_t n_reconnects;
	uint64_t paused_ns; /* length of all pauses together */
	uint64_t last_resumed_ns;
	uint64_t last_commit_ns;  /* commit_ns of the last epoch */
	uint64_t throttled_ns;	  /* how long the throttle kept the vCPUs stopped */
	uint32_t throttle_peak;	  /* highest throttle so far, in percent */
	uint64_t n_lease_ended;
	uint64_t n_looks; /* number of checks of QEMU's lists of devices (watch.h) */
};

/* QEMU and the guest in it. */
struct engine_guest {
	struct qmp *qmp;
	struct vmm_info info;
	struct vcpus *vcpus; /* NULL: QEMU's vCPU threads are not known */
	struct guestclock *clock;
	struct clock_loss clock_loss;
	const char *end_text; /* who ended QEMU, according to its SHUTDOWN event (a constant); NULL:
			       * no such event */
	enum guest_condition condition;
};

/* The guest's machine, as it is described to the standby; see engine_machine.c. */
struct engine_machine {
	struct vmm_description is; /* the machine's description */
	uint32_t at;		   /* index of the next item of MACHINE to send */
};

/* The objects that capture the guest's state in a pause. */
struct engine_capture {
	enum tracking_condition tracking;
	struct track *track; /* NULL in TRACKING_LOST; then seal is NULL, too, and sync is
			      * SYNC_LOST */
	struct guestmem *mem;
	struct devstate *device;
	struct seal *seal;
	uint64_t pipe_retry_ns; /* when to try the pipe again; 0: it is in use, or was never made */
	uint64_t pipe_wait_ns;	/* length of the wait that ends at pipe_retry_ns */
	uint64_t sweep_look;	/* the check of QEMU's lists of devices that also closes what the
				 * agent's last program may have left in QEMU; 0: it is closed */
};

/* Has the guest changed since the engine attached to it? See engine_watch.c. */
struct engine_watch {
	struct watch plan;		/* says when to check the guest */
	struct vmm_inventory inventory; /* the guest's parts when the engine attached */
	int link_fd;			/* netlink socket (net/linkwatch.h); -1: none */
	int statm_fd;			/* descriptor of /proc/PID/statm; -1: none */
	enum cover_condition cover;
	uint64_t look_ns;		/* when to check the guest again; valid unless cover is
					 * COVER_WHOLE */
};

/* The guest's frames. */
struct engine_output {
	struct holds *holds;
	enum output_condition condition;
	uint32_t offloads;  /* holds_config.offloads */
	uint32_t n_unheld;  /* counts epochs that were too long for the hold to begin, since
			     * the last FULL epoch */
	uint64_t held_from; /* the epoch whose seal began the hold; 0: an earlier agent began
			     * the hold */
};

/* The right to let the guest run; see engine_lease.c. */
struct engine_lease {
	struct lease lease;	 /* the control connection's thread renews it */
	enum voice_condition voice;
	uint64_t stop_sent_ns;	 /* when our `stop` was sent */
	uint64_t stop_seen_ns;	 /* when QEMU answered that `stop`; 0: not known */
	uint64_t retry_ns;	 /* when to retry a stop or cont that QEMU did not obey */
	uint64_t commit_waiting; /* epoch of the newest COMMIT that arrived while frames could not
				  * be released */
};

struct engine_epochs {
	struct pacer pacer;
	struct encoder *encoder; /* owns the reference, writes into retain */
	struct retain *retain;
	uint64_t next;		 /* the running epoch's number; frames are stamped with it */
	uint64_t committed;	 /* newest committed epoch; 0: none */
	uint32_t dirty_expected; /* expected dirty pages of the next epoch: running mean of the
				  * last epochs */
	struct protect protect;	 /* decides whether to write-protect written pages again */
	enum sync_condition sync;
	uint32_t full_generation; /* the stream's generation in which a FULL epoch is sent; valid in
				   * SYNC_FULL */
	uint64_t copy_began_ns; /* when the first round of a FULL epoch began; 0: none is made */
	/* when an epoch's pause ended; index: epoch % slots */
	uint64_t sealed_at_ns[ENGINE_SEALED_AT_SLOTS];
	uint64_t retry_ns; /* when to try again to make an epoch; 0: the last epoch did not fail */
	uint64_t wait_ns;  /* length of the wait that ends at retry_ns */
};

/* See engine_move.c. */
struct engine_move {
	enum move_condition condition;
	uint64_t number;     /* number of the move that is under way, or of the last move; 0: none
			      * so far */
	uint64_t since_ns;   /* when it was begun */
	uint64_t stopped_ns; /* when the guest was told to stop; valid from MOVE_STOPPED on */
	uint64_t epoch;	     /* the guest's last epoch here; valid from MOVE_STOPPED on */
	/* the move that the owner's thread wants; 0: none. Any thread changes it */
	_Atomic uint64_t asked;
	/* must_shed: should the reference's memory be given back? Any thread sets this. has_shed:
	 * it was given back */
	_Atomic bool must_shed, has_shed;
};

/* See engine_throttle.c. */
struct engine_throttle {
	struct throttle plan;		    /* timetable: when the guest must stand still */
	uint64_t held_at_ns;		    /* when the vCPUs were stopped; 0: all have resumed */
	char why[WIRE_STATS_VALUE_MAX + 1]; /* why the throttle was last raised */
};

/* Which of the frames that begin a generation of the stream are still to be sent. */
enum stream_opening {
	OPENING_GEOMETRY, /* GEOMETRY and all of MACHINE */
	OPENING_MACHINE,  /* the items of MACHINE from engine_machine.at on */
	OPENING_SENT,
};

/* The stream to the gateway or to the other host; see engine_stream.c. */
struct engine_stream {
	struct link *link; /* NULL if condition is STREAM_NONE */
	enum stream_condition condition;
	enum stream_opening opening; /* which of the generation's first frames are still to
				      * be sent */
	uint64_t features;	     /* WIRE_FEATURE_* in use, from the last WELCOME */
	uint64_t incarnation;	     /* incarnation of the gateway at the link's other end */
	uint32_t generation;
	uint64_t complete_at_peer; /* the epoch in the last RESUME; the next frames build on it */
	struct stage stage;	   /* decides whether the second stage is worth its time */
	uint32_t backoff;	   /* failed connection attempts in a row */
	struct redial redial;	   /* how soon to connect after a loss */
	uint64_t connect_at_ns;
	uint64_t drained_bytes;	   /* bytes acknowledged by the other end's TCP */
	uint64_t drained_at_ns;    /* when drained_bytes last grew, or when the link was last seen
				    * with nothing to send */
};

/* The questions about what the standby has already; see engine_base.c. */
struct engine_base {
	enum base_condition condition;
	struct wire_hashes_want want; /* the question; valid unless BASE_NONE */
	uint64_t asked_ns;    /* when we first tried to send the question */
	uint64_t end;	      /* number of the guest's pages, or of the disk's blocks */
	uint32_t generation;  /* the stream's generation when the questions began; all answers must
			       * be of this generation */
	struct engine_disk *disk; /* the disk whose blocks we ask about; NULL: we ask about pages */
	/* pages: the standby's hashes, zero for a page that is zero or not known; NULL: none */
	uint8_t *hash;
	uint64_t n_hashes;    /* how many hashes have arrived */
};

/* State that is used without a gateway; see engine_direct.c. */
struct engine_direct {
	enum direct_condition condition;
	uint64_t beat_ns;      /* when the last BEAT was sent to the other host */
	uint64_t beat_boot_ns; /* the time in that BEAT (clock_boot_ns()) */
	_Atomic uint64_t term; /* set by engine_go_direct() on any thread, after it has
				* set claimed_ns and claimed_peer */
	_Atomic uint64_t claimed_ns;
	_Atomic uint8_t claimed_peer;
	uint8_t peer; /* the host to which the engine streams: index in config.peers */
};

/* What engine_open() does in parallel for a guest that was handed on; see engine_handed.c. */
struct engine_aside {
	pthread_t holds_thread, link_thread;
	bool has_holds, has_link; /* this thread was started, and its result was not taken yet */
	int holds_result;
	struct error holds_error;
	int link_result;
	struct link *link; /* connection to the gateway, which has sent its WELCOME; valid if
			    * link_result is 0 */
	struct wire_welcome welcome;
};

struct engine {
	struct engine_config config;
	uint64_t term;

	/* When the engine's thread runs, only this thread uses the following members, with one
	 * exception: other threads use some members of lease.lease, direct, move and asked. */
	struct engine_guest guest;
	struct engine_machine machine;
	struct engine_capture capture;
	struct engine_watch watch;
	struct engine_output output;
	struct engine_lease lease;
	struct engine_epochs epochs;
	struct engine_disks disks;
	struct engine_verify verify;
	struct engine_base base;
	struct engine_ram ram;
	struct engine_asked asked;
	struct engine_throttle throttle;
	struct engine_stream stream;
	struct engine_direct direct;
	struct engine_move move;
	struct engine_figures figures;
	struct engine_aside aside;
	struct facts *facts; /* from the agent's previous program, during engine_open(); NULL:
			      * none */
	uint64_t publish_at_ns;
	int publish_error; /* why the last engine_publish() could not format the figures; 0: it
			    * could */

	/* shared with the owner's threads */
	pthread_t thread;
	_Atomic bool must_stop;
	int wake_fd; /* eventfd, written when must_stop is set */
	pthread_mutex_t status_lock;
	struct engine_status status;
};

/* engine.c */
void engine_set_state(struct engine *e, uint8_t state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void engine_set_verdict(struct engine *e, uint8_t verdict, const char *text);
/* Handle what has arrived (frames to hold, commits, QEMU's events), and send waiting frames.
 * Returns 0; -EINTR if the engine must stop; -ESTALE if the caller must give up the epoch that is
 * being encoded. */
int engine_service(struct engine *e) __attribute__((warn_unused_result));

/* The thread's main function; @arg: struct engine. */
void *engine_main(void *arg);
/* Records an event of QEMU, and does nothing else, because it runs inside qmp calls. @arg: struct
 * engine. */
void engine_on_qmp_event(void *arg, const char *event, const json_t *data);

/* engine_stream.c */
void engine_stream_connect(struct engine *e);
void engine_stream_close(struct engine *e, const char *why);
void engine_stream_receive(struct engine *e); /* handle frames that arrived; can close the stream */
void engine_stream_send(struct engine *e); /* send retained frames until the link takes no more */
/* Called when the backlog is full: wait a short time for the link to send more, then call
 * engine_service(). If one epoch alone fills the backlog, no commit can make room. So each frame of
 * that epoch is dropped once it is sent. Returns 0 if the caller can try again; errors of
 * engine_service(); -EPIPE if there is no stream. */
int engine_stream_wait(struct engine *e) __attribute__((warn_unused_result));
/* Return how many bytes are encoded but not yet acknowledged by the other end's TCP. */
uint64_t engine_stream_waiting(const struct engine *e);
/* Called while other threads encode: wait a short time until encoder_pages() can continue, then
 * call engine_service(). Returns 0 if the caller can try again; errors of engine_service(). */
int engine_encoder_wait(struct engine *e) __attribute__((warn_unused_result));
/* Wait until something arrives, the link can send more, @fd (-1: none) is readable, or @wait_ns
 * have passed. Then call engine_service(), and return its result. */
int engine_wait_and_serve(struct engine *e, int fd, uint64_t wait_ns)
	__attribute__((warn_unused_result));
void engine_committed(struct engine *e, uint64_t epoch);
void engine_stream_pace(struct engine *e); /* tell the pacer how many epochs are uncommitted */
void engine_stream_watch(struct engine *e);   /* reconnect if only the stream's TCP is stuck */
void engine_stream_measure(struct engine *e); /* measure the link, for pacer and second stage */

/* engine_epoch.c. Make and send one epoch. Returns 0, or -errno if the epoch was not sent whole. If
 * a FULL epoch must follow, the condition sync is SYNC_LOST. */
int engine_full_epoch(struct engine *e) __attribute__((warn_unused_result));
int engine_epoch(struct engine *e) __attribute__((warn_unused_result));
/* Call engine_pause_begins() before a pause of ours. After the pause, pass its result to
 * engine_pause_ended(). QEMU's STOP and RESUME events between the two calls belong to our pause. If
 * somebody else paused the guest meanwhile, engine_pause_ended() returns true, and the caller must
 * call engine_paused_by_other(). */
enum guest_condition engine_pause_begins(struct engine *e);
bool engine_pause_ended(struct engine *e, enum guest_condition before);
/* Start to track dirty pages again, without knowledge of pages written earlier. On error, track and
 * seal are NULL. */
int engine_restart_tracking(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Make the seal object for a new tracker. Returns 0 or -ENOMEM. */
int engine_new_seal(struct engine *e, struct error *ret_error) __attribute__((warn_unused_result));

/* engine_handed.c; all use config.handed. engine_aside_begin(): take facts and machine from it, if
 * they can be used. Then begin to open the holds and a connection to the gateway on threads, while
 * QEMU is asked. engine_aside_holds(): wait for the holds; returns the result of holds_open().
 * engine_aside_link(): take the connection, if there is one; returns 0 or -ENOTCONN.
 * engine_aside_end(): drop what was not taken. engine_inspect(): do what vmm_inspect() does, with
 * fewer commands if there are facts; returns what vmm_inspect() returns. engine_resume_tracking():
 * go on with the userfaultfd that was handed on, instead of engine_restart_tracking(); returns 0,
 * or an error after which nothing can be taken over. engine_take_up(): go on with the last epoch;
 * call it before the hold is opened and the thread runs. engine_let_go_on(): let the guest run,
 * when all is open. engine_hand_obstacle(), in the old program, without config.handed: return a
 * text that names what this program knows and cannot hand on, or NULL. If there is such a thing,
 * the guest must not be stopped for a replacement of the program. */
void engine_aside_begin(struct engine *e);
int engine_aside_holds(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
int engine_aside_link(struct engine *e, struct link **ret_link, struct wire_welcome *ret_welcome)
	__attribute__((warn_unused_result));
void engine_aside_end(struct engine *e);
int engine_inspect(struct engine *e, struct error *ret_error) __attribute__((warn_unused_result));
int engine_resume_tracking(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
void engine_take_up(struct engine *e);
void engine_let_go_on(struct engine *e);
const char *engine_hand_obstacle(const struct engine *e);
/* engine_shed_tick(): on the engine's thread, between two epochs: do a step of engine_shed().
 * engine_sheds(): is a step due? */
void engine_shed_tick(struct engine *e);
bool engine_sheds(struct engine *e);

/* engine_open.c. Stop the engine's thread; free everything but the holds. */
void engine_stop_thread(struct engine *e);
void engine_free(struct engine *e); /* accepts NULL */

/* engine_base.c. Ask for hashes of the standby's copy, and give them to the encoder for the FULL
 * epoch that will follow. Called when sync is SYNC_FULL and nothing is retained. Returns 0, even if
 * the standby does not answer or has nothing; or an error of engine_service(). engine_base_used()
 * must follow when that epoch was made, or was given up. */
int engine_base_memory(struct engine *e) __attribute__((warn_unused_result));
void engine_base_used(struct engine *e);
/* Ask for hashes of the standby's images, and put them into the rings. Returns true if all answers
 * have arrived, or there is nothing to ask: then the mirrors may begin. Called between two epochs,
 * and while a FULL epoch waits for the disks. */
bool engine_base_disks(struct engine *e);
/* The standby may have lost its copy of @disk: drop the records that wait, and ask again before the
 * next mirror begins. That mirror reads the whole disk. No server may run. */
void engine_base_forget(struct engine_disk *disk);
/* Called at each RESUME: the standby may have changed, so earlier answers no longer count. */
void engine_base_void(struct engine *e);
uint64_t engine_base_wake_ns(const struct engine *e); /* when to look again; UINT64_MAX: never */
/* Handle HASHES. Returns 0 or -EPROTO. */
int engine_base_answer(struct engine *e, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

/* engine_machine.c. Called when the engine attaches: describe the guest's machine. If @known
 * describes the same process, this is fast. @known may be NULL. Returns 0. On error returns -errno,
 * and *ret_error has a text for the operator. */
int engine_machine_open(struct engine_machine *machine, struct qmp *qmp,
			const struct vmm_description *known, struct error *ret_error)
	__attribute__((warn_unused_result));
void engine_machine_done(struct engine_machine *machine);
/* Called before a FULL epoch: check that the machine is still as described. Returns 0 if it is. If
 * it is not, closes the stream and returns -ESTALE; the next stream begins with a new description.
 * Returns another -errno if QEMU did not answer. */
int engine_machine_check(struct engine *e) __attribute__((warn_unused_result));
/* Send the rest of MACHINE. Call this in OPENING_MACHINE. Returns 0, or an error of
 * link_send_frame() (also -EAGAIN). */
int engine_machine_send(struct engine *e) __attribute__((warn_unused_result));

/* engine_move.c. Called in each turn: begin, continue or give up a move. */
void engine_move_tick(struct engine *e);
/* Does a move keep the engine from sealing ordinary epochs? */
bool engine_move_waits(const struct engine *e);
/* engine_move_is_due(): is it time to stop the guest for a move? engine_move_seal(): stop it, and
 * make its last epoch. Returns the result of engine_epoch(), or 0 if no epoch was made. */
bool engine_move_is_due(const struct engine *e, uint64_t now_ns);
int engine_move_seal(struct engine *e) __attribute__((warn_unused_result));
/* Return when engine_move_tick() is due. */
uint64_t engine_move_wake_ns(const struct engine *e);

/* engine_lease.c */
/* Stop the guest. The condition guest then says whether QEMU has obeyed. */
void engine_lease_stop(struct engine *e);
/* May the guest run? Not if we were outvoted or the lease has expired; yes if no lease was
 * ever given. */
bool engine_may_speak(const struct engine *e);
bool engine_may_release(const struct engine *e); /* May held frames be released? This must become
						  * false before the guest must stop. */
void engine_lease_tick(struct engine *e);      /* stop or resume the guest when it is time */
/* Return when the next tick is due. */
uint64_t engine_lease_wake_ns(const struct engine *e, uint64_t now_ns);
/* Return @wanted_ns, or an earlier time if the thread must check the lease earlier. */
uint64_t engine_lease_bound_ns(const struct engine *e, uint64_t wanted_ns);
/* Call engine_service() until this host may speak for the guest. Returns 0 or an error of
 * engine_service(). */
int engine_lease_wait(struct engine *e) __attribute__((warn_unused_result));
/* Called when the gateway has refused our term. Until the gateway sends a command, no frame leaves
 * and the guest stays stopped. */
void engine_outvoted(struct engine *e, const char *why);
/* If we stopped the guest, resume it. Call this on the engine's thread, or while that thread does
 * not run.
 * Returns 0, or -errno if the guest does not run. */
int engine_lease_let_run(struct engine *e) __attribute__((warn_unused_result));

/* engine_direct.c */
void engine_direct_tick(struct engine *e); /* enter a term that the other host voted for;
					    * send beats */
bool engine_direct_is_next(struct engine *e); /* must the next connection go to the other host? */
/* Report an attempt to connect to the other host (@is_peer) or to the gateway. @result: 0
 * or -errno. */
void engine_direct_connected(struct engine *e, bool is_peer, int result);
uint64_t engine_direct_wake_ns(const struct engine *e);
/* Handle a frame of a type that only the other host sends, never a gateway. Returns 0;
 * -ENOENT: @frame is of a different type;
 * -EPROTO. */
int engine_direct_frame(struct engine *e, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

/* engine_epoch.c. Called between two epochs: if sealing through a pipe failed a while ago, try it
 * again. */
void engine_retry_pipe(struct engine *e);
/* Make the pipe (gate.h). The test of the new pipe pauses the guest briefly. */
void engine_open_pipe(struct engine *e);

/* engine_watch.c. Take the guest's inventory and compare QEMU's taps with the VM's file, before the
 * engine changes anything. Returns 0;
 * -ENOTSUP: QEMU has other taps or other writable disks than the file says;
 * or an error of vmm_inventory_take().
 * On error *ret_error says why. */
int engine_watch_open(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
void engine_watch_close(struct engine_watch *watch);
/* Compare the taps once more. Returns the same as engine_watch_open(). */
int engine_watch_check_taps(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
/* If some sign calls for it (watch.h), check the guest's devices. Call this after each seal, before
 * its epoch is encoded. Returns 0;
 * -ESTALE: the devices have changed;
 * or an error of QEMU's monitor.
 * On error the epoch must not be sent. */
int engine_watch_sealed(struct engine *e, const struct seal_result *result)
	__attribute__((warn_unused_result));
void engine_watch_tick(struct engine *e);  /* check the taps when it is time */
void engine_watch_again(struct engine *e); /* check whether a change was undone */
uint64_t engine_watch_wake_ns(const struct engine_watch *watch);
/* engine_paused_by_other(): make no epochs until the guest runs again. engine_watch_runstate(): ask
 * QEMU why the guest is paused, and report the answer. */
void engine_paused_by_other(struct engine *e); /* does nothing if the guest is not GUEST_RUNS */
void engine_watch_runstate(struct engine *e);

/* engine_throttle.c */
void engine_throttle_tick(struct engine *e); /* stop or resume the vCPUs when it is time */
/* Return when the next tick is due. */
uint64_t engine_throttle_wake_ns(const struct engine_throttle *throttle, uint64_t now_ns);
/* Resume the vCPUs until the next tick. Call this before any request to QEMU, and before any long
 * wait. Usually blocks for some 10 us. Returns 0;
 * -ETIMEDOUT: a vCPU was stuck in the kernel for longer than SEAL_TIMEOUT_NS. */
int engine_throttle_release(struct engine *e) __attribute__((warn_unused_result));
/* End throttling, until later epochs make it necessary again. Returns the same as
 * engine_throttle_release(). */
int engine_throttle_end(struct engine *e) __attribute__((warn_unused_result));
/* Report an ordinary epoch: the guest ran for @run_ns in it, and its frames have @bytes. */
void engine_throttle_sealed(struct engine *e, uint64_t run_ns, const struct seal_result *result,
			    uint64_t bytes);
/* Report a round of a FULL epoch. The round began at @began_ns and found @n_pages pages. The round
 * before it found @n_before pages. Returns true if another round is worth it. */
bool engine_throttle_round(struct engine *e, uint32_t n_pages, uint32_t n_before,
			   uint64_t began_ns);

/* engine_stats.c */
/* Count a FULL epoch that was encoded or given up. @before: the encoder's counts before
 * that epoch. */
void engine_figures_full(struct engine_figures *figures, const struct encoder *encoder,
			 const struct encoder_counts *before);
/* Get the encoder's counts, but leave FULL epochs out of the counts of pages by class. */
void engine_ordinary_counts(const struct engine_figures *figures, const struct encoder *encoder,
			    struct encoder_counts *ret_counts);
/* Record the seal of an epoch that is not FULL. @is_held: was its output held? */
void engine_figures_sealed(struct engine_figures *figures, const struct seal_result *result,
			   enum seal_kind kind, uint32_t n_stale, bool is_held);
void engine_publish(struct engine *e);

#endif
