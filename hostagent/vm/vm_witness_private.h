/* vm_witness_private.h - one VM's witness in the agent: passes the gateway's keys to the witness
 * and asks for its statistics.
 * Why: the gateway's frame WITNESS_KEY arrives on the control thread, which must not wait for
 * netlink or an RCU grace period. Also, a report can need the witness's statistics at any time. So
 * the VM's worker owns the witness and does all the work.
 *
 *	control thread: vm_witness_offer() ─► key ─► worker: vm_witness_turn() ─► witness_mirror.h
 * The witness begins with the first key of a protection. The witness ends with the order UNPROTECT
 * or FENCE, with a new term, or when this host becomes the standby. The witness goes on when the
 * agent ends. No order fails because of the witness.
 *
 * Where: used by vm.c. Threads: each function says which thread calls it. An internal lock is held
 * only while something is copied.
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

	/* guarded by lock */
	pthread_mutex_t lock;
	struct witness_mirror *witness;     /* changed by the worker only */
	struct wire_witness_key key; /* key offered and not taken yet; key_id 0: none */
	uint64_t key_term;
	uint64_t key_due_ns;	     /* from when on the key may be taken (monotonic); 0: now */
	bool is_failed;		     /* the last attempt to open a witness failed */

	/* used by the worker only */
	uint64_t due_ns;    /* when to check the routes next; UINT64_MAX: never */
	bool is_way_told[WITNESS_N_PATHS]; /* the log says already that this path has no route */
};

/* All pointers are borrowed. */
void vm_witness_init(struct vm_witness *w, const struct agent_config *agent,
		     const struct agent_vm_config *config, const char *hold_pin_dir);

/* Called when the agent ends, while no other thread uses @w. Frees @w's contents. The witness stays
 * in the kernel if the hold still exists; otherwise it is removed. */
void vm_witness_done(struct vm_witness *w);

/* Called on any thread. Offers a key of @term to the worker. @key is copied, and replaces a key
 * that the worker has not taken yet. */
void vm_witness_offer(struct vm_witness *w, const struct wire_witness_key *key, uint64_t term);

/* Called on the worker thread. Returns when vm_witness_turn() has something to do for a VM in @term
 * (monotonic ns); UINT64_MAX: nothing before the next key is offered. */
uint64_t vm_witness_due_ns(struct vm_witness *w, uint64_t term);

/* Called on the worker thread. If a key was offered: keeps a key of a higher term until the VM
 * reaches that term; gives a key of @term to the witness if this host is the primary; drops any
 * other key. If no key was offered, keeps the route to the gateway up to date. Blocks for some tens
 * of ms. Failures are logged. */
void vm_witness_turn(struct vm_witness *w, bool is_primary, uint64_t term);

/* Called on the worker thread. Ends the witness, or removes a witness that an earlier agent left in
 * the kernel. Blocks for some tens of ms. Failures are logged. */
void vm_witness_end(struct vm_witness *w);

/* Called on any thread. Adds the witness's state and counters (witness, witness_*) to a report's
 * statistics. */
void vm_witness_report(struct vm_witness *w, char stats[WIRE_STATS_MAX + 1]);

#endif
