/* Hands the VM on to the agent's next program, and continues with a VM that was handed on; see vm.h
 * and epoch/handed.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "epoch/handed.h"
#include "vm/vm_known_private.h"
#include "vm/vm_private.h"

/* ---- the old program */

bool vm_is_protecting(struct vm *vm)
{
	bool is_protecting;

	pthread_mutex_lock(&vm->lock);
	is_protecting = vm->engine != NULL;
	pthread_mutex_unlock(&vm->lock);
	return is_protecting;
}

void vm_rest(struct vm *vm, bool is_wanted)
{
	pthread_mutex_lock(&vm->lock);
	vm->must_rest = is_wanted;
	if (vm->engine)
		engine_shed(vm->engine, is_wanted);
	pthread_cond_signal(&vm->wake);
	pthread_mutex_unlock(&vm->lock);
}

void vm_rest_here(struct vm *vm)
{
	vm->is_resting = true;
	vm_wake_owner(vm);
	while (vm->must_rest && !vm->must_stop)
		pthread_cond_wait(&vm->wake, &vm->lock);
	vm->is_resting = false;
}

bool vm_is_resting(struct vm *vm)
{
	bool is_resting;

	pthread_mutex_lock(&vm->lock);
	is_resting = vm->is_resting;
	pthread_mutex_unlock(&vm->lock);
	return is_resting;
}

bool vm_has_shed(struct vm *vm)
{
	bool has_shed;

	pthread_mutex_lock(&vm->lock);
	has_shed = !vm->engine || engine_has_shed(vm->engine);
	pthread_mutex_unlock(&vm->lock);
	return has_shed;
}

bool vm_is_moving(struct vm *vm)
{
	bool is_moving;

	pthread_mutex_lock(&vm->lock);
	is_moving = vm->engine && engine_is_moving(vm->engine);
	pthread_mutex_unlock(&vm->lock);
	return is_moving;
}

/* Refuse if an order is not answered yet: the order may have to be carried out at once, or its
 * answer may let another host run the guest. Returns 0, or -EBUSY with *ret_error. */
static int need_no_order(struct vm *vm, struct error *ret_error)
{
	bool is_asked;

	pthread_mutex_lock(&vm->lock);
	is_asked = vm->n_orders > 0 || vm->verify.number || vm->drill.number;
	pthread_mutex_unlock(&vm->lock);
	return is_asked ? error_set(ret_error, -EBUSY, "an order of the gateway waits, or is being "
				    "carried out") : 0;
}

int vm_may_yield(struct vm *vm, struct error *ret_error)
{
	struct engine_status status;
	int r = need_no_order(vm, ret_error);

	/* The worker can change vm->engine, so use it only while the worker rests. */
	if (r < 0 || !vm_is_resting(vm) || !vm->engine)
		return r;
	if (engine_is_moving(vm->engine))
		return error_set(ret_error, -EBUSY, "its guest is being moved");
	engine_status(vm->engine, &status);
	if (!status.is_holding || status.state != WIRE_STATE_PROTECTED)
		return error_set(ret_error, -EBUSY, "it is not PROTECTED, or is being copied");
	return 0;
}

void vm_yield(struct vm *vm, bool is_wanted)
{
	static uint64_t last = ENGINE_MOVE_HANDS_ON; /* only the control thread calls this */

	if (!is_wanted && vm->yield)
		engine_move_end(vm->engine);
	vm->yield = is_wanted && vm->engine ? ++last : 0;
	/* engine_move() fails while the guest is being moved by the gateway's order. That move must
	 * go on, so vm->yield is 0 then and vm_yield(false) does not end it. */
	vm->cannot_yield = vm->yield && engine_move(vm->engine, vm->yield) < 0;
	if (vm->cannot_yield)
		vm->yield = 0;
}

