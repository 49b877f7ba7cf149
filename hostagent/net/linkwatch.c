#include "net/linkwatch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

int linkwatch_open(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	int error;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = errno;
	fd_close(fd);
	return -error;
}

bool linkwatch_changed(int fd)
{
	uint8_t head[16]; /* recv() discards the rest of each message */
	bool is_changed = false;

	for (;;) {
		ssize_t n = recv(fd, head, sizeof(head), 0);

		if (n < 0 && errno == EINTR)
			continue;
		/* ENOBUFS: messages were lost, but more may be waiting */
		if (n < 0 && errno != ENOBUFS)
			return is_changed;
		is_changed = true;
	}
}
