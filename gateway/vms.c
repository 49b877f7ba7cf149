#include "vms.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "fence/fence.h"
#include "networks/probing.h"

void vms_take_client_path(const struct gw_config *config, struct fleet *fleet,
			  const struct gw_vm_config *of)
{
	struct fleet_vm *vm = fleet_find_vm(fleet, of->name);

	vm->witness_sources[0] = ntohl(of->primary_address);
	vm->witness_sources[1] = ntohl(of->standby_address);
	vm->witness_sources[2] = ntohl(of->spare_address);
	fleet->config.client_address = ntohl(config->probe_address.ip_be32);
}

static void take_addresses(struct fleet *fleet, const struct gw_vm_config *of)
{
	const struct fleet_vm *vm = fleet_find_vm(fleet, of->name);
	const uint32_t be32[VM_HOSTS] = {of->primary_backup, of->standby_backup, of->spare_backup};

	for (int h = 0; h < VM_HOSTS; h++) {
		if (be32[h] && vm->host[h])
			(void)inet_ntop(AF_INET, &be32[h], vm->host[h]->configured,
					sizeof(vm->host[h]->configured));
	}
}

void vms_take_addresses(struct fleet *fleet, const struct gw_vm_config *vms)
{
	for (size_t i = 0; i < fleet->n_hosts; i++)
		fleet->hosts[i].configured[0] = '\0';
	for (size_t i = 0; i < fleet->n_vms; i++)
		take_addresses(fleet, &vms[i]);
}

void vms_describe(const struct gw_config *config, const struct gw_vm_config *of,
		  struct vm_config *ret_vm)
{
	*ret_vm = (struct vm_config){
		.detector = {.suspect_min_ns = config->suspect_ns,
			     .progress_min_ns = config->progress_ns,
			     .confirm_ns = config->confirm_ns,
			     .beat_timeout_ns = config->beat_timeout_ns,
			     .patience_ns = config->patience_ns,
			     .restart_grace_ns = config->restart_grace_ns},
		.release_ns = config->release_ns,
		.shadow_timeout_ns = config->shadow_timeout_ns,
		.liveness = {.beat_timeout_ns = config->beat_timeout_ns,
			     .restart_grace_ns = config->restart_grace_ns},
		.standby_timeout_ns = config->standby_timeout_ns,
		.held_copy_max_ns = config->held_copy_max_ns,
		.order_timeout_ns = config->order_timeout_ns,
		.spare_after_ns = of->spare_after_ns,
		.move_timeout_ns = config->move_timeout_ns,
		.answer_within_ns = config->answer_within_ns,
		.has_fence_command = of->fence_command[0] != '\0',
		.fence_required = of->fence_required,
		.reprotect_auto = of->reprotect == GW_REPROTECT_AUTO,
		.cold_start_newest = of->cold_start == GW_COLD_START_NEWEST,
		.standby_lost_hold = config->standby_lost == GW_STANDBY_LOST_HOLD,
	};
	_Static_assert(sizeof(ret_vm->name) == CONFIG_NAME_SIZE, "one kind of name");
	memcpy(ret_vm->name, of->name, sizeof(ret_vm->name));
	memcpy(ret_vm->host[VM_HOST_FIRST], of->primary, sizeof(ret_vm->host[VM_HOST_FIRST]));
	memcpy(ret_vm->host[VM_HOST_SECOND], of->standby, sizeof(ret_vm->host[VM_HOST_SECOND]));
	memcpy(ret_vm->host[VM_HOST_THIRD], of->spare, sizeof(ret_vm->host[VM_HOST_THIRD]));
}

void vms_check_fence(struct fleet *fleet, const struct gw_vm_config *of)
{
	struct fleet_vm *vm = fleet_find_vm(fleet, of->name);
	struct error why;

	vm->fence_fault[0] = '\0';
	if (fence_check(of->fence_command, &why) == 0)
		return;
	(void)text_put(vm->fence_fault, sizeof(vm->fence_fault),
		       "its fence_command cannot be run: %s; a failover %s", why.text,
		       of->fence_required ? "would end FAILED" : "would go on without it");
	log_error("vm=%s %s", of->name, vm->fence_fault);
}

