#include "vm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vm/vm_cold_private.h"
#include "vm/vm_end_private.h"
#include "vm/vm_fence_private.h"
#include "vm/vm_hold_private.h"
#include "vm/vm_known_private.h"
#include "vm/vm_move_private.h"
#include "vm/vm_private.h"
#include "vmm/describe.h"
#include "vmm/qmp.h"

#define QMP_NS	       CLOCK_NS_PER_S
#define PEER_LOOK_NS   (50 * CLOCK_NS_PER_MS)
#define TAP_LOOK_NS    (250 * CLOCK_NS_PER_MS)

/* Carries out one kind of order on the worker. Returns 0; -EINPROGRESS: the work has begun, and the
 * answer follows later (vm_asked.c); other -errno with a text for the operator in *ret_error. */
typedef int (*order_fn)(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
			struct error *ret_error);

void vm_wake_owner(void *arg)
{
	struct vm *vm = arg;

	vm->environment.wake(vm->environment.wake_arg);
}

int vm_set_role(struct vm *vm, enum vm_role role, uint64_t term, struct error *ret_error)
{
	const struct agent_config *config = vm->environment.config;
	bool is_unfound = vm->is_unfound && role == VM_ROLE_RUNNING;
	int r;

	vm_cold_settle(vm);
	r = vm_role_store(is_unfound ? NULL : config->run_dir, config->role_dir, vm->config->name,
			  role, term);
	if (r < 0)
		return error_set(ret_error, r,
				 "cannot record the role in run_dir %s and role_dir %s: %s",
				 config->run_dir, config->role_dir, strerror(-r));
	pthread_mutex_lock(&vm->lock);
	vm->role = role;
	vm->term = term;
	vm->is_unsure = false;
	vm->is_unfound = is_unfound;
	vm->fenced_text[0] = '\0';
	vm->is_fence_unsure = false;
	pthread_mutex_unlock(&vm->lock);
	if (vm->standby && (role == VM_ROLE_PRIMARY || role == VM_ROLE_RUNNING))
		standby_own_disks(vm->standby); /* needed if somebody started the guest by hand */
	/* Remove the rings that a killed engine has left: only an engine of this VM could use
	 * them. */
	for (uint32_t i = 0; role != VM_ROLE_PRIMARY && i < vm->config->n_disks; i++)
		engine_remove_ring(config->run_dir, vm->config->name, vm->disk_names[i]);
	return 0;
}

void vm_set_engine(struct vm *vm, struct engine *engine)
{
	pthread_mutex_lock(&vm->lock);
	vm->engine = engine;
	vm->found = VM_GUEST_UNKNOWN;
	*vm->still = '\0';
	pthread_mutex_unlock(&vm->lock);
}

struct engine *vm_take_engine(struct vm *vm)
{
	struct engine *engine;

	pthread_mutex_lock(&vm->lock);
	engine = vm->engine;
	vm->engine = NULL;
	vm_verify_ends(vm, "the protection has ended here");
	pthread_mutex_unlock(&vm->lock);
	return engine;
}

/* Does the guest run here after a promotion by this host's standby? If so, copies the path of the
 * guest's QMP socket to @ret_qmp. */
static bool is_promoted_here(struct vm *vm, char ret_qmp[STANDBY_PATH_MAX])
{
	struct standby_status status;

	if (!vm->standby)
		return false;
	standby_status(vm->standby, &status);
	if (status.state != STANDBY_STATE_RUNNING)
		return false;
	memcpy(ret_qmp, status.qmp, STANDBY_PATH_MAX);
	return true;
}

const char *vm_guest_monitor(struct vm *vm, char buffer[STANDBY_PATH_MAX])
{
	return is_promoted_here(vm, buffer) ? buffer : vm->config->qmp;
}

static bool is_stopped_here(struct engine *engine)
{
	struct engine_status status;

	engine_status(engine, &status);
	return status.is_stopped_here;
}

