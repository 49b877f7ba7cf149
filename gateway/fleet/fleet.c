#include "fleet/fleet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "fleet/drains.h"
#include "fleet/fleet_private.h"
#include "vm/fsm_look.h"
#include "wire/text.h"

int fleet_new(const struct fleet_config *config, struct fleet **ret_fleet)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));

	if (!fleet)
		return -ENOMEM;
	fleet->config = *config;
	fleet->drains = fleet_drains_new();
	if (!fleet->drains || witness_rx_new(&fleet->witness) < 0) {
		free(fleet->drains);
		free(fleet);
		return -ENOMEM;
	}
	*ret_fleet = fleet;
	return 0;
}

struct fleet *fleet_free(struct fleet *fleet)
{
	if (!fleet)
		return NULL;
	for (size_t i = 0; i < fleet->n_vms; i++)
		free(fleet->vms[i]);
	witness_rx_free(fleet->witness);
	free(fleet->drains);
	free(fleet);
	return NULL;
}

struct fleet_vm *fleet_find_vm(struct fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->n_vms; i++) {
		if (strcmp(fleet->vms[i]->config.name, name) == 0)
			return fleet->vms[i];
	}
	return NULL;
}

void fleet_add_fault(struct fleet *fleet, const char *name, const char *text)
{
	struct fleet_fault *fault;

	if (fleet->n_faults == FLEET_VMS_MAX) {
		fleet->n_more_faults++;
		return;
	}
	fault = &fleet->faults[fleet->n_faults++];
	(void)snprintf(fault->name, sizeof(fault->name), "%s", name);
	_Static_assert(sizeof(fault->text) == WIRE_TEXT_MAX + 1, "wire_text_format() fills it");
	/* the text quotes a file, which can have any bytes */
	wire_text_format(fault->text, "%s", text);
}

void fleet_drop_fault(struct fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->n_faults; i++) {
		if (strcmp(fleet->faults[i].name, name) != 0)
			continue;
		fleet->faults[i] = fleet->faults[--fleet->n_faults];
		return;
	}
}

const char *fleet_find_fault(const struct fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->n_faults; i++) {
		if (strcmp(fleet->faults[i].name, name) == 0)
			return fleet->faults[i].text;
	}
	return NULL;
}

void fleet_set_end(struct fleet_end *end, int64_t at_s, int64_t now_s, const char *text)
{
	end->at_s = at_s;
	end->is_alarm = now_s >= at_s - FLEET_END_ALARM_S;
	(void)text_copy(end->text, sizeof(end->text), text);
}

struct fleet_host *fleet_find_host(struct fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->n_hosts; i++) {
		if (strcmp(fleet->hosts[i].name, name) == 0)
			return &fleet->hosts[i];
	}
	return NULL;
}

static struct fleet_host *add_host(struct fleet *fleet, const char *name)
{
	struct fleet_host *host = fleet_find_host(fleet, name);

	if (host || fleet->n_hosts == FLEET_HOSTS_MAX)
		return host;
	host = &fleet->hosts[fleet->n_hosts++];
	(void)snprintf(host->name, sizeof(host->name), "%s", name);
	return host;
}

int fleet_vm_host(const struct fleet_vm *vm, const struct fleet_host *host)
{
	for (int h = 0; h < VM_HOSTS; h++) {
		if (vm->host[h] == host)
			return h;
	}
	return -ENOENT;
}

/* Returns the index of the host @name in the VM's file, or VM_HOSTS if the file does not name
 * it. */
static uint8_t index_in(const struct vm_config *config, const char *name)
{
	uint8_t h = 0;

	while (h < VM_HOSTS && (strcmp(config->host[h], name) != 0 || !*name))
		h++;
	return h;
}

/* Find out which two hosts have a seat: the owner and the standby. The journal's record names both.
 * Only a record from a time when the VM had no spare names no standby; in this case take the host
 * beside the owner from the VM's file. If the file was changed since, this host may never have had
 * a copy. Such a host is not promoted, because it does not report that it stands by
 * (docs/decisions/0058-spare.md). */
static int find_seats(const struct vm_journal_entry *entry, const struct vm_config *config,
		      struct vm_record *record, struct error *ret_error)
{
	uint8_t other = index_in(config, entry->with);
	bool is_lost = other == VM_HOSTS && entry->with[0];

	if (is_lost && record->state != VM_UNPROTECTED)
		return error_set(
			ret_error, -EINVAL,
			"%s: by the journal %s keeps, or gets, the copy in term %" PRIu64
			", but the VM's file does not name it; put %s back as `standby` or `spare`",
			config->name, entry->with, entry->term, entry->with);
	if (other == VM_HOSTS)
		other = record->owner == VM_HOST_FIRST ? VM_HOST_SECOND : VM_HOST_FIRST;
	if (record->owner == VM_HOST_THIRD && !entry->with[0] && record->state != VM_UNPROTECTED)
		return error_set(
			ret_error, -EINVAL,
			"%s: by the journal %s owns it in term %" PRIu64
			", and had no spare; name it as `primary` or `standby` of the VM's file, "
			"and the new host as `spare`",
			config->name, entry->owner, entry->term);
	record->seatless = (uint8_t)(record->owner + other - VM_HOST_FIRST - VM_HOST_SECOND);
	return 0;
}

/* Read a VM's record from the journal, and convert the owner's name to a host index. */
static int find_record(const struct vm_journal_table *journal, const struct vm_config *config,
		       struct vm_record *ret_record, struct error *ret_error)
{
	const struct vm_journal_entry *entry = vm_journal_table_find(journal, config->name);

