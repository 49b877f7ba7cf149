#include "net/nl.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/nl_private.h"

/* The kernel sends the answer to a dump request in pieces of up to 32 KiB. */
#define ANSWER_BYTES 32768U

int nl_open(struct nl *nl)
{
	nl->seq = 0;
	nl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl->socket)
		return -errno;
	if (mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int r = -errno;

		nl_close(nl);
		return r;
	}
	return 0;
}

void nl_close(struct nl *nl)
{
	if (nl->socket)
		(void)mnl_socket_close(nl->socket); /* cannot fail on a socket */
	nl->socket = NULL;
}

struct nlmsghdr *nl_request(struct nl *nl, char *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);

	m->nlmsg_type = type;
	m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	m->nlmsg_seq = ++nl->seq;
	return m;
}

static struct nlmsghdr *link_request(struct nl *nl, char *buf, uint16_t type, uint16_t flags,
				     uint8_t family, int ifindex)
{
	struct nlmsghdr *m = nl_request(nl, buf, type, flags);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(m, sizeof(*info));

	info->ifi_family = family;
	info->ifi_index = ifindex;
	return m;
}

int nl_talk(struct nl *nl, const struct nlmsghdr *m, mnl_cb_t answer, void *arg)
{
	char buf[ANSWER_BYTES];
	unsigned int port = mnl_socket_get_portid(nl->socket);
	ssize_t n;
	int r;

	if (mnl_socket_sendto(nl->socket, m, m->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(nl->socket, buf, sizeof(buf));
		if (n < 0 && errno == EINTR) {
			r = MNL_CB_OK;
			continue;
		}
		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, nl->seq, port, answer, arg);
	} while (r > MNL_CB_STOP);
	return r < 0 ? -errno : 0;
}

static void copy_text(const struct nlattr *a, char *ret, size_t size)
{
	size_t n = mnl_attr_get_payload_len(a);

	n = n < size ? n : size - 1;
	memcpy(ret, mnl_attr_get_payload(a), n);
	ret[n] = '\0';
}

/* Returns an attribute's value. Returns 0 if the attribute does not have the size of an integer. */
static uint32_t get_uint(const struct nlattr *a)
{
	switch (mnl_attr_get_payload_len(a)) {
	case 1:
		return mnl_attr_get_u8(a);
	case 2:
		return mnl_attr_get_u16(a);
	case 4:
		return mnl_attr_get_u32(a);
	default:
		return 0;
	}
}

static void parse_tun(struct nl_link *link, const struct nlattr *data)
{
	const struct nlattr *a;
	uint32_t n_active = 0, n_disabled = 0, is_multi = 0;

	mnl_attr_for_each_nested(a, data) {
		switch (mnl_attr_get_type(a)) {
		case IFLA_TUN_TYPE:
			link->is_tap = get_uint(a) == IFF_TAP;
			break;
		case IFLA_TUN_MULTI_QUEUE:
			is_multi = get_uint(a);
			break;
		case IFLA_TUN_NUM_QUEUES:
			n_active = get_uint(a);
			break;
		case IFLA_TUN_NUM_DISABLED_QUEUES:
			n_disabled = get_uint(a);
			break;
		}
	}
	link->n_queues = is_multi ? n_active + n_disabled : 1;
}

static void parse_bridge(struct nl_link *link, const struct nlattr *data)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, data) {
		switch (mnl_attr_get_type(a)) {
		case IFLA_BR_STP_STATE:
			link->is_stp = get_uint(a) != 0;
			break;
		case IFLA_BR_FORWARD_DELAY: /* in units of 1/100 s (USER_HZ) */
			link->forward_delay_ms = get_uint(a) * 10;
			break;
		}
	}
}

static void parse_port(struct nl_link *link, const struct nlattr *data)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, data) {
		if (mnl_attr_get_type(a) == IFLA_BRPORT_STATE)
			link->port_state = (uint8_t)get_uint(a);
	}
}

static void parse_info(struct nl_link *link, const struct nlattr *info)
{
	const struct nlattr *a, *data = NULL, *slave_data = NULL;

	mnl_attr_for_each_nested(a, info) {
		switch (mnl_attr_get_type(a)) {
		case IFLA_INFO_KIND:
			copy_text(a, link->kind, sizeof(link->kind));
			break;
		case IFLA_INFO_SLAVE_KIND:
			copy_text(a, link->slave_kind, sizeof(link->slave_kind));
			break;
		case IFLA_INFO_DATA:
			data = a;
			break;
		case IFLA_INFO_SLAVE_DATA:
			slave_data = a;
			break;
		}
	}
	/* Parse the data only now: what they contain depends on the kind of link. */
	if (data && strcmp(link->kind, "tun") == 0)
		parse_tun(link, data);
	if (data && strcmp(link->kind, "bridge") == 0)
		parse_bridge(link, data);
	if (slave_data && strcmp(link->slave_kind, "bridge") == 0)
		parse_port(link, slave_data);
}