/* Open an engine. If this host's standby promoted the guest (@is_promoted), the standby has
 * described the guest's QEMU. Pass this description on, so that the engine need not ask QEMU
 * again. */
static int open_engine(struct vm *vm, struct engine_config *config, bool is_promoted, uint64_t term,
		       struct engine **ret_engine, struct error *ret_error)
{
	struct vmm_description known = {0};
	int r;

	if (is_promoted && standby_describe(vm->standby, &known) == 0)
		config->known = &known;
	r = engine_open(config, term, ret_engine, ret_error);
	vmm_description_done(&known);
	return r;
}

static int order_protect(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
			 struct error *ret_error)
{
	char promoted[STANDBY_PATH_MAX];
	struct engine_config engine_config;
	struct engine *engine;
	int r;

	(void)ret_epoch;
	if (vm->engine && q->term == vm->term) {
		engine_move_end(vm->engine); /* the guest stays on this host */
		return 0;
	}
	if (q->term == vm->term && vm->found == VM_GUEST_GONE)
		return error_set(ret_error, -ESRCH,
				 "the guest that was protected here in term %" PRIu64
				 " has ended (QEMU pid %d)", vm->term, (int)vm->found_pid);
	vm_engine_config(vm, q->term, &engine_config);
	if (vm->engine) { /* protect the same guest again, in a newer term */
		vm_witness_end(&vm->witness);
		engine_config.is_restart |= is_stopped_here(vm->engine);
		engine_close(vm_take_engine(vm));
	}
	engine_config.qmp = vm_guest_monitor(vm, promoted);
	r = vm_cold_note(vm, ret_error);
	if (r < 0)
		return r;
	if (!*engine_config.qmp)
		return error_set(ret_error, -EINVAL, "no [vm] qmp is set for %s on this host",
				 vm->config->name);
	/* Open the engine before the role is recorded, so that a failure leaves the role as it
	 * is. */
	r = open_engine(vm, &engine_config, engine_config.qmp == promoted, q->term, &engine,
			ret_error);
	if (r < 0) {
		vm_cover_refused(vm, r, ret_error->text);
		return r;
	}
	r = vm_known_store(vm, engine_guest_pid(engine), ret_error);
	if (r == 0)
		r = vm_set_role(vm, VM_ROLE_PRIMARY, q->term, ret_error);
	if (r < 0) {
		engine_close(engine);
		return r;
	}
	vm_set_engine(vm, engine);
	return 0;
}

static void set_unfound(struct vm *vm, bool is_unfound)
{
	pthread_mutex_lock(&vm->lock);
	vm->is_unfound = is_unfound;
	pthread_mutex_unlock(&vm->lock);
}

static int order_unprotect(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
			   struct error *ret_error)
{
	char promoted[STANDBY_PATH_MAX];
	bool was_unfound = vm->is_unfound;
	struct engine *engine;
	int r = 0;

	(void)ret_epoch;
	engine = vm_take_engine(vm);
	if (engine) {
		vm_cover_keep(vm, engine, vm_guest_monitor(vm, promoted));
		r = engine_detach(engine, ret_error);
	}
	else if (vm->role == VM_ROLE_PRIMARY)
		r = vm_hold_settle(vm->config, vm_guest_monitor(vm, promoted), vm->pin_dir,
				   ret_error);
	if (r < 0)
		return r;
	if (vm->role != VM_ROLE_PRIMARY && vm->role != VM_ROLE_RUNNING)
		return 0;
	/* If the host was booted since it protected the guest, nobody has checked yet whether the
	 * guest runs. find_guest() does this next. */
	set_unfound(vm, was_unfound || vm->is_unsure);
	/* Even if the guest already runs here unprotected, record the order's newer term. */
	r = vm_set_role(vm, VM_ROLE_RUNNING, q->term, ret_error);
	if (r < 0)
		set_unfound(vm, was_unfound);
	return r;
}

