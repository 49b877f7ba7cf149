#include "vm/vm_move_private.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "vm/vm_private.h"

/* How long to wait for the last epoch's commit. The gateway gives up earlier (move_timeout_ms) and
 * says so with an order. So this limit is reached only if the gateway is gone. */
#define MOVE_NS (10 * CLOCK_NS_PER_S)

/* Wait until the engine says that the move @number was done or failed, another order arrives, the
 * worker must stop, or MOVE_NS has passed. *ret_status is the engine's state at the end. */
static void wait_for_end(struct vm *vm, uint64_t number, struct engine_status *ret_status)
{
	uint64_t until_ns = clock_mono_ns() + MOVE_NS;
	const struct timespec until = {.tv_sec = (time_t)(until_ns / CLOCK_NS_PER_S),
				       .tv_nsec = (long)(until_ns % CLOCK_NS_PER_S)};
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	for (;;) {
		engine_status(vm->engine, ret_status);
		if (ret_status->yielded_move == number || ret_status->failed_move == number ||
		    vm->n_orders > 0 || vm->must_stop || r != 0)
			break;
		r = pthread_cond_timedwait(&vm->wake, &vm->lock, &until);
	}
	pthread_mutex_unlock(&vm->lock);
}

int vm_move(struct vm *vm, uint64_t order_id, uint64_t *ret_epoch, struct error *ret_error)
{
	struct engine_status status;

	if (engine_move(vm->engine, order_id) < 0)
		return error_set(ret_error, -EBUSY, "the agent's program is being replaced");
	wait_for_end(vm, order_id, &status);
	if (status.yielded_move == order_id) {
		*ret_epoch = status.yielded_epoch;
		log_info("vm=%s term=%" PRIu64 " epoch=%" PRIu64
			 " let go of the guest: the other host is to run it",
			 vm->config->name, vm->term, status.yielded_epoch);
		return 0;
	}
	engine_move_end(vm->engine);
	if (status.failed_move == order_id)
		return error_set(ret_error, -ECANCELED, "%.800s", status.move_text);
	return error_set(ret_error, -ETIMEDOUT,
			 "the guest's last epoch was not committed in time, or another order came; "
			 "the guest goes on here");
}

void vm_move_fenced(struct vm *vm)
{
	struct engine_status status;

	engine_status(vm->engine, &status);
	vm->moved_pid = status.yielded_move ? engine_guest_pid(vm->engine) : 0;
}
