/* standby_private.h - the private state of struct standby, for the .c files that keep a copy:
 * standby, orders, reserve, served, stream, peer, machine, command, rehearsal.
 *
 * Threads: everything belongs to the standby's thread, except the members that `lock` guards.
 */
#ifndef STANDBY_PRIVATE_H
#define STANDBY_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "link/link.h"
#include "standby/clockview.h"
#include "standby/epochlog.h"
#include "standby/promote.h"
#include "standby/qemu.h"
#include "standby/ramfile.h"
#include "standby/room.h"
#include "standby/standby.h"

#define STANDBY_BACKOFF_MIN_NS (100 * CLOCK_NS_PER_MS)

/* A delay that doubles with each failure, up to its maximum. */
struct standby_backoff {
	uint64_t next_ns;  /* do not try before then; 0: try at once */
	uint64_t delay_ns; /* the delay after the next failure */
	uint64_t max_ns;
};

enum standby_order {
	STANDBY_ORDER_START   = 1,
	STANDBY_ORDER_PROMOTE = 2,
	STANDBY_ORDER_STOP    = 3,
	STANDBY_ORDER_FENCE   = 4,
};

/* The VM's primary, connected without a gateway. */
struct standby_peer {
	struct link *link; /* NULL: none */
	uint64_t term;	   /* of its HELLO */
	uint16_t version;
	uint64_t features;
};

/* The primary's machine, as described on the stream (machine.c). */
struct standby_machine {
	uint64_t features; /* with WIRE_FEATURE_MACHINE no epoch is taken before is_proved */
	struct vmm_machine theirs; /* the part that has arrived */
	uint32_t n_frames;	   /* frames of the list that is arriving */
	bool is_proved;		   /* in this generation: the warm QEMU is the same machine */
};

/* An order that the thread carries out; lives on the caller's stack. */
struct standby_command {
	enum standby_order order;
	uint64_t term;
	uint64_t epoch; /* PROMOTE: lowest acceptable */
	bool purge;	/* STOP */

	/* Valid when done. */
	bool done;
	int result;
	uint64_t ret_epoch;
	struct error error; /* why the result is < 0 */

	struct standby_command *next;
};

struct standby {
	struct standby_config config;
	uint64_t log_bytes_max;
	struct ramfile rf;
	struct epochlog log;
	struct qemu qemu;
	struct qemu rehearsal;	   /* pid > 0: waits for the first epoch (rehearsal.c) */
	bool must_rehearse;	   /* rehearse before the next epoch is acknowledged */
	uint64_t n_rehearsals;	   /* successful ones */
	char ram_path[136]; /* path of rf's `ram`, for QEMU */
	struct room room; /* claim for the next FULL epoch */
	struct {
		struct vcpus *vcpus; /* of the warm QEMU, later of the guest; NULL: not known */
		uint64_t term;	     /* of the promotion; 0: this agent promoted none */
		uint64_t begun_ns, look_ns;
		uint64_t vcpu_ns; /* CPU time of the busiest vCPU, summed over all looks */
	} served;
	struct promote_times times;
	struct clockview clock;	     /* clock of the primary's guest */
	struct promote_clock clocked; /* how the clock was corrected at the promotion */

	enum standby_state state;
	bool want_qemu;	  /* start QEMU again when it ends */
	bool want_stream; /* connect and take epochs */
	uint64_t promise_term; /* newest term of an accepted PROMOTE; older are refused */
	bool guest_ended;
	bool dirty;	  /* the snapshot is out of date */
	char text[ERROR_TEXT_BYTES];
	uint64_t n_qemu_starts;

	struct link *link; /* the stream; NULL: not connected */
	uint64_t incarnation; /* of the gateway at its other end; not valid while is_direct */
	struct standby_machine machine;
	bool is_direct;	   /* the stream comes from the primary, without a gateway */
	bool is_refusing;  /* the last epoch was refused; the text says why */
	struct standby_peer peer; /* a primary that may claim a term */
	uint32_t generation;	 /* of the last RESUME sent to a primary */
	uint64_t n_votes;	 /* yes votes given */
	uint64_t granted_ns;	 /* when a LEASE was last given to the primary; 0: never */
	struct standby_backoff link_backoff;
	struct standby_backoff qemu_backoff;
	uint64_t n_connects;

	pthread_t thread;
	int wake_fd; /* eventfd: a command or the end */

	pthread_mutex_t lock; /* of all members below */
	pthread_cond_t command_done;
	struct standby_command *commands; /* oldest first */
	bool closing;
	struct standby_peer offer; /* not yet taken by the thread */
	struct standby_status status; /* snapshot */
};

/* Between these two calls, work is reported as steps of an order. Other work is not, such as a QEMU
 * that is started again by itself. */