static int order_fence(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		       struct error *ret_error)
{
	(void)ret_epoch;
	/* Carry out a repeated order again, because FENCE is done only when the guest
	 * is stopped. */
	if (q->term > vm->term || (vm->role == VM_ROLE_FENCED && q->term == vm->term))
		return vm_fence(vm, q->term, ret_error);
	return error_set(ret_error, -ESTALE,
			 "fence in term %" PRIu64 " refused: this host is at %" PRIu64, q->term,
			 vm->term);
}

static int order_move(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		      struct error *ret_error)
{
	if (!vm->engine || q->term != vm->term)
		return error_set(ret_error, -ESTALE,
				 "this host does not protect the guest in term %" PRIu64, q->term);
	return vm_move(vm, q->order.order_id, ret_epoch, ret_error);
}

static int need_standby(const struct vm *vm, struct error *ret_error)
{
	if (vm->standby)
		return 0;
	if (*vm->standby_fault)
		return error_set(ret_error, -EINVAL, "%s", vm->standby_fault);
	return error_set(ret_error, -EINVAL,
			 "%s has no [standby] section on this host: set state_dir and command_file",
			 vm->config->name);
}

static bool watches_tap(const struct vm *vm)
{
	return vm->role == VM_ROLE_STANDBY && vm->config->taps.n > 0;
}

static int order_standby_start(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
			       struct error *ret_error)
{
	int r = need_standby(vm, ret_error);

	(void)ret_epoch;
	if (r < 0)
		return r;
	if (vm->engine && q->term > vm->term) {
		/* This host is the primary and is ordered to stand by in a newer term. So it was
		 * outvoted, even if the order FENCE never arrived. */
		r = vm_fence(vm, q->term, ret_error);
		if (r < 0)
			return r;
	}
	if (vm->engine)
		return error_set(ret_error, -EBUSY, "this host is the primary of %s",
				 vm->config->name);
	r = vm_end_fenced(vm, q->term, VM_END_TIMEOUT_NS, ret_error);
	if (r == 0 && (vm->role == VM_ROLE_FENCED || vm->is_unsure))
		r = vm_hold_need_no_guest(vm->config, ret_error);
	if (r < 0)
		return r;
	r = standby_start_qemu(vm->standby, q->term, ret_error);
	if (r == 0) /* the standby uses the tap now, and an old hold would silence its guest */
		r = vm_hold_remove_left(vm->config, vm->pin_dir, ret_error);
	if (r < 0)
		return r;
	/* before the first report as a standby */
	vm_tap_begin(&vm->tap, vm->config->name, &vm->config->taps);
	return vm_set_role(vm, VM_ROLE_STANDBY, q->term, ret_error);
}

static int order_standby_stop(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
			      struct error *ret_error)
{
	int r;

	(void)ret_epoch;
	/* Record the new term, even if this host was never the standby in that term. Otherwise this
	 * host's reports would have an older term, as if this host did not know the new one. */
	if (vm->role == VM_ROLE_NONE || vm->is_unfound)
		return vm_set_role(vm, VM_ROLE_NONE, q->term, ret_error);
	if (!vm->standby || vm->role != VM_ROLE_STANDBY)
		return 0;
	r = standby_stop(vm->standby, q->term, true, ret_error);
	return r < 0 ? r : vm_set_role(vm, VM_ROLE_NONE, q->term, ret_error);
}

/* Refuse to promote a guest that was promoted here before, and was fenced here or protected from
 * here since. Returns 0, or -ESTALE with *ret_error. */
static int need_unfenced(const struct vm *vm, struct error *ret_error)
{
	struct standby_status status;

	standby_status(vm->standby, &status);
	if (status.state != STANDBY_STATE_RUNNING ||
	    (!vm->engine && vm->role != VM_ROLE_PRIMARY && vm->role != VM_ROLE_FENCED))
		return 0;
	return error_set(ret_error, -ESTALE,
			 "the guest was promoted here in term %" PRIu64
			 ", and fenced or protected here since", status.term);
}

