/* inspect.h - finds out what a running QEMU consists of, and whether it can be protected.
 *
 * Why: some guests cannot be failed over correctly. They have RAM that we do not replicate, devices
 * that bypass QEMU's page tables, or state that cannot be saved. Such a guest is refused here,
 * before anything in it is changed. The text says what is wrong and what to do.
 *
 * Where: epoch engine (primary, at attach), standby (its own QEMU), and the program's
 * command `inspect`, which lists all obstacles at once.
 * Threads: any, each with its own qmp client. Blocks: some tens of monitor commands, ~10 ms in all.
 */
#ifndef VMM_INSPECT_H
#define VMM_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

#define VMM_NICS_MAX 8u

struct vmm_nic {
	char name[64];	    /* device id, or QEMU's own name for it */
	char type[64];	    /* type of the device, such as "virtio-net-pci" */
	char qom_path[160]; /* such as "/machine/peripheral/nic0" */
	char netdev[64];    /* id of the NIC's back end */
	uint8_t mac[6];	    /* the address that the device uses now */
	bool is_offload;    /* the guest may leave checksums and segmentation to the host */
};

struct vmm_info {
	char qemu_version[96]; /* such as "7.2.22 Debian 1:7.2+dfsg-7" */
	/* "pc-i440fx-7.2": the versioned name, which must be the same on both hosts */
	char machine[64];
	/* QEMU's process. qmp_pid() can be another process, such as libvirt, which made the
	 * monitor's socket */
	pid_t pid;
	bool running;	       /* the vCPUs run now */
	char runstate[32];     /* QEMU's run state: "running", "paused", "shutdown", ... */
	uint32_t n_vcpus;
	uint64_t ram_bytes;			  /* size of main memory */
	struct vmm_block blocks[VMM_BLOCKS_MAX];  /* the blocks to replicate; RAM first */
	uint32_t n_blocks;
	uint32_t n_pages;			  /* number of pages in all blocks together */
	struct vmm_nic nics[VMM_NICS_MAX];
	uint32_t n_nics;
};

#define VMM_OBSTACLES_MAX 32u

/* Why a VM cannot be protected in the way it was started. Each item names what is in the way, and
 * what to change. An all-zero struct has no items. */
struct vmm_obstacles {
	struct error items[VMM_OBSTACLES_MAX];
	uint32_t n;
	uint32_t n_dropped; /* number of obstacles that had no room */
};

/* Add a copy of @obstacle, or only count it if there is no room. */
void vmm_obstacles_add(struct vmm_obstacles *obstacles, const struct error *obstacle);

/* Inspect the QEMU behind @q.
 * Returns 0;
 * -ENOTSUP: this VM cannot be protected as it was started; *ret_error names what to change;
 * -EPROTO: we do not understand an answer of QEMU;
 * or an error of qmp_wait().
 * On error *ret_error holds the text for the operator. */
int vmm_inspect(struct qmp *q, struct vmm_info *ret_info, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Does what vmm_inspect() does, but adds each reason for -ENOTSUP to @obstacles and goes on. If
 * obstacles were added, use *ret_info only for a report: blocks and cards can be missing in it.
 * Returns 0 or an error of vmm_inspect() other than -ENOTSUP. */
int vmm_inspect_all(struct qmp *q, struct vmm_info *ret_info, struct vmm_obstacles *obstacles,
		    struct error *ret_error) __attribute__((warn_unused_result));

#endif
