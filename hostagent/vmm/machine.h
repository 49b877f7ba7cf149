/* machine.h - what a guest's machine is made of, as a list that two hosts can compare. Pure.
 *
 * Why: a standby whose QEMU has another device, PCI address or CPU refuses the state when it is
 * needed, or loads it and runs a guest that never answers. So each host makes this list from its
 * own QEMU (describe.h), and the standby acknowledges nothing before the two lists are the same.
 *
 *	"CPU 0"                                           "qemu64-x86_64-cpu"
 *	"CPU 0 cpuid 00000001 ECX"                        "80002001"
 *	"device pci.0/02.0"                               "virtio-net-pci"
 *	"device pci.0/02.0 (virtio-net-pci) vectors"      "4 (0x4)"
 *	"machine type"                                    "pc-i440fx-7.2-machine"
 *
 * A key names a place, in words for people. The key of a thing's property starts with the thing's
 * own key and a blank or a slash. Names that belong to the host (tap, socket, file, backend) are
 * not in the list.
 *
 * Where: describe.c fills it; epoch/engine_machine.c sends it, standby/machine.c compares.
 * Threads: plain data.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMM_MACHINE_KEY_MAX   255u /* bytes without the NUL */
#define VMM_MACHINE_VALUE_MAX 255u
#define VMM_MACHINE_ITEMS_MAX 16384u

struct vmm_machine_item {
	char *key;   /* printable ASCII, not empty; the allocation */
	char *value; /* printable ASCII; in the same allocation */
};

/* All zero is an empty list. */
struct vmm_machine {
	struct vmm_machine_item *items; /* ordered by key after vmm_machine_sort() */
	uint32_t n_items;
	uint32_t room;
};

void vmm_machine_done(struct vmm_machine *m); /* free; the list is empty then */

/* Add a copy. Unprintable characters become '?'; a text that is too long is cut and ends with a
 * hash of the whole text. 0; -ENOMEM; -E2BIG: over VMM_MACHINE_ITEMS_MAX. */
int vmm_machine_add(struct vmm_machine *m, const char *key, const char *value)
	__attribute__((warn_unused_result));

void vmm_machine_sort(struct vmm_machine *m);

/* Are the lists equal? Both must be sorted. */
bool vmm_machine_is_same(const struct vmm_machine *a, const struct vmm_machine *b);

/* Can a standby with machine @standby continue @primary's guest? Both must be sorted. If only one
 * has a thing, or the other has another thing in its place, its properties are not compared.
 * 0; -EINVAL: no, @ret_text (@size bytes) names the first differences and how many more there
 * are. */
int vmm_machine_compare(const struct vmm_machine *primary, const struct vmm_machine *standby,
			char *ret_text, size_t size) __attribute__((warn_unused_result));

#endif
