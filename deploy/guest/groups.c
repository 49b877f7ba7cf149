#include "guest/groups.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATAGRAM_BYTES_MAX 2048

static int join_ip4(int fd, struct in_addr group, unsigned int device)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(GUEST_GROUP_PORT)};
	struct ip_mreqn member = {.imr_multiaddr = group, .imr_ifindex = (int)device};

	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &member, sizeof(member)) < 0)
		return -errno;
	return 0;
}

static int join_ip6(int fd, struct in6_addr group, unsigned int device)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(GUEST_GROUP_PORT)};
	struct ipv6_mreq member = {.ipv6mr_multiaddr = group, .ipv6mr_interface = device};
	int on = 1;

	if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &member, sizeof(member)) < 0)
		return -errno;
	return 0;
}

int group_join(const char *text)
{
	const char *device = strchr(text, '%');
	char address[INET6_ADDRSTRLEN] = "";
	struct in6_addr ip6;
	struct in_addr ip4;
	unsigned int index = device ? if_nametoindex(device + 1) : 0;
	int fd, r;

	if (index == 0 || (size_t)(device - text) >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, (size_t)(device - text));
	if (inet_pton(AF_INET, address, &ip4) == 1) {
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		r = fd < 0 ? -errno : join_ip4(fd, ip4, index);
	} else if (inet_pton(AF_INET6, address, &ip6) == 1) {
		fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		r = fd < 0 ? -errno : join_ip6(fd, ip6, index);
	} else {
		return -EINVAL;
	}
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

void *group_serve(void *arg)
{
	int fd = (int)(intptr_t)arg;

	for (;;) {
		char data[DATAGRAM_BYTES_MAX];
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &size);

		if (n >= 0) /* an answer that cannot be sent is lost, as any datagram may be */
			(void)!sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
	return NULL;
}
