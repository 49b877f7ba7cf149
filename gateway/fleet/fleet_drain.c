/* fleet_drain.c - see drains.h. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "fleet/drain_record.h"
#include "fleet/drains.h"
#include "fleet/fleet_private.h"
#include "vm/fsm_look.h"
#include "wire/text.h"

_Static_assert(DRAIN_VMS_MAX == FLEET_VMS_MAX && DRAIN_RECORD_HOSTS_MAX == FLEET_HOSTS_MAX, "");

/* The numbers of requests that a drain makes have this bit; the numbers of operators' requests do
 * not. */
#define OWN_OP (UINT64_C(1) << 63)

/* A request that a drain has made to a VM's state machine. */
struct request {
	uint64_t op_id; /* 0: none */
	uint8_t host;	/* the drained host: its index among the VM's hosts */
	bool is_answered, ok;
	char text[VM_TEXT_MAX];
};

struct fleet_drains {
	struct drain of[FLEET_HOSTS_MAX]; /* by index in fleet->hosts */
	struct request requests[FLEET_VMS_MAX];
	uint64_t n_requests;
	bool has_answers;
	/* Each action DRAIN_ACT_STORE, and each write of the file, gets the next number. A write
	 * contains what all actions with lower numbers asked for. `wanted` is the last number
	 * given. `writing` is the number of the write that is under way; 0: none. `asked` is the
	 * number of each host's last action that is not on the disk yet; 0: none. */
	uint64_t wanted, writing, asked[FLEET_HOSTS_MAX];
	bool is_listed[FLEET_VMS_MAX]; /* the file names the VM as one to protect again */
	char path[PATH_MAX];	       /* path of the file; "": drains are not recorded */
	size_t size;
	char text[DRAIN_RECORD_BYTES_MAX];
	struct drain_actions actions;
};

struct fleet_drains *fleet_drains_new(void)
{
	return calloc(1, sizeof(struct fleet_drains));
}

static size_t index_of(const struct fleet *fleet, const struct fleet_host *host)
{
	return (size_t)(host - fleet->hosts);
}

const struct drain *fleet_drains_of(const struct fleet *fleet, const struct fleet_host *host)
{
	return &fleet->drains->of[index_of(fleet, host)];
}

/* ---- the views ---- */

static size_t look(const struct fleet *fleet, const struct fleet_host *host, uint64_t now_ns,
		   struct drain_view views[FLEET_VMS_MAX])
{
	static char why[FLEET_VMS_MAX][VM_TEXT_MAX];
	size_t n = 0;

	for (size_t i = 0; i < fleet->n_vms; i++) {
		const struct fleet_vm *vm = fleet->vms[i];
		int h = fleet_vm_host(vm, host);
		struct health health;
		uint8_t other;

		if (h < 0)
			continue;
		other = h == vm_fsm_spare(&vm->fsm) ? vm_fsm_other(&vm->fsm)
						    : vm_fsm_beside(&vm->fsm, (uint8_t)h);
		fleet_health(vm, now_ns, &health);
		views[n] = (struct drain_view){
			.vm = i, .name = vm->config.name, .other = vm->config.host[other],
			.is_other_barred = h != vm_fsm_spare(&vm->fsm) &&
					   vm->fsm.is_barred[other],
			.is_spare = h == vm_fsm_spare(&vm->fsm),
			.has_third = vm_drain_has_third(&vm->fsm, (uint8_t)h),
			.place = vm_drain_look(&vm->fsm, (uint8_t)h, health.word == HEALTH_SAFE,
					       why[i], sizeof(why[i])),
			.why = why[i],
		};
		/* While a step waits for the disk, the step may still be undone. So do not believe
		 * the state machine if it says that the guest and the copy are gone, or that the
		 * guest can be moved. */
		if (vm->pending.waiting && views[n].place == VM_DRAIN_AWAY) {
			views[n].place = VM_DRAIN_ENDING;
		} else if (vm->pending.waiting && views[n].place == VM_DRAIN_MOVABLE) {
			(void)snprintf(why[i], sizeof(why[i]), "its record is being written");
			views[n].place = VM_DRAIN_BUSY;
		} else if (views[n].place == VM_DRAIN_BUSY && health.missing[0] &&
			   vm->fsm.record.state == VM_PROTECTED) {
			(void)snprintf(why[i], sizeof(why[i]), "it is %s, not SAFE: %s",
				       health_word_name(health.word),
				       TEXT_SHORT(200, health.missing));
		}
		n++;
	}
	return n;
}

