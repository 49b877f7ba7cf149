/* vm_internal.h - the state of one VM on this host, shared by vm*.c and by nobody else.
 *
 *	vm.c         orders and the worker that carries them out, leases
 *	vm_open.c    begin and end
 *	vm_report.c  what is reported to the gateway, and orders' answers
 *	vm_peer.c    without a gateway
 *	vm_fence.c   the guest may not run here
 *
 * Threads: see vm.h; members say which lock guards them.
 */
#ifndef VM_INTERNAL_H
#define VM_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "epoch/engine.h"
#include "link/link.h"
#include "progress.h"
#include "standby/standby.h"
#include "vm.h"
#include "vm_cover.h"
#include "vm_guest.h"
#include "vm_role.h"
#include "vm_tap.h"
#include "vm_witness.h"

#define VM_ORDERS_MAX 8u

struct queued_order {
	struct wire_order order;
	uint64_t term, epoch;
};

struct queued_done {
	struct wire_order_done done;
	uint64_t term, epoch;
};

struct vm {
	struct vm_environment environment;
	const struct vm_config *config;
	char pin_dir[PATH_MAX];

	struct link_config gateway; /* what the keeper connects with; immutable */
	char fault[WIRE_TEXT_MAX + 1];	       /* why no order can be carried out, or ""; immutable */
	char standby_fault[WIRE_TEXT_MAX + 1]; /* why standby is NULL though the file has a [standby]; immutable */
	struct vm_witness witness;  /* has its own rules */
	struct vm_guest guest;	    /* the same */
	struct vm_tap tap;	    /* the same */
	struct progress progress;   /* the same: of its orders */

	/* all under lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct engine *engine;	 /* changed by the worker only; read by vm_report */
	struct standby *standby; /* the same; set once in vm_open */
	enum vm_role role;
	uint64_t term;
	bool needs_lease; /* the gateway that we were connected to last gives leases */
	struct queued_order orders[VM_ORDERS_MAX];
	uint32_t n_orders;
	struct queued_done done[VM_ORDERS_MAX];
	uint32_t n_done;
	struct vm_cover cover;
	char fenced_text[WIRE_TEXT_MAX + 1]; /* of a guest that is here and may not run; "" nothing */
	bool is_unsure; /* PRIMARY, but the host was booted since: the guest is not let run (vm_fence.h) */
	bool must_stop;
	pthread_t thread;

	uint64_t look_at_ns;  /* the worker's: what nobody tells us is looked for then */
	uint64_t claim_at_ns; /* the worker's: the other host is not asked again before */
	pid_t closed_pid;     /* the worker's: of this QEMU the hold was closed; 0: of none */
	pid_t stopped_pid;    /* the worker's: this QEMU was found and stands still; 0: none */
	uint64_t asked_ns;    /* the worker's: when that was asked last */
	pid_t intruder_pid;   /* the worker's: this QEMU was started though it may not run; 0: none was */
};

/* The worker's thread, until must_stop. @context: struct vm. */
void *vm_work(void *context);
/* What is reported has changed. Any thread; @context: struct vm. */
void vm_wake_owner(void *context);

/* On the worker. 0; -errno with @ret_text: the role could not be recorded. */
int vm_set_role(struct vm *vm, enum vm_role role, uint64_t term, char *ret_text)
	__attribute__((warn_unused_result));
/* On the worker. The engine leaves vm_report()'s sight before it is ended. */
struct engine *vm_take_engine(struct vm *vm);

/* vm_peer.c, on the worker: is there anything to look for, and look: ask the other host when it is time, at
 * most for two seconds. */
bool vm_peer_watches(const struct vm *vm);
void vm_peer_look(struct vm *vm);

#endif
