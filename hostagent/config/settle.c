#include "config/settle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Make the VMs' names unique. If two usable files have the same VM name, use neither: nobody knows
 * which one is right. If one of the two files is unusable, only the other one has the name. */
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

void agent_config_settle(struct agent_config *config)
{
	settle_names(config);
}