/* What is left on a host: the number of guests or copies, and the name of one of them. */
struct left {
	unsigned int n;
	const char *name, *why; /* borrowed; valid if n > 0. why "": no reason is known */
};

static void count(struct left *left, const char *name, const char *why)
{
	if (left->n++ == 0) {
		left->name = name;
		left->why = why;
	}
}

/* Write "WHAT: 2, such as web1 (why)", or @none if there is nothing. */
static void put_left(char *text, size_t size, const struct left *left, const char *what,
		     const char *none)
{
	if (left->n == 0)
		(void)text_put(text, size, "%s", none);
	else
		(void)text_put(text, size, "%s: %u, such as %s%s%s%s", what, left->n, left->name,
			       *left->why ? " (" : "", left->why, *left->why ? ")" : "");
}

/* Do the work of fleet_drains_describe(). Also sets *ret_n_left to the number of guests and copies
 * that may be left on @host, plus the number of VMs that the gateway does not look after. */
static unsigned int describe(const struct fleet *fleet, const struct fleet_host *host,
			     uint64_t now_ns, char *text, size_t size, unsigned int *ret_n_left)
{
	static struct drain_view views[FLEET_VMS_MAX];
	const struct drain *d = fleet_drains_of(fleet, host);
	size_t n = look(fleet, host, now_ns, views);
	struct left guests = {0}, copies = {0}, faults = {0};
	char of_guests[VM_TEXT_MAX], of_copies[VM_TEXT_MAX], of_faults[VM_TEXT_MAX];

	for (size_t i = 0; i < n; i++) {
		const struct drain_view *v = &views[i];

		if (v->place >= VM_DRAIN_MOVABLE)
			count(&guests, v->name, v->why);
		else if (v->place != VM_DRAIN_AWAY)
			count(&copies, v->name, d->vms[v->vm].why);
	}
	for (size_t i = 0; i < fleet->n_faults; i++)
		count(&faults, fleet->faults[i].name, "");
	faults.n += (unsigned int)fleet->n_more_faults;
	put_left(of_guests, sizeof(of_guests), &guests, "guests there",
		 faults.n ? "no VM that is looked after runs there" : "no guest runs there");
	put_left(of_copies, sizeof(of_copies), &copies, "copies kept there, of VMs",
		 faults.n ? "no VM that is looked after has a copy there"
			  : "no copy is kept there");
	put_left(of_faults, sizeof(of_faults), &faults,
		 "; VMs that are not looked after, and may run there", "");
	(void)text_put(text, size, "%s; %s%s", TEXT_SHORT(200, of_guests),
		       TEXT_SHORT(150, of_copies), of_faults);
	*ret_n_left = guests.n + copies.n + faults.n;
	return guests.n;
}

unsigned int fleet_drains_describe(const struct fleet *fleet, const struct fleet_host *host,
				   uint64_t now_ns, char *text, size_t size)
{
	unsigned int n_left;

	return describe(fleet, host, now_ns, text, size, &n_left);
}

/* ---- the record ---- */

static void bar(struct fleet *fleet, const struct fleet_host *host, bool is_barred)
{
	for (size_t i = 0; i < fleet->n_vms; i++) {
		struct fleet_vm *vm = fleet->vms[i];
		int h = fleet_vm_host(vm, host);

		if (h < 0)
			continue;
		vm_fsm_bar(&vm->fsm, (uint8_t)h, is_barred);
		/* also change the copy from which a failed step is restored */
		if (vm->pending.waiting)
			vm_fsm_bar(&vm->pending.before, (uint8_t)h, is_barred);
	}
}

/* Returns true if the VM is to be protected again when its barred host is taken back. */
static bool must_list(const struct fleet_vm *vm)
{
	const struct vm_fsm *fsm = &vm->fsm;

	/* Also look at the spare. If the former spare has taken the barred host's seat, the barred
	 * host is the spare now. */
	return (fsm->is_barred[vm_fsm_other(fsm)] || fsm->is_barred[vm_fsm_spare(fsm)]) &&
	       vm_fsm_wants_again(fsm);
}

