/* gate.h - pauses the guest with a single command, which stops the guest, saves its devices and
 * resumes it. In between, a full pipe holds QEMU while we read the guest's memory.
 *
 * Why: with three separate commands (`stop`, the save, `cont`) QEMU's main thread must wake up
 * three times during the pause. It also reads each command slowly, byte by byte (qmp.h). The single
 * command `xen-save-devices-state` can do all of this: it stops a running guest, saves its devices,
 * and resumes the guest.
 *
 * How: QEMU saves into a pipe of ours, which is as large as QEMU's write buffer and already full.
 * So QEMU stops the guest and then sleeps in its first write until we read from the pipe. Before
 * the pause we send the command without its closing brace. The brace begins the pause, and our read
 * from the pipe ends it. If we die during the pause, the pipe has no reader any more: the save
 * fails, and QEMU resumes the guest.
 *
 *	agent  arm            brace     scan, copy        read    scan      read         collect
 *	pipe   [filler 32K]   [filler ------------------] [piece 1       ] [last piece]
 *	QEMU   runs           stop, save 32K, write sleeps│ save, write sleeps│ close, guest runs
 *
 * Saving a device can write to guest memory. So a scan sees all writes only if it is made after the
 * last device was saved, and before the guest runs. We recognise this moment as follows:
 *  - While QEMU's main thread sleeps, /proc/PID/syscall shows in which system call it sleeps.
 *  - We let QEMU's writes through one at a time, each as a whole. A write in which QEMU sleeps is
 *    called held. During a held write, the pipe contains exactly the bytes of the previous write
 *    (at first: the filler). FIONREAD gives their number. So we know at which byte of the blob
 *    the held write starts. The iovec of the write gives its size.
 *  - A write looks like the last one if it is shorter than QEMU's buffer, or if it ends at the size
 *    of the previous blob. When such a write is held, the caller scans.
 *  - After the scan, the write is let through. If QEMU then answers, and the blob ends with this
 *    write, the write was the last one. If not, gate_finish() does not return 0, and the caller
 *    scans and copies again.
 *
 * gate_open() tries the gate once, before anything depends on it. If the gate does not work with
 * this QEMU or on this host, gate_open() fails. Possible reasons: QEMU has no right to open the
 * pipe, or its buffer has a different size.
 *
 * Where: devstate.c uses it; a struct devstate owns the gate. Threads: only the thread that uses
 * the qmp client. While QEMU is held, only its monitor thread runs. If the agent hangs, QEMU hangs
 * too. If the agent is killed, QEMU continues.
 */
#ifndef VMM_GATE_H
#define VMM_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* Size of the pipe, and of QEMU's buffer for a blob (migration/qemu-file.c, all versions). */
#define GATE_PIECE_BYTES 32768u

/* The label (`opaque` of QMP's add-fd) that QEMU stores with our descriptors. It distinguishes them
 * from other programs' descriptors. */
#define GATE_OPAQUE "holdfast-gate"

struct gate;

/* Make the pipe, pass it to QEMU and try it. The try pauses the guest for about 1.5 ms. @pid:
 * QEMU's process, whose main thread has the same number. @q is borrowed until gate_close(). Blobs
 * over @max_bytes are refused.
 * Returns 0;
 * -ENOTSUP: the gate does not work with this QEMU or on this host; *ret_error says why;
 * -ENOMEM; or an error of qmp_wait(). */
int gate_open(struct qmp *q, pid_t pid, size_t max_bytes, struct gate **ret_gate,
	      struct error *ret_error) __attribute__((warn_unused_result));

/* Arrange that QEMU is released at once when the calling thread ends (letgo.h). This works until
 * gate_close(), or until gate_abandon() has to close the pipe. Call this from the thread that
 * seals, outside of a pause. Does nothing if gate_guard() was called before, or if letgo_init() was
 * not called. */
void gate_guard(struct gate *g);

/* Release QEMU, even if it sleeps in a write, and free @g. Accepts NULL, returns NULL. */
struct gate *gate_close(struct gate *g);

/* For devstate_leave(): free @g like gate_close(), but do not ask QEMU to close its copy of the
 * pipe's writing end. */
struct gate *gate_leave(struct gate *g);

/* Returns the id of the fdset in which QEMU has its copy of the pipe's writing end. */
int64_t gate_fdset_id(const struct gate *g);

/* Prepare the next pause while the guest runs: fill the pipe with filler, and arm the save command
 * (qmp_arm()). Does nothing if both are done already. Returns 0; -EIO if the pipe is not as we left
 * it; or an error of qmp_arm(). */
int gate_arm(struct gate *g) __attribute__((warn_unused_result));

/* Begin the pause. Returns when the guest is stopped. QEMU then completes pending disk I/O and
 * saves the devices.
 * Returns 0;
 * -EREMOTEIO: QEMU refused (see qmp_error()), and the guest runs;
 * -ETIMEDOUT: QEMU did not stop the guest in time;
 * or an error of qmp_send(). */
int gate_stop(struct gate *g, uint64_t timeout_ns) __attribute__((warn_unused_result));

/* Let QEMU's held write through, unless it looks like the last one. Never sleeps. Call this now and
 * then while you copy pages.
 * Returns 1 if QEMU is held in a write that looks like the last one; 0 if QEMU is still saving.
 * Returns -EFBIG, -EPROTO, -ESRCH or another -errno on error; then call gate_abandon(). */
int gate_advance(struct gate *g) __attribute__((warn_unused_result));

/* Call gate_advance() until it returns 1.
 * Returns 0 if QEMU is held in a write that looks like the last one: now scan;
 * -ECANCELED: the last write did not hold QEMU, and the guest runs already;
 * -ETIMEDOUT;
 * or an error of gate_advance(). */
int gate_wait_end(struct gate *g, uint64_t timeout_ns) __attribute__((warn_unused_result));

/* Let the last write through, so that the guest runs. Waits for the answer and returns the blob,
 * borrowed until the next gate_stop().
 * Returns 0 if the write was the last one and the guest runs;
 * 1: QEMU is now held in a further write; scan again, then call gate_finish() again;
 * -ECANCELED: further writes did not hold QEMU, and the guest runs already;
 * or an error of gate_stop() or gate_advance(), such as -EREMOTEIO or -ETIMEDOUT. */
int gate_finish(struct gate *g, uint64_t timeout_ns, const uint8_t **ret_blob, size_t *ret_size)
	__attribute__((warn_unused_result));

/* Call this after an error between gate_stop() and gate_finish(). Lets all writes through until
 * QEMU has answered. If this takes longer than @timeout_ns, closes the pipe, so that QEMU's write
 * fails. In both cases QEMU resumes the guest as soon as it can. */
void gate_abandon(struct gate *g, uint64_t timeout_ns);

#endif