void vms_tell(struct fleet *fleet, uint64_t now_ns)
{
	char text[ERROR_TEXT_BYTES];

	for (size_t i = 0; i < fleet->n_faults; i++) {
		(void)text_put(text, sizeof(text), "it is not looked after: %s",
			       fleet->faults[i].text);
		fleet_event(fleet, now_ns, fleet->faults[i].name, "config", text);
	}
	for (size_t i = 0; i < fleet->n_vms; i++) {
		const struct fleet_vm *vm = fleet->vms[i];

		if (vm->fence_fault[0])
			fleet_event(fleet, now_ns, vm->config.name, "config", vm->fence_fault);
	}
}

int vms_add(const struct gw_config *config, struct fleet *fleet, const struct gw_vm_config *of,
	    const struct vm_journal_table *journal, struct error *ret_error)
{
	struct vm_config vm;
	int r;

	if (of->fault[0])
		return error_set(ret_error, -EINVAL, "%s", of->fault);
	vms_describe(config, of, &vm);
	/* fleet_add_vm() sets a text only with -EINVAL; this one is for -ENOMEM */
	(void)error_set(ret_error, 0, "%s", strerror(ENOMEM));
	r = fleet_add_vm(fleet, &vm, journal, clock_mono_ns(), ret_error);
	if (r < 0)
		return r;
	take_addresses(fleet, of);
	if (of->witness_paths == GW_WITNESS_BOTH)
		vms_take_client_path(config, fleet, of);
	return 0;
}

size_t vms_note_lost(const struct gw_config *config, struct fleet *fleet,
		     const struct vm_journal_table *journal)
{
	size_t n = 0;

	for (size_t i = 0; i < journal->n; i++) {
		const struct vm_journal_entry *entry = &journal->list[i];
		struct error why;

		if ((entry->state == VM_UNPROTECTED && !entry->is_wanted) ||
		    fleet_find_vm(fleet, entry->vm) || fleet_find_fault(fleet, entry->vm))
			continue;
		(void)error_set(
			&why, 0,
			"its file %s/%s.ini is gone, but by the journal it is %s in term %" PRIu64
			" on %s%s; without leases %s stops a protected guest: put the file back, "
			"then `systemctl reload holdfast-gateway`; to remove the VM, after that "
			"`holdfastctl unprotect %s`, delete its file, restart the gateway",
			config->vm_dir, entry->vm, vm_state_name(entry->state), entry->term,
			entry->owner, entry->is_wanted ? ", to be protected" : "", entry->owner,
			entry->vm);
		log_error("vm=%s is not looked after: %s", entry->vm, why.text);
		fleet_add_fault(fleet, entry->vm, why.text);
		n++;
	}
	return n;
}

int vms_open(const struct gw_config *config, struct fleet *fleet, struct incarnating *incarnating,
	     struct gw_vm_config *vms, struct probes **ret_probes)
{
	struct error error;
	struct error why;
	size_t n, n_good = 0;
	int r = gw_config_load_vms(config, vms, FLEET_VMS_MAX, &n, &error);

	if (r < 0) {
		log_error("%s", error.text);
		return r;
	}
	for (size_t i = 0; i < n; i++) {
		r = vms_add(config, fleet, &vms[i], vm_journal_get_table(fleet->config.journal),
			    &why);
		if (r == 0) {
			incarnating_mute(incarnating, fleet->vms[n_good], clock_mono_ns());
			vms_check_fence(fleet, &vms[i]);
			vms[n_good++] = vms[i]; /* keep @vms in the order of the fleet's VMs */
			continue;
		}
		/* -EINVAL is about this VM only, so go on with the others */
		log_error("vm=%s is not looked after: %s", vms[i].name, why.text);
		if (r != -EINVAL)
			return r;
		fleet_add_fault(fleet, vms[i].name, why.text);
	}
	(void)vms_note_lost(config, fleet, vm_journal_get_table(fleet->config.journal));
	if (n == 0)
		log_warn("%s holds no NAME.ini: there is no VM to look after", config->vm_dir);
	r = probing_open(config, vms, n_good, fleet, ret_probes);
	if (r < 0)
		log_error("cannot make the probers: %s", strerror(-r));
	return r;
}
