/* disks.h - lists the disks to which a guest can write, and refuses those that nobody replicates.
 *
 * Why: after a failover, the guest's disks must have the state of the same moment as its memory.
 * The VM's file (`disks =`) lists the disks that are replicated, and their images. A writable disk
 * that is not listed would be old or missing after a failover: data would be lost, and nobody would
 * notice. So a guest with such a disk is refused before anything in it is changed. Read-only media
 * need no replication: the operator provides them on both hosts.
 *
 * A disk's name must be the same on both hosts, so it comes from the guest's side of the drive:
 *
 *	QEMU's options						the disk's name
 *	-drive file=..,if=virtio				virtio0
 *	-drive if=none,id=root,.. -device virtio-blk-pci,..	root
 *      -blockdev .. -device virtio-blk-pci,id=vd0,..           vd0     from .../vd0/virtio-backend
 *	-blockdev .. -device scsi-hd,id=sd0,..			sd0
 *      -blockdev .. -device virtio-blk-pci,..                  device-0  from .../device[0]/..
 *
 * A drive without a medium does not count as a disk. A floppy, or a flash memory with firmware
 * variables, counts as a disk if the guest can write to it.
 *
 * Where: the epoch engine and the standby. Threads: only the thread that uses the qmp client; the
 * functions that take QEMU's answers are pure.
 */
#ifndef VMM_DISKS_H
#define VMM_DISKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "base/error.h"
#include "vmm/qmp.h"

#define VMM_DISKS_MAX	      16u
#define VMM_DISK_NAME_MAX     63u /* characters of [a-zA-Z0-9_.-], without the NUL */
#define VMM_DISK_SOURCE_BYTES 128u
#define VMM_DISK_FILE_BYTES   512u
#define VMM_DISK_FORMAT_BYTES 32u

/* A disk to which the guest can write. */
struct vmm_disk {
	char name[VMM_DISK_NAME_MAX + 1u];
	/* what blockdev-mirror takes as `device`: the drive's id, or else the root node's name */
	char source[VMM_DISK_SOURCE_BYTES];
	/* The name of the root node. This is the disk's uppermost node, apart from the nodes that
	 * QEMU has put above it for a job. "#block123" if the operator gave it no name */
	char node[VMM_DISK_SOURCE_BYTES];
	/* name of the image in QEMU's answer; cut if it is too long */
	char file[VMM_DISK_FILE_BYTES];
	char format[VMM_DISK_FORMAT_BYTES]; /* "raw", "qcow2", ...: the root node's driver */
	uint64_t size_bytes;		    /* as the guest sees it, a multiple of 512 */
	bool is_direct;                     /* cache.direct: QEMU does not use the page cache */
	bool is_no_flush;		    /* cache.no-flush: QEMU ignores the guest's flushes */
	bool has_backing;		    /* the image is based on another image */
	/* true if a block job other than ours uses the disk. False also if QEMU cannot say which
	 * jobs use it */
	bool has_job;
};

/* A list of disks, in the order of QEMU's answer. */
struct vmm_disks {
	uint32_t n;
	struct vmm_disk disks[VMM_DISKS_MAX];
};

/* Ask QEMU for all writable disks. Takes some 2 ms. The guest can be running or stopped. A QEMU
 * that waits for a migration (-incoming) answers too. Call it only while no command is in flight on
 * @q.
 * Returns 0;
 * -E2BIG: there are more than VMM_DISKS_MAX;
 * -EEXIST: two disks have the same name;
 * -EPROTO: QEMU's answer is not understood;
 * or an error of qmp_execute().
 * On error *ret_error has the text. */
int vmm_disks_list(struct qmp *q, struct vmm_disks *ret_disks, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Does the same as vmm_disks_list(), but with answers of QEMU that the caller passes. @query_block
 * is the answer to `query-block`. @graph is the answer to `x-debug-query-block-graph`, the only
 * command that says which job uses which disk; NULL if there is none. Pure. Returns 0, -E2BIG,
 * -EEXIST or -EPROTO, which mean the same as for vmm_disks_list(). */
int vmm_disks_parse(const json_t *query_block, const json_t *graph, struct vmm_disks *ret_disks,
		    struct error *ret_error) __attribute__((warn_unused_result));

/* Returns the disk called @name, borrowed from @disks; NULL: none. */
const struct vmm_disk *vmm_disks_find(const struct vmm_disks *disks, const char *name);

/* Open, for reading, the file that QEMU process @pid has open as the image of @disk. The image can
 * have any format. Returns a descriptor, which the caller closes; or -ENOTSUP if QEMU has no such
 * file open, with *ret_error. */
int vmm_disk_open_image(pid_t pid, const struct vmm_disk *disk, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Can a disk have the name @name? 1 to 63 characters of [a-zA-Z0-9_.-]. */
bool vmm_disk_name_is_good(const char *name);

/* The disks that the VM's file lists. */
struct vmm_covered {
	const char *const *names; /* borrowed; NULL if there are none */
	size_t n;
};

/* Check that @covered lists all writable disks in @query_block, and no other disks. Pure.
 * Returns 0;
 * -ENOTSUP: a writable disk is not listed, or a listed disk is missing or read-only;
 * -ENOTSUP: two disks have the same name, or there are too many disks;
 * -EPROTO: the answer is not understood.
 * On error *ret_error says which disk, and what to do. */
int vmm_judge_disks(const json_t *query_block, struct vmm_covered covered, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Ask QEMU for its disks, and check them with vmm_judge_disks(). Returns what that function
 * returns, or an error of qmp_execute(). */
int vmm_check_disks(struct qmp *q, struct vmm_covered covered, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
