/* standby_private.h - struct standby, and the functions that the .c files of this room share. If a
 * function's comment begins with a file's name, the function is defined in that file.
 *
 * Threads: only the standby's thread uses struct standby, except for the members that `lock`
 * guards. */
#ifndef STANDBY_PRIVATE_H
#define STANDBY_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "link/link.h"
#include "link/redial.h"
#include "standby/clockview.h"
#include "standby/drill.h"
#include "standby/durable.h"
#include "standby/epochlog.h"
#include "standby/images.h"
#include "standby/promote.h"
#include "standby/qemu.h"
#include "standby/ramfile.h"
#include "standby/room.h"
#include "standby/standby.h"

#define STANDBY_BACKOFF_MIN_NS (100 * CLOCK_NS_PER_MS)

/* A delay that doubles with each failure, up to its maximum. */
struct standby_backoff {
	uint64_t next_ns;  /* do not try before this time; 0: try at once */
	uint64_t delay_ns; /* the delay after the next failure */
	uint64_t max_ns;
};

enum standby_order {
	STANDBY_ORDER_START   = 1,
	STANDBY_ORDER_PROMOTE = 2,
	STANDBY_ORDER_STOP    = 3,
	STANDBY_ORDER_FENCE   = 4,
	STANDBY_ORDER_INHERIT = 5,
	STANDBY_ORDER_DRILL   = 6,
	STANDBY_ORDER_BOOT    = 7,
	STANDBY_ORDER_OWN     = 8,
};

/* The VM's primary, connected without a gateway. */
struct standby_peer {
	struct link *link; /* the connection; NULL: none */
	uint64_t term;	   /* the term in the primary's HELLO */
	uint16_t version;
	uint64_t features;
};

/* The primary's machine, as described on the stream (machine.c). */
struct standby_machine {
	/* Features of the stream. If they include WIRE_FEATURE_MACHINE, no epoch is accepted before
	 * is_proved is true */
	uint64_t features;
	struct vmm_machine theirs; /* the part of the primary's list that has arrived */
	uint32_t n_frames;	   /* how many frames of that list have arrived */
	/* in this generation of the stream the machines were compared, and the warm QEMU's is the
	 * same as the primary's */
	bool is_proved;
};

/* An order for the standby's thread, on the stack of the caller, who waits until it is done. */
struct standby_command {
	enum standby_order order;
	uint64_t term;
	uint64_t epoch; /* PROMOTE: the oldest acceptable epoch */
	const char *monitor; /* INHERIT: the old guest's monitor */
	pid_t pid;	/* INHERIT: pid of the old guest's QEMU */
	bool purge;	/* STOP: also drop the copy; its files are removed after copy_keep_ns */

	/* the order was carried out */
	bool done;
	int result;
	uint64_t ret_epoch;
	uint64_t ret_number; /* DRILL: the drill's number */
	struct error error; /* the reason, if result < 0 */

	struct standby_command *next;
};

struct standby {
	struct standby_config config;
	uint64_t log_bytes_max;
	struct ramfile rf;
	struct epochlog log;
	struct images images; /* the guest's disks on this host */
	struct durable durable; /* the disk log of `images` */
	struct qemu qemu;
	/* the QEMU of a rehearsal (rehearsal.c); if its pid > 0, it waits for the first epoch */
	struct qemu rehearsal;
	bool must_rehearse;	   /* rehearse before the next epoch is acknowledged */
	uint64_t n_rehearsals;	   /* number of successful rehearsals */
	struct drill *drill; /* the drill that runs (drill.h); NULL: none */
	uint64_t n_drills;   /* number of drills begun so far */
	struct standby_drilled drilled; /* how the last drill ended */
	char ram_path[136]; /* path of rf's `ram`, for QEMU */
	struct room room; /* the claim of space for the next FULL epoch */
	/* how much the standby claims, or would claim if there were enough space; valid if
	 * is_room_known */
	uint64_t room_needed_bytes;
	bool is_room_known;
	/* true: a copy is held, but there was too little space for all that epochs may need. Try
	 * again at room_backoff.next_ns */
	bool is_room_short;
	struct standby_backoff room_backoff;
	struct {
		/* vCPUs of the warm QEMU, later of the guest; NULL: not known */
		struct vcpus *vcpus;
		/* term of the promotion; 0: this agent has not promoted the guest */
		uint64_t term;
		uint64_t begun_ns, look_ns;
		uint64_t vcpu_ns; /* CPU time of the busiest vCPU, summed over all checks */
	} served;
	struct vmm_description promoted; /* the QEMU of the last promotion; under `lock` */
	struct promote_times times;
	struct clockview clock;	     /* clock of the primary's guest */
	struct promote_clock clocked; /* how the guest's clock was set at the promotion */

