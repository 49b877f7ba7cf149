/* device.h - parses a port's device string. Pure text work, no DPDK.
 *
 *	net_af_packet0,iface=bk0,blocksz=65536     driver net_af_packet, kernel interface bk0
 *	net_af_xdp0,iface=bk0
 *	0000:3b:00.0                               a PCI card bound to vfio-pci
 *
 * Threads: any. Never allocates.
 */
#ifndef PORT_DEVICE_H
#define PORT_DEVICE_H

#include <net/if.h>
#include <stdbool.h>

#define DEVICE_NAME_MAX 64  /* bytes with NUL */
#define DEVICE_ARGS_MAX 256

enum device_kind {
	DEVICE_AF_PACKET,
	DEVICE_AF_XDP,
	DEVICE_VDEV_OTHER, /* a driver we give no defaults to */
	DEVICE_PCI,
};

struct device {
	enum device_kind kind;
	char name[DEVICE_NAME_MAX];  /* "net_af_packet0", or the PCI address */
	char args[DEVICE_ARGS_MAX];  /* "iface=bk0,..." with our defaults added; "" for PCI */
	char interface[IF_NAMESIZE]; /* kernel interface, "" when there is none */
};

/* Parse @text. 0; -EINVAL: neither NAME[,key=value...] with a net_ driver nor a PCI address, or
 * net_af_packet / net_af_xdp without iface=, or an interface name too long; -E2BIG: too long.
 * *ret_device is written on success only. */
int device_parse(const char *text, struct device *ret_device)
	__attribute__((warn_unused_result));

#endif
