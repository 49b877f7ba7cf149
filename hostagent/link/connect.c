#include "link/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

#define USER_TIMEOUT_DEFAULT_MS 5000
#define RTO_MAX_MS		1000 /* the smallest value that the kernel accepts */
#define OPTION_RTO_MAX_MS	44   /* TCP_RTO_MAX_MS, which Debian 12's headers lack */
#define CONGESTION		"cubic" /* available in every distribution's kernel */
#define KEEPALIVE_IDLE_S	2
#define KEEPALIVE_INTERVAL_S	1
#define KEEPALIVE_PROBES	3

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Make TCP retransmit at short, equal intervals, so that a stream recovers soon after a long
 * interruption of the network. By default TCP doubles its wait with each retransmission. The
 * additional retransmissions cost little, because few bytes are in flight. TCP_RTO_MAX_MS needs
 * Linux 6.15. An older kernel refuses this option, and streams then recover later. */
static void recover_soon(int fd)
{
	(void)set_int(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1);
	(void)set_int(fd, IPPROTO_TCP, OPTION_RTO_MAX_MS, RTO_MAX_MS);
}

/* Do not use the host's default congestion control, because it can be BBR. BBR sends at the rate
 * that it has measured in the last round trips. If a full link loses all packets in its queue, BBR
 * measures one segment per timeout. After that, BBR sends only one segment per second, although the
 * link is free, and no epoch arrives for seconds. */
static void choose_congestion_control(int fd)
{
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, CONGESTION, sizeof(CONGESTION) - 1);
}

int connect_set_options(int fd, uint32_t user_timeout_ms)
{
	const struct {
		int level, option, value;
	} rows[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT,
		 (int)(user_timeout_ms ? user_timeout_ms : USER_TIMEOUT_DEFAULT_MS)},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = set_int(fd, rows[i].level, rows[i].option, rows[i].value);

		if (r < 0)
			return r;
	}
	recover_soon(fd);
	choose_congestion_control(fd);
	return 0;
}

static int parse_address(const struct link_config *config, struct sockaddr_storage *ret_address,
			 socklen_t *ret_size)
{
	struct sockaddr_storage address = {0};
	struct sockaddr_in *v4		= (struct sockaddr_in *)&address;
	struct sockaddr_in6 *v6		= (struct sockaddr_in6 *)&address;

	if (config->port == 0)
		return -EINVAL;
	if (inet_pton(AF_INET, config->address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port   = htons(config->port);
		*ret_size      = sizeof(*v4);
	} else if (inet_pton(AF_INET6, config->address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port	= htons(config->port);
		*ret_size	= sizeof(*v6);
	} else {
		return -EINVAL;
	}
	*ret_address = address;
	return 0;
}

int connect_start(const struct link_config *config, int *ret_fd)
{
	struct sockaddr_storage address;
	socklen_t size;
	int fd, r;

	r = parse_address(config, &address, &size);
	if (r < 0)
		return r;
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect_set_options(fd, config->user_timeout_ms);
	if (r == 0 && config->device &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, config->device,
		       (socklen_t)strnlen(config->device, IFNAMSIZ)) < 0)
		r = -errno;
	if (r == 0 && connect(fd, (struct sockaddr *)&address, size) < 0 && errno != EINPROGRESS)
		r = -errno;
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}
