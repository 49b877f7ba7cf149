/* facts.h - what QEMU has reported about a guest, as bytes for the agent's next program.
 *
 * Why: when a program of the agent is replaced, the guest stands still until the next program runs
 * it. To ask QEMU for all of this would take 0.1 to 0.3 s.
 *
 * The bytes are C structs as they are in this program's memory. So the bytes begin with a layout
 * number, which must change when one of these structs changes. A program with a different number
 * does not use the bytes, but asks QEMU, as after a restart.
 *
 * Where: engine_handed.c. Pure, except that it allocates. Threads: any.
 */
#ifndef EPOCH_FACTS_H
#define EPOCH_FACTS_H

#include <stdint.h>

#include "vmm/clock_rules.h"
#include "vmm/inspect.h"
#include "vmm/inventory.h"
#include "vmm/machine.h"

struct facts {
	struct vmm_info info;
	struct vmm_inventory inventory;
	struct clock_rules clock;
	uint32_t offloads; /* bit i: the card on tap i has offloads (holds_config) */
};

/* Change this number whenever struct facts, or a struct in it, changes. The assertion is a
 * reminder. */
#define FACTS_LAYOUT 1u
_Static_assert(FACTS_LAYOUT == 1 && sizeof(struct vmm_info) == 4640 &&
		       sizeof(struct clock_rules) == 240 &&
		       sizeof(struct vmm_inventory) == 25604,
	       "a struct has changed: change FACTS_LAYOUT, and these numbers");

/* Make the bytes. Returns 0, and the caller frees *ret; -ENOMEM; -E2BIG: there would be more than
 * @max bytes. */
int facts_encode(const struct facts *facts, const struct vmm_machine *machine,
		 const struct vmm_machine *devices, uint32_t max, uint8_t **ret, uint32_t *ret_size)
	__attribute__((warn_unused_result));

/* Read the bytes. Returns 0, and the caller frees both lists with vmm_machine_done();
 * -EPROTO: the bytes have a different layout, or are damaged;
 * -ENOMEM or -E2BIG: an error of vmm_machine_add(). */
int facts_decode(const uint8_t *bytes, uint32_t size, struct facts *ret_facts,
		 struct vmm_machine *ret_machine, struct vmm_machine *ret_devices)
	__attribute__((warn_unused_result));

#endif
