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
 * A running machine and a machine that waits for its state (-S -incoming defer) have equal lists if
 * they have the same parts.
 *
 * Where: epoch/engine_machine.c (the running guest), standby/qemu.c (the warm one). Threads: any,
 * each with its own qmp client. Blocks: about a hundred monitor commands, 0.05 to 0.3 s in all.
 */
#ifndef VMM_DESCRIBE_H
#define VMM_DESCRIBE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/machine.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* The parts of a QEMU process. An all-zero struct is empty. */
struct vmm_description {
	pid_t pid;		    /* the process at the monitor */
	struct vmm_machine cpus;    /* the vCPUs that are plugged in, and their places */
	struct vmm_machine machine; /* all parts, sorted */
	struct vmm_machine devices; /* those parts of `machine` that can change while the guest
				     * runs, without CPUs: see vmm_describe_devices(). Sorted */
};

void vmm_description_done(struct vmm_description *d); /* free it; *d is empty afterwards */

/* Copy @from to *ret. The caller frees it with vmm_description_done(). Returns 0, -E2BIG or
 * -ENOMEM. */
int vmm_description_copy(const struct vmm_description *from, struct vmm_description *ret)
	__attribute__((warn_unused_result));

/* Describe the machine. The caller frees *ret with vmm_description_done().
 * Returns 0;
 * -EPROTO: we do not understand an answer of QEMU;
 * -E2BIG: there are more devices, properties or disks than machine.h and disks.h allow;
 * -EEXIST: two disks have the same name;
 * -ENOMEM; or an error of qmp_wait().
 * On error *ret_error has the text for the operator. */
int vmm_describe(struct qmp *q, struct vmm_description *ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Does what vmm_describe() does, but faster if nothing has changed. If @known describes the same
 * process, and nothing was plugged or unplugged since, sets *ret to a copy of @known, because
 * nothing else in a process's machine ever changes. This takes four commands instead of a hundred.
 * @known may be empty or NULL. */
int vmm_describe_again(struct qmp *q, const struct vmm_description *known,
		       struct vmm_description *ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* List only the parts that can change while the guest runs: devices and their ROMs, and writable
 * disks. Sends three monitor commands. The caller frees *ret_machine with vmm_machine_done().
 * Returns what vmm_describe() returns. */
int vmm_describe_devices(struct qmp *q, struct vmm_machine *ret_machine, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
