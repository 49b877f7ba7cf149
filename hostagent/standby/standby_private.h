/* standby_private.h - struct standby and the functions that are private to the .c files that keep a
 * copy: standby, orders, drill, reserve, same_disks, served, stream, peer, machine, command,
 * rehearsal.
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
	/* features of the stream. If they include WIRE_FEATURE_MACHINE, no epoch is accepted before
	 * is_proved is true */
	uint64_t features;
	struct vmm_machine theirs; /* the part of the primary's list that has arrived */
	uint32_t n_frames;	   /* how many frames of that list have arrived */
	/* the machines were compared in this generation of the stream, and the warm QEMU's is the
	 * same */
	bool is_proved;
};

/* An order for the standby's thread. It is on the stack of the caller, who waits until the order is
 * done. */
struct standby_command {
	enum standby_order order;
	uint64_t term;
	uint64_t epoch; /* PROMOTE: the oldest acceptable epoch */
	const char *monitor; /* INHERIT: the old guest's monitor */
	pid_t pid;	/* INHERIT: pid of the old guest's QEMU */
	bool purge;	/* STOP: also drop the copy, and remove its files after copy_keep_ns */

	/* Valid when done. */
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
	uint64_t n_drills;   /* number of drills that were begun */
	struct standby_drilled drilled; /* how the last drill ended */
	char ram_path[136]; /* path of rf's `ram`, for QEMU */
	struct room room; /* the claim of space for the next FULL epoch */
	/* what that claim is, or would be if there were enough space; valid if is_room_known */
	uint64_t room_needed_bytes;
	bool is_room_known;
	/* true: a copy is held, but there was too little space to reserve and claim all that epochs
	 * may need. The next try is at room_backoff.next_ns */
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
	bool want_qemu;	  /* start QEMU again when it ends */
	bool want_stream; /* connect to the gateway and receive epochs */
	uint64_t promise_term; /* newest term of an accepted PROMOTE; older terms are refused */
	bool guest_ended;
	/* when to remove the files of a copy that is no longer wanted; 0: never */
	uint64_t purge_ns;
	/* see disks_term and disks_epoch of struct standby_status; 0: not known */
	uint64_t disks_term, disks_epoch;
	bool dirty;	  /* `status` is out of date */
	char text[ERROR_TEXT_BYTES];
	uint64_t n_qemu_starts;

	struct link *link; /* the stream; NULL: not connected */
	/* incarnation of the gateway at the stream's other end; not valid while is_direct */
	uint64_t incarnation;
	struct standby_machine machine;
	bool is_direct;	   /* the stream comes from the primary, without a gateway */
	bool is_refusing;  /* the last epoch was refused; `text` says why */
	struct standby_peer peer; /* a connected primary, which may claim a term */
	uint32_t generation;	 /* generation of the last RESUME sent to a primary */
	uint64_t n_votes;	 /* number of yes votes given */
	uint64_t granted_ns;	 /* when a LEASE was last given to the primary; 0: never */
	struct standby_backoff link_backoff;
	struct redial redial; /* how soon to connect after a loss of the stream */
	struct standby_backoff qemu_backoff;
	uint64_t n_connects;

	pthread_t thread;
	int wake_fd; /* eventfd that wakes the thread for a command, a primary or the end */

	pthread_mutex_t lock; /* guards all members below */
	pthread_cond_t command_done;
	struct standby_command *commands; /* oldest first */
	bool closing;
	struct standby_peer offer; /* a primary's connection that the thread does not handle yet */
	struct standby_status status; /* the snapshot that standby_status() returns */
};

/* Turn progress reports on and off. Between these two calls, work is reported as steps of an order
 * of the gateway. Other work, such as a restart of QEMU without an order, is not reported. */
