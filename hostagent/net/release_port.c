#include "net/release_port.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/hold_check.h"

#define FORWARDING_SLACK_MS 1000

/* Leftovers: links with our alias that do not belong to the present tap. */
struct leftovers {
	const struct release_port *port;
	const char *in_name;
	int ifindex[8]; /* more cannot be: an agent removes what it finds at each start */
	int n;
};

static void note_leftover(const struct nl_link *link, void *arg)
{
	struct leftovers *l = arg;

	if (strcmp(link->alias, l->port->alias) == 0 && strcmp(link->kind, "veth") == 0 &&
	    strcmp(link->name, l->port->out_name) != 0 && strcmp(link->name, l->in_name) != 0 &&
	    l->n < (int)(sizeof(l->ifindex) / sizeof(l->ifindex[0])))
		l->ifindex[l->n++] = link->ifindex;
}

static int remove_leftovers(struct release_port *port, const char *in_name)
{
	struct leftovers l = {.port = port, .in_name = in_name};
	int r = nl_link_each(port->nl, note_leftover, &l);

	for (int i = 0; r == 0 && i < l.n; i++) {
		r = nl_link_delete(port->nl, l.ifindex[i]);
		if (r == -ENODEV) /* went along with its peer */
			r = 0;
	}
	return r;
}

/* *ret_in is the bridge end. A pair with our alias is used again; half a pair cannot exist. */
static int find_or_create(struct release_port *port, const char *in_name, uint32_t mtu,
			  struct nl_link *ret_in, struct hold_error *ret_error)
{
	struct nl_link out;
	int r = nl_link_get(port->nl, port->out_name, 0, &out);

	if (r == 0 && strcmp(out.alias, port->alias) != 0)
		return hold_fail(ret_error, -EEXIST,
				 "a network device %s is in the way and not ours: rename or remove "
				 "it", out.name);
	if (r == -ENODEV) {
		r = nl_veth_create(port->nl, port->out_name, in_name, mtu);
		if (r == 0)
			r = nl_link_get(port->nl, port->out_name, 0, &out);
	}
	if (r == 0) {
		port->out = out.ifindex;
		r = nl_link_configure(port->nl, out.ifindex, port->alias, mtu);
	}
	if (r == 0)
		r = nl_link_get(port->nl, in_name, 0, ret_in);
	if (r == 0)
		r = nl_link_configure(port->nl, ret_in->ifindex, port->alias, mtu);
	return r < 0 ? hold_fail(ret_error, r, "cannot make the veth pair %s and %s: %s",
				 port->out_name, in_name, strerror(-r)) : 0;
}

static int join(struct release_port *port, const struct nl_link *in, const struct nl_link *bridge,
		struct hold_error *ret_error)
{
	int r = nl_port_join(port->nl, in->ifindex, bridge->ifindex);

	if (r == 0 && bridge->is_vlan_filtering)
		r = nl_port_copy_vlans(port->nl, port->tap, in->ifindex);
	if (r == 0)
		r = nl_link_up(port->nl, in->ifindex, true);
	if (r == 0)
		r = nl_link_up(port->nl, port->out, true);
	if (r < 0)
		return hold_fail(ret_error, r, "cannot make %s a port of bridge %s: %s", in->name,
				 bridge->name, strerror(-r));
	r = nl_port_wait_forwarding(port->nl, in->ifindex,
				    2 * (int)bridge->forward_delay_ms + FORWARDING_SLACK_MS);
	return r < 0 ? hold_fail(ret_error, r, "port %s of bridge %s does not forward (%s): is the "
				 "bridge up, and does spanning tree block it?", in->name,
				 bridge->name, strerror(-r)) : 0;
}

static int pin_mac(struct release_port *port, bool *is_fdb_foreign, struct hold_error *ret_error)
{
	enum nl_fdb state;
	int r = nl_fdb_get(port->nl, port->tap, port->mac, &state);

	if (r == 0 && state == NL_FDB_STATIC && *is_fdb_foreign)
		return 0;
	if (r == 0) {
		*is_fdb_foreign = false;
		r = nl_fdb_set(port->nl, port->tap, port->mac, NL_FDB_STATIC);
		port->is_pinned = r == 0;
	}
	return r < 0 ? hold_fail(ret_error, r, "cannot pin the guest's MAC address to its tap in "
				 "the bridge: %s", strerror(-r)) : 0;
}

int release_port_open(struct release_port *port, struct nl *nl, const struct hold_config *config,
		      const struct nl_link *tap, const struct nl_link *bridge,
		      bool *is_fdb_foreign, struct hold_error *ret_error)
{
	char in_name[IFNAMSIZ];
	struct nl_link in;
	int r;

	*port = (struct release_port){.nl = nl, .tap = tap->ifindex};
	memcpy(port->mac, config->mac, sizeof(port->mac));
	snprintf(port->alias, sizeof(port->alias), "holdfast:%s", config->vm);
	snprintf(port->out_name, sizeof(port->out_name), "hfo%d", tap->ifindex);
	snprintf(in_name, sizeof(in_name), "hfb%d", tap->ifindex);
	r = remove_leftovers(port, in_name);
	if (r < 0)
		return hold_fail(ret_error, r, "cannot remove links of an earlier hold: %s",
				 strerror(-r));
	r = find_or_create(port, in_name, tap->mtu, &in, ret_error);
	if (r == 0)
		r = join(port, &in, bridge, ret_error);
	if (r == 0)
		r = pin_mac(port, is_fdb_foreign, ret_error);
	if (r < 0)
		(void)!release_port_remove(port); /* the first error is the one to report */
	return r;
}

int release_port_remove(struct release_port *port)
{
	int r = 0, q;

	if (port->is_pinned) {
		/* Not NL_FDB_NONE: the bridge would flood the guest's traffic until it speaks. */
		r = nl_fdb_set(port->nl, port->tap, port->mac, NL_FDB_DYNAMIC);
		port->is_pinned = false;
		if (r == -ENODEV || r == -EINVAL) /* tap gone, or no longer in a bridge */
			r = 0;
	}
	if (port->out) {
		q = nl_link_delete(port->nl, port->out);
		port->out = 0;
		if (q != -ENODEV && r == 0)
			r = q;
	}
	return r;
}
