/* qtree.h - the devices of a machine, from the text of QEMU's `info qtree`. Pure.
 *
 * Why: one command tells every device with its place and all its properties, in the same form by a machine
 * that runs and by one that waits for its state. What differs between those two, or names a thing of the
 * host, is left out here.
 *
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
 * A PCI device's place is its bus and address, any other's its type and how many of that type were made on
 * that bus before it. So options may come in another order where nothing depends on it. An id is not
 * compared: no state is named by it.
 * Where: describe.c and its tests. Threads: any. Allocates.
 */
#ifndef VMM_QTREE_H
#define VMM_QTREE_H

#include "vmm/machine.h"
#include "vmm/page_range.h"

#define QTREE_DEVICES_MAX 1024u

/* Add what @text (changed by this) tells to @m.
 * 0; -ENOMEM; -E2BIG: more devices or properties than the limits; -EPROTO: not such a text. On error *ret_error
 * says it for people. */
int qtree_parse(char *text, struct vmm_machine *m, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));

#endif