void standby_progress_on(struct standby *sb);
void standby_progress_off(struct standby *sb);
/* Change the state, and log the change. Nothing else changes sb->state. */
void standby_set_state(struct standby *sb, enum standby_state state);
/* Set the human-readable text in the status; "" clears it. */
void standby_set_text(struct standby *sb, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void standby_backoff_reset(struct standby_backoff *b);
void standby_backoff_failed(struct standby_backoff *b, uint64_t now_ns);

/* command.c: read the command file and use it for the next QEMU. Returns 1 if the command has
 * changed; 0 if it has not; -errno with *ret_error, which names the file and the fault. On error
 * the old command stays. */
int standby_load_command(struct standby *sb, struct error *ret_error);
/* *error says why a promotion failed. Put advice for the operator before its text. */
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
/* late.c: if the guest was promoted here in an older term than that of the PROMOTE @c, and runs,
 * record the newer term. Returns 1 if so; 0 if not; -errno, with c->error. */
int standby_promoted_late(struct standby *sb, struct standby_command *c)
	__attribute__((warn_unused_result));
/* orders.c: start the QEMU that the command file describes (qemu_start()), with its memory in the
 * RAM file, and check its machine. Returns 0 or -errno with *ret_error; on error no QEMU is
 * left. */
int standby_start_process(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));
/* orders.c: carry out @command, and set its result and error. */
void standby_carry_out(struct standby *sb, struct standby_command *command);
/* reserve.c: reserve room for RAM, device state, meta and the buffer of a FULL epoch, before START
 * answers. If this fails, but this host has a complete copy, only logs the error, once, and returns
 * 0: the standby must not lose the copy, so it continues without the whole reserve. Later,
 * standby_reserve_again() tries again.
 * Returns 0; -ENOSPC; other -errno. On error *ret_error says why, and nothing is reserved beyond an
 * earlier copy's files. */
int standby_reserve(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));

/* reserve.c: if standby_reserve() has found too little room for the copy that is held, try again to
 * reserve the room, at most as often as room_backoff allows. Logs only a success. Never changes the
 * copy. */
void standby_reserve_again(struct standby *sb, uint64_t now_ns);

/* reserve.c: also reserve room for the memory blocks that only QEMU knows (video RAM, firmware).
 * Call this when the warm QEMU has started. Does nothing if a copy is held. Returns 0 or -errno,
 * with the text in *ret_error. */
int standby_reserve_blocks(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));

/* same_disks.c: check that the warm QEMU has each image of `images` open, under its disk's name,
 * and with the same size and format. Does nothing while the images are closed. Returns 0; -EINVAL,
 * with *ret_error naming both files; or an error of vmm_disks_list(). */
