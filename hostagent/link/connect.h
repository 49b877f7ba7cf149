/* connect.h - makes the TCP socket under a link. For link.c only. No function waits.
 */
#ifndef LINK_CONNECT_H
#define LINK_CONNECT_H

#include <stdint.h>

#include "link/link.h"

/* Make a socket and begin to connect it. 0: *ret_fd is the caller's; errors of link_open(),
 * except -ENOMEM. */
int connect_start(const struct link_config *config, int *ret_fd)
	__attribute__((warn_unused_result));

/* Set the socket's options: no delay, keep-alives, and @user_timeout_ms as time limit for
 * unacknowledged data (0: the default). 0 or -errno. */
int connect_set_options(int fd, uint32_t user_timeout_ms) __attribute__((warn_unused_result));

#endif
