/* vms.h - adds the VMs of vm_dir to the fleet, with their state machines, addresses and probers.
 * Where: main.c calls it at start. Threads: start-up only.
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

#endif
