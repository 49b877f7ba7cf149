/* keeper.h - inside of struct standby. For this room's .c files about keeping a copy only: standby, orders, reserve,
 * served, stream, peer, machine, command, rehearsal.
 *
 * Threads: everything belongs to the standby's thread but what `lock` guards.
 */
#ifndef STANDBY_KEEPER_H
#define STANDBY_KEEPER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "link/link.h"
#include "standby/clockview.h"
#include "standby/epochlog.h"
#include "standby/promote.h"
#include "standby/qemu.h"
#include "standby/ramfile.h"
#include "standby/room.h"
#include "standby/standby.h"

#define KEEPER_BACKOFF_MIN_NS (100 * CLOCK_NS_PER_MS)

/* Doubles with each failure up to its maximum. */
struct keeper_backoff {
	uint64_t next_ns;  /* not before; 0: at once */
	uint64_t delay_ns; /* after the next failure */
	uint64_t max_ns;
};

enum keeper_order {
	KEEPER_START   = 1,
	KEEPER_PROMOTE = 2,
	KEEPER_STOP    = 3,
	KEEPER_FENCE   = 4,
};

/* The VM's primary, connected without a gateway. */
struct keeper_peer {
	struct link *link; /* NULL: none */
	uint64_t term;	   /* of its HELLO */
	uint16_t version;
	uint64_t features;
};

/* What the primary says of its machine on the stream (machine.c). */
struct keeper_machine {
	uint64_t features; /* of the stream: with WIRE_FEATURE_MACHINE no epoch is taken before it is_proved */
	struct vmm_machine theirs; /* as far as it has come */
	uint32_t n_frames;	   /* of the list in work */
	bool is_proved;		   /* in this generation: the warm QEMU is the same machine */
};

/* An order on its way through the thread; lives on the caller's stack. */
struct keeper_command {
	enum keeper_order order;
	uint64_t term;
	uint64_t epoch; /* PROMOTE: lowest acceptable */
	bool purge;	/* STOP */

	/* Valid when done. */
	bool done;
	int result;
	uint64_t ret_epoch;
	char text[STANDBY_TEXT_MAX];

	struct keeper_command *next;
};

struct standby {
	struct standby_config config;
	uint64_t log_bytes_max;
	struct ramfile rf;
	struct epochlog log;
	struct qemu qemu;
	struct qemu rehearsal;	   /* pid > 0: waits for the first epoch (rehearsal.c) */
	bool must_rehearse;	   /* before the next epoch is acknowledged */
	uint64_t n_rehearsals;	   /* that went well */
	char ram_path[136]; /* of rf, for QEMU */
	struct room room; /* for the next FULL epoch */
	struct {
		struct vcpus *vcpus; /* of the warm QEMU, then of the guest; NULL: not known */
		uint64_t term;	     /* of its promotion; 0: none by this agent */
		uint64_t begun_ns, look_ns;
		uint64_t vcpu_ns; /* CPU time of the busiest, sum over looks */
	} served;
	struct promote_times times;
	struct clockview clock;	     /* of the primary's guest */
	struct promote_clock clocked; /* what became of it at the promotion */

	enum standby_state state;
	bool want_qemu;	  /* start it again when it ends */
	bool want_stream; /* epochs are welcome */
	uint64_t promise_term; /* newest term a promotion was accepted for: none older is served */
	bool guest_ended;
	bool dirty;	  /* the snapshot is behind */
	char text[STANDBY_TEXT_MAX];
	uint64_t n_qemu_starts;

	struct link *link; /* the stream; NULL: not connected */
	uint64_t incarnation; /* of the gateway at its other end; not valid while is_direct */
	struct keeper_machine machine;
	bool is_direct;	   /* it is the primary's, without a gateway */
	bool is_refusing;  /* the last epoch was refused; the text says why */
	struct keeper_peer peer; /* which may claim a term */
	uint32_t generation;	 /* of the last RESUME given to a primary */
	uint64_t n_votes;	 /* yes */
	uint64_t granted_ns;	 /* when a LEASE was last given to the primary; 0: never */
	struct keeper_backoff link_backoff;
	struct keeper_backoff qemu_backoff;
	uint64_t n_connects;

	pthread_t thread;
	int wake_fd; /* eventfd: a command or the end */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t command_done;
	struct keeper_command *commands; /* oldest first */
	bool closing;
	struct keeper_peer offer; /* not yet taken by the thread */
	struct standby_status status; /* snapshot */
};

/* What is done until the second call is told as a step of an order; what is not, as a QEMU that is
 * started again by itself, never is. */
