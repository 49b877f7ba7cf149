/* vm_move_private.h - this host's part of a move: lets go of the guest, so that the VM's other host
 * can run it.
 * Why: the gateway promotes the other host as soon as this host answers that it has let go. So this
 * answer is a promise: from then on the guest stays stopped and none of its output is released,
 * until the gateway, or the other host's vote, says that this host still owns the guest.
 * A guest that stays stopped for ever would be as bad as two guests. So if anything fails before
 * the answer, the engine lets the guest run on here (epoch/engine_move.c). After the answer, the
 * guest runs on here only after:
 *
 *	PROTECT of the same term     the gateway gave the move up, or was restarted meanwhile
 *	UNPROTECT of a newer term    the other host could not be promoted
 *	the vote of the other host   the gateway is lost (vm_peer.c)
 *	a restart of the agent       but not before the gateway's next order
 *
 * Threads: the VM's worker.
 */
#ifndef VM_MOVE_PRIVATE_H
#define VM_MOVE_PRIVATE_H

#include <stdint.h>

#include "base/error.h"

struct vm;

/* Carry out the MOVE order with the number @order_id: stop the guest, wait until its last epoch is
 * committed and its output has left, and let go of the guest. Blocks until this is done, has
 * failed, takes too long, or another order arrives.
 * Returns 0 and sets *ret_epoch to the last epoch. On error the guest runs on here, and *ret_error
 * says why:
 * -ECANCELED: the engine gave the move up;
 * -ETIMEDOUT: the move took too long, or another order arrived;
 * -EBUSY: the agent's program is being replaced. */
int vm_move(struct vm *vm, uint64_t order_id, uint64_t *ret_epoch, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Called when this host is fenced, while the engine still exists. If the guest was moved away, set
 * vm->moved_pid to its QEMU's pid: this QEMU may be ended under any policy (vm_end_private.h). If
 * not, set vm->moved_pid to 0. */
void vm_move_fenced(struct vm *vm);

#endif
