/* eal.h - starts DPDK's environment (EAL) once, without letting it take over our process.
 *
 * Why: EAL wants the command line, the signals, the CPU affinity and the log of its process. This
 * file gives it its own arguments and log, and keeps our signals and affinity unchanged. Called by
 * port_dpdk.c only.
 * Threads: call it on the thread that opens ports. Blocks.
 */
#ifndef PORT_EAL_H
#define PORT_EAL_H

#include <stddef.h>

#include "base/error.h"
#include "port/port.h"

/* Start EAL with @config unless it is running already. @pci is the PCI address to probe; with NULL
 * there is no PCI scan. The caller's signal mask and affinity stay as they are; EAL's threads have
 * all signals blocked. Returns 0; -EINVAL: the cores are invalid; -ENOMEM: not enough memory or
 * hugepages; -EALREADY: EAL was started without PCI, but @pci is given; other -errno from DPDK. On
 * failure *ret_error has a human-readable sentence. */
int eal_start(const struct port_config *config, const char *pci, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
