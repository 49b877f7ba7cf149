/* flushes.h - makes QEMU ignore flushes of one disk's image, and obey them again.
 *
 * Why: each `stop` of QEMU flushes every image (fdatasync), so each pause of a guest that writes
 * waits for the disk. While each reply waits for the standby's commit, the standby keeps the
 * guest's writes safe. So this host's image needs no flushes.
 *
 *	flushes_off()	a mark in QEMU, then cache.no-flush=on at each node of the image
 *      flushes_on()    cache.no-flush=off at each node, fdatasync of the image, the mark is removed
 *
 * What QEMU does (7.2.22: qemu-io-cmds.c, block.c, block/io.c):
 *
 *  - `blockdev-reopen` refuses nodes to which the user gave no name ("#block123", from -drive).
 *    It also needs all options of a node again. So we use `qemu-io NODE "reopen -o
 *    cache.no-flush=on"` on the human monitor, which keeps the other options. It works for each
 *    node, while the guest runs and under a mirror.
 *  - If a node ignores a flush, QEMU still records that flush as done. After
 *    cache.no-flush=off, QEMU believes that earlier writes are on the disk. The guest's next flush
 *    would then not write them. So flushes_on() itself writes the image to the disk.
 *
 * The mark is an object of QEMU (a throttle group that nobody uses). Even if the agent is killed,
 * the mark lasts as long as QEMU's setting. It distinguishes our setting from that of an operator
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

/* Make QEMU, process @pid, ignore flushes of @disk. QEMU flushes the image once more. Takes some
 * ms, in which the guest keeps running.
 * Returns 0, and *ret_image_fd is the open image, which the caller closes after flushes_on();
 * -ENOTSUP: QEMU ignores flushes anyway (cache=unsafe), the image's file cannot be found, or QEMU
 *   refuses;
 * -EBUSY: the change was made only in part, and could not be undone. Perhaps QEMU ignores flushes
 *   now: call flushes_on_again();
 * other -errno of open() or qmp_execute().
 * On error *ret_error has the text. After any error but -EBUSY, flushes are as they were. */
int flushes_off(struct qmp *q, pid_t pid, const struct vmm_disk *disk, int *ret_image_fd,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Make QEMU obey flushes of @disk again, and write the image @image_fd to the disk. If @image_fd is
 * -1 (not known), write all of this host's files to their disks. Blocks until all of it is written.
 * Returns 0;
 * -EIO: QEMU refuses;
 * other -errno of qmp_execute() or fdatasync().
 * On error *ret_error says what failed. Then keep the guest's output held, and call this again. */
int flushes_on(struct qmp *q, const struct vmm_disk *disk, int image_fd, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Call flushes_on() for each disk of the guest with a mark that an earlier agent left. Returns the
 * number of these disks; or an error of vmm_disks_list() or flushes_on(), with *ret_error. */
int flushes_on_again(struct qmp *q, pid_t pid, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
