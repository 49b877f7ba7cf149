/* nl.h - the few rtnetlink requests that the hold and the witness need, made with libmnl.
 *
 * docs/decisions/0030-hold.md says why ip(8) and bridge(8) are not called instead. All device names
 * and ifindexes belong to the network namespace in which nl_open() ran. sysfs is not used, because
 * it can show another namespace.
 * Threads: one owner per struct nl. Each function blocks until the kernel has answered. Errors are
 * negative errno values, from the kernel if it gave one.
 */
#ifndef NET_NL_H
#define NET_NL_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/if.h>

struct mnl_socket;

struct nl {
	struct mnl_socket *socket; /* owned */
	uint32_t seq;
};

#define NL_ALIAS_MAX 96 /* size with the NUL; the kernel accepts up to 255 bytes */

/* The properties of one link, as the kernel reports them. */
struct nl_link {
	int ifindex;
	uint32_t mtu;
	uint32_t flags;	     /* IFF_* */
	int master;	     /* ifindex of the bridge (or bond, ...) it belongs to; 0: none */
	char name[IFNAMSIZ];
	char kind[16];	     /* "tun", "veth", "bridge"; "" for hardware */
	char slave_kind[16]; /* "bridge" for a bridge port */
	char alias[NL_ALIAS_MAX];
	uint32_t xdp_prog_id; /* 0: no XDP program */
	bool is_ether;	      /* frames have an Ethernet header; `mac` is set */
	uint8_t mac[6];
	/* valid for kind "tun" */
	bool is_tap;	      /* a tap: its frames have an Ethernet header */
	uint32_t n_queues;    /* attached and detached queues; 1 for a single-queue device */
	/* valid for kind "bridge" */
	bool is_stp;
	uint32_t forward_delay_ms;
	/* valid for slave_kind "bridge" */
	uint8_t port_state;   /* BR_STATE_*; 3 is forwarding */
};

/* Open an rtnetlink socket. Returns 0, -ENOMEM or other -errno. */
int nl_open(struct nl *nl) __attribute__((warn_unused_result));
void nl_close(struct nl *nl); /* accepts a zeroed struct */

/* Read one link, by name, or by ifindex if @name is NULL. Returns 0;
 * -ENODEV: there is no such link;
 * other -errno. */
int nl_link_get(struct nl *nl, const char *name, int ifindex, struct nl_link *ret)
	__attribute__((warn_unused_result));

/* Call @each for every link of the namespace; @each must not use @nl. Returns 0 or -errno. */
int nl_link_each(struct nl *nl, void (*each)(const struct nl_link *link, void *arg), void *arg)
	__attribute__((warn_unused_result));

/* Create the veth pair @name and @peer, both down, with @mtu. Returns 0;
 * -EEXIST: one of the names is taken;
 * other -errno. */
int nl_veth_create(struct nl *nl, const char *name, const char *peer, uint32_t mtu)
	__attribute__((warn_unused_result));

/* Remove a link. If it is a veth, its peer is removed, too. Returns 0;
 * -ENODEV: there is no such link;
 * other -errno. */
int nl_link_delete(struct nl *nl, int ifindex) __attribute__((warn_unused_result));

/* Set a link's alias and MTU, and stop IPv6 from giving the link an address. Returns 0 or
 * -errno. */
int nl_link_configure(struct nl *nl, int ifindex, const char *alias, uint32_t mtu)
	__attribute__((warn_unused_result));

/* Set the link up, without ARP if @no_arp. Returns 0 or -errno. */
int nl_link_up(struct nl *nl, int ifindex, bool no_arp) __attribute__((warn_unused_result));

/* Turn off the link's transmit offloads. The kernel then finishes checksums and segmentation before
 * a frame leaves the link. Returns 0 or -errno. */
int nl_link_checksum_off(struct nl *nl, const char *name) __attribute__((warn_unused_result));

/* The route by which this host sends to an IPv4 address. */
struct nl_route {
	int ifindex;
	uint32_t source_be32;
	uint32_t next_be32;  /* address of the next hop: a router, or the destination itself */
	bool is_local;	     /* the address is this host's own */
};

/* Look up the route to an address. Returns 0;
 * -ENETUNREACH, -EHOSTUNREACH: there is no route;
 * other -errno. */
int nl_route_get(struct nl *nl, uint32_t address_be32, struct nl_route *ret)
	__attribute__((warn_unused_result));

/* Get the MAC address that the kernel knows for a neighbour. Sends no ARP request. Returns 0;
 * -ENOENT: the kernel knows none at present;
 * other -errno. */
int nl_neighbour_get(struct nl *nl, int ifindex, uint32_t address_be32, uint8_t ret_mac[6])
	__attribute__((warn_unused_result));

/* If the kernel is not sure of a neighbour's MAC address, make it send an ARP request. Does not
 * wait for the answer. Returns 0 or -errno. */
int nl_neighbour_use(struct nl *nl, int ifindex, uint32_t address_be32)
	__attribute__((warn_unused_result));

#endif