static void fill_record(struct fleet *fleet, struct drain_record *record)
{
	struct fleet_drains *all = fleet->drains;

	memset(record, 0, sizeof(*record));
	for (size_t i = 0; i < fleet->n_hosts; i++) {
		const struct drain *d = &all->of[i];
		struct drain_record_host *h = &record->hosts[record->n_hosts];

		if (d->phase == DRAIN_NONE || d->phase == DRAIN_LIFTING)
			continue;
		record->n_hosts++;
		memcpy(h->name, fleet->hosts[i].name, sizeof(h->name));
		h->is_done = d->phase == DRAIN_SETTLING || d->phase == DRAIN_DONE;
		h->by_guard = d->by_guard;
		h->keeps_copies = d->keeps_copies;
		h->leaves = d->leaves;
		h->limit_s = d->limit_ns / CLOCK_NS_PER_S;
		memcpy(h->boot, d->boot, sizeof(h->boot));
	}
	for (size_t i = 0; i < fleet->n_vms; i++) {
		all->is_listed[i] = must_list(fleet->vms[i]);
		if (all->is_listed[i])
			memcpy(record->vms[record->n_vms++], fleet->vms[i]->config.name,
			       sizeof(record->vms[0]));
	}
}

/* Begin to write the file. Does nothing while a write is under way; fleet_drains_tick() calls this
 * again. */
static void store(struct fleet *fleet, uint64_t now_ns)
{
	static struct drain_record record;
	struct fleet_drains *all = fleet->drains;
	int r = 0;

	if (all->writing)
		return;
	fill_record(fleet, &record);
	all->writing = ++all->wanted;
	all->size = drain_record_format(&record, all->text, sizeof(all->text));
	if (all->size == 0)
		r = -ENOSPC; /* cannot happen: `text` has room for all hosts and VMs */
	else if (*all->path && fleet->config.journal_thread)
		r = journal_thread_write(fleet->config.journal_thread, all->path, all->text,
					 all->size);
	else if (*all->path)
		r = fd_write_file_atomic(all->path, all->text, all->size);
	if (r < 0 || !*all->path || !fleet->config.journal_thread)
		fleet_drains_stored(fleet, r, now_ns);
}

/* ---- carrying out ---- */

/* Tell the host the state of its drain, if its agent knows the message DRAIN_STATE. */
static void tell_host(struct fleet *fleet, const struct fleet_host *host, const char *text,
		      unsigned int n_left)
{
	enum drain_phase phase = fleet_drains_of(fleet, host)->phase;
	struct wire_drain_state state = {.state = WIRE_DRAIN_RUNS,
					 .n_left = (uint16_t)n_left};

	if (!host->control || !(host->control->features & WIRE_FEATURE_DRAIN))
		return;
	if (phase == DRAIN_NONE || phase == DRAIN_LIFTING)
		state.state = WIRE_DRAIN_NOT;
	else if (phase == DRAIN_DONE)
		state.state = WIRE_DRAIN_DONE;
	wire_text_format(state.text, "%s", text);
	fleet->links->drain_state(host->control, &state);
}

static void ask_vm(struct fleet *fleet, const struct fleet_host *host, size_t i,
		   enum vm_command command, uint64_t now_ns)
{
	struct fleet_vm *vm = fleet->vms[i];
	uint8_t h = (uint8_t)fleet_vm_host(vm, host);
	struct request *request = &fleet->drains->requests[i];
	struct vm_input in = {.kind = VM_IN_COMMAND, .command = command,
			      .host = command == VM_COMMAND_MOVE ? vm_fsm_other(&vm->fsm) : h};

	*request = (struct request){.op_id = OWN_OP | ++fleet->drains->n_requests, .host = h};
	in.op_id = request->op_id;
	/* if this fails, the drain already has a reply (fleet_drains_own()) */
	(void)fleet_step(fleet, vm, &in, now_ns);
}

bool fleet_drains_own(struct fleet *fleet, uint64_t op_id, bool ok, const char *text)
{
	if (!(op_id & OWN_OP))
		return false;
	for (size_t i = 0; i < fleet->n_vms; i++) {
		struct request *request = &fleet->drains->requests[i];

		if (request->op_id != op_id)
			continue;
		request->is_answered = fleet->drains->has_answers = true;
		request->ok = ok;
		(void)snprintf(request->text, sizeof(request->text), "%s", text);
	}
	return true;
}