static void parse_link(const struct nlmsghdr *m, struct nl_link *link)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(m);
	const struct nlattr *a, *x;

	*link = (struct nl_link){.ifindex = info->ifi_index, .flags = info->ifi_flags,
				 .is_ether = info->ifi_type == ARPHRD_ETHER};
	mnl_attr_for_each(a, m, sizeof(*info)) {
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			copy_text(a, link->name, sizeof(link->name));
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(a) == sizeof(link->mac))
				memcpy(link->mac, mnl_attr_get_payload(a), sizeof(link->mac));
			break;
		case IFLA_IFALIAS:
			copy_text(a, link->alias, sizeof(link->alias));
			break;
		case IFLA_MTU:
			link->mtu = get_uint(a);
			break;
		case IFLA_MASTER:
			link->master = (int)get_uint(a);
			break;
		case IFLA_LINKINFO:
			parse_info(link, a);
			break;
		case IFLA_XDP:
			mnl_attr_for_each_nested(x, a) {
				if (mnl_attr_get_type(x) == IFLA_XDP_PROG_ID)
					link->xdp_prog_id = get_uint(x);
			}
			break;
		}
	}
}

static int on_link(const struct nlmsghdr *m, void *arg)
{
	if (m->nlmsg_type == RTM_NEWLINK)
		parse_link(m, arg);
	return MNL_CB_OK;
}

int nl_link_get(struct nl *nl, const char *name, int ifindex, struct nl_link *ret)
{
	char buf[NL_REQUEST_BYTES];
	struct nlmsghdr *m = link_request(nl, buf, RTM_GETLINK, NLM_F_ACK, AF_UNSPEC,
					  name ? 0 : ifindex);
	struct nl_link link = {0};
	int r;

	if (name)
		mnl_attr_put_strz(m, IFLA_IFNAME, name);
	r = nl_talk(nl, m, on_link, &link);
	if (r == 0)
		*ret = link;
	return r;
}

struct each_link {
	void (*each)(const struct nl_link *link, void *arg);
	void *arg;
};

static int on_each_link(const struct nlmsghdr *m, void *arg)
{
	const struct each_link *e = arg;
	struct nl_link link;

	if (m->nlmsg_type == RTM_NEWLINK) {
		parse_link(m, &link);
		e->each(&link, e->arg);
	}
	return MNL_CB_OK;
}

int nl_link_each(struct nl *nl, void (*each)(const struct nl_link *link, void *arg), void *arg)
{
	char buf[NL_REQUEST_BYTES];
	struct each_link e = {each, arg};

	return nl_talk(nl, link_request(nl, buf, RTM_GETLINK, NLM_F_DUMP, AF_UNSPEC, 0),
		       on_each_link, &e);
}

int nl_veth_create(struct nl *nl, const char *name, const char *peer, uint32_t mtu)
{
	char buf[NL_REQUEST_BYTES];
	struct nlmsghdr *m = link_request(nl, buf, RTM_NEWLINK,
					  NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, AF_UNSPEC, 0);
	struct nlattr *info, *data, *other;

	mnl_attr_put_strz(m, IFLA_IFNAME, name);
	mnl_attr_put_u32(m, IFLA_MTU, mtu);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
	other = mnl_attr_nest_start(m, VETH_INFO_PEER);
	memset(mnl_nlmsg_get_payload_tail(m), 0, sizeof(struct ifinfomsg));
	m->nlmsg_len += (uint32_t)MNL_ALIGN(sizeof(struct ifinfomsg));
	mnl_attr_put_strz(m, IFLA_IFNAME, peer);
	mnl_attr_put_u32(m, IFLA_MTU, mtu);
	mnl_attr_nest_end(m, other);
	mnl_attr_nest_end(m, data);
	mnl_attr_nest_end(m, info);
	return nl_talk(nl, m, NULL, NULL);
}

int nl_link_delete(struct nl *nl, int ifindex)
{
	char buf[NL_REQUEST_BYTES];

	return nl_talk(nl, link_request(nl, buf, RTM_DELLINK, NLM_F_ACK, AF_UNSPEC, ifindex), NULL,
		    NULL);
}

int nl_link_configure(struct nl *nl, int ifindex, const char *alias, uint32_t mtu)
{
	char buf[NL_REQUEST_BYTES];
	struct nlmsghdr *m = link_request(nl, buf, RTM_SETLINK, NLM_F_ACK, AF_UNSPEC, ifindex);
	struct nlattr *spec, *inet6;
	int r;

	mnl_attr_put_u32(m, IFLA_MTU, mtu);
	mnl_attr_put_strz(m, IFLA_IFALIAS, alias);
	r = nl_talk(nl, m, NULL, NULL);
	if (r < 0)
		return r;
	m = link_request(nl, buf, RTM_SETLINK, NLM_F_ACK, AF_UNSPEC, ifindex);
	spec = mnl_attr_nest_start(m, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(m, AF_INET6);
	mnl_attr_put_u8(m, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(m, inet6);
	mnl_attr_nest_end(m, spec);
	r = nl_talk(nl, m, NULL, NULL);
	/* On a host without IPv6 there is nothing to turn off. */
	return r == -EAFNOSUPPORT ? 0 : r;
}

int nl_link_up(struct nl *nl, int ifindex, bool no_arp)
{
	char buf[NL_REQUEST_BYTES];
	struct nlmsghdr *m = link_request(nl, buf, RTM_SETLINK, NLM_F_ACK, AF_UNSPEC, ifindex);
	struct ifinfomsg *info = mnl_nlmsg_get_payload(m);

	info->ifi_flags = IFF_UP | (no_arp ? IFF_NOARP : 0);
	info->ifi_change = info->ifi_flags;
	return nl_talk(nl, m, NULL, NULL);
}
