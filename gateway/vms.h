/* vms.h - adds the VMs of vm_dir to the fleet, with their state machines, addresses and probers.
 * Where: main.c calls vms_open() at start; reloading.c and replacing_next.c call the other
 * functions. Threads: the gateway's loop.
 */
#ifndef GATEWAY_VMS_H
#define GATEWAY_VMS_H

#include "config/config.h"
#include "incarnating.h"
#include "fleet/fleet.h"

/* Read vm_dir into @vms (FLEET_VMS_MAX elements, in the order of @fleet's VMs) and add each VM to
 * @fleet. A VM that cannot be protected is noted as a fault, and is no error. Returns 0 and sets
 * *ret_probes, which belongs to the caller. On error, logs the error and returns -errno. */
int vms_open(const struct gw_config *config, struct fleet *fleet, struct incarnating *incarnating,
	     struct gw_vm_config *vms, struct probes **ret_probes)
	__attribute__((warn_unused_result));

/* Store in *ret_vm the configuration for the VM's state machine, from the VM's file @of. */
void vms_describe(const struct gw_config *config, const struct gw_vm_config *of,
		  struct vm_config *ret_vm);

/* Add the VM of the file @of to @fleet, with its record in @journal, but without a prober. Returns
 * 0. On error, sets *ret_error and returns -EINVAL if the VM cannot be protected, or another error
 * of fleet_add_vm(). */
int vms_add(const struct gw_config *config, struct fleet *fleet, const struct gw_vm_config *of,
	    const struct vm_journal_table *journal, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Find the VMs whose files are gone although somebody must look after them: by @journal they are
 * protected or must be protected again, but @fleet has them neither as VMs nor as faults. Adds a
 * fault to @fleet for each of them, and logs it. Returns their number. (An operator who removes a
 * VM unprotects it first, so there is no fault for that VM.) */
size_t vms_note_lost(const struct gw_config *config, struct fleet *fleet,
		     const struct vm_journal_table *journal);

/* Check whether the fence command in the file @of can be run. Note the result in the VM of @fleet
 * (fence_fault); if it cannot be run, also log this. */
void vms_check_fence(struct fleet *fleet, const struct gw_vm_config *of);

/* Give operators an event for each VM with a fault, and for each fence command that cannot be run.
 * Call this at the start. */
void vms_tell(struct fleet *fleet, uint64_t now_ns);

/* Accept witness datagrams of the VM of the file @of through the client network too. */
void vms_take_client_path(const struct gw_config *config, struct fleet *fleet,
			  const struct gw_vm_config *of);

/* Store in @fleet's hosts the addresses on the backup network that the VMs' files give for them
 * (fleet_host.configured). @vms are the VMs' files, in the order of fleet->vms. A host for which no
 * file gives an address has none afterwards. */
void vms_take_addresses(struct fleet *fleet, const struct gw_vm_config *vms);

#endif
