/* vm_witness.h - one VM's witness in the agent: keys come in on one thread, all work is another's.
 *
 * Why: WITNESS_KEY arrives on the control thread, which must not wait for netlink or a grace period; a
 * report asks for figures at any time. The VM's worker owns the witness and turns when something is due.
 *
 *	control thread: vm_witness_offer() ──► key ──► worker: vm_witness_turn() ──► witness_* (net/witness.h)
 *
 * It begins with the first key of a protection, and ends with UNPROTECT, FENCE, a new term or when this
 * host becomes the standby. It does not end with the agent. No order fails for its sake.
 *
 * Where: vm.c. Threads: as said at each function; one lock inside, held for a copy at most.
 */
#ifndef VM_WITNESS_H
#define VM_WITNESS_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent_config.h"
#include "net/witness.h"
#include "wire/msg.h"

struct vm_witness {
	const struct vm_config *config; /* borrowed */
	struct config_address gateway;
	char gateway_text[16];
	char pin_dir[PATH_MAX];
	const char *hold_pin_dir; /* borrowed */

	/* under lock */
	pthread_mutex_t lock;
	struct witness *witness;     /* changed by the worker only */
	struct wire_witness_key key; /* offered, not taken yet; key_id 0: none */
	uint64_t key_term;
	uint64_t key_due_ns;	     /* not to be taken before; 0: now */
	bool is_failed;		     /* the last attempt to open one */

	/* the worker's */
	uint64_t due_ns;    /* of the next look; UINT64_MAX: none */
	bool is_way_told[WITNESS_N_PATHS]; /* that there is no way was logged */
};

/* All is borrowed. */
void vm_witness_init(struct vm_witness *w, const struct agent_config *agent,
		     const struct vm_config *config, const char *hold_pin_dir);

/* The agent ends: it flows on, unless the hold is gone. Not while another thread uses @w. */
void vm_witness_done(struct vm_witness *w);

/* Any thread. @key is copied; the newest counts. */
void vm_witness_offer(struct vm_witness *w, const struct wire_witness_key *key, uint64_t term);

/* Worker. When vm_witness_turn() has something to do for a VM in @term; UINT64_MAX: never, until a key
 * is offered. */
uint64_t vm_witness_due_ns(struct vm_witness *w, uint64_t term);

/* Worker. Take an offered key: one of @term when this host is the primary in it. A lower one is
 * dropped, a higher one kept until the VM is that far. And look after the way to the gateway. Blocks for
 * some tens of ms. Failures are logged. */
void vm_witness_turn(struct vm_witness *w, bool is_primary, uint64_t term);

/* Worker. End it, or remove what an earlier agent left. Blocks for some tens of ms. Failures are logged. */
void vm_witness_end(struct vm_witness *w);

/* Any thread. Add witness_* to a report's statistics. */
void vm_witness_report(struct vm_witness *w, char stats[WIRE_STATS_MAX + 1]);

#endif
