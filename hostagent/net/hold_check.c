#include "net/hold_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Check the hold's name, which becomes part of a link's alias. It is the VM's name; for each
 * further card, + and a digit follow. */
static bool is_hold_name(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t size = name ? strlen(name) : 0, n = name ? strspn(name, allowed) : 0;

	if (n == 0 || n > HOLD_VM_NAME_MAX - strlen("+1"))
		return false;
	return n == size || (n + 2 == size && name[n] == '+' && name[n + 1] >= '1' &&
			     name[n + 1] <= '9');
}

int hold_check_config(const struct hold_config *config, struct error *ret_error)
{
	if (!is_hold_name(config->vm))
		return error_set(ret_error, -EINVAL,
				 "VM name '%s': use 1 to %u letters, digits, '_' and '-'",
				 config->vm ? config->vm : "", HOLD_VM_NAME_MAX - 2);
	if (!config->tap || !*config->tap || strlen(config->tap) >= IFNAMSIZ)
		return error_set(ret_error, -EINVAL, "tap name '%s': use 1 to %d characters",
				 config->tap ? config->tap : "", IFNAMSIZ - 1);
	if (!config->pin_dir || config->pin_dir[0] != '/')
		return error_set(ret_error, -EINVAL,
				 "pin directory '%s': give an absolute path on a bpffs",
				 config->pin_dir ? config->pin_dir : "");
	if (config->frames_max == 0 || config->frames_max > HOLD_FRAMES_MAX_LIMIT)
		return error_set(ret_error, -EINVAL, "frames_max %u: use 1 to %u",
				 config->frames_max, HOLD_FRAMES_MAX_LIMIT);
	if (config->bytes_max == 0)
		return error_set(ret_error, -EINVAL, "bytes_max is 0: nothing could be held");
	return 0;
}

int hold_check_tap(struct nl *nl, const struct hold_config *config, struct nl_link *ret_tap,
		   struct error *ret_error)
{
	struct nl_link tap;
	int r = nl_link_get(nl, config->tap, 0, &tap);

	if (r == -ENODEV)
		return error_set(ret_error, r,
				 "there is no network device %s: is the VM running, and is its "
				 "tap in this network namespace?", config->tap);
	if (r < 0)
		return error_set(ret_error, r, "cannot read network device %s: %s", config->tap,
				 strerror(-r));
	if (strcmp(tap.kind, "tun") != 0 || !tap.is_tap)
		return error_set(ret_error, -ENOTSUP,
				 "network device %s is no tap (kind '%s'): only a guest's tap can "
				 "be held", tap.name, tap.kind);
	if (tap.n_queues > 1)
		return error_set(ret_error, -ENOTSUP,
				 "tap %s has %u queues: start the VM with one queue (queues=1, no "
				 "vhost multi-queue)", tap.name, tap.n_queues);
	if (tap.master == 0 || strcmp(tap.slave_kind, "bridge") != 0)
		return error_set(ret_error, -ENOTCONN,
				 "tap %s is not a port of a Linux bridge: put it in one with "
				 "`ip link set %s master BRIDGE`", tap.name, tap.name);
	*ret_tap = tap;
	return 0;
}

int hold_explain_prog(const struct hold_config *config, enum hold_prog_step step, int r,
		      struct error *ret_error)
{
	const char *text = strerror(-r);

	if (r == -EPERM || r == -EACCES)
		return error_set(ret_error, -EPERM, "the kernel refuses BPF programs (%s): run the "
				 "agent as root", text);
	switch (step) {
	case HOLD_PROG_PIN_DIR:
		return error_set(ret_error, r, "%s is not on a BPF file system (%s): mount one "
				 "with `mount -t bpf bpf /sys/fs/bpf`", config->pin_dir, text);
	case HOLD_PROG_LOCK:
		return error_set(ret_error, r, "another process has the hold of VM %s (%s): is "
				 "a second agent running?", config->vm, text);
	case HOLD_PROG_LOAD:
		return error_set(ret_error, r, "cannot load the hold's BPF program (%s): if "
				 "another version pinned %s, stop the VM and remove that directory "
				 "(else see the log at level debug)", text, config->pin_dir);
	case HOLD_PROG_FOREIGN:
		return error_set(ret_error, r, "tap %s already has an XDP program, not ours: "
				 "remove it with `ip link set %s xdp off`, or see who put it there",
				 config->tap, config->tap);
	case HOLD_PROG_ATTACH:
		return error_set(ret_error, r == -EOPNOTSUPP ? -ENOTSUP : r, "cannot attach XDP to "
				 "tap %s (%s): the kernel needs CONFIG_BPF_SYSCALL and XDP links "
				 "(Linux 5.9)", config->tap, text);
	case HOLD_PROG_TC:
		return error_set(ret_error, r,
				 "cannot give tap %s a clsact qdisc (%s): another "
				 "qdisc may have its place, see `tc qdisc show dev %s`",
				 config->tap, text, config->tap);
	}
	return error_set(ret_error, r, "%s", text);
}

int hold_explain_ring(const struct hold_config *config, enum hold_ring_step step, int r,
		      struct error *ret_error)
{
	const char *text = strerror(-r);

	switch (step) {
	case HOLD_RING_MEMORY:
		return error_set(ret_error, r, "no memory for %u frames (%s): lower frames_max",
				 config->frames_max, text);
	case HOLD_RING_UMEM:
		if (r == -EAFNOSUPPORT)
			return error_set(ret_error, -ENOTSUP, "the kernel has no AF_XDP: it needs "
					 "CONFIG_XDP_SOCKETS");
		return error_set(ret_error, r, "cannot register %u held frames with the kernel "
				 "(%s): lower frames_max or raise the limit of locked memory",
				 config->frames_max, text);
	case HOLD_RING_IN:
		if (r == -EBUSY)
			return error_set(ret_error, r, "another AF_XDP socket is on tap %s: is a "
					 "second agent running?", config->tap);
		break;
	case HOLD_RING_OUT:
		break;
	}
	return error_set(ret_error, r, "cannot bind the AF_XDP socket on %s of VM %s: %s",
			 step == HOLD_RING_IN ? "the tap" : "the release device", config->vm, text);
}
