/* qtree.h - reads the devices of a machine from the text of QEMU's `info qtree`. Pure.
 *
 * Why: `info qtree` lists every device with its place and all its properties. A running machine and
 * one that waits for its state give the same form. This parser leaves out properties that differ
 * between these two, and properties that name something on the host.
 *
 *	text of `info qtree`                     key in the list (machine.h)
 *	bus: main-system-bus
 *	  dev: i440FX-pcihost, id ""
 *	    bus: pci.0                           "device i440FX-pcihost#0"
 *	      type PCI
 *	      dev: virtio-net-pci, id "net0"     "device pci.0/02.0"
 *	        vectors = 4 (0x4)                "device pci.0/02.0 (virtio-net-pci) vectors"
 *	        addr = 02.0
 *	        bus: virtio-bus
 *	          dev: virtio-net-device, id ""  "device pci.0/02.0/virtio-bus/virtio-net-device#0"
 *
 * The place of a PCI device is its bus and address. The place of any other device is its bus, its
 * type and a number: how many devices of that type were made before it on that bus. So the two
 * hosts can give QEMU's options in different orders, as long as this changes no place. Ids are not
 * compared, since QEMU does not use them to name saved state.
 * Where: describe.c and its tests. Threads: any. Allocates.
 */
#ifndef VMM_QTREE_H
#define VMM_QTREE_H

#include "base/error.h"
#include "vmm/machine.h"
#include "vmm/page_range.h"

#define QTREE_DEVICES_MAX 1024u

/* Add the devices in @text to @m. Modifies @text.
 * Returns 0; -ENOMEM; -E2BIG if there are more devices or properties than the limits allow; or
 * -EPROTO if this is not the text of `info qtree`. On error *ret_error has a human-readable
 * reason. */
int qtree_parse(char *text, struct vmm_machine *m, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
