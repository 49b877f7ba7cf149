/* The orders VERIFY and DRILL take long. So the worker only begins the work (a pass of comparisons,
 * or a drill), and then carries out other orders. The answer follows when the pass or the drill has
 * ended. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vm/vm_private.h"

/* Queue the answer to an order that was begun. */
static void answer(struct vm *vm, struct pending_order *pending, uint8_t status, const char *text)
{
	const struct queued_order *q = &pending->order;
	struct queued_done d = {.term = q->term, .epoch = q->epoch};

	pending->number = 0;
	d.done.order_id = q->order.order_id;
	d.done.status = status;
	strcpy(d.done.vm, vm->config->name);
	wire_text_format(d.done.text, "%s", text);
	if (vm->n_done < VM_ORDERS_MAX)
		vm->done[vm->n_done++] = d;
}

void vm_verify_ends(struct vm *vm, const char *why)
{
	if (vm->verify.number)
		answer(vm, &vm->verify, WIRE_ORDER_REFUSED, why);
}

/* If an order VERIFY waits for a pass, and that pass has ended, answer the order. */
static void look_at_verify(struct vm *vm)
{
	static const uint8_t statuses[] = {[ENGINE_FOUND_EQUAL] = WIRE_ORDER_OK,
					   [ENGINE_FOUND_TOO_LITTLE] = WIRE_ORDER_REFUSED,
					   [ENGINE_FOUND_DIFFERENT] = WIRE_ORDER_FAILED};
	struct engine_status status;

	if (!vm->verify.number || !vm->engine)
		return;
	engine_status(vm->engine, &status);
	if (status.verified.number == vm->verify.number)
		answer(vm, &vm->verify, statuses[status.verified.found], status.verified.text);
}

/* If an order DRILL waits for a drill, and that drill has ended, answer the order. */
static void look_at_drill(struct vm *vm)
{
	struct standby_status status;

	if (!vm->drill.number)
		return;
	standby_status(vm->standby, &status);
	if (status.drilled.number == vm->drill.number)
		answer(vm, &vm->drill,
		       status.drilled.result < 0 ? WIRE_ORDER_FAILED : WIRE_ORDER_OK,
		       status.drilled.text.text);
}

void vm_asked_look(struct vm *vm)
{
	look_at_verify(vm);
	look_at_drill(vm);
}

int vm_order_verify(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		    struct error *ret_error)
{
	(void)ret_epoch;
	if (!vm->engine || q->term != vm->term)
		return error_set(ret_error, -EBUSY, "%s is not protected on this host in term %"
				 PRIu64, vm->config->name, q->term);
	pthread_mutex_lock(&vm->lock);
	vm_verify_ends(vm, "another verification was asked for");
	vm->verify.number = engine_verify_now(vm->engine);
	vm->verify.order = *q;
	pthread_mutex_unlock(&vm->lock);
	return -EINPROGRESS;
}

int vm_order_drill(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		   struct error *ret_error)
{
	uint64_t number;
	int r;

	(void)ret_epoch;
	if (!vm->standby || vm->role != VM_ROLE_STANDBY || q->term != vm->term)
		return error_set(ret_error, -EBUSY, "this host is not the standby of %s in term %"
				 PRIu64, vm->config->name, q->term);
	r = standby_drill(vm->standby, &number, ret_error);
	if (r < 0)
		return r;
	pthread_mutex_lock(&vm->lock);
	vm->drill.number = number;
	vm->drill.order = *q;
	pthread_mutex_unlock(&vm->lock);
	return -EINPROGRESS;
}
