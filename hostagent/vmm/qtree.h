/* qtree.h - reads the devices of a machine from the text of QEMU's `info qtree`. Pure.
 *
 * Why: `info qtree` lists every device with its place and all its properties. The text has the same
 * form for a running machine and for one that waits for its state. This parser leaves out the
 * properties that differ between these two machines, and those that name something on the host.
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
 *                dev: virtio-net-device, id ""  "device pci.0/02.0/virtio-bus/virtio-net-device#0"
 *
 * The place of a PCI device is its bus and address. The place of any other device is its bus, its
 * type and a number. The number counts the devices of that type that were made earlier on that bus.
 * So the order of QEMU's options matters only if it changes a place. Ids are not compared, because
 * QEMU does not use them to name saved state.
 * Where: describe.c and its tests. Threads: any. Allocates.
 */
#ifndef VMM_QTREE_H
#define VMM_QTREE_H

#include "base/error.h"
#include "vmm/machine.h"
#include "vmm/page_range.h"

#define QTREE_DEVICES_MAX 1024u

/* Add the devices in @text to @m. Modifies @text.
 * Returns 0;
 * -E2BIG: there are more devices or properties than the limits allow;
 * -EPROTO: this is not the text of `info qtree`;
 * -ENOMEM.
 * On error *ret_error says why. */
int qtree_parse(char *text, struct vmm_machine *m, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