static int order_promote(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
			 struct error *ret_error)
{
	int r = need_standby(vm, ret_error);

	if (r == 0)
		r = need_unfenced(vm, ret_error);
	if (r == 0)
		vm_guest_promoting(&vm->guest, &vm->config->taps, q->term);
	if (r == 0)
		r = standby_promote(vm->standby, q->term, q->epoch, ret_epoch, ret_error);
	return r < 0 ? r : vm_set_role(vm, VM_ROLE_RUNNING, q->term, ret_error);
}

static const order_fn order_table[] = {
	[WIRE_VERB_STANDBY_START] = order_standby_start,
	[WIRE_VERB_STANDBY_STOP] = order_standby_stop,
	[WIRE_VERB_PROTECT] = order_protect,
	[WIRE_VERB_UNPROTECT] = order_unprotect,
	[WIRE_VERB_PROMOTE] = order_promote,
	[WIRE_VERB_FENCE] = order_fence,
	[WIRE_VERB_VERIFY] = vm_order_verify,
	[WIRE_VERB_MOVE] = order_move,
	[WIRE_VERB_START] = vm_cold_start,
	[WIRE_VERB_DRILL] = vm_order_drill,
};

/* Returns the status for the answer to an order that ended with @error. REFUSED: the order does not
 * fit the present state. */
static uint8_t status_of(int error)
{
	if (error == 0)
		return WIRE_ORDER_OK;
	return error == -ESTALE || error == -EBUSY || error == -ENODATA ? WIRE_ORDER_REFUSED
									: WIRE_ORDER_FAILED;
}

/* Copy the term of the standby's last vote into the role file. Until now, perhaps only the
 * standby's own file has this term. */
static void take_voted_term(struct vm *vm)
{
	enum vm_role role = vm->role;
	struct standby_status status;
	struct error error;

	if (!vm->standby)
		return;
	standby_status(vm->standby, &status);
	/* In these two states, both after a boot, this host has not voted. If the standby has a
	 * newer term nevertheless, the term comes from a START that failed. */
	if (vm->is_unsure || vm->is_unfound)
		return;
	/* If an agent died during a promotion, perhaps only the standby's file says that the guest
	 * runs here. */
	if (role == VM_ROLE_STANDBY && status.state == STANDBY_STATE_RUNNING)
		role = VM_ROLE_RUNNING;
	if (status.term > vm->term && vm_set_role(vm, role, status.term, &error) < 0)
		log_warn("vm=%s %s, ignoring: the standby's own file has the term",
			 vm->config->name, error.text);
}

static void carry_out(struct vm *vm, const struct queued_order *q)
{
	struct queued_done d = {.term = q->term, .epoch = q->epoch};
	struct error error = {""};
	int r = -EINVAL;

	log_info("vm=%s term=%" PRIu64 " order %s", vm->config->name, q->term,
		 wire_verb_name(q->order.verb));
	take_voted_term(vm);
	/* Refuse an order that this VM cannot take, or whose term is not plausible. */
	if (*vm->fault) {
		(void)error_set(&error, r, "%s", vm->fault);
	} else if (q->term < vm->term) {
		r = error_set(&error, -ESTALE, "stale term %" PRIu64 ", this host is at %" PRIu64,
				 q->term, vm->term);
	} else if (vm->term && q->term - vm->term > WIRE_TERM_JUMP_MAX) {
		r = error_set(&error, -ESTALE,
			      "term %" PRIu64 " is out of range above this host's %" PRIu64
			      "; is the "
			      "gateway's journal damaged?",
			      q->term, vm->term);
	} else if (q->order.verb < ARRAY_SIZE(order_table) && order_table[q->order.verb])
		r = order_table[q->order.verb](vm, q, &d.epoch, &error);
	/* End what this host does not need in the role that it has after the order. */
	if (vm->role != VM_ROLE_PRIMARY) /* also a witness that an earlier agent left */
		vm_witness_end(&vm->witness);
	if (vm->role != VM_ROLE_PRIMARY && vm->role != VM_ROLE_RUNNING)
		vm_cover_forget(vm); /* this host no longer owns the guest */
	if (r == -EINPROGRESS)
		return;
	wire_text_format(d.done.text, "%s",
			 r < 0 && !*error.text ? strerror(-r) : error.text);
	d.done.order_id = q->order.order_id;
	d.done.status = status_of(r);
	strcpy(d.done.vm, vm->config->name);
	if (r < 0)
		log_error("vm=%s term=%" PRIu64 " order %s failed: %s", vm->config->name,
			  q->term, wire_verb_name(q->order.verb), d.done.text);
	pthread_mutex_lock(&vm->lock);
	if (vm->n_done < VM_ORDERS_MAX)
		vm->done[vm->n_done++] = d; /* without room, no answer is sent, and the gateway
					     * repeats the order */
	pthread_mutex_unlock(&vm->lock);
	vm_wake_owner(vm);
}