void standby_progress_on(struct standby *sb);
void standby_progress_off(struct standby *sb);
/* The one place that changes the state; logs old -> new. */
void standby_set_state(struct standby *sb, enum standby_state state);
/* Set the text for people; "" clears it. */
void standby_set_text(struct standby *sb, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void standby_backoff_reset(struct standby_backoff *b);
void standby_backoff_failed(struct standby_backoff *b, uint64_t now_ns);

/* command.c: read the command file and use it for the next QEMU. 1: the command has changed; 0: it
 * has not; -errno: the old command stays, and *ret_error names file and
 * fault. */
int standby_load_command(struct standby *sb, struct error *ret_error);
/* *error says why a promotion failed: put advice for the operator before it. */
void standby_say_way_out(const struct standby *sb, struct error *error);

/* orders.c: carry out @command; result and text are set. */
void standby_carry_out(struct standby *sb, struct standby_command *command);
/* reserve.c: reserve room for RAM, ROMs, device state, meta and the buffer of a FULL epoch, before
 * START answers. If a copy is here already, it is worth more than room: then missing room is only
 * reported.
 * 0; -ENOSPC, -errno with *ret_error: nothing was taken beyond the files. */
int standby_reserve(struct standby *sb, struct error *ret_error)
	__attribute__((warn_unused_result));
/* No epoch will come: give back all room that is not part of the copy. */
void standby_give_back(struct standby *sb);
/* served.c: note the vCPUs of the warm QEMU ... */
void standby_served_prepare(struct standby *sb);
/* ... the guest runs now, in the term of `meta` ... */
void standby_served_begin(struct standby *sb);
/* ... look at its vCPUs if it is time. */
void standby_served_look(struct standby *sb, uint64_t now_ns);
/* Before the thread starts: find a promoted guest that an earlier agent left. Blocks at most until
 * its monitor greets. */
void standby_resume_promoted(struct standby *sb);
/* Then, on the thread: go on with a warm standby that an earlier agent left. */
void standby_resume(struct standby *sb);
/* Check whether QEMU has exited, and start it again if needed. */
void standby_check_qemu(struct standby *sb, uint64_t now_ns);
/* Set the state WARM, or READY if a complete epoch is held. */
void standby_set_warm(struct standby *sb);

/* stream.c: connect when it is time; blocks up to 1 s. */
void standby_stream_connect(struct standby *sb, uint64_t now_ns);
/* The same with a link that is open already, which this takes over: handshake, HELLO. */
void standby_stream_use(struct standby *sb, struct link *link);
/* peer.c: take a connection that was offered by a primary. */
void standby_peer_take(struct standby *sb);
/* Serve that connection: the primary may claim a term. */
void standby_peer_run(struct standby *sb);
/* Handle a frame of the primary's direct stream that is not part of an epoch. 0: done; -ENOENT: it
 * is no such frame; else the link's error. */
int standby_peer_frame(struct standby *sb, const struct wire_frame *frame);
/* The stream is closed: wait until no LEASE of ours lets frames leave the primary; less than a
 * second. */
void standby_await_mute(const struct standby *sb);
/* Queue a frame on @link, waiting for room for a second at most. 0 or the link's error. */
int standby_send(struct link *link, const struct wire_header *header, const void *payload,
		 size_t size);

/* machine.c. Another generation begins, or the stream ends: forget the machine. */
void standby_machine_reset(struct standby_machine *m);
/* A MACHINE frame came. 0; -EPROTO: *ret_error says why the stream is refused, or how the machines
 * differ. */
int standby_machine_frame(struct standby *sb, const struct wire_frame *frame,
			  struct epochcheck_error *ret_error);
/* An epoch begins. 0; -EPROTO: it is not proved that this host could take the guest over. */
int standby_machine_need(struct standby *sb, struct epochcheck_error *ret_error);

/* rehearsal.c. The machines are the same: if a rehearsal is due, start the QEMU that will load the
 * first epoch. Blocks as qemu_start(). If it does not start, that is logged and there is no
 * rehearsal. */
void standby_rehearsal_begin(struct standby *sb);
/* An epoch is complete: apply it, load it into the rehearsal's QEMU, and end that QEMU. 0, also if
 * there is no rehearsal; -EPROTO: the epoch cannot be loaded, *ret_error says why, and the copy was
 * dropped. */
int standby_rehearse(struct standby *sb, struct epochcheck_error *ret_error);
void standby_rehearsal_end(struct standby *sb); /* end its QEMU, if there is one */
void standby_rehearsal_sweep(struct standby *sb); /* end a QEMU that a killed agent left */

/* Take what has arrived, a bounded number of frames. True: there may be more right now. */
bool standby_stream_run(struct standby *sb);
void standby_stream_close(struct standby *sb);

#endif
