/* shell_kernel.h - carries sessions over kernel sockets. For TESTS ONLY, on machines without a DPDK
 * port (configuration: port = kernel). The sessions are the same as on a DPDK port.
 *
 * Where: main opens it, and the loop's epoll watches its sockets. Threads: the gateway's loop.
 */
#ifndef SESSION_SHELL_KERNEL_H
#define SESSION_SHELL_KERNEL_H

#include <stdint.h>

#include "session/session.h"

struct shell_kernel; /* opaque */

/* Listen for agents on @ip_be32:@port. Returns 0 and sets *ret_shell, which belongs to the caller.
 * Errors: -ENOMEM; -errno of the socket calls. */
int shell_kernel_open(struct sessions *sessions, int epoll_fd, uint32_t ip_be32, uint16_t port,
		      struct shell_kernel **ret_shell) __attribute__((warn_unused_result));

/* End all sessions of @shell. NULL is fine. Returns NULL. */
struct shell_kernel *shell_kernel_close(struct shell_kernel *shell);

#endif
