/* connect.h - makes the TCP socket under a link. For link.c only. No function blocks.
 */
#ifndef LINK_CONNECT_H
#define LINK_CONNECT_H

#include <stdint.h>

#include "link/link.h"

/* Make a socket and begin to connect it. Returns 0, and *ret_fd is the caller's; or an error of
 * link_open() other than -ENOMEM. */
int connect_start(const struct link_config *config, int *ret_fd)
	__attribute__((warn_unused_result));

/* Set the options of the socket @fd: no delay, keep-alives, short intervals between
 * retransmissions, congestion control, and @user_timeout_ms (0: the default) as the time limit for
 * unacknowledged data. Returns 0 or -errno. */
int connect_set_options(int fd, uint32_t user_timeout_ms) __attribute__((warn_unused_result));

#endif