void keeper_progress_on(struct standby *sb);
void keeper_progress_off(struct standby *sb);
/* The one place that changes the state; logs old -> new. */
void keeper_set_state(struct standby *sb, enum standby_state state);
/* What a person needs to know now; "" clears. */
void keeper_set_text(struct standby *sb, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void keeper_backoff_reset(struct keeper_backoff *b);
void keeper_backoff_failed(struct keeper_backoff *b, uint64_t now_ns);

/* command.c: read the command file and use it for the next QEMU. 1: it is another command than before; 0: the
 * same; -errno: the one before stays, and @text (STANDBY_TEXT_MAX bytes) names file and fault. */
int keeper_load_command(struct standby *sb, char *text);
/* @text says why a promotion failed: put before it what the operator can do about it. */
void keeper_say_way_out(const struct standby *sb, char *text);

/* orders.c: carry out @command; result and text are set. */
void keeper_carry_out(struct standby *sb, struct keeper_command *command);
/* reserve.c: RAM, ROMs, device state, meta and the buffer of a FULL epoch have room, before the standby says that it is
 * there. A copy that is held already is worth more than room: then what is missing is only told.
 * 0; -ENOSPC, -errno with @text (STANDBY_TEXT_MAX): nothing was taken beyond the files. */
int keeper_reserve(struct standby *sb, char *text) __attribute__((warn_unused_result));
/* No epoch will come: give back what is not part of the copy. */
void keeper_give_back(struct standby *sb);
/* served.c: QEMU is warm, note its vCPUs; the guest runs in the term of `meta`; time to look at them. */
void keeper_served_prepare(struct standby *sb);
void keeper_served_begin(struct standby *sb);
void keeper_served_look(struct standby *sb, uint64_t now_ns);
/* Find out what an earlier agent left. Before the thread starts: is a promoted guest here? Waits for its
 * monitor's greeting at most. */
void keeper_resume_promoted(struct standby *sb);
/* Then, on the thread: go on with a standby that was warm. */
void keeper_resume(struct standby *sb);
/* QEMU has exited or is to be started again. */
void keeper_check_qemu(struct standby *sb, uint64_t now_ns);
/* WARM or READY, by what is held. */
void keeper_set_warm(struct standby *sb);

/* stream.c: connect when it is time; blocks up to 1 s. */
void keeper_stream_connect(struct standby *sb, uint64_t now_ns);
/* The same with a link that is open already (taken): handshake, HELLO. */
void keeper_stream_use(struct standby *sb, struct link *link);
/* peer.c: take a connection that was offered; serve the one that may claim a term. */
void keeper_peer_take(struct standby *sb);
void keeper_peer_run(struct standby *sb);
/* A frame of the primary's own stream that is no part of an epoch. 0: done; -ENOENT: none of ours;
 * else the link's error. */
int keeper_peer_frame(struct standby *sb, const struct wire_frame *frame);
/* Wait, for less than a second, until nothing leaves the primary by a LEASE of ours; the stream is closed. */
void keeper_await_mute(const struct standby *sb);
/* Queue a frame on @link, waiting for room for a second at most. 0 or the link's error. */
int keeper_send(struct link *link, const struct wire_header *header, const void *payload, size_t size);

/* machine.c. Another generation begins, or the stream ends. */
void keeper_machine_reset(struct keeper_machine *m);
/* A MACHINE frame. 0; -EPROTO: *ret_error says why the stream is refused, or how the machines differ. */
int keeper_machine_frame(struct standby *sb, const struct wire_frame *frame,
			 struct epochcheck_error *ret_error);
/* An epoch begins. 0; -EPROTO: nothing shows that this host could take the guest over. */
int keeper_machine_need(struct standby *sb, struct epochcheck_error *ret_error);

/* rehearsal.c. The machines are the same: start the QEMU that is to load the first epoch, if one is to. Blocks as
 * qemu_start(). One that does not start is told in the log, and nothing is rehearsed. */
void keeper_rehearsal_begin(struct standby *sb);
/* An epoch is complete: apply it, load it, end that QEMU. 0, also where none waits; -EPROTO: it cannot be loaded,
 * *ret_error says why, and the copy was dropped. */
int keeper_rehearse(struct standby *sb, struct epochcheck_error *ret_error);
void keeper_rehearsal_end(struct standby *sb); /* there need be none */
void keeper_rehearsal_sweep(struct standby *sb); /* end what a killed agent left */

/* Take what has arrived, a bounded number of frames. True: there may be more right now. */
bool keeper_stream_run(struct standby *sb);
void keeper_stream_close(struct standby *sb);

#endif
