/* gate.h - one command stops the guest, saves its devices and resumes it; in between a full pipe
 * holds QEMU while we read the guest's memory.
 *
 * Why: as three commands, `stop`, the save and `cont` lengthen the pause by three wake-ups of
 * QEMU's main thread and by the reading of the save's 88 bytes (qmp.h). But given a running guest,
 * `xen-save-devices-state` by itself stops it, saves, and resumes it. We give it a pipe as its
 * file, exactly as large as QEMU's buffer and filled beforehand. So QEMU sleeps in its first write,
 * with the guest stopped, until we read. One byte begins the pause, one read ends it. If we die in
 * between, the guest resumes by itself: the pipe has no reader, so the save fails, and then QEMU
 * resumes the guest.
 *
 *	agent  arm            }         scan, copy        read    scan      read         collect
 *	pipe   [filler 32K]   [filler ------------------] [piece 1       ] [last piece]
 *	QEMU   runs           stop, save 32K, write sleeps│ save, write sleeps│ close, guest runs
 *
 * When has QEMU saved the last device? A scan after that moment and before the guest runs sees
 * every write to memory, so we must know the moment for certain. While QEMU's main thread sleeps,
 * /proc/PID/syscall shows its system call. We let each write through alone and whole. While a write
 * is held, the pipe holds all earlier bytes (FIONREAD) and none of its own, so we know at which
 * byte of the blob it starts; its iovec gives its size. A write looks like the last one if it is
 * shorter than QEMU's buffer or ends where the previous blob ended; then the caller scans. Once the
 * blob is whole we know whether it was the last one: the blob ends where that write ended. If not,
 * gate_finish() says so, and the caller scans and copies again.
 *
 * gate_open() tries the gate once with nothing at stake. This finds a QEMU or a host where it does
 * not work (no right to open the pipe, another buffer size).
 *
 * Where: devstate.h owns one. Threads: as the qmp client it was opened with. While QEMU is held,
 * only its monitor's reader thread runs: if the agent hangs, QEMU hangs; if the agent is killed, it
 * does not.
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

struct gate;

/* Make the pipe, hand it to QEMU (process @pid, main thread of the same number) and try it: one
 * pause of about 1.5 ms. @q is borrowed until gate_close(). Blobs over @max_bytes are refused. 0;
 * -ENOTSUP: not with this QEMU or on this host, the text says why; -ENOMEM; errors of
 * qmp_wait(). */
int gate_open(struct qmp *q, pid_t pid, size_t max_bytes, struct gate **ret_gate,
	      struct error *ret_error) __attribute__((warn_unused_result));

/* From now on, if the calling thread ends, QEMU is let go at once (letgo.h), until gate_abandon()
 * or gate_close(). A second call does nothing, nor does one without letgo_init(). Call it from the
 * thread that seals, outside of a pause. */
void gate_guard(struct gate *g);

/* Let QEMU go, even if it sleeps in a write, and free. Accepts NULL, returns NULL. */
struct gate *gate_close(struct gate *g);

/* Get ready while the guest runs: fill the pipe, arm the command. Does nothing if both are done
 * already. 0; -EIO: the pipe is not as we left it; errors of qmp_arm(). */
int gate_arm(struct gate *g) __attribute__((warn_unused_result));

/* Begin the pause. Returns when the guest is stopped; QEMU then drains its disks and saves.
 * 0; -EREMOTEIO: QEMU refused (qmp_error()), the guest runs; -ETIMEDOUT; errors of qmp_send(). */
int gate_stop(struct gate *g, uint64_t timeout_ns) __attribute__((warn_unused_result));

/* Let QEMU's held write through, unless it looks like the last one. Never sleeps. Call it now and
 * then during other work. 1: QEMU is held in what looks like its last write; 0: it is still saving;
 * -EFBIG, -EPROTO, -ESRCH, other -errno: call gate_abandon(). */
int gate_advance(struct gate *g) __attribute__((warn_unused_result));

/* Call gate_advance() until it returns 1. 0: QEMU has written everything to guest memory: scan now.
 * -ECANCELED: QEMU passed its last write without being held; -ETIMEDOUT; errors of
 * gate_advance(). */
int gate_wait_end(struct gate *g, uint64_t timeout_ns) __attribute__((warn_unused_result));

/* Let the last write through, so that the guest runs. Waits for the answer and returns the blob,
 * borrowed until the next gate_stop().
 * 0; 1: it was not the last write, QEMU is held in another one: scan again and call this again;
 * -ECANCELED: it was not the last write, and the guest runs; -EREMOTEIO, -ETIMEDOUT and others as
 * above. */
int gate_finish(struct gate *g, uint64_t timeout_ns, const uint8_t **ret_blob, size_t *ret_size)
	__attribute__((warn_unused_result));

/* After an error between gate_stop() and gate_finish(): let everything through until QEMU has
 * answered, or take the pipe away from it after @timeout_ns; in both cases the guest runs as soon
 * as QEMU can. */
void gate_abandon(struct gate *g, uint64_t timeout_ns);

#endif
