/* machine.h - a list of all parts of a guest's machine, which two hosts can compare. Pure.
 *
 * Why: the standby's QEMU must have the same devices, PCI addresses and CPUs as the primary's. If
 * not, it refuses the guest's state at the failover, or the guest never answers. So each host makes
 * this list of its own QEMU's machine (describe.h). The standby acknowledges no epoch until it has
 * found that the two lists are the same.
 *
 *	key                                               value
 *	"CPU 0"                                           "qemu64-x86_64-cpu"
 *	"CPU 0 cpuid 00000001 ECX"                        "80002001"
 *	"device pci.0/02.0"                               "virtio-net-pci"
 *	"device pci.0/02.0 (virtio-net-pci) vectors"      "4 (0x4)"
 *	"disk virtio0"                                    "2147483648"
 *	"machine type"                                    "pc-i440fx-7.2-machine"
 *
 * An item's key names a place in the machine. Its value says what is in that place. The key of a
 * property begins with the key of its part and a blank. The key of an inner part begins with the
 * key of the outer part and a slash. Names that belong to the host (tap, socket, file, backend) are
 * not in the list.
 *
 * Where: describe.c fills the list; epoch/engine_machine.c sends it; standby/machine.c compares two
 * lists. Threads: plain data.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMM_MACHINE_KEY_MAX   255u /* longest key, in bytes without the NUL */
#define VMM_MACHINE_VALUE_MAX 255u
#define VMM_MACHINE_ITEMS_MAX 16384u

struct vmm_machine_item {
	char *key;   /* printable ASCII, not empty; start of the allocation */
	char *value; /* printable ASCII; in the key's allocation */
};

/* An all-zero struct is an empty list. */
struct vmm_machine {
	struct vmm_machine_item *items; /* ordered by key after vmm_machine_sort() */
	uint32_t n_items;
	uint32_t room;
};

void vmm_machine_done(struct vmm_machine *m); /* free the items; *m is an empty list afterwards */

/* Add a copy of @key and @value. Unprintable characters become '?'. If a text is too long, it is
 * cut, and ends with a hash of the whole text. Returns 0; -ENOMEM;
 * -E2BIG: there are VMM_MACHINE_ITEMS_MAX items already. */
int vmm_machine_add(struct vmm_machine *m, const char *key, const char *value)
	__attribute__((warn_unused_result));

/* Add copies of all items of @from to *@m. Returns 0, or an error of vmm_machine_add(). */
int vmm_machine_append(struct vmm_machine *m, const struct vmm_machine *from)
	__attribute__((warn_unused_result));

void vmm_machine_sort(struct vmm_machine *m);

/* Returns true if the lists are equal. Both must be sorted. */
bool vmm_machine_is_same(const struct vmm_machine *a, const struct vmm_machine *b);

/* Check whether a standby with machine @standby can continue @primary's guest. Both lists must be
 * sorted. The properties of a part are compared only if both sides have this part in the same
 * place.
 * Returns 0 if the standby can continue the guest;
 * -EINVAL: it cannot. @ret_text (@size bytes) then names the first differences, and says how many
 * more there are. */
int vmm_machine_compare(const struct vmm_machine *primary, const struct vmm_machine *standby,
			char *ret_text, size_t size) __attribute__((warn_unused_result));

#endif
