/* gate.h - one command stops the guest, saves its devices and lets it run again; a full pipe holds QEMU
 * in between for as long as we look at the guest's memory.
 *
 * Why: `stop`, the save and `cont` as three commands cost a guest's pause three wake-ups of QEMU's
 * main thread and the reading of the save's 88 bytes (qmp.h). But `xen-save-devices-state` of a running
 * guest stops it, saves, and lets it run, all by itself. Its file is a pipe of ours of exactly the size
 * of QEMU's buffer, filled by us before, so QEMU sleeps in its first write, the guest stopped, until we
 * read. One byte begins the pause, one read ends it. And the guest runs on by itself if we die in
 * between: a pipe without a reader is an error of the save, after which QEMU lets the guest run.
 *
 *	agent  arm            }         scan, copy        read    scan      read         collect
 *	pipe   [filler 32K]   [filler ------------------] [piece 1       ] [last piece]
 *	QEMU   runs           stop, save 32K, write sleeps│ save, write sleeps│ close, guest runs
 *
 * Where is the last device saved? Whoever scans memory after that and before the guest runs has seen
 * every write; so this must be known, not guessed. Of QEMU's main thread /proc/PID/syscall says, only
 * while it sleeps, in which system call. Each write is let through alone and whole: while it is held, all
 * earlier bytes are in the pipe (FIONREAD) and none of its own, so it starts at a known byte of the
 * blob; its size is read from its iovec. A write shorter than QEMU's buffer, or that ends where the
 * last blob ended, looks like the last one, and is where the caller scans. Whether it was is known for
 * certain once the blob is whole: it ended where that write ended. If it did not, gate_finish() says so,
 * and the caller takes everything anew.
 *
 * The first use is a trial with nothing at stake, in gate_open(): a QEMU or a host where it does not work
 * that way (no right to open the pipe, another buffer size) is found then.
 *
 * Where: devstate.h has one. Threads: as the qmp client it was opened with. While QEMU is held nothing of
 * it runs but its monitor's reader: a hung agent hangs it, a killed one does not.
 */
#ifndef VMM_GATE_H
#define VMM_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* Size of the pipe, and of the buffer that QEMU collects a blob in (migration/qemu-file.c, all versions). */
#define GATE_PIECE_BYTES 32768u

struct gate;

/* Make the pipe, hand it to QEMU (process @pid, main thread of the same number) and try it: one pause of
 * about 1.5 ms. @q is borrowed until gate_close(). Blobs over @max_bytes are refused.
 * 0; -ENOTSUP: not with this QEMU or on this host, the text says why; -ENOMEM; errors of qmp_wait(). */
int gate_open(struct qmp *q, pid_t pid, size_t max_bytes, struct gate **ret_gate,
	      struct vmm_error *ret_error) __attribute__((warn_unused_result));

/* From now on the calling thread's end lets QEMU go at once (letgo.h), until gate_abandon() or gate_close(). Does nothing
 * the second time, or without letgo_init(). To be called by the thread that seals, outside of a pause. */
void gate_guard(struct gate *g);

/* Let QEMU go, also out of a write, and free. Accepts NULL, returns NULL. */
struct gate *gate_close(struct gate *g);

/* Get ready while the guest runs: fill the pipe, arm the command. Does nothing if it is done already.
 * 0; -EIO: the pipe is not as we left it; errors of qmp_arm(). */
int gate_arm(struct gate *g) __attribute__((warn_unused_result));

/* Begin the pause: returns when the guest is stopped; QEMU goes on to drain its disks and to save.
 * 0; -EREMOTEIO: QEMU refused (qmp_error()), the guest runs; -ETIMEDOUT; errors of qmp_send(). */
int gate_stop(struct gate *g, uint64_t timeout_ns) __attribute__((warn_unused_result));

/* Let through what QEMU has ready, but not what looks like the end; never sleeps. To be called now and
 * then while the caller works. 1: QEMU is held in what looks like its last write; 0: it is still saving;
 * -EFBIG, -EPROTO, -ESRCH, other -errno: call gate_abandon(). */
int gate_advance(struct gate *g) __attribute__((warn_unused_result));

/* gate_advance() until it says 1. 0: now everything that QEMU wrote to guest memory is there: scan.
 * -ECANCELED: it was let go before it could be held at the end; -ETIMEDOUT; errors of gate_advance(). */
int gate_wait_end(struct gate *g, uint64_t timeout_ns) __attribute__((warn_unused_result));

/* Let the last write through: the guest runs. Waits for the answer and gives the blob, borrowed until the
 * next gate_stop().
 * 0; 1: it was not the last write, QEMU is held in another one: scan again and call this again;
 * -ECANCELED: it was not the last write, and the guest runs; -EREMOTEIO, -ETIMEDOUT and others as above. */
int gate_finish(struct gate *g, uint64_t timeout_ns, const uint8_t **ret_blob, size_t *ret_size)
	__attribute__((warn_unused_result));

/* After an error between gate_stop() and gate_finish(): let everything through until QEMU has answered, or
 * take the pipe away from it after @timeout_ns; in both cases the guest runs as soon as QEMU can. */
void gate_abandon(struct gate *g, uint64_t timeout_ns);

#endif
