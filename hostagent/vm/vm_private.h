/* vm_private.h - the state of one VM on this host. The room's README says which file does what.
 *
 * Threads: see vm.h; members say which lock guards them.
 */
#ifndef VM_PRIVATE_H
#define VM_PRIVATE_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "epoch/engine.h"
#include "link/link.h"
#include "supervision/progress.h"
#include "standby/standby.h"
#include "vm/vm.h"
#include "vm/vm_cover_private.h"
#include "vm/vm_guest_private.h"
#include "vm/vm_role_private.h"
#include "vm/vm_tap_private.h"
#include "vm/vm_witness_private.h"

#define VM_ORDERS_MAX 8u

struct queued_order {
	struct wire_order order;
	uint64_t term, epoch;
};

struct queued_done {
	struct wire_order_done done;
	uint64_t term, epoch;
};

/* An order VERIFY or DRILL that was begun. The order is answered when its pass of comparisons, or
 * its drill, has ended. */
struct pending_order {
	uint64_t number; /* the number that engine_verify_now() or standby_drill() gave; 0: there is
			  * no such order */
	struct queued_order order;
};

struct vm {
	struct vm_environment environment;
	const struct agent_vm_config *config;
	char pin_dir[PATH_MAX];

	/* the disks' names in config->disk, for the engine and vm_cover.c; immutable */
	const char *disk_names[WIRE_DISKS_MAX];
	struct link_config gateway; /* the gateway that the standby connects to; immutable */
	char fault[WIRE_TEXT_MAX + 1]; /* why no order can be carried out; "": orders can be carried
					* out; immutable */
	char standby_fault[WIRE_TEXT_MAX + 1]; /* why this host cannot stand by; "": this host can
						* stand by; immutable */
	/* after a failed takeover from the agent's previous program, which had stopped the guest:
	 * why the guest is still stopped and not protected; else "". Guarded by lock */
	char still[WIRE_TEXT_MAX + 1];
	struct vm_witness witness;  /* witness, guest, tap and progress have their own rules for
				     * threads */
	struct vm_guest guest;
	struct vm_tap tap;
	struct progress progress;   /* progress of the VM's orders */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct engine *engine;	 /* changed by the worker only; vm_report() reads it */
	struct standby *standby; /* set only once, in vm_open(); vm_report() reads it */
	enum vm_role role;
	uint64_t term;
	bool needs_lease; /* the gateway that we connected to last gives leases */
	struct queued_order orders[VM_ORDERS_MAX];
	uint32_t n_orders;
	struct queued_done done[VM_ORDERS_MAX];
	uint32_t n_done;
	struct pending_order verify, drill;
	struct vm_cover cover;
	char fenced_text[WIRE_TEXT_MAX + 1]; /* text about a guest that must not run here; "": there
					      * is no such guest */
	struct vm_recording *recording; /* the role that is being written (vm_cold.c); NULL: none.
					 * Used by the worker only, and by the standby's thread
					 * while the worker waits for that thread */
	bool is_fence_unsure; /* the last vm_fence_look() could not tell whether the guest of
			       * fenced_text is stopped */
	bool is_unsure; /* role is PRIMARY, but the host was booted since: the guest must not run
			 * (vm_fence_private.h) */
	bool is_unfound; /* role is RUNNING, but the host was booted since, and no guest was found
			  * running yet. This host still owns the guest, but reports the role
			  * NONE */
	/* while role is PRIMARY and there is no engine: does the guest that was protected here
	 * still run? GONE stays until an engine is opened */
	enum vm_guest_state found;
	pid_t found_pid; /* pid of its QEMU; valid while `found` is not UNKNOWN */
	bool must_stop;
	bool must_rest;	 /* the worker must do nothing until this is false again */
	bool is_handed_on; /* vm_hand_on() has ended the worker */
	bool is_resting; /* the worker does nothing, because of must_rest */
	uint64_t yield;	 /* number of the move that vm_yield() asked the engine for; 0: none */
	bool cannot_yield; /* the engine refused the last move that vm_yield() asked for */
	pthread_t thread;

