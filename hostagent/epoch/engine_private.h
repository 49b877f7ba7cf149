/* engine_private.h - the engine's state, private to the engine's own files:
 *
 *	engine.c         thread, loop, QEMU's events, status
 *	engine_open.c    attaches to a guest; the three ways to end
 *	engine_stream.c  connection to the gateway or the other host: RESUME, COMMIT, sending
 *	engine_epoch.c   ordinary epochs: seal, encode; what FULL epochs share with them
 *	engine_full.c    FULL epochs: rounds of copying while the guest runs
 *	engine_lease.c   stops the guest while there is no lease
 *	engine_base.c    asks what the standby has already, before a copy
 *	engine_condition.c  changes the conditions of condition.h, each by one function
 *	engine_machine.c  describes the guest's machine, for the standby to compare
 *	engine_direct.c  the stream to the VM's other host, without a gateway
 *	engine_disks.c   puts the writes to the guest's disks into epochs
 *	engine_mirrors.c  begins, watches and ends the mirrors of the disks
 *	engine_condition_private.h  the functions of engine_condition.c
 *	engine_epoch_private.h  the functions of engine_epoch.c and engine_full.c
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
#include "epoch/engine_epoch_private.h"
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
	/* lengths of the parts of the pauses in pause_ns */
	struct hist stop_ns, scan_ns, copy_ns, device_ns, cont_ns;
	/* Pauses of epochs whose output left at once. They are longer, because the disks are copied
	 * in these epochs. */
	struct hist unheld_pause_ns;
	struct hist dirty_pages; /* number of dirty pages of each epoch whose output was held */
	struct hist commit_ns;	 /* time from the end of the pause to the commit */
	/* time from the end of one pause to the end of the next, if the output was held */
	struct hist interval_ns;
	uint64_t n_epochs;	  /* number of sealed ordinary epochs */
	uint64_t n_full;
	uint64_t full_pause_ns;	  /* length of the pause of the last FULL epoch */
	uint32_t full_rounds;     /* number of rounds of copying before the pause of the last FULL
				   * epoch */
	/* number of ordinary epochs that were sealed with SEAL_KEEP, which leaves written pages
	 * writable */
	uint64_t n_kept;
	enum seal_kind last_kind; /* kind of the last seal */
	struct encoder_counts full; /* page records of all FULL epochs, also of those that were
				     * given up */
	/* number of dirty pages of all ordinary epochs; stale pages are not counted */
	uint64_t n_dirty_pages;
	/* number of stale pages: pages that had not changed, and were copied only because they had
	 * been left writable */
	uint64_t n_stale_pages;
	/* number of dirty pages of ordinary epochs that were copied before the pause, and not again
	 * in it */
	uint64_t n_precopied_pages;
	/* number of epochs that filled the whole backlog, so that their frames were freed when they
	 * were sent, before the commit */
	uint64_t n_let_go;
	uint64_t bytes_sent; /* size of the frames of all ordinary epochs, with headers */
	uint64_t bytes_full; /* size of the frames of the FULL epochs, with headers */
	uint64_t n_reconnects;
	uint64_t paused_ns; /* total length of all pauses */
	uint64_t last_resumed_ns;
	uint64_t last_commit_ns;  /* time from the last committed epoch's pause to its commit */
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
	/* who ended QEMU, according to its SHUTDOWN event (a constant text); NULL: there was no
	 * such event, or the guest itself wanted the shutdown */
	const char *end_text;
	enum guest_condition condition;
};

/* The guest's machine, as it is described to the standby; see engine_machine.c. */
struct engine_machine {
	struct vmm_description is; /* the machine's description */
	uint32_t at;		   /* index of the next item to send in a MACHINE frame */
};

/* The objects that capture the guest's state in a pause. */
struct engine_capture {
	enum tracking_condition tracking;
	struct track *track; /* NULL in TRACKING_LOST. Then seal is NULL, too, and sync is
			      * SYNC_LOST */
	struct guestmem *mem;
	struct devstate *device;
	struct seal *seal;
	uint64_t pipe_retry_ns; /* when to try the pipe of the gate (vmm/gate.h) again; 0: no try is
				 * planned */
	uint64_t pipe_wait_ns;	/* length of the wait that ends at pipe_retry_ns */
	/* The check of QEMU's lists of devices with this number (engine_figures.n_looks), or a
	 * later one, also closes what the agent's previous program may have left in QEMU. 0: that
	 * is closed. */
	uint64_t sweep_look;
};