	enum standby_state state;
	bool want_qemu;	  /* start QEMU again after it has ended */
	bool want_stream; /* connect to the gateway and receive epochs */
	uint64_t promise_term; /* newest term of an accepted PROMOTE; older terms are refused */
	/* when to remove the files of a copy that is not wanted any more; 0: never */
	uint64_t purge_ns;
	/* see disks_term and disks_epoch of struct standby_status; 0: not known */
	uint64_t disks_term, disks_epoch;
	bool dirty;	  /* `status` is out of date */
	char text[ERROR_TEXT_BYTES];
	uint64_t n_qemu_starts;

	struct link *link; /* the stream; NULL: not connected */
	/* incarnation of the gateway from which the stream comes; not valid while is_direct */
	uint64_t incarnation;
	struct standby_machine machine;
	bool is_direct;	   /* the stream comes from the primary, without a gateway */
	bool is_refusing;  /* the last epoch was refused; `text` says why */
	/* a primary connected without a gateway, which may claim a term */
	struct standby_peer peer;
	uint32_t generation;	 /* generation in the last RESUME to a primary */
	uint64_t n_votes;	 /* number of yes votes */
	uint64_t granted_ns;	 /* when this host last gave the primary a LEASE; 0: never */
	struct standby_backoff link_backoff;
	struct redial redial; /* how soon to connect after a loss of the stream */
	struct standby_backoff qemu_backoff;
	uint64_t n_connects;

	pthread_t thread;
	/* eventfd that wakes the thread: a command waits, a primary has connected, or the thread
	 * must end */
	int wake_fd;

	pthread_mutex_t lock; /* guards all members below */
	pthread_cond_t command_done;
	struct standby_command *commands; /* oldest first */
	bool closing;
	/* a primary's connection that the thread has not taken over yet */
	struct standby_peer offer;
	struct standby_status status; /* the snapshot that standby_status() returns */
};

/* Turn reports of progress on and off. While they are on, work is reported to the gateway as steps
 * of the gateway's order. Other work, such as a restart of QEMU without an order, is not
 * reported. */
void standby_progress_on(struct standby *sb);
void standby_progress_off(struct standby *sb);
/* Change the state, and log the change. Nothing else changes sb->state. */
void standby_set_state(struct standby *sb, enum standby_state state);
/* Set the human-readable text in the status; "" clears it. */
void standby_set_text(struct standby *sb, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void standby_backoff_reset(struct standby_backoff *b);
void standby_backoff_failed(struct standby_backoff *b, uint64_t now_ns);

/* command.c: read the command file, and use the command for the next QEMU. Returns 1 if the command
 * has changed; 0 if it has not; -errno with *ret_error, which names the file and the fault. On
 * error the old command stays. */
int standby_load_command(struct standby *sb, struct error *ret_error);
/* command.c: *error says why a promotion has failed. Put before its text what the operator can
 * do. */
void standby_say_way_out(const struct standby *sb, struct error *error);

/* boot.c: carry out the order BOOT. Returns 0 or -errno, with c->error. */
int standby_do_boot(struct standby *sb, struct standby_command *c)
	__attribute__((warn_unused_result));
/* boot.c: carry out the order OWN, which standby_own_disks() gives. Returns 0 or -errno, with
 * c->error. */
int standby_do_own(struct standby *sb, struct standby_command *c)
	__attribute__((warn_unused_result));
/* standby.c: pass @command to the thread, and wait until it is carried out. Returns its result;
 * after an error *ret_error is its error. */
int standby_submit(struct standby *sb, struct standby_command *command, struct error *ret_error)
	__attribute__((warn_unused_result));
/* late.c: handle the PROMOTE @c if the guest was promoted here in an older term, and runs: only
 * record the newer term. Returns 1 if so; 0 if not, and nothing was done; -errno, with c->error. */
int standby_promoted_late(struct standby *sb, struct standby_command *c)
	__attribute__((warn_unused_result));
/* orders.c: start the QEMU that the command file describes (qemu_start()), with its memory in the
 * RAM file, and check its machine. Returns 0 or -errno with *ret_error; on error no QEMU is
 * left. */
int standby_start_process(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));
/* orders.c: carry out @command, and set its result and error. */
void standby_carry_out(struct standby *sb, struct standby_command *command);
/* reserve.c: reserve room for RAM, device state, meta and the buffer of a FULL epoch. Called before
 * START is answered.
 * If there is too little room, but this host has a complete copy, the standby must not lose the
 * copy: it continues with less room, and standby_reserve_again() tries later. In this case the
 * error is only logged, once, and the result is 0.
 * Returns 0; -ENOSPC; other -errno. On error *ret_error says why, and nothing is reserved except
 * the files of an earlier copy. */
