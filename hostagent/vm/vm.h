/* vm.h - one virtual machine on this host: keeps this host's role for the VM, and carries out the
 * orders that change the role.
 *
 * This host has one of these roles for a VM (vm_role_private.h):
 * - none;
 * - primary: an engine protects the guest;
 * - standby: this host keeps a copy;
 * - running: this host owns the guest, which runs unprotected, for example after a promotion;
 * - fenced: another host owns the guest, which must not run here.
 *
 * After a restart of the agent, a primary is reported as LOST until the gateway's next order. The
 * earlier agent's hold stays closed.
 *
 * Why a thread: orders take from milliseconds to seconds, and a beat must not wait for an order. So
 * each VM has a worker thread, which carries out the VM's orders one by one.
 *
 *	control thread: vm_order() ──► queue ──► worker ──► engine_*, standby_* ──► done queue ──► wake
 *
 * The state that must outlive the agent is in RUN_DIR/NAME.role, for example "primary 3" (role and
 * term). The file is written before an order takes effect. A reboot empties RUN_DIR. A copy of the
 * role in ROLE_DIR outlives the reboot (vm_role_private.h).
 *
 * Threads: the control thread calls all functions, unless a function says otherwise.
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
struct handed;

struct vm_environment {
	const struct agent_config *config;
	struct wire_tls_context *tls;
	struct gateway_view *view;   /* shared with the control connection */
	void (*wake)(void *arg); /* wakes the control thread, to report something or to answer an
				  * order; any thread calls it */
	void *wake_arg;
};

/* Load the role that an earlier agent recorded, and continue in this role as far as possible
 * without an order. A standby keeps its copy and its stream. A primary becomes LOST, and its hold
 * stays closed.
 * If the VM's file or recorded role is wrong, the VM takes no orders. If only the file's [standby]
 * part is wrong, this host cannot stand by. In both cases each report says why.
 * @environment: the struct is copied, but what its pointers lead to is borrowed. @config is
 * borrowed, and must have a name.
 * @handed: the state of this VM that the agent's previous program handed on, or NULL. The worker
 * continues the protection with this state at once. If that fails, the protection begins anew. The
 * caller must keep @handed until vm_close(); the worker takes the descriptors out of it.
 * Returns 0; -ENOMEM; or another error of creating a thread. */
int vm_open(const struct vm_environment *environment, const struct agent_vm_config *config,
	    struct handed *handed, struct vm **ret_vm) __attribute__((warn_unused_result));

/* End the worker and free @vm, because the agent ends. This changes nothing for the guest: it runs
 * on, a hold stays closed, and a standby keeps its copy. Accepts NULL. */
void vm_close(struct vm *vm);

const char *vm_name(const struct vm *vm);

/* Check that the recorded role of VM @name can be read. Used to check a configuration, so it needs
 * no struct vm. Blocks on the file system. Returns 0, also if no role is recorded;
 * -EINVAL: the record is damaged;
 * other -errno. */
int vm_check_role(const struct agent_config *config, const char *name)
	__attribute__((warn_unused_result));

/* Queue a copy of @order, which arrived in a frame with @term and @epoch. vm_take_done() returns
 * the answer later. Returns 0; -EBUSY: the queue is full, and the order was dropped. */
int vm_order(struct vm *vm, const struct wire_order *order, uint64_t term, uint64_t epoch)
	__attribute__((warn_unused_result));

/* Pass on a key for the VM's witness, which the gateway sent in @term. If this host does not
 * protect the guest in @term, the worker drops the key. @key is copied. Never blocks. */
void vm_witness_key(struct vm *vm, const struct wire_witness_key *key, uint64_t term);

/* Take the next answer to an order. *ret_term and *ret_epoch belong in the header of the frame that
 * sends this answer. Returns 0; -EAGAIN: there is no answer now. */
int vm_take_done(struct vm *vm, struct wire_order_done *ret_done, uint64_t *ret_term,
		 uint64_t *ret_epoch) __attribute__((warn_unused_result));

/* The functions from here to vm_hand_on() serve to replace the agent's program without ending the
 * protection (replace/plan.h). The order of the calls: vm_rest(true), until vm_is_resting() and
 * vm_has_shed() say yes; vm_may_yield() of all VMs; vm_yield(true), until vm_yielded() says yes;
 * vm_hand_on(). If a step fails, vm_yield(false) and vm_rest(false) undo the steps before it, and
 * the guest runs on under this program. */

/* Does this host protect a guest now, so that it must be handed on to the next program? */
bool vm_is_protecting(struct vm *vm);

/* true: the worker finishes the order it carries out, then does nothing, and further orders wait in
 * the queue. An engine also gives back most of the memory of its reference (engine_shed()). false:
 * the worker goes on. */
void vm_rest(struct vm *vm, bool is_wanted);

/* Has the worker become idle after vm_rest(true)? */
bool vm_is_resting(struct vm *vm);

/* Has the engine given back the memory that vm_rest(true) asked for? Also true without an
 * engine. */
bool vm_has_shed(struct vm *vm);

/* Is the guest stopped, or about to be stopped, for a replacement or a move? */
bool vm_is_moving(struct vm *vm);

/* true: stop a protected guest after a last epoch; from then on none of its output is released.
 * First ask vm_may_yield() of all VMs. vm_yielded() says when this is done. false: the guest runs
 * again. */
void vm_yield(struct vm *vm, bool is_wanted);

/* Can the guest be stopped, and the VM be handed on? Call this before vm_yield(true). Returns 0; or
 * -EBUSY, and *ret_error says why not. */
int vm_may_yield(struct vm *vm, struct error *ret_error) __attribute__((warn_unused_result));

/* Has the guest stopped after vm_yield(true)? Returns
 * 0: yes, or there is no guest to stop;
 * -EAGAIN: not yet;
 * -ECANCELED: this cannot be done now, and *ret_error says why. */
int vm_yielded(struct vm *vm, struct error *ret_error) __attribute__((warn_unused_result));

/* End the worker and the engine. After this, only vm_close() may be called. Returns true if
 * *ret_handed holds what vm_open() of the next program needs. Returns false if there is nothing to
 * hand on, or if handing on failed (this is logged): pass NULL to vm_open() then. */
bool vm_hand_on(struct vm *vm, struct handed *ret_handed);

/* Fill in a report about the VM. Never waits for an order that is being carried out. */
void vm_report(struct vm *vm, struct wire_report *ret_report, uint64_t *ret_term,
	       uint64_t *ret_epoch);

/* Print the statistics of all VMs to stdout, one line "VM.name=value" for each. */
void vm_print_figures(struct vm *const *vms, uint32_t n_vms);

/* Pass a LEASE of @term for this VM on to the engine. The LEASE answers the beat that was sent at
 * @lease->beat_ns. @sent_ns: when the newest beat was sent. If no guest is protected here, the
 * LEASE is ignored. */
void vm_lease(struct vm *vm, const struct wire_lease *lease, uint64_t term, uint64_t sent_ns);

/* Take over the connection @offer->link, which another host of the VM has made to this host's
 * standby. Returns 0: the standby owns the connection now. Otherwise returns the reason for a
 * REFUSED (enum wire_refused_code) with *ret_error, and the caller keeps the connection (struct
 * peer_server_config, take). May be called on any thread. */
uint16_t vm_take_peer(struct vm *vm, const struct peer_offer *offer, struct error *ret_error);

/* Call this after the connection to the gateway was made. @are_given: does this gateway give
 * leases? If it does not, a lease that was received earlier no longer counts. */
void vm_leases(struct vm *vm, bool are_given);

#endif
