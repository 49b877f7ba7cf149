/* describe.h - asks QEMU's monitor which parts its machine has.
 *
 * Why: before the standby says that it can take over the guest, it compares its list of parts
 * (machine.h) with the primary's. A list has:
 * - the machine's properties and the accelerator;
 * - the CPUs with their features;
 * - the ROMs by name and size;
 * - every device with its place and properties;
 * - every writable disk (disks.h) with its size.
 *
 * If a running machine and one that waits for its state (-S -incoming defer) are the same, their
 * lists are equal.
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

/* List the machine in *ret_machine, sorted. The caller frees it with vmm_machine_done().
 * Returns 0;
 * -EPROTO: we do not understand an answer of QEMU;
 * -E2BIG: there are more devices, properties or disks than machine.h and disks.h allow;
 * -EEXIST: two disks have the same name;
 * -ENOMEM; or an error of qmp_wait().
 * On error *ret_error has the text for the operator. */
int vmm_describe(struct qmp *q, struct vmm_machine *ret_machine, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Does what vmm_describe() does, but lists only the parts that can change while the guest runs:
 * devices and their ROMs, and writable disks. Sends three monitor commands. */
int vmm_describe_devices(struct qmp *q, struct vmm_machine *ret_machine, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