int standby_reserve(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));

/* reserve.c: if standby_reserve() continued with less room than needed, try again to reserve it, at
 * most as often as room_backoff allows. Logs only a success. Never changes the copy. */
void standby_reserve_again(struct standby *sb, uint64_t now_ns);

/* reserve.c: also reserve room for the memory blocks that only QEMU knows (video RAM, firmware).
 * Call this when the warm QEMU has started. Does nothing if a copy is held. Returns 0 or -errno,
 * with *ret_error. */
int standby_reserve_blocks(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));

/* same_disks.c: check that for each disk in `images`, the warm QEMU has a disk of that name, with
 * the same file, size and format as the agent uses. Does nothing while the agent has not opened
 * `images`, or is not connected to QEMU. Returns 0;
 * -EINVAL: something differs, and *ret_error says what;
 * other -errno: an error of vmm_disks_list(). */
int standby_check_disks(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));
/* reserve.c: give back all room that is not part of the copy. Call this when no epochs will arrive
 * any more. */
void standby_give_back(struct standby *sb);
/* served.c: call this before the guest is started. Notes the vCPUs of the warm QEMU, so that
 * served.c can find out later whether they run. */
void standby_served_prepare(struct standby *sb);
/* served.c: call this when the guest has been started, in the term of `meta`. */
void standby_served_begin(struct standby *sb);
/* served.c: if it is time, read the CPU time of the guest's vCPUs. */
void standby_served_look(struct standby *sb, uint64_t now_ns);
/* orders.c: find a promoted guest that an earlier agent left. Called before the thread starts.
 * Blocks until QEMU's monitor has sent its greeting, for up to 1 s. */
void standby_resume_promoted(struct standby *sb);
/* orders.c: open the disk log if there is one. Replay it if this host has crashed since. Called
 * before the thread starts. Blocks on the disk. The status tells of a log that cannot be used. */
void standby_recover_disks(struct standby *sb);
/* orders.c: continue with a warm standby that an earlier agent left. Called on the thread, when it
 * starts. */
void standby_resume(struct standby *sb);
/* lost_images.c: check whether a daemon that writes a qcow2 image has ended by itself. If so, close
 * the images. If an image has lost writes, also drop the copy, close the stream and tell the
 * primary why: it then sends a new copy. May block as long as images_close() does. */
void standby_check_images(struct standby *sb);
/* orders.c: returns true if a guest was promoted here, and its QEMU has ended since. */
bool standby_guest_has_ended(const struct standby *sb);
/* orders.c: if QEMU has exited, say so in the status, and start it again if it is needed. */
void standby_check_qemu(struct standby *sb, uint64_t now_ns);
/* orders.c: remove the files of a copy that is not wanted any more, when copy_keep_ns has
 * passed. */
void standby_purge(struct standby *sb, uint64_t now_ns);
/* orders.c: set the state WARM, or READY if there is a complete epoch; STARTING while QEMU is being
 * started again. */
