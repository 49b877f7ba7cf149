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

/* Start EAL with @config unless it is running already. @pci is the PCI address to probe; if it is
 * NULL, EAL does not scan PCI. The caller's signal mask and affinity stay as they are; EAL's
 * threads have all signals blocked. Returns 0; -EINVAL if the cores are invalid; -ENOMEM without
 * enough memory or hugepages; -EALREADY if @pci is given but EAL was started without PCI; or
 * another -errno from DPDK. On failure, sets *ret_error to a sentence for the operator. */
int eal_start(const struct port_config *config, const char *pci, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
