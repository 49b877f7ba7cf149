/* shell_kernel.h - sessions over kernel sockets: a TEST shell, for machines and tests without a
 * DPDK port (configuration: port = kernel). It uses the same session code as the daemon, but
 * another data path.
 *
 * Where: main opens it, and its epoll reports the sockets. Threads: the gateway's loop.
 */
#ifndef SESSION_SHELL_KERNEL_H
#define SESSION_SHELL_KERNEL_H

#include <stdint.h>

#include "session/session.h"

struct shell_kernel; /* opaque */

/* Listen for agents on @ip_be32:@port. Returns 0: *ret_shell is the caller's; -errno of the
 * socket calls; -ENOMEM. */
int shell_kernel_open(struct sessions *sessions, int epoll_fd, uint32_t ip_be32, uint16_t port,
		      struct shell_kernel **ret_shell) __attribute__((warn_unused_result));

/* End all sessions of @shell. NULL is fine. Returns NULL. */
struct shell_kernel *shell_kernel_close(struct shell_kernel *shell);

#endif
