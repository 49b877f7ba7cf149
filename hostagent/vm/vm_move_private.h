/* vm_move_private.h - this host's part of a move: lets go of the guest, so that the VM's other host
 * can run it.
 *
 * Why: the gateway promotes the other host as soon as this host has said that it let go. So the
 * answer to the order is a promise: from here on the guest stays stopped and nothing of it is
 * released, until the gateway, or the other host's vote, says that this host still owns the guest.
 * A guest that stays stopped for ever would be as bad as two guests. So if anything fails before
 * the answer, the guest goes on: the engine sees to that (epoch/engine_move.c). After the answer,
 * these events let the guest go on:
 *
 *	PROTECT of the same term     the gateway gave the move up, or was restarted meanwhile
 *	UNPROTECT of a newer term    the other host could not be promoted
 *	the vote of the other host   the gateway is lost (vm_peer.c)
 *	the agent is restarted       it waits for an order, as after any restart
 *
 * Threads: the VM's worker.
 */
#ifndef VM_MOVE_PRIVATE_H
#define VM_MOVE_PRIVATE_H

#include <stdint.h>

#include "base/error.h"

struct vm;

/* Carry out the order MOVE number @order_id: stop the guest, wait until its last epoch is committed
 * and its output has left, let go of the guest. Blocks for that time; returns early if another
 * order waits. Returns 0 and sets *ret_epoch to the last epoch; -ECANCELED or -ETIMEDOUT: the guest
 * goes on, and *ret_error says why. */
int vm_move(struct vm *vm, uint64_t order_id, uint64_t *ret_epoch, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Called when this host is fenced, while the engine still exists. If the guest was moved away,
 * remember its QEMU (moved_pid): nothing in that QEMU is needed any more (vm_end_private.h). If
 * not, forget the last such QEMU. */
void vm_move_fenced(struct vm *vm);

#endif
