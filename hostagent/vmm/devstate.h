/* devstate.h - the state of all devices and vCPUs of a stopped guest, as one blob.
 *
 * Why: the second half of a checkpoint. QEMU's `xen-save-devices-state` writes what a migration sends
 * after the RAM. The file it writes to is a memfd of ours handed over once (`add-fd`; named to QEMU as
 * /dev/fdset/N), so there is no path that QEMU's user or confinement must be able to write and
 * nothing to clean up after a crash. The blob is read into a buffer that grows rarely.
 *
 * The shorter way is the gate (gate.h), which this owns where it can be had; the memfd works everywhere.
 *
 * Where: epoch engine. Threads: as the qmp client it was opened with.
 *
 *	stop ─ devstate_start ─ [scan and copy pages meanwhile] ─ devstate_finish ─ scan again ─ cont
 */
#ifndef VMM_DEVSTATE_H
#define VMM_DEVSTATE_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/gate.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

#define DEVSTATE_BYTES_MAX_DEFAULT ((size_t)64 << 20)

struct devstate;

/* Make the memfd and hand it to QEMU. @q is borrowed until devstate_close(). Blobs over @max_bytes
 * are refused. 0; errors of qmp_execute(); -ENOMEM; other -errno. *ret_error has the text. */
int devstate_open(struct qmp *q, size_t max_bytes, struct devstate **ret_state,
		  struct vmm_error *ret_error) __attribute__((warn_unused_result));

/* Try to make a gate (gate.h) to the QEMU with process @pid: one short pause. Where that does not work
 * devstate_gate() stays NULL, and a line in the log says why. */
void devstate_open_gate(struct devstate *d, pid_t pid);

/* The gate, borrowed until devstate_close() or devstate_drop_gate(); NULL: there is none. */
struct gate *devstate_gate(struct devstate *d);

/* It failed: no gate from here on, until devstate_open_gate() makes another. */
void devstate_drop_gate(struct devstate *d);

/* Tell QEMU to drop the memfd (if the monitor still lives) and free. Accepts NULL, returns NULL. */
struct devstate *devstate_close(struct devstate *d);

/* Send the command, and arm @next behind it (QMP_CONT, or NULL: see qmp_arm()); the guest must be
 * stopped, or QEMU will stop it for the time of the save. Does not wait. What the last
 * devstate_finish() gave stays valid. Errors as qmp_send(). */
int devstate_start(struct devstate *d, const char *next) __attribute__((warn_unused_result));

/* Wait for QEMU's answer to the command and give the blob, borrowed until the next devstate_finish().
 * 0; -EFBIG: over max_bytes; -ENODATA: QEMU wrote less than it said; -ENOMEM; errors of qmp_wait() (-EREMOTEIO: qmp_error() says why). */
int devstate_finish(struct devstate *d, uint64_t timeout_ns, const uint8_t **ret_blob,
		    size_t *ret_size) __attribute__((warn_unused_result));

#endif