/* Has the guest changed since the engine attached to it? See engine_watch.c. */
struct engine_watch {
	struct watch plan;		/* decides when to check the guest */
	struct vmm_inventory inventory; /* the guest's devices, disks and memory when the engine
					 * attached */
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
	uint32_t offloads;  /* bit i: the card on tap i has offloads (holds_config) */
	uint32_t n_unheld;  /* number of epochs since the last FULL epoch that were too long for the
			     * hold to begin */
	uint64_t held_from; /* the epoch at whose seal the hold began; 0: an earlier agent began
			     * it */
};

/* The right to let the guest run; see engine_lease.c. */
struct engine_lease {
	struct lease lease;	 /* renewed by the thread of the control connection; without a
				  * gateway, by the engine's thread */
	enum voice_condition voice;
	uint64_t stop_sent_ns;	 /* when our last `stop` was sent */
	uint64_t stop_seen_ns;	 /* when QEMU answered our last `stop`; 0: not known */
	uint64_t retry_ns;	 /* when to retry a `stop` or `cont` that QEMU did not obey */
	uint64_t commit_waiting; /* epoch of the newest COMMIT that arrived while frames could not
				  * be released */
};

struct engine_epochs {
	struct pacer pacer;
	struct encoder *encoder; /* owns the reference, writes into retain */
	struct retain *retain;
	uint64_t next;		 /* number of the running epoch, with which the guest's frames are
				  * stamped */
	uint64_t committed;	 /* newest committed epoch; 0: none */
	uint32_t dirty_expected; /* expected number of dirty pages of the next epoch: a running
				  * mean */
	struct protect protect;	 /* decides whether to write-protect written pages again */
	enum sync_condition sync;
	uint32_t full_generation; /* generation of the stream on which the FULL epoch is sent; valid
				   * in SYNC_FULL */
	uint64_t copy_began_ns; /* when the first round of a FULL epoch began; 0: no first round is
				 * being made */
	/* when the pause of epoch n ended; index: n % ENGINE_SEALED_AT_SLOTS */
	uint64_t sealed_at_ns[ENGINE_SEALED_AT_SLOTS];
	uint64_t retry_ns; /* when to try again to make an epoch; 0: the last epoch did not fail */
	uint64_t wait_ns;  /* length of the wait that ends at retry_ns */
};

/* A move of the guest to the VM's other host; see engine_move.c. */
struct engine_move {
	enum move_condition condition;
	uint64_t number;     /* number of the current move, or of the last one; 0: there was none */
	uint64_t since_ns;   /* when this move was begun */
	uint64_t stopped_ns; /* when the guest was told to stop; valid from MOVE_STOPPED on */
	uint64_t epoch;	     /* the guest's last epoch here; valid from MOVE_STOPPED on */
	/* number of the move that is wanted (engine_move()); 0: none. Any thread changes this
	 * member */
	_Atomic uint64_t asked;
	/* must_shed: the reference's memory should be given back (engine_shed(); any thread sets
	 * this). has_shed: it was given back */
	_Atomic bool must_shed, has_shed;
};

/* The throttle, which slows the guest down; see engine_throttle.c. */
struct engine_throttle {
	struct throttle plan;		    /* timetable: when the guest must stand still */
	uint64_t held_at_ns;		    /* when the throttle stopped the vCPUs; 0: all run */
	char why[WIRE_STATS_VALUE_MAX + 1]; /* why the throttle was last raised */
};

/* Which frames must still be sent to begin a generation of the stream. */
enum stream_opening {
	OPENING_GEOMETRY, /* GEOMETRY, and all items of the machine's description in MACHINE
			   * frames */
	OPENING_MACHINE,  /* the items from engine_machine.at on, in MACHINE frames */
	OPENING_SENT,
};