	/* used by the worker only */
	struct handed *handed; /* what the agent's previous program handed on; NULL: nothing */
	uint64_t look_at_ns;  /* when look() in vm.c checks for changes that nobody reports */
	uint64_t claim_at_ns; /* when another host may be asked for its vote again */
	uint8_t claim_next;   /* which host to ask next: index in config->peers */
	pid_t closed_pid;     /* the QEMU on whose tap the hold was closed; 0: none */
	pid_t stopped_pid;    /* the QEMU whose guest is stopped, by the last check; 0: none */
	uint64_t asked_ns;    /* when QEMU was last asked whether its guest is stopped */
	pid_t moved_pid;      /* the QEMU whose guest was moved to the other host; 0: none */
	pid_t intruder_pid;   /* a QEMU that somebody started although its guest must not run; 0:
			       * none */
};

/* The main function of the worker's thread; runs until must_stop is set. @arg: struct vm. */
void *vm_work(void *arg);
/* Wake the control thread because there is something new to report. May be called on any thread.
 * @arg: struct vm. */
void vm_wake_owner(void *arg);

/* Put this host's recorded role into @report, with the state that follows from it and a text about
 * what is wrong. For a VM without an engine. Call it with the lock held. */
void vm_report_role(struct vm *vm, struct wire_report *report);

/* Record the role and @term in the role files, then set them in @vm. Call it on the worker. Returns
 * 0; or -errno with *ret_error if the role could not be recorded: @vm is then unchanged. */
int vm_set_role(struct vm *vm, enum vm_role role, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));
/* In vm_engine.c: make the configuration of an engine for this VM in @term. The caller must set
 * ret_config->qmp. */
void vm_engine_config(struct vm *vm, uint64_t term, struct engine_config *ret_config);
/* Returns the path of the QMP socket of the guest on this host; "": none is known. The result is
 * borrowed from @vm, or is in @buffer. */
const char *vm_guest_monitor(struct vm *vm, char buffer[STANDBY_PATH_MAX]);
/* Make @engine the VM's engine, which @vm then owns. Call this on the worker. */
void vm_set_engine(struct vm *vm, struct engine *engine);

/* In vm_replace.c, called on the worker: if the agent's previous program handed a guest on,
 * continue to protect this guest. */
void vm_take_up(struct vm *vm);
/* In vm_replace.c, called on the worker with the lock held: wait until must_rest is false or
 * must_stop is set. */
void vm_rest_here(struct vm *vm);
/* In vm_open.c: end the worker's thread. */
void vm_stop_worker(struct vm *vm);

/* Take the engine out of @vm, so that vm_report() no longer uses it. The caller must end the
 * engine. Returns NULL if there is none. Call this on the worker. */
struct engine *vm_take_engine(struct vm *vm);

/* In vm_asked.c: begin to carry out the order VERIFY or DRILL. Both return -EINPROGRESS if the work
 * has begun (the answer follows later), or another -errno with *ret_error. */
int vm_order_verify(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		    struct error *ret_error);
int vm_order_drill(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		   struct error *ret_error);
/* If an order VERIFY waits for the end of its pass of comparisons, answer WIRE_ORDER_REFUSED with
 * the text @why. Call this with the lock held. */
void vm_verify_ends(struct vm *vm, const char *why);
/* If an order VERIFY or DRILL waits for a pass or a drill that has ended, answer the order. Call
 * this with the lock held. */
void vm_asked_look(struct vm *vm);

/* In vm_peer.c, called on the worker: must vm_peer_look() be called periodically? */
bool vm_peer_watches(const struct vm *vm);
/* In vm_peer.c, called on the worker: if the gateway has been silent for too long, ask another host
 * of this VM whether this host may continue without a gateway, and continue if that host agrees.
 * Blocks for two seconds at most while it waits for the answer. */
void vm_peer_look(struct vm *vm);

#endif
