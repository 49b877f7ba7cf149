/* vm_witness_private.h - one VM's witness in the agent: keys arrive on one thread, another does all
 * the work.
 *
 * Why: WITNESS_KEY arrives on the control thread, which must not wait for netlink or a grace
 * period, and a report may ask for figures at any time. So the VM's worker owns the witness and
 * serves it when work is due.
 *
 *	control thread: vm_witness_offer() ──► key ──► worker: vm_witness_turn() ──► net/witness_mirror.h
 *
 * The witness begins with the first key of a protection. It ends with UNPROTECT, FENCE, a new term
 * or when this host becomes the standby, but not with the agent. No order fails because of the
 * witness.
 *
 * Where: vm.c. Threads: as said at each function; one lock inside, held for a copy at most.
 */
#ifndef VM_WITNESS_PRIVATE_H
#define VM_WITNESS_PRIVATE_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/agent_config.h"
#include "net/witness_mirror.h"
#include "wire/msg.h"

struct vm_witness {
	const struct agent_vm_config *config; /* borrowed */
	struct config_address gateway;
	char gateway_text[16];
	char pin_dir[PATH_MAX];
	const char *hold_pin_dir; /* borrowed */

	/* under lock */
	pthread_mutex_t lock;
	struct witness_mirror *witness;     /* changed by the worker only */
	struct wire_witness_key key; /* offered, not taken yet; key_id 0: none */
	uint64_t key_term;
	uint64_t key_due_ns;	     /* do not take the key before then; 0: take it now */
	bool is_failed;		     /* the last attempt to open a witness failed */

	/* the worker's */
	uint64_t due_ns;    /* when to look next; UINT64_MAX: never */
	bool is_way_told[WITNESS_N_PATHS]; /* it was logged that this path has no route */
};

/* All pointers are borrowed. */
void vm_witness_init(struct vm_witness *w, const struct agent_config *agent,
		     const struct agent_vm_config *config, const char *hold_pin_dir);

/* The agent ends: the witness stays in the kernel, unless the hold is gone. No other thread may use
 * @w. */
void vm_witness_done(struct vm_witness *w);

/* Any thread. @key is copied; only the newest key counts. */
void vm_witness_offer(struct vm_witness *w, const struct wire_witness_key *key, uint64_t term);

/* Worker. When vm_witness_turn() has something to do for a VM in @term; UINT64_MAX: not before a
 * key is offered. */
uint64_t vm_witness_due_ns(struct vm_witness *w, uint64_t term);

/* Worker. Take an offered key if it is for @term and this host is the primary. A key of a lower
 * term is dropped; one of a higher term is kept until the VM reaches that term. Also keep the route
 * to the gateway up to date. Blocks for some tens of ms. Failures are logged. */
void vm_witness_turn(struct vm_witness *w, bool is_primary, uint64_t term);

/* Worker. End the witness, or remove the one that an earlier agent left. Blocks for some tens of
 * ms. Failures are logged. */
void vm_witness_end(struct vm_witness *w);

/* Any thread. Add witness_* to a report's statistics. */
void vm_witness_report(struct vm_witness *w, char stats[WIRE_STATS_MAX + 1]);

#endif
