#include "port/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Arguments that we add to the device string. If the user's string has a value for an argument, the
 * user's value is used.
 *
 * net_af_packet: DPDK's default ring (512 frames of 2 KiB) fills in less than 1 ms at 10 Gbit/s.
 * Our ring has 4096 frames (8 MiB), so the loop can pause for longer. The ring's blocks have 64
 * KiB, because the kernel can usually allocate 64 KiB in one piece.
 * net_af_xdp: busy polling is off, because the loop sleeps on the socket (port_wait_fd()). */
struct default_arg {
	enum device_kind kind;
	const char *key;
	const char *value;
};

static const struct default_arg defaults[] = {
	{ DEVICE_AF_PACKET, "blocksz", "65536" },
	{ DEVICE_AF_PACKET, "framesz", "2048" },
	{ DEVICE_AF_PACKET, "framecnt", "4096" },
	{ DEVICE_AF_XDP, "busy_budget", "0" },
};

/* Is @text a PCI address "dddd:bb:ss.f" of hexadecimal digits? */
static bool is_pci_address(const char *text)
{
	static const char shape[] = "hhhh:hh:hh.h";
	size_t i;

	if (strlen(text) != sizeof(shape) - 1)
		return false;
	for (i = 0; i < sizeof(shape) - 1; i++) {
		if (shape[i] == 'h' ? !strchr("0123456789abcdefABCDEF", text[i]) :
				      text[i] != shape[i])
			return false;
	}
	return true;
}

/* Returns the value of @key in @args, a text such as "k=v,k=v", and sets *ret_size to the value's
 * length. Returns NULL if the key is absent. */
static const char *find_arg(const char *args, const char *key, size_t *ret_size)
{
	size_t key_size = strlen(key);

	while (*args) {
		size_t size = strcspn(args, ",");

		if (size > key_size && !strncmp(args, key, key_size) && args[key_size] == '=') {
			*ret_size = size - key_size - 1;
			return args + key_size + 1;
		}
		args += size;
		args += *args == ',';
	}
	return NULL;
}

static enum device_kind kind_of(const char *name)
{
	if (!strncmp(name, "net_af_packet", strlen("net_af_packet")))
		return DEVICE_AF_PACKET;
	if (!strncmp(name, "net_af_xdp", strlen("net_af_xdp")))
		return DEVICE_AF_XDP;
	return DEVICE_VDEV_OTHER;
}

static int add_defaults(struct device *device)
{
	size_t i, unused;

	for (i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		size_t used = strlen(device->args);
		int n;

		if (defaults[i].kind != device->kind ||
		    find_arg(device->args, defaults[i].key, &unused))
			continue;
		n = snprintf(device->args + used, sizeof(device->args) - used, "%s%s=%s",
			     used ? "," : "", defaults[i].key, defaults[i].value);
		if (n < 0 || (size_t)n >= sizeof(device->args) - used)
			return -E2BIG;
	}
	return 0;
}

int device_parse(const char *text, struct device *ret_device)
{
	struct device device = { 0 };
	const char *value;
	size_t size;
	int rc;

	if (is_pci_address(text)) {
		device.kind = DEVICE_PCI;
		memcpy(device.name, text, strlen(text));
		*ret_device = device;
		return 0;
	}
	if (strncmp(text, "net_", 4))
		return -EINVAL;
	/* split the string at its first comma into the driver's name and the arguments */
	size = strcspn(text, ",");
	if (size >= sizeof(device.name) || strlen(text + size) >= sizeof(device.args))
		return -E2BIG;
	memcpy(device.name, text, size);
	if (text[size] == ',')
		memcpy(device.args, text + size + 1, strlen(text + size));
	device.kind = kind_of(device.name);

	value = find_arg(device.args, "iface", &size);
	if (value) {
		if (size == 0 || size >= sizeof(device.interface))
			return -EINVAL;
		memcpy(device.interface, value, size);
	} else if (device.kind != DEVICE_VDEV_OTHER) {
		return -EINVAL;
	}
	rc = add_defaults(&device);
	if (rc)
		return rc;
	*ret_device = device;
	return 0;
}
