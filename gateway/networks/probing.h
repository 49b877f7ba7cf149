/* probing.h - makes the prober (probe/) from the gateway's configuration and puts it on the ports.
 *
 * Where: vms.c makes the prober, networks.c puts it on the ports, reloading.c changes it. Threads:
 * the gateway's loop. */
#ifndef NETWORKS_PROBING_H
#define NETWORKS_PROBING_H

#include "config/config.h"
#include "port/port.h"
#include "probe/probes.h"
#include "fleet/fleet.h"

/* Make a prober for each VM of @fleet whose configuration has addresses to probe, and store it in
 * the VM's `prober`. @vms are the @n configurations from which the VMs were made. The set of all
 * probers is stored in fleet->probes and *ret_probes; the caller must free this set after @fleet.
 * Returns 0. Errors: -ENOMEM; -errno of getrandom(). */
int probing_open(const struct gw_config *config, const struct gw_vm_config *vms, size_t n,
		 struct fleet *fleet, struct probes **ret_probes)
	__attribute__((warn_unused_result));

/* Let the prober of @vm probe the addresses in the configuration @of from now on. If @vm has no
 * prober, make one. Returns 0, or an error of probes_add(). On error nothing has changed. */
int probing_change(const struct gw_config *config, const struct gw_vm_config *of,
		   struct probes *probes, struct fleet_vm *vm, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Let @probes send and receive on @port in the network @net. @port must exist as long as @probes
 * uses it. @ip_be32 is our own address in that network. */
void probing_use_port(struct probes *probes, enum prober_net net, struct port *port,
		      uint32_t ip_be32);

#endif
