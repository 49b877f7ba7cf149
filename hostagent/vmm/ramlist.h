/* ramlist.h - finds RAM blocks in the memory of a QEMU whose monitor does not show their addresses.
 *
 * Why: we need the address of each RAM block. QEMU 8.1 and later show all addresses (`info
 * ramblock`, column HVA). In older versions only `gpa2hva` shows addresses, and has two faults:
 * - It shows only the address of memory that the guest maps at this moment. Video RAM, for example,
 *   is unmapped while QEMU waits for a migration.
 * - It gives blocks short names, and two cards can have the same short name.
 * So for older versions we read QEMU's own list, which QEMU exports to its modules (symbol.h).
 *
 *	ram_list (104 bytes)		RAMBlock, the same in QEMU 5 to 10
 *	byte  56  first block ────────► byte  24  address of the memory
 *					byte  48  size in use
 *					byte  76  name, 256 bytes
 *					byte 336  next block
 *
 * A block counts as found only if the monitor shows the same name and the same size.
 *
 * Where: inspect.c. Threads: any. Blocks for a few ms.
 */
#ifndef VMM_RAMLIST_H
#define VMM_RAMLIST_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/inspect_parse.h"

/* For each of @blocks that has no address yet, and is in the list of QEMU (process @pid), set the
 * address (the member hva).
 * Returns 0, even if some blocks were not found;
 * -ENOENT, -EMSGSIZE: this QEMU does not export the list as we know it;
 * -EPROTO: the list does not end;
 * other -errno: QEMU's memory or program cannot be read. */
int ramlist_locate(pid_t pid, struct inspect_ramblock *blocks, uint32_t n_blocks)
	__attribute__((warn_unused_result));

#endif