	*ret_record = (struct vm_record){0};
	if (vm_journal_table_doubt(journal, config->name, ret_error)) {
		ret_record->in_doubt = true;
		log_error("vm=%s is in conflict: %s", config->name, ret_error->text);
	}
	if (!entry)
		return 0;
	ret_record->owner = index_in(config, entry->owner);
	if (ret_record->owner == VM_HOSTS)
		return error_set(
			ret_error, -EINVAL,
			"%s: the journal's owner in term %" PRIu64
			" is %s, but the VM's file names %s and %s%s%s; put %s back as one of them",
			config->name, entry->term, entry->owner, config->host[VM_HOST_FIRST],
			config->host[VM_HOST_SECOND], config->host[VM_HOST_THIRD][0] ? " and " : "",
			config->host[VM_HOST_THIRD], entry->owner);
	ret_record->term = entry->term;
	ret_record->state = entry->state;
	ret_record->is_wanted = entry->is_wanted;
	return find_seats(entry, config, ret_record, ret_error);
}

/* With `reprotect = ask` the gateway does not protect the VM again by itself. But the journal may
 * still say that the VM is to be protected again (is_wanted), from an earlier start with `auto`.
 * Clear is_wanted. Otherwise the next start with `auto` would act on it. @may_append: true if a
 * line can be written to the journal. */
static void drop_old_wish(struct fleet *fleet, const struct fleet_vm *vm, struct vm_record *record,
			  bool may_append)
{
	const struct vm_config *config = &vm->config;
	const char *with = fleet_with(vm, record);
	int r;

	/* While the journal has an unreadable line for this VM (in_doubt), write no new line: it
	 * would hide the unreadable one. No harm is done, because vm_again_init() clears is_wanted
	 * too. So the line that ends the doubt does not say that the VM is to be protected. */
	if (config->reprotect_auto || !record->is_wanted || record->in_doubt)
		return;
	record->is_wanted = false;
	if (!may_append) /* the VM's next line in the journal will not say want=protect */
		return;
	r = vm_journal_append(fleet->config.journal, config->name, config->host[record->owner],
			      record->term, record->state, false, with);
	if (r < 0)
		log_warn("vm=%s the journal still says want=protect, which reprotect = ask ends: "
			 "%s; the next change of the VM's state removes it, ignoring",
			 config->name, strerror(-r));
}

int fleet_add_vm(struct fleet *fleet, const struct vm_config *config,
		 const struct vm_journal_table *journal, uint64_t now_ns, struct error *ret_error)
{
	struct vm_record record;
	struct fleet_vm *vm;
	int r;

	if (fleet_find_vm(fleet, config->name))
		return -EEXIST;
	if (fleet->n_vms == FLEET_VMS_MAX)
		return -ENOSPC;
	r = find_record(journal, config, &record, ret_error);
	if (r < 0)
		return r;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->config = *config;
	vm->disk = &fleet->disk;
	drop_old_wish(fleet, vm, &record,
		      journal == vm_journal_get_table(fleet->config.journal));
	for (int h = 0; h < VM_HOSTS; h++)
		vm->host[h] = *config->host[h] ? add_host(fleet, config->host[h]) : NULL;
	vm_fsm_init(&vm->fsm, &vm->config, &record, fleet->config.first_order_id, now_ns);
	vm->index = fleet->n_vms;
	fleet->vms[fleet->n_vms++] = vm;
	return 0;
}

int fleet_set_spare(struct fleet *fleet, struct fleet_vm *vm, const char *name, uint64_t now_ns)
{
	const uint8_t h = VM_HOST_THIRD;
	struct fleet_host *host = NULL;
	struct vm_input in = {.kind = VM_IN_CONTROL_DOWN, .host = h};

	if (vm_fsm_spare(&vm->fsm) != h || vm->pending.waiting)
		return -EBUSY;
	/* In a conflict, the present spare's report may be the only evidence against the journal.
	 * And if the present spare still has the guest or a copy, that must be ended first. */
	if (vm_fsm_in_conflict(&vm->fsm) || vm_spare_has_something(&vm->fsm))
		return -EPERM;
	if (*name) {
		host = add_host(fleet, name);
		if (!host)
			return -ENOSPC;
	}
	if (vm->host[h] && vm->fsm.host[h].up)
		(void)fleet_step(fleet, vm, &in, now_ns); /* cannot fail: it writes no record */
	vm->host[h] = host;
	memset(vm->config.host[h], 0, sizeof(vm->config.host[h]));
	(void)snprintf(vm->config.host[h], sizeof(vm->config.host[h]), "%s", name);
	memset(&vm->report[h], 0, sizeof(vm->report[h]));
	vm->witness_sources[h] = 0;
	vm_fsm_new_spare(&vm->fsm, now_ns);
	fleet_drains_added(fleet, vm);
	return fleet_control_again(fleet, vm, h, now_ns);
}

void fleet_mute_after(struct fleet_vm *vm, uint64_t now_ns, uint64_t release_ns)
{
	vm_fsm_mute_after(&vm->fsm, now_ns, release_ns);
}

void fleet_event(struct fleet *fleet, uint64_t now_ns, const char *vm, const char *kind,
		 const char *text)
{
	struct fleet_sinks *sinks = &fleet->sinks;

	counters_add(&fleet->counters.events, 1);
	if (sinks->event && !sinks->event(sinks->arg, now_ns, vm, kind, "", "", text))
		counters_add(&fleet->counters.events_suppressed, 1);
}
