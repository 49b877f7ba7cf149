/* vm.h - one virtual machine on this host: this host's role for it, and the orders that change it.
 *
 * Why: this host has no role for a VM, or is its primary (an engine), standby (a copy is kept),
 * promoted (a standby whose guest runs), lost (the agent restarted under a closed hold) or fenced.
 * Orders take from milliseconds to seconds, and no beat may wait for them, so each VM has a worker
 * thread that carries them out one by one.
 *
 *	control thread: vm_order() ──► queue ──► worker ──► engine_*, standby_* ──► done queue ──► wake
 *
 * The state that must outlive the agent is in RUN_DIR/NAME.role: "primary 3" (role and term),
 * written before an order takes effect. A reboot loses run_dir, and also everything that its files
 * describe.
 *
 * Threads: the control thread calls all functions, except where said.
 */
#ifndef VM_H
#define VM_H

#include "base/error.h"
#include "config/agent_config.h"
#include "supervision/gateway_view.h"
#include "peer/server.h"
#include "wire/msg.h"
#include "wire/tls.h"

struct vm;

struct vm_environment {
	const struct agent_config *config;
	struct wire_tls_context *tls;
	struct gateway_view *view;   /* shared with the control connection */
	void (*wake)(void *arg); /* from any thread: something to report or to answer */
	void *wake_arg;
};

/* Load the role that an earlier agent left, and go on with it as far as that needs no order (a
 * standby keeps its copy and its stream; a primary is LOST: its hold stays closed). A VM whose file
 * or role is wrong takes no orders; if its standby is wrong, this host cannot stand by. Both say
 * why in each report. @config must have a name. 0; -ENOMEM or another -errno of making a thread.
 * Both arguments are borrowed. */
int vm_open(const struct vm_environment *environment, const struct agent_vm_config *config,
	    struct vm **ret_vm) __attribute__((warn_unused_result));

/* The agent ends: guests run on, holds stay closed, standbys keep their copy. Accepts NULL. */
void vm_close(struct vm *vm);

const char *vm_name(const struct vm *vm);

/* Can the role that an earlier agent recorded for VM @name be read? For checking a configuration;
 * needs no struct vm. Blocks on the file system. 0, also if none is recorded; -EINVAL: the record
 * is damaged; other -errno. */
int vm_check_role(const struct agent_config *config, const char *name)
	__attribute__((warn_unused_result));

/* Queue an order; its answer comes by vm_take_done(). 0; -EBUSY: the queue is full. */
int vm_order(struct vm *vm, const struct wire_order *order, uint64_t term, uint64_t epoch)
	__attribute__((warn_unused_result));

/* A key for the VM's witness came from the gateway. The worker takes it, or drops it if it is not
 * for the protection in @term. Copied; never blocks. */
void vm_witness_key(struct vm *vm, const struct wire_witness_key *key, uint64_t term);

/* Take an answer to an order, with the header's term and epoch. 0; -EAGAIN: there is none. */
int vm_take_done(struct vm *vm, struct wire_order_done *ret_done, uint64_t *ret_term,
		 uint64_t *ret_epoch) __attribute__((warn_unused_result));

/* Make a report of the VM; never waits for an order being carried out. */
void vm_report(struct vm *vm, struct wire_report *ret_report, uint64_t *ret_term,
	       uint64_t *ret_epoch);

/* A LEASE of @term came for this VM, in answer to the beat of @lease->beat_ns; @sent_ns: the newest
 * beat that was sent. Ignored if no guest is protected here. */
void vm_lease(struct vm *vm, const struct wire_lease *lease, uint64_t term, uint64_t sent_ns);

/* The VM's other host connected. Returns as peer_server_config.take. Any thread. */
uint16_t vm_take_peer(struct vm *vm, const struct peer_offer *offer, struct error *ret_error);

/* The control connection is made; does this gateway give leases? If not, the last lease no longer
 * counts. */
void vm_leases(struct vm *vm, bool are_given);

#endif
