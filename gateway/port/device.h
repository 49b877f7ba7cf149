/* device.h - parses a port's device string. Pure: works on text only, without DPDK.
 *
 *	device string                              what it names
 *	net_af_packet0,iface=bk0,blocksz=65536     driver net_af_packet, kernel interface bk0
 *	net_af_xdp0,iface=bk0                      driver net_af_xdp, kernel interface bk0
 *	0000:3b:00.0                               a PCI card bound to vfio-pci
 *
 * Threads: any. Never allocates.
 */
#ifndef PORT_DEVICE_H
#define PORT_DEVICE_H

#include <net/if.h>
#include <stdbool.h>

#define DEVICE_NAME_MAX 64  /* bytes, including the NUL */
#define DEVICE_ARGS_MAX 256

enum device_kind {
	DEVICE_AF_PACKET,
	DEVICE_AF_XDP,
	DEVICE_VDEV_OTHER, /* a net_ driver of another kind; we add no default arguments for it */
	DEVICE_PCI,
};

struct device {
	enum device_kind kind;
	char name[DEVICE_NAME_MAX];  /* "net_af_packet0", or the PCI address */
	char args[DEVICE_ARGS_MAX];  /* "iface=bk0,..." with our defaults added; "" for PCI */
	char interface[IF_NAMESIZE]; /* name of the kernel interface; "" if there is none */
};

/* Parse @text. Returns 0 and sets *ret_device. Errors:
 *      -EINVAL  @text is neither a PCI address nor NAME[,key=value...] with a net_ driver
 *      -EINVAL  net_af_packet or net_af_xdp has no iface=, or the interface's name is too long
 *      -E2BIG   the device's name or its arguments are too long */
int device_parse(const char *text, struct device *ret_device)
	__attribute__((warn_unused_result));

#endif