/* The stream to the gateway or to the other host; see engine_stream.c. */
struct engine_stream {
	struct link *link; /* NULL if condition is STREAM_NONE */
	enum stream_condition condition;
	enum stream_opening opening; /* which of the generation's first frames must still be sent */
	uint64_t features;	     /* WIRE_FEATURE_* in use, from the last WELCOME */
	uint64_t incarnation;	     /* incarnation of the gateway at the link's other end */
	uint32_t generation;
	uint64_t complete_at_peer; /* the epoch in the last RESUME; the next frames build on it */
	struct stage stage;	   /* decides whether the second stage is worth its time */
	uint32_t backoff;	   /* failed connection attempts in a row */
	struct redial redial;	   /* says how soon to connect again after the connection was
				    * lost */
	uint64_t connect_at_ns;
	uint64_t drained_bytes;	   /* bytes acknowledged by the other end's TCP */
	uint64_t drained_at_ns;    /* when drained_bytes last grew, or when the link last had
				    * nothing to send */
};

/* The questions (HASHES_WANT) about what the standby has already; see engine_base.c. */
struct engine_base {
	enum base_condition condition;
	struct wire_hashes_want want; /* the question; valid unless BASE_NONE */
	uint64_t asked_ns;    /* when we first tried to send the question */
	uint64_t end;	      /* number of the guest's pages, or of the disk's blocks */
	uint32_t generation;  /* the stream's generation when the questions began; all answers must
			       * be of this generation */
	struct engine_disk *disk; /* the disk whose blocks we ask about; NULL: we ask about pages */
	/* for pages: the standby's hashes, zero for a page that is zero or not known; NULL: none */
	uint8_t *hash;
	uint64_t n_hashes;    /* how many hashes have arrived */
};

/* State that is used without a gateway; see engine_direct.c. */
struct engine_direct {
	enum direct_condition condition;
	uint64_t beat_ns;      /* when the last BEAT was sent to the other host */
	uint64_t beat_boot_ns; /* the time in the last BEAT (clock_boot_ns()) */
	_Atomic uint64_t term; /* the term to enter; engine_go_direct() sets it on any thread, after
				* claimed_ns and claimed_peer */
	_Atomic uint64_t claimed_ns;
	_Atomic uint8_t claimed_peer;
	uint8_t peer; /* the host to which the engine streams: its index in config.peers */
};

/* What threads do for engine_open() when a guest was handed on; see engine_handed.c. */
struct engine_aside {
	pthread_t holds_thread, link_thread;
	/* true: the thread was started, and its result has not been taken yet */
	bool has_holds, has_link;
	int holds_result;
	struct error holds_error;
	int link_result;
	struct link *link; /* connection to the gateway, on which WELCOME has arrived; valid if
			    * link_result is 0 */
	struct wire_welcome welcome;
};

struct engine {
	struct engine_config config;
	uint64_t term;

	/* While the engine's thread runs, only this thread uses the following members. Exception:
	 * other threads use some members of lease.lease, direct, move and asked. */
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
	struct facts *facts; /* from the agent's previous program, valid during engine_open(); NULL:
			      * none */
	uint64_t publish_at_ns;
	int publish_error; /* why the last engine_publish() could not format the figures; 0: it
			    * could */