/* If this host was booted since it ran the guest, and somebody has started the guest again, record
 * this. A QEMU that only waits (with -S, or for a migration) does not have the guest. */
static void find_guest(struct vm *vm)
{
	struct error error;
	struct qmp *qmp;
	bool is_running;
	pid_t pid;

	if (!vm->is_unfound || vm_guest_get(&vm->guest, &pid) != VM_GUEST_ALIVE ||
	    qmp_open(vm->config->qmp, QMP_NS, &qmp) < 0)
		return;
	is_running = vm_fence_is_running(qmp) == 1;
	qmp_close(qmp);
	if (!is_running)
		return;
	set_unfound(vm, false);
	log_info("vm=%s term=%" PRIu64 " the guest was started here again after the boot (QEMU pid "
		 "%d)", vm->config->name, vm->term, (int)pid);
	if (vm_set_role(vm, VM_ROLE_RUNNING, vm->term, &error) < 0)
		log_warn("vm=%s %s, ignoring: the next agent looks for the guest again",
			 vm->config->name, error.text);
	vm_wake_owner(vm);
}

/* For a VM without an engine: check whether the guest's QEMU has ended. */
static void look_at_guest(struct vm *vm, uint64_t now_ns)
{
	bool changed = vm->role == VM_ROLE_RUNNING
			       ? vm_guest_look(&vm->guest, vm->config->qmp, now_ns)
			       : vm_known_seek(vm, now_ns);

	if (changed)
		vm_wake_owner(vm);
	find_guest(vm);
}

/* Check for changes that nobody reports to us: a lost gateway, a change of the standby's tap, a
 * guest that must not run here. */
static void look(struct vm *vm)
{
	if (vm_peer_watches(vm))
		vm_peer_look(vm);
	if (watches_tap(vm) && vm_tap_look(&vm->tap, vm->config->name, &vm->config->taps))
		vm_wake_owner(vm);
	vm->look_at_ns = clock_mono_ns() + (watches_tap(vm) ? TAP_LOOK_NS : PEER_LOOK_NS);
	if (vm_fence_watches(vm)) /* comes last, since it sets look_at_ns to an earlier time */
		vm_fence_look(vm);
}

/* Called with the lock held, when no order is queued. Does the checks that are due, without the
 * lock. If none is due, waits for the next one or for a signal. */
