/* domain.h - finds the QEMU of a guest by the guest's name, and finds that QEMU's monitors.
 *
 * Why: libvirt, Proxmox and other managers start QEMU with `-name guest=NAME`. Their users know
 * that name, but neither QEMU's pid nor a socket. This file reads /proc and asks no manager, so it
 * works with every manager.
 *
 * QEMU serves one client per monitor, and the manager uses one monitor. So Holdfast needs a second
 * monitor. The guest's definition in the manager (the domain) must ask for it.
 *
 * Source: /proc/PID/cmdline, proc(5); QEMU's options -name, -qmp, -mon and -chardev.
 * Where: command.c. Threads: any (no state).
 */
#ifndef INSPECT_DOMAIN_H
#define INSPECT_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

#define DOMAIN_MONITORS_MAX 4u
#define DOMAIN_PATH_BYTES   108u /* as long as a unix socket's address */

struct domain {
	pid_t pid;
	char monitors[DOMAIN_MONITORS_MAX][DOMAIN_PATH_BYTES]; /* paths of QMP sockets */
	size_t n_monitors;
};

/* Find the running QEMU whose -name is @name. Reads /proc, so it takes some milliseconds for each
 * thousand processes. Returns 0. On error *ret_error says what to do:
 *      -ENOENT    there is no such QEMU
 *      -EEXIST    there are several
 *      -ENOTCONN  it has no QMP monitor except those that its manager uses
 *      another -errno of /proc */
int domain_find(const char *name, struct domain *ret_domain, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Read the name and the monitors from QEMU's arguments, the @n strings @words. A monitor counts if
 * QEMU itself listens at its path. Returns true if this is a QEMU with -name @name. Pure. */
bool domain_read(char *const *words, size_t n, const char *name, struct domain *ret_domain);

#endif
