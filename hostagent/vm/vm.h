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

/* Load the role that an earlier agent recorded, and continue in it as far as possible without an
 * order. A standby keeps its copy and its stream. A primary becomes LOST, and its hold stays
 * closed. If the VM's file or recorded role is wrong, the VM takes no orders. If only the file's
 * [standby] part is wrong, this host cannot stand by. In both cases each report says why. @handed:
 * the state of this VM that the agent's previous program handed on, or NULL. The worker continues
 * with it at once. If that fails, the worker continues as after any restart. The caller must keep
 * @handed until vm_close(); the worker takes the descriptors out of it. @config must have a name.
 * @environment (its pointers), @config and @handed are borrowed. Returns 0, -ENOMEM or another
 * error of creating a thread. */
int vm_open(const struct vm_environment *environment, const struct agent_vm_config *config,
	    struct handed *handed, struct vm **ret_vm) __attribute__((warn_unused_result));

/* Free @vm because the agent ends. A guest still runs, a hold stays closed, a standby keeps its
 * copy. Accepts NULL. */
void vm_close(struct vm *vm);

const char *vm_name(const struct vm *vm);

/* Check that the recorded role of VM @name can be read. Used to check a configuration, so it needs
 * no struct vm. Blocks on the file system. Returns 0, also if no role is recorded;
 * -EINVAL: the record is damaged;
 * other -errno. */
int vm_check_role(const struct agent_config *config, const char *name)
	__attribute__((warn_unused_result));

/* Queue an order; vm_take_done() returns its answer later. Returns 0, or -EBUSY if the queue is
 * full. */
int vm_order(struct vm *vm, const struct wire_order *order, uint64_t term, uint64_t epoch)
	__attribute__((warn_unused_result));

/* Pass on a key for the VM's witness, which the gateway sent in @term. If this host does not
 * protect the guest in @term, the worker drops the key. @key is copied. Never blocks. */
void vm_witness_key(struct vm *vm, const struct wire_witness_key *key, uint64_t term);

/* Get the next answer to an order, with the term and epoch for its frame's header. Returns 0, or
 * -EAGAIN if there is no answer. */
int vm_take_done(struct vm *vm, struct wire_order_done *ret_done, uint64_t *ret_term,
		 uint64_t *ret_epoch) __attribute__((warn_unused_result));

/* These functions prepare the replacement of the agent's program (replace/plan.h), in this order:
 * vm_is_protecting()  is there a guest that would be handed on?
 * vm_rest(true)    the worker finishes what it does, then does nothing. Orders wait
 * vm_is_resting()  does the worker do nothing now?
 * vm_has_shed()    was most of the reference's memory given back? vm_rest(true) asks for this
 * vm_may_yield()   can the guest be stopped, and the VM be handed on? Returns 0 or -EBUSY, and
 *                  *ret_error says why. Ask it of all VMs before any of them yields
 * vm_yield(true)   a protected guest is stopped at its last epoch, and nothing more is released
 * vm_yielded()     Returns 0: it was done, or there is nothing to do; -EAGAIN: not yet; -ECANCELED:
 *                  it cannot be done now, and *ret_error says why
 * vm_hand_on()     ends worker and engine. Only vm_close() may follow. Returns true, and
 *                  *ret_handed is what vm_open() of the next program needs; false: it needs nothing
 * vm_yield(false) undoes vm_yield(true), and vm_rest(false) undoes vm_rest(true): the guest goes on
 * here. */
bool vm_is_protecting(struct vm *vm);
void vm_rest(struct vm *vm, bool is_wanted);
bool vm_is_resting(struct vm *vm);
bool vm_has_shed(struct vm *vm);
bool vm_is_moving(struct vm *vm); /* is its guest stopped, or about to be stopped, for a replacement
				   * or a move? */
void vm_yield(struct vm *vm, bool is_wanted);
int vm_may_yield(struct vm *vm, struct error *ret_error) __attribute__((warn_unused_result));
int vm_yielded(struct vm *vm, struct error *ret_error) __attribute__((warn_unused_result));
bool vm_hand_on(struct vm *vm, struct handed *ret_handed);

/* Fill in a report about the VM. Never waits for an order that is being carried out. */
void vm_report(struct vm *vm, struct wire_report *ret_report, uint64_t *ret_term,
	       uint64_t *ret_epoch);

/* Print the statistics of each VM, one VM.name=value per line. */
void vm_print_figures(struct vm *const *vms, uint32_t n_vms);

/* Pass on a LEASE of @term for this VM. The LEASE answers the beat sent at @lease->beat_ns.
 * @sent_ns: when the newest beat was sent. If no guest is protected here, the LEASE is ignored. */
void vm_lease(struct vm *vm, const struct wire_lease *lease, uint64_t term, uint64_t sent_ns);

/* Take over a connection that the VM's other host has made. Returns the same as
 * peer_server_config.take. May be called on any thread. */
uint16_t vm_take_peer(struct vm *vm, const struct peer_offer *offer, struct error *ret_error);

/* Called when the control connection was made. @are_given: whether this gateway gives leases. If
 * not, the last lease no longer counts. */
void vm_leases(struct vm *vm, bool are_given);

#endif
