/* Makes rtnetlink requests about routes and neighbours. Also has nl_link_checksum_off(), which uses
 * an ioctl. See nl.h. */
#include <errno.h>
#include <string.h>

#include <linux/ethtool.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/nl_private.h"

int nl_link_checksum_off(struct nl *nl, const char *name)
{
	struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM, .data = 0};
	struct ifreq request = {.ifr_data = (void *)&off};

	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	/* This ioctl works on any socket of the namespace. */
	return ioctl(mnl_socket_get_fd(nl->socket), SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

static uint32_t get_be32(const struct nlattr *a)
{
	return mnl_attr_get_payload_len(a) == 4 ? mnl_attr_get_u32(a) : 0;
}

static int on_route(const struct nlmsghdr *m, void *arg)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(m);
	struct nl_route *route = arg;
	const struct nlattr *a;

	if (m->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	route->is_local = rt->rtm_type == RTN_LOCAL;
	mnl_attr_for_each(a, m, sizeof(*rt)) {
		switch (mnl_attr_get_type(a)) {
		case RTA_OIF:
			route->ifindex = (int)get_be32(a); /* an ifindex, in host byte order */
			break;
		case RTA_PREFSRC:
			route->source_be32 = get_be32(a);
			break;
		case RTA_GATEWAY:
			route->next_be32 = get_be32(a);
			break;
		}
	}
	return MNL_CB_OK;
}

int nl_route_get(struct nl *nl, uint32_t address_be32, struct nl_route *ret)
{
	char buf[NL_REQUEST_BYTES];
	struct nlmsghdr *m = nl_request(nl, buf, RTM_GETROUTE, NLM_F_ACK);
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(m, sizeof(*rt));
	struct nl_route route = {.next_be32 = address_be32};
	int r;

	rt->rtm_family = AF_INET;
	rt->rtm_dst_len = 32;
	mnl_attr_put_u32(m, RTA_DST, address_be32);
	r = nl_talk(nl, m, on_route, &route);
	if (r == 0 && route.ifindex == 0)
		r = -ENETUNREACH;
	if (r == 0)
		*ret = route;
	return r;
}

struct neighbour {
	bool is_found;
	bool is_sure; /* the kernel has confirmed the address, or is asking for it now */
	uint8_t mac[6];
};

static int on_neighbour(const struct nlmsghdr *m, void *arg)
{
	const struct ndmsg *nd = mnl_nlmsg_get_payload(m);
	struct neighbour *n = arg;
	const struct nlattr *a;

	if (m->nlmsg_type != RTM_NEWNEIGH)
		return MNL_CB_OK;
	n->is_sure = !(nd->ndm_state & (NUD_STALE | NUD_FAILED)) && nd->ndm_state != NUD_NONE;
	if (nd->ndm_state & (NUD_INCOMPLETE | NUD_FAILED))
		return MNL_CB_OK;
	mnl_attr_for_each(a, m, sizeof(*nd)) {
		if (mnl_attr_get_type(a) != NDA_LLADDR ||
		    mnl_attr_get_payload_len(a) != sizeof(n->mac))
			continue;
		memcpy(n->mac, mnl_attr_get_payload(a), sizeof(n->mac));
		n->is_found = true;
	}
	return MNL_CB_OK;
}

static int get_neighbour(struct nl *nl, int ifindex, uint32_t address_be32, struct neighbour *ret)
{
	char buf[NL_REQUEST_BYTES];
	struct nlmsghdr *m = nl_request(nl, buf, RTM_GETNEIGH, NLM_F_ACK);
	struct ndmsg *nd = mnl_nlmsg_put_extra_header(m, sizeof(*nd));
	struct neighbour n = {0};
	int r;

	nd->ndm_family = AF_INET;
	nd->ndm_ifindex = ifindex;
	mnl_attr_put_u32(m, NDA_DST, address_be32);
	r = nl_talk(nl, m, on_neighbour, &n);
	if (r == 0)
		*ret = n;
	return r;
}

int nl_neighbour_get(struct nl *nl, int ifindex, uint32_t address_be32, uint8_t ret_mac[6])
{
	struct neighbour n;
	int r = get_neighbour(nl, ifindex, address_be32, &n);

	if (r == 0 && !n.is_found)
		r = -ENOENT;
	if (r == 0)
		memcpy(ret_mac, n.mac, sizeof(n.mac));
	return r;
}

int nl_neighbour_use(struct nl *nl, int ifindex, uint32_t address_be32)
{
	char buf[NL_REQUEST_BYTES];
	struct nlmsghdr *m;
	struct ndmsg *nd;
	struct neighbour n;
	int r = get_neighbour(nl, ifindex, address_be32, &n);

	if (r < 0 && r != -ENOENT)
		return r;
	/* If the kernel is sure of the address, do nothing. The kernel is also sure of a permanent
	 * entry, which an administrator made: the request below would make that entry expire. */
	if (r == 0 && n.is_sure)
		return 0;
	m = nl_request(nl, buf, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE);
	nd = mnl_nlmsg_put_extra_header(m, sizeof(*nd));
	nd->ndm_family = AF_INET;
	nd->ndm_ifindex = ifindex;
	nd->ndm_flags = NTF_USE;
	mnl_attr_put_u32(m, NDA_DST, address_be32);
	return nl_talk(nl, m, NULL, NULL);
}