	/* other threads use these members, too */
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
 * Returns 0;
 * -EINTR: the engine must stop;
 * -ESTALE: the epoch that is being encoded must be given up. */
int engine_service(struct engine *e) __attribute__((warn_unused_result));

/* The main function of the engine's thread; @arg: struct engine. */
void *engine_main(void *arg);
/* Called for each event of QEMU. Only records the event, because this runs inside qmp calls. @arg:
 * struct engine. */
void engine_on_qmp_event(void *arg, const char *event, const json_t *data);

/* engine_stream.c */
void engine_stream_connect(struct engine *e);
void engine_stream_close(struct engine *e, const char *why);
void engine_stream_receive(struct engine *e); /* handle frames that arrived; can close the stream */
void engine_stream_send(struct engine *e); /* send retained frames until the link takes no more */
/* Called when the backlog is full: wait a short time for the link to send more, then call
 * engine_service(). But if one epoch alone fills the backlog, no commit can make room. In this case
 * drop each frame of that epoch once it is sent. Returns 0: the caller can try again; -EPIPE: there
 * is no stream; or an error of engine_service(). */
int engine_stream_wait(struct engine *e) __attribute__((warn_unused_result));
/* Return how many bytes are encoded but not yet acknowledged by the other end's TCP. */
uint64_t engine_stream_waiting(const struct engine *e);
/* Called while other threads encode: wait a short time until encoder_pages() can continue, then
 * call engine_service(). Returns 0: the caller can try again; or an error of engine_service(). */
int engine_encoder_wait(struct engine *e) __attribute__((warn_unused_result));
/* Wait until something has arrived, the link can send more, @fd (-1: none) is readable, or @wait_ns
 * have passed. Then call engine_service(), and return its result. Can return earlier. */
int engine_wait_and_serve(struct engine *e, int fd, uint64_t wait_ns)
	__attribute__((warn_unused_result));
void engine_committed(struct engine *e, uint64_t epoch);
void engine_stream_pace(struct engine *e); /* tell the pacer how many epochs are uncommitted */
/* Connect again if TCP is stuck on the stream, while the control connection works. */
void engine_stream_watch(struct engine *e);
/* Measure the link, for the pacer and the second stage. */
void engine_stream_measure(struct engine *e);

/* engine_handed.c, in the next program, where config.handed is set. Take the facts and the
 * machine's description from config.handed, if they can be used. If so, start two threads that open
 * the holds and a connection to the gateway, while this thread asks QEMU. */
void engine_aside_begin(struct engine *e);
/* Wait for the thread that opens the holds. Returns the result of holds_open(). */
int engine_aside_holds(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Wait for the thread that connects. Returns 0, and the caller owns *ret_link; -ENOTCONN: there is
 * no connection, or it was taken before. */
int engine_aside_link(struct engine *e, struct link **ret_link, struct wire_welcome *ret_welcome)
	__attribute__((warn_unused_result));
/* Close the holds and the connection that engine_aside_holds() and engine_aside_link() have not
 * handed out. */
void engine_aside_end(struct engine *e);
/* Do what vmm_inspect() does, with fewer commands to QEMU if there are facts. Returns the same. */
int engine_inspect(struct engine *e, struct error *ret_error) __attribute__((warn_unused_result));
/* Continue to track dirty pages with the userfaultfd that was handed on. Called instead of
 * engine_restart_tracking(). Returns 0, or an error after which nothing can be taken over. */
int engine_resume_tracking(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Continue with the state of the last epoch that the old program sealed. Call this before the holds
 * are opened and the engine's thread starts. */
void engine_take_up(struct engine *e);
/* Let the guest run. Call this when everything is open. */
void engine_let_go_on(struct engine *e);
/* In the old program: does it know something that it cannot hand on? If so, returns a text that
 * names it, and the guest must not be stopped to replace the program. If not, returns NULL. */
const char *engine_hand_obstacle(const struct engine *e);
/* Called on the engine's thread between two epochs: do the next step of engine_shed(). */
void engine_shed_tick(struct engine *e);
/* Is a step of engine_shed() due? */
bool engine_sheds(struct engine *e);

/* engine_open.c. Tell the engine's thread to stop, and wait for its end. */
void engine_stop_thread(struct engine *e);
/* Free everything except the holds. Accepts NULL. */
void engine_free(struct engine *e);

/* engine_base.c. Ask for hashes of the standby's copy of RAM, and give them to the encoder for the
 * FULL epoch that will follow. Called when sync is SYNC_FULL and nothing is retained. Returns 0,
 * even if the standby does not answer or has nothing; or an error of engine_service(). */
int engine_base_memory(struct engine *e) __attribute__((warn_unused_result));
/* Free the hashes that engine_base_memory() gave to the encoder. Call this after the FULL epoch
 * that used them was made or given up. */
void engine_base_used(struct engine *e);
/* Ask for hashes of the standby's images, and put them into the rings. Returns true if all answers
 * have arrived, or there is nothing to ask: then the mirrors may begin. Called between two epochs,
 * and while a FULL epoch waits for the disks. */
bool engine_base_disks(struct engine *e);
/* Called when the standby may have lost its copy of @disk. Drop the records that wait in the ring,
 * and forget all hashes: ask for them again before the next mirror begins. That mirror reads the
 * whole disk. No server of @disk may run. */
void engine_base_forget(struct engine_disk *disk);
/* Called at each RESUME: give up the question that is not answered yet, because the standby may
 * have changed. */
void engine_base_void(struct engine *e);
/* Return when to call engine_base_disks() again; UINT64_MAX: there is no question about a disk. */
uint64_t engine_base_wake_ns(const struct engine *e);
/* Handle a HASHES frame. Returns 0; -EPROTO: the frame is not valid. */
int engine_base_answer(struct engine *e, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

/* engine_machine.c. Called when the engine attaches: describe the guest's machine. @known may be
 * NULL; if it describes the same process, this is fast. Returns 0. On error returns -errno, and
 * *ret_error has a text for the operator. */
int engine_machine_open(struct engine_machine *machine, struct qmp *qmp,
			const struct vmm_description *known, struct error *ret_error)
	__attribute__((warn_unused_result));
void engine_machine_done(struct engine_machine *machine);
/* Called before a FULL epoch: check that the machine is still as it was described. Returns 0 if so.
 * Returns -ESTALE if not: a new description was made, and the stream was closed, because the
 * description must be sent at the beginning of a stream.
 * Returns another -errno if QEMU did not answer. */
int engine_machine_check(struct engine *e) __attribute__((warn_unused_result));
/* Send the items of the machine's description that are not sent yet, in MACHINE frames. Call this
 * while e->stream.opening is OPENING_MACHINE.
 * Returns 0 when all are sent;
 * -EAGAIN: the link takes no more now; call this again later to continue;
 * or another error of link_send_frame(). */
int engine_machine_send(struct engine *e) __attribute__((warn_unused_result));

/* engine_move.c. Called in each turn: begin, continue or give up a move. */
void engine_move_tick(struct engine *e);
/* Is a move wanted? Then the engine seals no ordinary epochs. */
bool engine_move_waits(const struct engine *e);
/* Is it time to stop the guest for a move? */
bool engine_move_is_due(const struct engine *e, uint64_t now_ns);
/* Stop the guest for a move, and make its last epoch. Returns the result of engine_epoch(), or 0 if
 * QEMU did not stop the guest and so no epoch was made. */
int engine_move_seal(struct engine *e) __attribute__((warn_unused_result));
/* Return when engine_move_tick() is due. */
uint64_t engine_move_wake_ns(const struct engine *e);

/* engine_lease.c */
/* Tell QEMU to stop the guest. Afterwards the condition `guest` says whether QEMU has obeyed. */
void engine_lease_stop(struct engine *e);
/* May the guest run? Not if we were outvoted, or in MOVE_YIELDED. While the output is held, also
 * not if the lease has expired or frames could bypass the hold (COVER_NET). If no lease was ever
 * given, no lease can expire. */
bool engine_may_speak(const struct engine *e);
/* May held frames be released? A lease allows this for a shorter time than it allows the guest to
 * run. */
bool engine_may_release(const struct engine *e);
/* Stop or resume the guest when it is time. */
void engine_lease_tick(struct engine *e);
/* Return when engine_lease_tick() is due. */
uint64_t engine_lease_wake_ns(const struct engine *e, uint64_t now_ns);
/* Return @wanted_ns, or an earlier time if the thread must check the lease before that. */
uint64_t engine_lease_bound_ns(const struct engine *e, uint64_t wanted_ns);
/* Call engine_service() until this host may speak for the guest. Returns 0 or an error of
 * engine_service(). */
int engine_lease_wait(struct engine *e) __attribute__((warn_unused_result));
/* Called when the other end of the stream has refused our term. Until the gateway sends a command,
 * no frame leaves and the guest stays stopped. */
void engine_outvoted(struct engine *e, const char *why);
/* If we stopped the guest, resume it. Call this on the engine's thread, or while that thread does
 * not run. Returns 0; or -errno: the guest does not run. */
int engine_lease_let_run(struct engine *e) __attribute__((warn_unused_result));

/* engine_direct.c */
/* Enter a term for which the other host has voted, and send beats to that host. */
void engine_direct_tick(struct engine *e);
/* Must the next connection go to the other host? */
bool engine_direct_is_next(struct engine *e);
/* Report an attempt to connect: to the other host (@is_peer) or to the gateway. @result: 0 or
 * -errno. */
void engine_direct_connected(struct engine *e, bool is_peer, int result);
uint64_t engine_direct_wake_ns(const struct engine *e);
/* Handle a frame of a type that only the other host sends, never a gateway. Returns 0;
 * -ENOENT: @frame is of another type, and was not handled;
 * -EPROTO: the frame is not valid. */
int engine_direct_frame(struct engine *e, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

/* engine_watch.c. Compare QEMU's taps with the VM's file, and take the guest's inventory. Called
 * before the engine changes anything. Returns 0;
 * -ENOTSUP: QEMU has other taps or other writable disks than the file says;
 * or another -errno.
 * On error *ret_error says why. */
int engine_watch_open(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
void engine_watch_close(struct engine_watch *watch);
/* Compare QEMU's taps with the VM's file once more. Returns 0;
 * -ENOTSUP: QEMU has other taps than the file says;
 * or an error of vmm_taps_read().
 * On error *ret_error says why. */
int engine_watch_check_taps(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Check the guest's devices, if there is a sign of a change or it is time (watch.h). Call this
 * after each seal, before its epoch is encoded. Returns 0;
 * -ESTALE: the devices have changed;
 * or an error of QEMU's monitor.
 * On error the epoch must not be sent. */
int engine_watch_sealed(struct engine *e, const struct seal_result *result)
	__attribute__((warn_unused_result));
void engine_watch_tick(struct engine *e);  /* check the taps, when it is time */
void engine_watch_again(struct engine *e); /* after a change: check from time to time whether it was
					    * undone */
uint64_t engine_watch_wake_ns(const struct engine_watch *watch);
/* Record that somebody else, or QEMU itself, has paused the guest: no epochs are made until it runs
 * again. Does nothing if the guest is not GUEST_RUNS. */
void engine_paused_by_other(struct engine *e);
/* If the guest is GUEST_PAUSED_NEWLY, ask QEMU why, and report the answer. */
void engine_watch_runstate(struct engine *e);

/* engine_throttle.c */
void engine_throttle_tick(struct engine *e); /* stop or resume the vCPUs when it is time */
/* Return when engine_throttle_tick() is due. */
uint64_t engine_throttle_wake_ns(const struct engine_throttle *throttle, uint64_t now_ns);
/* Resume the vCPUs that the throttle has stopped; the next tick may stop them again. Call this
 * before any request to QEMU, and before any long wait. Usually blocks for some 10 us. Returns 0;
 * -ETIMEDOUT: a vCPU was stuck in the kernel for longer than SEAL_TIMEOUT_NS. */
int engine_throttle_release(struct engine *e) __attribute__((warn_unused_result));
/* Set the throttle to 0, until later epochs raise it again, and resume the vCPUs. Returns the same
 * as engine_throttle_release(). */
int engine_throttle_end(struct engine *e) __attribute__((warn_unused_result));
/* Report an ordinary epoch to the throttle: the guest ran for @run_ns in it, and its frames have
 * @bytes. */
void engine_throttle_sealed(struct engine *e, uint64_t run_ns, const struct seal_result *result,
			    uint64_t bytes);
/* Report a round of a FULL epoch to the throttle. The round began at @began_ns and found @n_pages
 * pages. The round before it found @n_before pages. Returns true if another round is worth it. */
bool engine_throttle_round(struct engine *e, uint32_t n_pages, uint32_t n_before,
			   uint64_t began_ns);

/* engine_stats.c */
/* Count the page records of a FULL epoch that was encoded or given up. @before: the encoder's
 * counts before that epoch. */
void engine_figures_full(struct engine_figures *figures, const struct encoder *encoder,
			 const struct encoder_counts *before);
/* Get the encoder's counts. The counts of pages by class leave out FULL epochs. */
void engine_ordinary_counts(const struct engine_figures *figures, const struct encoder *encoder,
			    struct encoder_counts *ret_counts);
/* Record the seal of an ordinary epoch. @n_stale: how many of its pages were stale (protect.h).
 * @is_held: its output was held. */
void engine_figures_sealed(struct engine_figures *figures, const struct seal_result *result,
			   enum seal_kind kind, uint32_t n_stale, bool is_held);
void engine_publish(struct engine *e);

#endif
