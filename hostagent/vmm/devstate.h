/* devstate.h - saves the state of all devices and vCPUs of a stopped guest as one blob.
 *
 * Why: a checkpoint needs this state in addition to the memory. QEMU's `xen-save-devices-state`
 * writes what a migration sends after the RAM. We pass QEMU a memfd once (`add-fd`), and QEMU
 * writes to it as /dev/fdset/N. So a sandboxed QEMU needs no path to write to, and a crash leaves
 * nothing to clean up.
 *
 * The memfd works with every QEMU. A gate (gate.h) makes the pause shorter, but does not work with
 * every QEMU. If there is a gate, struct devstate owns it.
 *
 * Where: the epoch engine. Threads: only the thread that uses the qmp client.
 *
 *	stop ─ devstate_start ─ [scan and copy pages meanwhile] ─ devstate_finish ─ scan again ─ cont
 */
#ifndef VMM_DEVSTATE_H
#define VMM_DEVSTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "vmm/gate.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

#define DEVSTATE_BYTES_MAX_DEFAULT ((size_t)64 << 20)

struct devstate;

/* Make the memfd and pass it to QEMU. @q is borrowed until devstate_close(). Blobs over @max_bytes
 * are refused. Returns 0; -ENOMEM; other -errno; or an error of qmp_execute(). On error *ret_error
 * has the text. */
int devstate_open(struct qmp *q, size_t max_bytes, struct devstate **ret_state,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Try to make a gate (gate.h) to the QEMU with process @pid. The guest is paused briefly. If the
 * gate does not work, devstate_gate() stays NULL, and the log says why. */
void devstate_open_gate(struct devstate *d, pid_t pid);

/* Returns the gate, borrowed until devstate_close() or devstate_drop_gate(). Returns NULL if there
 * is none. */
struct gate *devstate_gate(struct devstate *d);

/* Close a gate that has failed; devstate_open_gate() can make another. */
void devstate_drop_gate(struct devstate *d);

/* Tell QEMU to close its copy of the memfd (if the monitor still works), and free @d. Accepts NULL,
 * returns NULL. */
struct devstate *devstate_close(struct devstate *d);

/* Free @d like devstate_close(), but send QEMU no command: each command takes some ms, and the
 * guest stands still meanwhile. QEMU keeps its copies of the memfd and of the gate's pipe until the
 * agent's next program calls devstate_sweep(). */
struct devstate *devstate_leave(struct devstate *d);

/* Make QEMU close the descriptors of ours that earlier agents have left in QEMU. Call this only
 * while no other agent uses this QEMU. Returns 0 or an error of qmp_execute(). */
int devstate_sweep(struct devstate *d) __attribute__((warn_unused_result));

/* Returns true if @fdset, an element of QEMU's answer to `query-fdsets`, has descriptors of ours
 * and no others. If so, sets *ret_id to the set's id. Pure. */
bool devstate_is_ours(const json_t *fdset, int64_t *ret_id);

/* Send the save command, and arm @next after it (QMP_CONT, or NULL: see qmp_arm()). The guest
 * should be stopped. If it runs, QEMU stops it during the save. Does not wait. The blob of the last
 * devstate_finish() stays valid. Returns what qmp_send() returns. */
int devstate_start(struct devstate *d, const char *next) __attribute__((warn_unused_result));

/* Wait for QEMU's answer and return the blob, borrowed until the next devstate_finish(). Returns 0;
 * -EFBIG: the blob is larger than @max_bytes of devstate_open();
 * -ENODATA: QEMU wrote nothing, or the file is shorter than what QEMU wrote;
 * -ENOMEM; or an error of qmp_wait() (after -EREMOTEIO, qmp_error() says why). */
int devstate_finish(struct devstate *d, uint64_t timeout_ns, const uint8_t **ret_blob,
		    size_t *ret_size) __attribute__((warn_unused_result));

#endif
