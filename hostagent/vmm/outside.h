/* outside.h - finds the parts of a guest's machine whose state QEMU cannot save, or does not know.
 *
 * Why: QEMU names some of these parts itself, as reasons that block a migration (inspect.c asks for
 * them). It does not name these:
 *  - a device that somebody else serves. The kernel or another process then keeps its state, or
 *    writes to guest memory where the writes cannot be tracked.
 *  - a device that blocks a migration only at times. For example, virtio-9p (a directory of the
 *    host) blocks it only while the guest has mounted the directory.
 *  - a disk that other guests write to. Our copy would lack their writes.
 *
 * Where: inspect.c, for the primary's QEMU and the standby's. Threads: any, each with its own qmp
 * client.
 */
#ifndef VMM_OUTSIDE_H
#define VMM_OUTSIDE_H

#include <jansson.h>

#include "base/error.h"
#include "vmm/inspect.h"
#include "vmm/qmp.h"

/* Returns why a guest with a device of type @type, such as "vfio-pci", cannot be protected, and
 * what to do (static text). NULL: the type is not an obstacle. Pure. */
const char *vmm_outside_device(const char *type);

/* Add an obstacle for each TPM in the answer to `query-tpm` that is a TPM of the host. Pure.
 * Returns 0, or -EPROTO if the answer is not understood. */
int vmm_outside_judge_tpms(const json_t *query_tpm, struct vmm_obstacles *obstacles)
	__attribute__((warn_unused_result));

/* Ask QEMU for its TPMs, and for disks that other guests can write to. Adds an obstacle for each
 * that cannot be protected.
 * Returns 0;
 * -EPROTO: an answer is not understood;
 * or an error of qmp_execute().
 * On error *ret_error has the text. */
int vmm_outside_ask(struct qmp *q, struct vmm_obstacles *obstacles, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
