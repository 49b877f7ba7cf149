/* eal.h - starts DPDK's environment (EAL) as a guest in our process, once.
 *
 * Why apart: EAL tends to take over its process (command line, signals, affinity, log), and this
 * file undoes that. Called by port_dpdk.c only.
 * Threads: the thread that opens ports. Blocks.
 */
#ifndef PORT_EAL_H
#define PORT_EAL_H

#include <stddef.h>

#include "base/error.h"
#include "port/port.h"

/* Start EAL for @config if it is not running. @pci: PCI address to probe, or NULL: no PCI scan.
 * Leaves the caller's signal mask and affinity as they were; EAL's threads get all signals blocked.
 * 0; -EINVAL: cores; -ENOMEM: memory or hugepages; -EALREADY: running without PCI but @pci is
 * given; other -errno from DPDK. *ret_error as in port_open(). */
int eal_start(const struct port_config *config, const char *pci, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
