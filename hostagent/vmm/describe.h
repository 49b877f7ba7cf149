/* describe.h - asks a QEMU's monitor what its machine is made of.
 *
 * Why: two hosts compare their lists (machine.h) before one says that it can take over the guest.
 * The list has the machine's properties, the CPUs with their features, the accelerator, the ROMs by
 * name and size, and every device with its place and properties. A running machine and one that
 * waits for its state (-S -incoming defer) give the same list.
 *
 * Where: epoch/engine_machine.c (the running guest), standby/qemu.c (the warm one). Threads: any,
 * each with its own qmp client. Blocks: about a hundred monitor commands, 0.05 to 0.3 s in all.
 */
#ifndef VMM_DESCRIBE_H
#define VMM_DESCRIBE_H

#include "base/error.h"
#include "vmm/machine.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* Fill *ret_machine, sorted; the caller ends it with vmm_machine_done(). 0; -EPROTO: QEMU answered
 * something we do not understand; -E2BIG: more devices or properties than machine.h takes; -ENOMEM;
 * errors of qmp_wait(). On error *ret_error has the text for the operator. */
int vmm_describe(struct qmp *q, struct vmm_machine *ret_machine, struct error *ret_error)
	__attribute__((warn_unused_result));

/* The same, but only parts that may change while the guest runs: devices and their ROMs. Two
 * commands. */
int vmm_describe_devices(struct qmp *q, struct vmm_machine *ret_machine, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
