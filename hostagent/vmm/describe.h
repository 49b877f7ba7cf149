/* describe.h - list what a QEMU's machine is made of, by its monitor.
 *
 * Why: the list (machine.h) is what two hosts compare before one says that it can take the guest over.
 * It has the machine's properties, the CPUs with their features, the accelerator, the ROMs by name and size,
 * and every device with its place and properties. It is the same for a machine that runs and for one that
 * waits for its state (-S -incoming defer).
 *
 * Where: epoch/engine_machine.c (the guest that runs), standby/qemu.c (the warm one).
 * Threads: any, with a client of their own. Blocks: about a hundred monitor commands, 0.05 to 0.3 s in all.
 */
#ifndef VMM_DESCRIBE_H
#define VMM_DESCRIBE_H

#include "vmm/machine.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* Fill *ret_machine, sorted; the caller's (vmm_machine_done()).
 * 0; -EPROTO: QEMU answered something we do not understand; -E2BIG: more devices or properties than machine.h
 * takes; -ENOMEM; errors of qmp_wait(). On error *ret_error has the text for the operator. */
int vmm_describe(struct qmp *q, struct vmm_machine *ret_machine, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));

/* The same, but only what may change while the guest runs: devices and their ROMs. Two commands. */
int vmm_describe_devices(struct qmp *q, struct vmm_machine *ret_machine, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));

#endif