static void idle(struct vm *vm)
{
	bool looks = vm_fence_watches(vm) || vm_peer_watches(vm) || watches_tap(vm);
	uint64_t look_ns = looks ? vm->look_at_ns : UINT64_MAX;
	uint64_t witness_ns = vm_witness_due_ns(&vm->witness, vm->term);
	uint64_t cover_ns = vm_cover_due_ns(vm), now_ns = clock_mono_ns();
	bool looks_at_guest = vm->role == VM_ROLE_RUNNING || vm_known_seeks(vm);
	uint64_t guest_ns = looks_at_guest ? vm->guest.look_at_ns : UINT64_MAX;
	uint64_t own_ns = look_ns < cover_ns ? look_ns : cover_ns;
	uint64_t due_ns = own_ns < witness_ns ? own_ns : witness_ns;
	struct timespec until;

	due_ns = guest_ns < due_ns ? guest_ns : due_ns;
	until = (struct timespec){.tv_sec = (time_t)(due_ns / CLOCK_NS_PER_S),
				  .tv_nsec = (long)(due_ns % CLOCK_NS_PER_S)};
	if (due_ns == UINT64_MAX) {
		pthread_cond_wait(&vm->wake, &vm->lock);
		return;
	}
	if (now_ns < due_ns) {
		pthread_cond_timedwait(&vm->wake, &vm->lock, &until);
		return;
	}
	pthread_mutex_unlock(&vm->lock);
	if (cover_ns <= now_ns)
		vm_cover_look(vm);
	if (witness_ns <= now_ns)
		vm_witness_turn(&vm->witness, vm->role == VM_ROLE_PRIMARY, vm->term);
	if (look_ns <= now_ns)
		look(vm);
	if (guest_ns <= now_ns)
		look_at_guest(vm, now_ns);
	pthread_mutex_lock(&vm->lock);
}

void *vm_work(void *arg)
{
	struct vm *vm = arg;

	vm_take_up(vm);
	pthread_mutex_lock(&vm->lock);
	while (!vm->must_stop) {
		struct queued_order q;

		if (vm->must_rest) {
			vm_rest_here(vm);
			continue;
		}
		if (vm->n_orders == 0) {
			idle(vm);
			continue;
		}
		q = vm->orders[0];
		vm->n_orders--;
		memmove(vm->orders, vm->orders + 1, vm->n_orders * sizeof(q));
		pthread_mutex_unlock(&vm->lock);
		carry_out(vm, &q);
		pthread_mutex_lock(&vm->lock);
	}
	pthread_mutex_unlock(&vm->lock);
	return NULL;
}

const char *vm_name(const struct vm *vm)
{
	return vm->config->name;
}

int vm_order(struct vm *vm, const struct wire_order *order, uint64_t term, uint64_t epoch)
{
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	if (vm->n_orders == VM_ORDERS_MAX)
		r = -EBUSY;
	else
		vm->orders[vm->n_orders++] =
			(struct queued_order){.order = *order, .term = term, .epoch = epoch};
	pthread_cond_signal(&vm->wake);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

void vm_witness_key(struct vm *vm, const struct wire_witness_key *key, uint64_t term)
{
	if (*vm->fault)
		return;
	vm_witness_offer(&vm->witness, key, term);
	pthread_mutex_lock(&vm->lock);
	pthread_cond_signal(&vm->wake);
	pthread_mutex_unlock(&vm->lock);
}

void vm_lease(struct vm *vm, const struct wire_lease *lease, uint64_t term, uint64_t sent_ns)
{
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	if (vm->engine)
		r = engine_renew_lease(vm->engine, term, lease->beat_ns, lease->lease_ms,
				       lease->release_ms, sent_ns);
	pthread_mutex_unlock(&vm->lock);
	/* -ESTALE is normal: the order that begins or ends the LEASE's term may not be carried out
	 * yet. */
	if (r == -EINVAL)
		log_limited(LOG_LEVEL_WARN,
			    "vm=%s a lease for a beat that was never sent, ignoring",
			    vm->config->name);
}

void vm_leases(struct vm *vm, bool are_given)
{
	pthread_mutex_lock(&vm->lock);
	vm->needs_lease = are_given;
	if (vm->engine && !are_given)
		engine_void_lease(vm->engine);
	pthread_mutex_unlock(&vm->lock);
}