static void act_say(struct fleet *fleet, const struct drain_action *a, uint64_t op_id,
		    bool is_event, uint64_t now_ns)
{
	const char *vm = a->vm < fleet->n_vms ? fleet->vms[a->vm]->config.name : "";

	if (is_event) {
		fleet_event(fleet, now_ns, vm, "drain", a->text);
		log_info("%s", a->text);
	}
	if (op_id && fleet->sinks.progress)
		fleet->sinks.progress(fleet->sinks.arg, op_id, a->text);
}

static void carry_out(struct fleet *fleet, const struct fleet_host *host,
		      const struct drain_action *a, uint64_t op_id, bool is_event, uint64_t now_ns)
{
	struct fleet_drains *all = fleet->drains;

	switch (a->kind) {
	case DRAIN_ACT_MOVE:
		ask_vm(fleet, host, a->vm, VM_COMMAND_MOVE, now_ns);
		break;
	case DRAIN_ACT_END_COPY:
		ask_vm(fleet, host, a->vm, VM_COMMAND_END_COPY, now_ns);
		break;
	case DRAIN_ACT_STORE:
		all->asked[index_of(fleet, host)] = ++all->wanted;
		break;
	case DRAIN_ACT_SAY:
		act_say(fleet, a, op_id, is_event, now_ns);
		if (is_event || !op_id)
			tell_host(fleet, host, a->text, 0);
		break;
	case DRAIN_ACT_REPLY:
		fleet_reply(fleet, a->op_id, a->ok, a->code, a->text);
		break;
	}
}

void fleet_drains_step(struct fleet *fleet, const struct fleet_host *host,
		       const struct drain_input *in, uint64_t now_ns)
{
	static struct drain_view views[FLEET_VMS_MAX];
	struct fleet_drains *all = fleet->drains;
	struct drain *d = &all->of[index_of(fleet, host)];
	/* the operator's request that gets the progress reports */
	uint64_t op_id = in->kind == DRAIN_IN_ASKED ? in->op_id : d->op_id;
	enum drain_phase before = d->phase;
	struct drain_input whole = *in;
	char text[VM_TEXT_MAX];

	d->host = host->name;
	whole.now_ns = now_ns;
	whole.views = views;
	whole.n_views = look(fleet, host, now_ns, views);
	whole.n_faults = fleet->n_faults;
	drain_step(d, &whole, &all->actions);
	/* Bar the host before the actions. Otherwise a copy that they end could be begun again. */
	if ((before == DRAIN_NONE) != (d->phase == DRAIN_NONE))
		bar(fleet, host, drain_is_barred(d));
	for (size_t i = 0; i < all->actions.n; i++)
		carry_out(fleet, host, &all->actions.list[i], op_id,
			  before != DRAIN_NONE || d->phase != DRAIN_NONE, now_ns);
	if (d->phase == DRAIN_DONE && (d->phase != before || in->kind == DRAIN_IN_GUARD)) {
		unsigned int n_left;

		(void)describe(fleet, host, now_ns, text, sizeof(text), &n_left);
		tell_host(fleet, host, text, n_left);
	}
}

void fleet_drains_stored(struct fleet *fleet, int result, uint64_t now_ns)
{
	struct fleet_drains *all = fleet->drains;
	const struct drain_input in = {.kind = DRAIN_IN_STORED, .ok = result == 0};
	uint64_t written = all->writing;

	if (result < 0)
		log_error("%s: %s; free space in state_dir", all->path, strerror(-result));
	for (size_t i = 0; i < fleet->n_hosts; i++) {
		if (all->asked[i] == 0 || all->asked[i] > written)
			continue;
		all->asked[i] = 0;
		fleet_drains_step(fleet, &fleet->hosts[i], &in, now_ns);
	}
	all->writing = 0;
}

/* ---- ticks ---- */