int vm_yielded(struct vm *vm, struct error *ret_error)
{
	struct engine_status status;

	if (vm->cannot_yield)
		return error_set(ret_error, -ECANCELED, "its guest is being moved");
	if (need_no_order(vm, ret_error) < 0)
		return -ECANCELED;
	if (!vm->yield)
		return 0;
	engine_status(vm->engine, &status);
	if (status.yielded_move == vm->yield)
		return 0;
	if (status.failed_move == vm->yield)
		return error_set(ret_error, -ECANCELED, "%.800s", status.move_text);
	return -EAGAIN;
}

bool vm_hand_on(struct vm *vm, struct handed *ret_handed)
{
	char promoted[STANDBY_PATH_MAX];
	struct error error;
	int r;

	vm_stop_worker(vm);
	vm->is_handed_on = true;
	if (!vm->yield) {
		engine_close(vm_take_engine(vm)); /* if not ended here, exec would end the engine
						   * in the middle of an action */
		return false;
	}
	r = engine_hand_on(vm_take_engine(vm), ret_handed, &error);
	if (r < 0)
		log_error("vm=%s term=%" PRIu64 " the next program protects the guest anew: %s",
			  vm->config->name, vm->term, error.text);
	else
		(void)snprintf(ret_handed->qmp, sizeof(ret_handed->qmp), "%s",
			       vm_guest_monitor(vm, promoted));
	return r == 0;
}

/* ---- the new program */

static void close_one(int fd)
{
	fd_close(fd);
}

/* Open an engine that continues with what was handed on. If that fails, open an engine that begins
 * the protection anew. Closes the descriptors in @handed that are not used. */
static int open_engine(struct vm *vm, struct handed *handed, struct engine **ret_engine,
		       struct error *ret_error)
{
	struct engine_config config;
	int r;

	vm_engine_config(vm, vm->term, &config);
	config.qmp = handed->qmp;
	config.handed = handed;
	r = engine_open(&config, vm->term, ret_engine, ret_error);
	if (r == 0) {
		handed_each_fd(handed, close_one); /* close those that the engine has not taken */
		return 0;
	}
	log_error("vm=%s term=%" PRIu64 " the guest cannot be taken over from the agent's last "
		  "program, so its protection begins anew: %s", vm->config->name, vm->term,
		  ret_error->text);
	handed_each_fd(handed, close_one); /* this also ends the disks' servers */
	config.handed = NULL;
	config.is_restart = config.needs_lease = true;
	if (handed->term == vm->term) {
		config.lease_until_ns = handed->until_ns;
		config.lease_release_ns = handed->release_ns;
	}
	return engine_open(&config, vm->term, ret_engine, ret_error);
}

void vm_take_up(struct vm *vm)
{
	struct engine *engine;
	struct error error;
	int r;

	if (!vm->handed)
		return;
	if (vm->role != VM_ROLE_PRIMARY || *vm->fault) {
		log_error("vm=%s this host is not its primary any more: what the agent's last "
			  "program handed on is dropped", vm->config->name);
		handed_each_fd(vm->handed, close_one);
		return;
	}
	r = open_engine(vm, vm->handed, &engine, &error);
	if (r < 0) {
		log_error("vm=%s term=%" PRIu64 " the guest stands still and is not protected, "
			  "until the gateway orders what to do: %s", vm->config->name, vm->term,
			  error.text);
		pthread_mutex_lock(&vm->lock);
		wire_text_format(vm->still, "the guest stands still since the agent was replaced, "
				 "its frames are held: %s", error.text);
		pthread_mutex_unlock(&vm->lock);
		vm_wake_owner(vm);
		return;
	}
	/* An older program may have left another record, or none. */
	if (vm_known_store(vm, engine_guest_pid(engine), &error) < 0)
		log_warn("vm=%s %s, ignoring: it only matters if the agent ends", vm->config->name,
			 error.text);
	vm_set_engine(vm, engine);
	vm_wake_owner(vm);
}
