#include "net/release_port.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/hold_check.h"

#define MTU_MAX	     65535U /* the largest MTU of a veth */
#define ALIAS_PREFIX "holdfast:"

/* Existing links with our alias: an earlier agent left them, perhaps for another tap or without
 * their peer. */
struct leftovers {
	const char *alias;
	int ifindex[8]; /* large enough: each start of an agent removes all leftovers */
	int n;
};

static void make_alias(const char *vm, char ret[NL_ALIAS_MAX])
{
	snprintf(ret, NL_ALIAS_MAX, ALIAS_PREFIX "%s", vm);
}

static void note_leftover(const struct nl_link *link, void *arg)
{
	struct leftovers *l = arg;

	if (strcmp(link->alias, l->alias) == 0 && strcmp(link->kind, "veth") == 0 &&
	    l->n < (int)(sizeof(l->ifindex) / sizeof(l->ifindex[0])))
		l->ifindex[l->n++] = link->ifindex;
}

int release_port_remove_left(struct nl *nl, const char *vm)
{
	char alias[NL_ALIAS_MAX];
	struct leftovers l = {.alias = alias};
	int r;

	make_alias(vm, alias);
	r = nl_link_each(nl, note_leftover, &l);
	for (int i = 0; r == 0 && i < l.n; i++) {
		r = nl_link_delete(nl, l.ifindex[i]);
		if (r == -ENODEV) /* this link was removed together with its peer */
			r = 0;
	}
	return r;
}

/* With offloads, a frame may be longer than the tap's MTU. So the pair gets the largest MTU, and
 * hold_tap drops frames that are too long. */
static uint32_t pair_mtu(const struct hold_prog *prog, const struct nl_link *tap)
{
	return prog->is_offload ? MTU_MAX : tap->mtu;
}

static int set_up(struct release_port *port, const char *in_name, uint32_t mtu,
		  struct hold_prog *prog)
{
	struct nl_link in, out;
	int r = nl_link_get(port->nl, port->out_name, 0, &out);

	if (r == 0)
		r = nl_link_configure(port->nl, out.ifindex, port->alias, mtu);
	if (r == 0)
		r = nl_link_get(port->nl, in_name, 0, &in);
	if (r == 0)
		r = nl_link_configure(port->nl, in.ifindex, port->alias, mtu);
	/* Attach the filter before the link is up. Otherwise frames from the link could enter this
	 * host's network stack. */
	if (r == 0)
		r = hold_prog_attach_release(prog, in.ifindex);
	if (r == 0 && prog->is_offload)
		r = hold_prog_attach_sink(prog, out.ifindex);
	/* The end that comes up second is ready to send at once. The first end drops what goes
	 * through its queue until a worker of the kernel has seen the carrier. Our sockets on hfoN
	 * do not use its queue, but hold_tap uses the queue of hfbN. So set hfoN up first. */
	if (r == 0)
		r = nl_link_up(port->nl, out.ifindex, true);
	if (r == 0)
		r = nl_link_up(port->nl, in.ifindex, true);
	if (r == 0 && prog->is_offload)
		hold_prog_set_capture(prog, in.ifindex);
	if (r == 0)
		port->out = out.ifindex;
	return r;
}

/* Remove a newly created pair. Uses its name, because its ifindex may not be known yet. */
static void undo(struct release_port *port)
{
	struct nl_link out;

	if (nl_link_get(port->nl, port->out_name, 0, &out) == 0)
		(void)!nl_link_delete(port->nl,
				      /* ignore this error: the caller reports the first one */
				      out.ifindex);
}

/* Write to *ret_error why the pair's names are taken: by another VM's hold (returns -EBUSY), or by
 * a device that is not ours (returns -EEXIST). */
static int explain_taken(const struct release_port *port, const char *in_name,
			 struct error *ret_error)
{
	struct nl_link out;

	if (nl_link_get(port->nl, port->out_name, 0, &out) == 0 &&
	    strncmp(out.alias, ALIAS_PREFIX, strlen(ALIAS_PREFIX)) == 0)
		return error_set(ret_error, -EBUSY,
				 "the tap has a hold of VM %s already: does another VM's file name "
				 "the same tap?", out.alias + strlen(ALIAS_PREFIX));
	return error_set(ret_error, -EEXIST, "a network device %s or %s is in the way and not "
			 "ours: rename or remove it", port->out_name, in_name);
}

int release_port_open(struct release_port *port, struct nl *nl, const char *vm,
		      const struct nl_link *tap, struct hold_prog *prog,
		      struct error *ret_error)
{
	char in_name[IFNAMSIZ];
	int r;

	*port = (struct release_port){.nl = nl};
	make_alias(vm, port->alias);
	snprintf(port->out_name, sizeof(port->out_name), "hfo%d", tap->ifindex);
	snprintf(in_name, sizeof(in_name), "hfb%d", tap->ifindex);
	r = release_port_remove_left(nl, vm);
	if (r < 0)
		return error_set(ret_error, r, "cannot remove links of an earlier hold: %s",
				 strerror(-r));
	r = nl_veth_create(nl, port->out_name, in_name, pair_mtu(prog, tap));
	if (r == -EEXIST)
		return explain_taken(port, in_name, ret_error);
	if (r == 0) {
		r = set_up(port, in_name, pair_mtu(prog, tap), prog);
		if (r < 0)
			undo(port);
	}
	return r < 0 ? error_set(ret_error, r, "cannot make the veth pair %s and %s: %s",
				 port->out_name, in_name, strerror(-r)) : 0;
}

int release_port_remove(struct release_port *port)
{
	int r = port->out ? nl_link_delete(port->nl, port->out) : 0;

	port->out = 0;
	return r == -ENODEV ? 0 : r;
}