static void pass_answers(struct fleet *fleet, uint64_t now_ns)
{
	struct fleet_drains *all = fleet->drains;

	if (!all->has_answers)
		return;
	all->has_answers = false;
	for (size_t i = 0; i < fleet->n_vms; i++) {
		struct request answered = all->requests[i];
		const struct drain_input in = {.kind = DRAIN_IN_MOVED, .vm = i, .ok = answered.ok,
					       .text = answered.text};

		if (!answered.is_answered)
			continue;
		all->requests[i] = (struct request){0};
		if (!fleet->vms[i]->host[answered.host]) /* the host is no longer the VM's spare */
			continue;
		fleet_drains_step(fleet, fleet->vms[i]->host[answered.host], &in, now_ns);
	}
}

void fleet_drains_tick(struct fleet *fleet, uint64_t now_ns)
{
	struct fleet_drains *all = fleet->drains;
	const struct drain_input tick = {.kind = DRAIN_IN_TICK};
	bool must_store = false;

	pass_answers(fleet, now_ns);
	for (size_t i = 0; i < fleet->n_hosts; i++) {
		if (all->of[i].phase == DRAIN_MOVING || all->of[i].phase == DRAIN_COPIES)
			fleet_drains_step(fleet, &fleet->hosts[i], &tick, now_ns);
	}
	for (size_t i = 0; i < fleet->n_hosts; i++)
		must_store |= all->asked[i] != 0;
	for (size_t i = 0; i < fleet->n_vms && !must_store; i++)
		must_store = all->is_listed[i] != must_list(fleet->vms[i]);
	if (must_store)
		store(fleet, now_ns);
}

bool fleet_drains_are_due(const struct fleet *fleet)
{
	const struct fleet_drains *all = fleet->drains;

	for (size_t i = 0; i < fleet->n_hosts; i++) {
		if (all->asked[i] && !all->writing)
			return true;
	}
	return all->has_answers;
}

/* ---- the start ---- */

static void resume(struct fleet *fleet, const struct drain_record_host *h, uint64_t now_ns)
{
	const struct fleet_host *host = fleet_find_host(fleet, h->name);
	struct drain *d;

	if (!host) {
		log_warn("%s was drained, but is in no VM's file any more, ignoring", h->name);
		return;
	}
	d = &fleet->drains->of[index_of(fleet, host)];
	d->host = host->name;
	d->by_guard = d->goes_down = h->by_guard;
	d->leaves = h->leaves;
	d->is_urgent = h->by_guard || h->leaves;
	d->keeps_copies = h->keeps_copies;
	d->limit_ns = h->limit_s * CLOCK_NS_PER_S;
	memcpy(d->boot, h->boot, sizeof(d->boot));
	drain_resume(d, h->is_done, now_ns);
	bar(fleet, host, true);
	log_info("host=%s is %s, as the last gateway recorded", h->name,
		 drain_phase_name(d->phase));
}

void fleet_drains_open(struct fleet *fleet, const char *state_dir, uint64_t now_ns)
{
	static struct drain_record record;
	struct fleet_drains *all = fleet->drains;
	char *text = NULL;
	size_t size;
	int r;

	(void)snprintf(all->path, sizeof(all->path), "%s/drained", state_dir);
	r = fd_read_file(all->path, DRAIN_RECORD_BYTES_MAX - 1, &text, &size);
	if (r == 0)
		r = drain_record_parse(text, size, &record);
	free(text);
	if (r == -ENOENT)
		return;
	if (r < 0) {
		log_error("%s: %s; no host is taken as drained: `holdfastctl drain` those that are",
			  all->path, r == -EINVAL ? "damaged" : strerror(-r));
		return;
	}
	for (size_t i = 0; i < record.n_hosts; i++)
		resume(fleet, &record.hosts[i], now_ns);
	for (size_t i = 0; i < record.n_vms; i++) {
		struct fleet_vm *vm = fleet_find_vm(fleet, record.vms[i]);

		if (!vm || (!vm->fsm.is_barred[vm_fsm_other(&vm->fsm)] &&
			    !vm->fsm.is_barred[vm_fsm_spare(&vm->fsm)]))
			continue;
		vm_fsm_want_again(&vm->fsm, now_ns);
		all->is_listed[vm->index] = must_list(vm);
	}
}

void fleet_drains_added(struct fleet *fleet, struct fleet_vm *vm)
{
	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		enum drain_phase phase;

		if (!vm->host[h])
			continue;
		phase = fleet_drains_of(fleet, vm->host[h])->phase;
		vm_fsm_bar(&vm->fsm, h, phase != DRAIN_NONE && phase != DRAIN_LIFTING);
	}
}