int standby_check_disks(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Give back all room that is not part of the copy. Call this when no more epochs will arrive. */
void standby_give_back(struct standby *sb);
/* served.c finds out whether a promoted guest's vCPUs run. This function must be called first,
 * before the guest is started: it records the vCPUs of the warm QEMU. */
void standby_served_prepare(struct standby *sb);
/* Call this when the guest has been started, in the term of `meta`. */
void standby_served_begin(struct standby *sb);
/* Read the CPU time of the guest's vCPUs, if the time for this has come. */
void standby_served_look(struct standby *sb, uint64_t now_ns);
/* Find a promoted guest that an earlier agent left. Called before the thread starts. Blocks until
 * QEMU's monitor has sent its greeting, or has sent none in time. */
void standby_resume_promoted(struct standby *sb);
/* Open the disk log if there is one, and replay it after a crash of this host. Called before the
 * thread starts. A log that cannot be used is reported in the status. Blocks on the disk. */
void standby_recover_disks(struct standby *sb);
/* Continue with a warm standby that an earlier agent left. Called on the thread, when it starts. */
void standby_resume(struct standby *sb);
/* lost_images.c: check whether a daemon that writes a qcow2 image has ended by itself. If the image
 * has lost writes, drop the copy: the primary then sends a new one. The stream is closed, and the
 * primary is told why. May block as long as images_close() does. */
void standby_check_images(struct standby *sb);
/* Check whether QEMU has exited, and start it again if needed. */
void standby_check_qemu(struct standby *sb, uint64_t now_ns);
/* Remove the files of a copy that is no longer wanted, once it was kept for long enough. */
void standby_purge(struct standby *sb, uint64_t now_ns);
/* Set the state WARM, or READY if a complete epoch is held. */
void standby_set_warm(struct standby *sb);

/* stream.c: connect to the gateway, if a connection is missing and the back-off has expired. Blocks
 * up to 1 s. */
void standby_stream_connect(struct standby *sb, uint64_t now_ns);
/* Use @link, which is open already, as the stream: send HELLO and do the rest of the handshake.
 * From now on the standby owns @link. */
void standby_stream_use(struct standby *sb, struct link *link);
/* peer.c: begin to handle the connection that standby_take_peer() has passed in, if there is
 * one. */
void standby_peer_take(struct standby *sb);
/* Handle the next frame on the primary's connection. With this frame the primary may claim a
 * term. */
void standby_peer_run(struct standby *sb);
/* Handle @frame of the primary's direct stream if it is a BEAT. Returns 0; -ENOENT if it is a frame
 * of a different type; or the link's error. */
int standby_peer_frame(struct standby *sb, const struct wire_frame *frame);
/* Wait until every LEASE that we gave has ended: from then on the primary must release no frames.
 * This takes less than a second. The stream must be closed. */
void standby_await_mute(const struct standby *sb);
/* Queue a frame on @link. Waits for room in the queue for a second at most. Returns 0 or the link's
 * error. */
int standby_send(struct link *link, const struct wire_header *header, const void *payload,
		 size_t size);

/* machine.c: forget the primary's machine. Called when a new generation begins or the stream
 * ends. */
void standby_machine_reset(struct standby_machine *m);
/* Handle a MACHINE frame. Returns 0, or -EPROTO if the stream is refused (*ret_error says why, or
 * how the machines differ). */
int standby_machine_frame(struct standby *sb, const struct wire_frame *frame,
			  struct epochcheck_error *ret_error);
/* Called when an epoch begins. If the stream's features include MACHINE, check that the machines
 * were compared and are the same. Returns 0; or -EPROTO if they were not compared, since this host
 * might be unable to take over the guest. */
int standby_machine_need(struct standby *sb, struct epochcheck_error *ret_error);

/* Called at a promotion: keep the QEMU's description for standby_describe(). If there is no memory,
 * the engine asks QEMU itself. */
void standby_keep_description(struct standby *sb);

/* rehearsal.c: if a rehearsal is needed and not begun, start the QEMU that will load the first
 * epoch. Called when the stream to the gateway is up, and when the machines were found to be the
 * same. Does not wait for QEMU: it starts while the first copy arrives. If it cannot be started,
 * this is logged and there is no rehearsal. standby_stream_close() ends it. */
void standby_rehearsal_begin(struct standby *sb);
/* Wait until the rehearsal's QEMU has started, apply the complete epoch, load it into that QEMU,
 * and end that QEMU. Does nothing and returns 0 if there is no rehearsal. If that QEMU has not
 * started, this is logged, and the result is 0. Returns 0 if the epoch was loaded, or if it cannot
 * be applied to a copy that was held before; or -EPROTO if it cannot be loaded (*ret_error says
 * why). After -EPROTO, a first copy was dropped. A copy that was held before is kept; if QEMU
 * refused its state, no stream is opened until the next START. */
int standby_rehearse(struct standby *sb, struct epochcheck_error *ret_error);
void standby_rehearsal_end(struct standby *sb); /* end the rehearsal's QEMU, if there is one */
/* end a rehearsal's QEMU that a killed agent left */
void standby_rehearsal_sweep(struct standby *sb);

/* Handle frames that have arrived on the stream, up to a fixed number. Returns true if more frames
 * may have arrived already. */
bool standby_stream_run(struct standby *sb);
/* Tell the primary why its epochs cannot be applied any more, and close the stream. Blocks for a
 * second at most. Does nothing if there is no stream. */
void standby_stream_refuse(struct standby *sb, const struct error *why);
void standby_stream_close(struct standby *sb);

#endif
