#include "config/settle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static void forget_vm(struct agent_vm_config *vm, const char *fault)
{
	char name[CONFIG_NAME_SIZE], file[sizeof(vm->file)];

	memcpy(name, vm->name, sizeof(name));
	memcpy(file, vm->file, sizeof(file));
	free(vm->command);
	*vm = (struct agent_vm_config){0};
	memcpy(vm->name, name, sizeof(name));
	memcpy(vm->file, file, sizeof(file));
	snprintf(vm->fault, sizeof(vm->fault), "%s", fault);
}

/* Make the VMs' names unique. If two files without a fault name the same VM, use neither, because
 * nobody knows which is right. If one of the two has a fault, the name belongs to the other. */
static void settle_names(struct agent_config *config)
{
	char fault[ERROR_TEXT_BYTES];

	for (uint32_t i = 0; i < config->n_vms; i++) {
		for (uint32_t k = 0; k < config->n_vms; k++) {
			struct agent_vm_config *vm = &config->vms[i], *other = &config->vms[k];

			if (i == k || !*vm->name || strcmp(vm->name, other->name) != 0)
				continue;
			if (!*vm->fault && !*other->fault) {
				snprintf(fault, sizeof(fault),
					 "%s: another file, %s, has a VM of the same name, %s",
					 other->file, vm->file, vm->name);
				forget_vm(vm, fault);
				forget_vm(other, fault);
			}
			(*vm->fault && (!*other->fault || i > k) ? vm : other)->name[0] = '\0';
		}
	}
}

/* Find something that only one guest can have, but that both VMs name. Returns what kind of thing
 * it is, and *ret_name is its name. Returns NULL if there is no such thing. */
static const char *find_shared(const struct agent_vm_config *a, const struct agent_vm_config *b,
			       const char **ret_name)
{
	const struct {
		const char *what, *of_a, *of_b;
	} rows[] = {
		{"qmp", a->qmp, b->qmp},
		{"state_dir", a->state_dir, b->state_dir},
		{"disk_log", a->disk_log, b->disk_log},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		*ret_name = rows[i].of_a;
		if (*rows[i].of_a && strcmp(rows[i].of_a, rows[i].of_b) == 0)
			return rows[i].what;
	}
	for (uint32_t i = 0; i < a->taps.n; i++) {
		*ret_name = a->taps.name[i];
		if (tap_names_has(&b->taps, *ret_name))
			return "tap";
	}
	for (uint32_t i = 0; i < a->n_disks; i++) {
		*ret_name = a->disk[i].path;
		for (uint32_t k = 0; k < b->n_disks; k++)
			if (strcmp(*ret_name, b->disk[k].path) == 0)
				return "disk";
	}
	return NULL;
}

/* If two VMs name the same tap, disk or other thing, use neither. */
static void settle_things(struct agent_config *config)
{
	char fault[ERROR_TEXT_BYTES];
	const char *name;

	for (uint32_t i = 0; i < config->n_vms; i++) {
		for (uint32_t k = i + 1; k < config->n_vms; k++) {
			struct agent_vm_config *vm = &config->vms[i], *other = &config->vms[k];
			const char *what = NULL;

			if (!*vm->fault && !*other->fault)
				what = find_shared(vm, other, &name);
			if (!what)
				continue;
			snprintf(fault, sizeof(fault),
				 "%.150s: another file, %.150s, names the same %s, %.150s: only "
				 "one guest can have it",
				 other->file, vm->file, what, name);
			forget_vm(vm, fault);
			forget_vm(other, fault);
		}
	}
}

void agent_config_settle(struct agent_config *config)
{
	settle_names(config);
	settle_things(config);
}
