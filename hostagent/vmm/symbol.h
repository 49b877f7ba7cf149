/* symbol.h - finds an exported variable in a running program.
 *
 * Why: QEMU's clock is a global variable that no monitor command shows. The QEMU of a distribution
 * exports its symbols to its modules. So the program file shows the variable's address.
 *
 * libelf parses /proc/PID/exe. This is the right file even if it was replaced or lies in a
 * different mount namespace. /proc/PID/maps gives the load address.
 *
 * Where: guestclock.h. Threads: any. Blocks for a few ms (a file of 20 MB is mapped, not read).
 */
#ifndef VMM_SYMBOL_H
#define VMM_SYMBOL_H

#include <stdint.h>
#include <sys/types.h>

/* Find the address in process @pid of its exported variable @name, which must have @size_bytes
 * bytes.
 * Returns 0;
 * -ENOENT: the program does not export the variable;
 * -EMSGSIZE: the variable has a different size;
 * -EINVAL: the program's file is not understood;
 * -errno of open(). */
int symbol_find(pid_t pid, const char *name, uint64_t size_bytes, uint64_t *ret_address)
	__attribute__((warn_unused_result));

#endif