void standby_set_warm(struct standby *sb);

/* stream.c: connect to the gateway if there is no connection and the back-off has expired. Blocks
 * for up to 1.3 s (handshake, gateway_view_await()). */
void standby_stream_connect(struct standby *sb, uint64_t now_ns);
/* stream.c: use @link, which is open already, as the stream: send HELLO and do the rest of the
 * handshake. The standby owns @link then. */
void standby_stream_use(struct standby *sb, struct link *link);
/* peer.c: if standby_take_peer() has passed in a connection, begin to handle it. */
void standby_peer_take(struct standby *sb);
/* peer.c: handle the next frame on the primary's connection. It may claim a term, or begin a direct
 * stream. */
void standby_peer_run(struct standby *sb);
/* peer.c: if @frame, from the primary's direct stream, is a BEAT, answer it with a LEASE. Returns
 * 0; -ENOENT if @frame is not a BEAT; or the link's error. */
int standby_peer_frame(struct standby *sb, const struct wire_frame *frame);
/* peer.c: wait until every LEASE that this host gave the primary has expired: after that the
 * primary releases no frames. Takes less than a second. The stream must be closed. */
void standby_await_mute(const struct standby *sb);
/* stream.c: queue a frame on @link. Waits for room in the queue, for up to a second. Returns 0 or
 * the link's error. */
int standby_send(struct link *link, const struct wire_header *header, const void *payload,
		 size_t size);

/* machine.c: forget the primary's machine. Called when a new generation begins, or the stream
 * ends. */
void standby_machine_reset(struct standby_machine *m);
/* machine.c: handle a MACHINE frame. Returns 0; -EPROTO: the stream must be refused, and *ret_error
 * says why, or how the machines differ. */
int standby_machine_frame(struct standby *sb, const struct wire_frame *frame,
			  struct epochcheck_error *ret_error);
/* machine.c: called when an epoch begins. If the stream has the feature MACHINE, the machines must
 * have been compared by now, and be the same. Otherwise this host might be unable to take over the
 * guest. Returns 0; -EPROTO with *ret_error: the machines were not compared. */
int standby_machine_need(struct standby *sb, struct epochcheck_error *ret_error);

/* machine.c: called at a promotion: store QEMU's description for standby_describe(). If there is no
 * memory for it, nothing is stored, and the engine will ask QEMU itself. */
void standby_keep_description(struct standby *sb);

/* rehearsal.c: if a rehearsal is needed and has not begun, start the QEMU that will load the first
 * epoch. Called when the stream to the gateway is open, and when the machines were found to be the
 * same. Does not wait for QEMU, which starts while the first copy arrives. If QEMU cannot be
 * started, this is logged, and there is no rehearsal. standby_stream_close() ends that QEMU. */
void standby_rehearsal_begin(struct standby *sb);
/* rehearsal.c: do the rehearsal: wait until its QEMU has started, apply the complete epoch, load
 * the epoch into that QEMU, and end that QEMU. Returns
 * - 0: the epoch was loaded; or there is no rehearsal; or that QEMU did not start (logged); or a
 *   copy was held before, and the epoch could not be applied to it;
 * - -EPROTO: the epoch cannot be loaded, and *ret_error says why. If this was a first copy, it was
 *   dropped. A copy that was held before is kept; if QEMU refused its state, no stream is opened
 *   until the next START. */
int standby_rehearse(struct standby *sb, struct epochcheck_error *ret_error);
void standby_rehearsal_end(struct standby *sb); /* end the rehearsal's QEMU, if there is one */
/* end a rehearsal's QEMU that a killed agent left */
void standby_rehearsal_sweep(struct standby *sb);

/* stream.c: handle frames that have arrived on the stream, but not more than a fixed number.
 * Returns true if there may be more. */
bool standby_stream_run(struct standby *sb);
/* stream.c: tell the primary why its epochs cannot be applied any more, and close the stream.
 * Blocks for up to 2 s. Does nothing if there is no stream. */
void standby_stream_refuse(struct standby *sb, const struct error *why);
/* stream.c: close the stream, forget the unfinished epoch, and end the rehearsal. */
void standby_stream_close(struct standby *sb);

#endif
