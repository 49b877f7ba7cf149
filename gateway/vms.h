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
 * @fleet. Returns 0 and sets *ret_probes, which belongs to the caller. On error logs the error and
 * returns -errno. */
int vms_open(const struct gw_config *config, struct fleet *fleet, struct incarnating *incarnating,
	     struct gw_vm_config *vms, struct probes **ret_probes)
	__attribute__((warn_unused_result));

/* Store in *ret_vm the configuration for the VM's state machine, from the VM's file @of. */
void vms_describe(const struct gw_config *config, const struct gw_vm_config *of,
		  struct vm_config *ret_vm);

/* Add one VM to @fleet, with its record in @journal, but without a prober. Returns 0, -ENOMEM, or
 * -EINVAL if the VM cannot be protected; *ret_error then says why. */
int vms_add(const struct gw_config *config, struct fleet *fleet, const struct gw_vm_config *of,
	    const struct vm_journal_table *journal, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Find each VM that, according to @journal, is protected or must be protected again, and that
 * @fleet has neither as a VM nor as a fault. The file of such a VM is gone. Adds a fault to @fleet
 * for each of these VMs, and logs it. Returns their number. An operator who removes a VM unprotects
 * it first, so that VM gets no fault. */
size_t vms_note_lost(const struct gw_config *config, struct fleet *fleet,
		     const struct vm_journal_table *journal);

/* Note in the VM of @fleet whether its fence command can be run, and log it if not. */
void vms_check_fence(struct fleet *fleet, const struct gw_vm_config *of);

/* Give operators an event for each VM with a fault, and for each fence command that cannot be run.
 * Call this at the start. */
void vms_tell(struct fleet *fleet, uint64_t now_ns);

/* Accept the VM's witness datagrams through the client network too. */
void vms_take_client_path(const struct gw_config *config, struct fleet *fleet,
			  const struct gw_vm_config *of);

/* Store in @fleet the addresses on the backup network from which hosts connect. @vms are the files
 * of its VMs, in the order of fleet->vms. If no file gives the address of a host, that host has no
 * address afterwards. */
void vms_take_addresses(struct fleet *fleet, const struct gw_vm_config *vms);

#endif
