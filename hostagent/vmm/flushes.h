/* flushes.h - makes QEMU ignore flushes of one disk's image, and obey them again.
 *
 * Why: each `stop` of QEMU flushes every image (fdatasync), so each pause of a guest that writes
 * waits for the disk. Flushes of this host's image are not needed while each reply waits for the
 * standby's commit: the standby then keeps the guest's writes safe.
 *
 *	flushes_off()	a mark in QEMU, then cache.no-flush=on at each node of the image
 *      flushes_on()    cache.no-flush=off at each node, fdatasync of the image, the mark is removed
 *
 * What QEMU does (7.2.22: qemu-io-cmds.c, block.c, block/io.c):
 *
 *  - `blockdev-reopen` refuses nodes to which the user gave no name ("#block123", from -drive),
 *    and needs all options of a node again. `qemu-io NODE "reopen -o cache.no-flush=on"`, on the
 *    human monitor, keeps the other options. It works for each node, while the guest runs and
 *    under a mirror.
 *  - If a node ignores a flush, QEMU still records that flush as done. So after cache.no-flush=off,
 *    QEMU believes that earlier writes are on the disk, and would not flush them when the guest
 *    asks. That is why flushes_on() itself brings the image to the disk.
 *
 * The mark is an object of QEMU (a throttle group that nobody uses). The mark lasts as long as
 * QEMU's setting does, also when the agent is killed. It tells our setting from that of an operator
 * who started QEMU with cache=unsafe.
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
 * Returns 0, and *ret_image_fd is the open image, which the caller closes after flushes_on().
 * Returns -ENOTSUP if QEMU ignores flushes anyway (cache=unsafe), if the image's file cannot be
 * found, or if QEMU refuses; -EBUSY if an error came half way and could not be undone (perhaps QEMU
 * ignores flushes: call flushes_on_again()); or another -errno of open() or qmp_execute().
 * *ret_error has the text. After any error but -EBUSY, flushes are as they were. */
int flushes_off(struct qmp *q, pid_t pid, const struct vmm_disk *disk, int *ret_image_fd,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Make QEMU obey flushes of @disk again, and bring the image @image_fd to the disk. If @image_fd is
 * -1 (not known), bring all of this host's files to the disk. Blocks until the disk has all of it.
 * If this fails, output must not leave: call again.
 * Returns 0; -EIO if QEMU refuses; or -errno of qmp_execute() or fdatasync(). *ret_error says
 * which. */
int flushes_on(struct qmp *q, const struct vmm_disk *disk, int image_fd, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Call flushes_on() for each disk of the guest with a mark that an earlier agent left. Returns the
 * number of these disks; or an error of vmm_disks_list() or flushes_on(), with *ret_error. */
int flushes_on_again(struct qmp *q, pid_t pid, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
