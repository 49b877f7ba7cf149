/* inspect.h - what a running QEMU is, and whether it can be protected.
 *
 * Why: some things would make a failover wrong: RAM we do not replicate, NICs whose frames are not
 * whole, devices that write guest RAM without the page tables, state that cannot be saved. Such a
 * guest is refused here, before anything is touched, with a text that names the thing and the next
 * step.
 *
 * Where: epoch engine (primary, at attach), standby (its own QEMU, to compare).
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
	char type[64];	    /* "virtio-net-pci" */
	char qom_path[160]; /* "/machine/peripheral/nic0" */
	char netdev[64];    /* id of its back end */
	uint8_t mac[6];	    /* as the device has it now */
};

struct vmm_info {
	char qemu_version[96]; /* "7.2.22 Debian 1:7.2+dfsg-7" */
	char machine[64];      /* "pc-i440fx-7.2": the versioned name both hosts must share */
	pid_t pid;	       /* QEMU's process. Use this, not qmp_pid(): that is who made the
				* monitor's socket, which may be a manager such as libvirt */
	bool running;	       /* vCPUs run now */
	char runstate[32];     /* QEMU's word for it: "running", "paused", "shutdown", ... */
	uint32_t n_vcpus;
	uint64_t ram_bytes;			  /* main memory */
	struct vmm_block blocks[VMM_BLOCKS_MAX];  /* the blocks to replicate; RAM first */
	uint32_t n_blocks;
	uint32_t n_pages;			  /* over all blocks */
	struct vmm_nic nics[VMM_NICS_MAX];
	uint32_t n_nics;
};

/* Look at the QEMU behind @q. On error *ret_error holds the text for the operator.
 * 0; -ENOTSUP: this VM cannot be protected as it was started (the text names what to change);
 * -EPROTO: QEMU answered something we do not understand; errors of qmp_wait(). */
int vmm_inspect(struct qmp *q, struct vmm_info *ret_info, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Can @standby continue @primary's guest? Compares QEMU version, machine, vCPUs, block table, NICs.
 * 0; -EINVAL: no, *ret_error names the difference. */
int vmm_compare(const struct vmm_info *primary, const struct vmm_info *standby,
		struct error *ret_error) __attribute__((warn_unused_result));

#endif
