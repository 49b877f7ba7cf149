/* eal.h - starts DPDK's environment (EAL) once, without letting it take over our process.
 *
 * EAL expects to control the command line, the signals, the CPU affinity and the log of its
 * process. This file makes EAL's arguments, and sends EAL's log lines to our log. Our signals and
 * affinity stay unchanged.
 * Only port_dpdk.c calls it.
 * Threads: call it on the thread that opens ports. Blocks.
 */
#ifndef PORT_EAL_H
#define PORT_EAL_H

#include <stddef.h>

#include "base/error.h"
#include "port/port.h"

/* Start EAL with @config, unless EAL is started already. @pci is the address of the PCI card that
 * EAL looks for; NULL: EAL does not look at PCI. The caller's signal mask and CPU affinity stay as
 * they are. EAL's threads have all signals blocked. Returns 0. On failure, sets *ret_error to a
 * sentence for the operator and returns
 *      -EINVAL    the cores are invalid
 *      -ENOMEM    not enough memory or hugepages
 *      -EALREADY  @pci is given, but EAL was started without PCI
 *      another -errno from DPDK */
int eal_start(const struct port_config *config, const char *pci, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
