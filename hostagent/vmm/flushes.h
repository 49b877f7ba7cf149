/* flushes.h - makes QEMU ignore flushes of one disk's image, and obey them again.
 *
 * Why: each `stop` of QEMU flushes every image (fdatasync), so each pause of a guest that writes
 * waits for the disk. While each reply waits for the standby's commit, the standby keeps the
 * guest's writes safe, and the flushes of this host's image are not needed.
 *
 *	flushes_off()	a mark in QEMU, then cache.no-flush=on at each node of the image
 *	flushes_on()	cache.no-flush=off at each node, fdatasync of the image, the mark is removed
 *
 * What QEMU does (7.2.22: qemu-io-cmds.c, block.c, block/io.c):
 *
 *  - `blockdev-reopen` refuses nodes that -drive named by itself ("#block123"), and needs all
 *    options of a node again. `qemu-io NODE "reopen -o cache.no-flush=on"`, on the human monitor,
 *    keeps the other options and works for each node, while the guest runs and under a mirror.
 *  - A node without flushes notes each flush as done. So after cache.no-flush=off, QEMU believes
 *    that earlier writes are on the disk. It would not flush them when the guest asks. That is why
 *    flushes_on() itself brings the image to the disk.
 *
 * The mark is an object of QEMU (a throttle group that nobody uses). It lasts as long as QEMU's
 * setting does, also when the agent is killed, and tells our setting from that of an operator who
 * started QEMU with cache=unsafe.
 *
 * Where: the epoch engine, and vm/vm_hold.c for a guest without an engine. Threads: only the thread
 * that uses the qmp client.
 */
#ifndef VMM_FLUSHES_H
#define VMM_FLUSHES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/disks.h"
#include "vmm/qmp.h"

/* Make QEMU, process @pid, ignore flushes of @disk. QEMU flushes the image once more. Takes some ms
 * while the guest runs.
 * 0: *ret_image_fd is the open image, which the caller closes after flushes_on(). After an error
 * flushes are as they were: -ENOTSUP if QEMU ignores flushes anyway (cache=unsafe), if the image's
 * file cannot be found, or QEMU refuses; -EBUSY if the mark cannot be removed after an error, so
 * that flushes_on_again() must follow; other -errno of open() and qmp_execute(). *ret_error says
 * which. */
int flushes_off(struct qmp *q, pid_t pid, const struct vmm_disk *disk, int *ret_image_fd,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Make QEMU obey flushes of @disk again, and bring the image @image_fd to the disk; -1: it is not
 * known, so all of this host's files. Blocks until the disk has all of it. If this fails, output
 * may not leave: call again.
 * 0; -errno of qmp_execute() and fdatasync(); -EIO if QEMU refuses. *ret_error says which. */
int flushes_on(struct qmp *q, const struct vmm_disk *disk, int image_fd, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Do the same for each disk of the guest that has our mark, which an earlier agent left. Returns
 * the number of disks, 0 if there was none; or an error of vmm_disks_list() or flushes_on(), with
 * *ret_error. */
int flushes_on_again(struct qmp *q, pid_t pid, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
