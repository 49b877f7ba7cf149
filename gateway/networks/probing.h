/* probing.h - makes the prober (probe/) from the gateway's configuration and puts it on the ports.
 *
 * Where: main.c makes the prober, networks.c puts it on the ports. Threads: start-up only.
 */
#ifndef NETWORKS_PROBING_H
#define NETWORKS_PROBING_H

#include "config/config.h"
#include "port/port.h"
#include "probe/probes.h"
#include "fleet/fleet.h"

/* Make probers, in fleet->vms[]->prober, for the VMs of @fleet that have addresses in @vms (the @n
 * configurations they were made from). fleet->probes is *ret_probes; the caller frees it after @gw.
 * 0;
 * -ENOMEM; -errno of getrandom(). */
int probing_open(const struct gw_config *config, const struct gw_vm_config *vms, size_t n,
		 struct fleet *fleet, struct probes **ret_probes)
	__attribute__((warn_unused_result));

/* Let @probes use @port, which must live as long, in @net. Our own address there is @ip_be32. */
void probing_use_port(struct probes *probes, enum prober_net net, struct port *port,
		      uint32_t ip_be32);

#endif
