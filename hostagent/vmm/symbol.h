/* symbol.h - where a running program keeps one of its exported variables.
 *
 * Why: QEMU's clock is a global variable that no monitor command shows. Distributions' QEMU exports its
 * symbols to its modules, so that the file it runs from names the place; it need not be guessed.
 *
 * Read from /proc/PID/exe, which is that very file also when it was replaced or lies in another mount
 * namespace; parsed by libelf. Where it was loaded says /proc/PID/maps.
 *
 * Where: guestclock.h. Threads: any. Blocks for a few ms (a file of 20 MB is mapped, not read).
 */
#ifndef VMM_SYMBOL_H
#define VMM_SYMBOL_H

#include <stdint.h>
#include <sys/types.h>

/* The address in process @pid of its exported variable @name, which must have @size_bytes bytes.
 * 0; -ENOENT: the program does not export it; -EMSGSIZE: it has another size; -EINVAL: its file is not
 * understood; -errno of open(). */
int symbol_find(pid_t pid, const char *name, uint64_t size_bytes, uint64_t *ret_address)
	__attribute__((warn_unused_result));

#endif
