/* inventory.h - lists the parts of a guest's machine, and finds differences between two such lists.
 *
 * Why: while a guest is protected, somebody can plug or unplug devices, memory and network back
 * ends. The standby's QEMU lacks this change, so its promotion would fail. Also, a new card's
 * frames would not be held. QEMU sends no event when a device is added. So we take QEMU's lists
 * again from time to time, and compare them with the first ones.
 *
 * inspect.h decides whether a machine can be protected. This module only finds out how the machine
 * has changed since then.
 *
 *	command						parts in its answer
 *	qom-list /machine/peripheral, peripheral-anon	devices with and without an id, vCPUs among them
 *	info network					cards, back ends, filters
 *	info ramblock					memory, even if no device uses it yet
 *	query-block                                     writable disks and sizes, media in drives
 *
 * Where: epoch engine (engine_watch.c), vm_cover.c. The functions that parse QEMU's answers are
 * pure. Threads: any, each with its own qmp client.
 */
#ifndef VMM_INVENTORY_H
#define VMM_INVENTORY_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "vmm/disks.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

#define VMM_ITEMS_MAX	    256u
#define VMM_ITEM_NAME_BYTES 96u

enum vmm_item_kind {
	VMM_ITEM_DEVICE = 1, /* a device, such as "rng0 (virtio-rng-pci)" */
	VMM_ITEM_NET,	     /* a card, back end or filter, such as "n0 (tap)" or "f0
			      * (filter-mirror)" */
	VMM_ITEM_MEMORY,     /* a block of memory, such as "pc.ram" */
	/* a disk to which the guest can write, such as "root of 268435456 bytes" */
	VMM_ITEM_DISK,
	VMM_ITEM_MEDIUM,     /* a medium, such as "cdrom0 (/iso/one.iso)"; a long path is cut at its
			      * beginning */
};

struct vmm_item {
	enum vmm_item_kind kind;
	char name[VMM_ITEM_NAME_BYTES];
};

/* A set of items; their order has no meaning. */
struct vmm_inventory {
	uint32_t n;
	struct vmm_item items[VMM_ITEMS_MAX];
};

/* Each of these functions reads one of QEMU's answers, and adds the items in it to @inventory.
 * Pure. Returns 0;
 * -EPROTO: the answer is not understood;
 * -E2BIG: there are more than VMM_ITEMS_MAX items. */
int vmm_inventory_add_devices(struct vmm_inventory *inventory, const json_t *qom_list)
	__attribute__((warn_unused_result));
int vmm_inventory_add_network(struct vmm_inventory *inventory, const char *info_network)
	__attribute__((warn_unused_result));
int vmm_inventory_add_memory(struct vmm_inventory *inventory, const char *info_ramblock)
	__attribute__((warn_unused_result));
int vmm_inventory_add_disks(struct vmm_inventory *inventory, const json_t *query_block)
	__attribute__((warn_unused_result));
int vmm_inventory_add_media(struct vmm_inventory *inventory, const json_t *query_block)
	__attribute__((warn_unused_result));

/* The difference between two inventories. */
struct vmm_change {
	bool is_net;    /* the change affects frames: a card, a back end or a filter was added */
	char text[320]; /* "added: device rng1 (virtio-rng-pci); gone: ...", cut if too long */
};

/* Returns whether @now differs from @base; if so, *ret_change says how. Pure. */
bool vmm_inventory_differs(const struct vmm_inventory *base, const struct vmm_inventory *now,
			   struct vmm_change *ret_change);

/* Ask QEMU for all lists at once. Then check whether @covered names all writable disks and no
 * others. Takes some 3 ms, in which the guest keeps running. Call it only while no command is in
 * flight on @q.
 * Returns 0;
 * -ENOTSUP: @covered misses a writable disk, or names another one; *ret_inventory is valid;
 * -EPROTO, -E2BIG or an error of qmp_execute().
 * On error *ret_error has the text. */
int vmm_inventory_take(struct qmp *q, struct vmm_covered covered,
		       struct vmm_inventory *ret_inventory, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
