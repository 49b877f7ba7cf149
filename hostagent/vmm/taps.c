#include "vmm/taps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "base/error.h"
#include "base/fd.h"

#define FDINFO_MAX_BYTES 4096u
#define TEXT_BYTES	 200u
#define TUN_MAJOR	 10u /* "misc" */
#define TUN_MINOR	 200u
#define VHOST_NET_MINOR  238u /* minor number of /dev/vhost-net, whose major number is the same:
			       * include/linux/miscdevice.h */

/* Get the name of the device to which @pid's descriptor @fd belongs; "" if it belongs to none.
 * Returns 0 or -errno. */
static int read_iff(pid_t pid, int fd, char ret_name[VMM_TAP_NAME_BYTES])
{
	AUTO_FREE char *text = NULL;
	char path[64];
	const char *at;
	size_t size;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	r = fd_read_file(path, FDINFO_MAX_BYTES, &text, &size);
	if (r < 0)
		return r;
	at = strstr(text, "\niff:\t");
	if (!at)
		return -EPROTO;
	at += strlen("\niff:\t");
	(void)snprintf(ret_name, VMM_TAP_NAME_BYTES, "%.*s", (int)strcspn(at, "\n"), at);
	return 0;
}

/* Returns 1 if the device of @pid's descriptor @fd is in our network namespace;
 * 0: it is in another one;
 * -errno. */
static int is_here(pid_t pid, int fd)
{
	AUTO_CLOSE int process = (int)syscall(SYS_pidfd_open, pid, 0);
	AUTO_CLOSE int tun = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);
	AUTO_CLOSE int namespace = tun < 0 ? -1 : ioctl(tun, TUNGETDEVNETNS);
	struct stat theirs, ours;

	if (namespace < 0 || fstat(namespace, &theirs) < 0 || stat("/proc/self/ns/net", &ours) < 0)
		return -errno;
	return theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

static int add(struct vmm_taps *taps, const char *name, int place, int fd)
{
	struct vmm_tap *tap = &taps->taps[taps->n];

	if (taps->n == VMM_TAPS_MAX)
		return -E2BIG;
	(void)snprintf(tap->name, sizeof(tap->name), "%s", name);
	tap->place = place;
	tap->fd = fd;
	taps->n++;
	return 0;
}

/* Returns true if @taps already contains the tap with this name and @place. The descriptor is then
 * another queue of that tap. The same name in another place (another namespace) is a different
 * tap. */
static bool is_known(const struct vmm_taps *taps, const char *name, int place)
{
	for (uint32_t i = 0; i < taps->n; i++)
		if (strcmp(taps->taps[i].name, name) == 0 && (int)taps->taps[i].place == place)
			return true;
	return false;
}

static int look_at_tun(pid_t pid, int fd, struct vmm_taps *taps)
{
	char name[VMM_TAP_NAME_BYTES];
	int here, place, r = read_iff(pid, fd, name);

	if (r < 0)
		return r;
	if (name[0] == '\0') {
		taps->n_lost++;
		return 0;
	}
	here = is_here(pid, fd);
	if (here < 0)
		return here;
	place = here ? VMM_TAP_HERE : VMM_TAP_ELSEWHERE;
	return is_known(taps, name, place) ? 0 : add(taps, name, place, fd);
}

static int look_at_fd(pid_t pid, int dir_fd, const char *entry, struct vmm_taps *taps)
{
	const char *base;
	struct stat st;
	char link[64];
	ssize_t n = readlinkat(dir_fd, entry, link, sizeof(link) - 1);

	if (n < 0)
		/* ENOENT: the descriptor was closed in the meantime */
		return errno == ENOENT ? 0 : -errno;
	link[n] = '\0';
	if (link[0] != '/')
		return 0; /* the descriptor has no path: it is, for example, a "socket:[N]" */
	if (fstatat(dir_fd, entry, &st, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	/* Compare the device number and not the path, which can differ in another mount
	 * namespace. */
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(TUN_MAJOR, TUN_MINOR))
		return look_at_tun(pid, (int)strtol(entry, NULL, 10), taps);
	taps->n_vhost += S_ISCHR(st.st_mode) && st.st_rdev == makedev(TUN_MAJOR, VHOST_NET_MINOR);
	/* The device of a macvtap or ipvtap is /dev/tapN, where N is the interface's index. */
	base = strrchr(link, '/') + 1;
	if (S_ISCHR(st.st_mode) && strncmp(base, "tap", 3) == 0 &&
	    !is_known(taps, base, VMM_TAP_MACVTAP))
		return add(taps, base, VMM_TAP_MACVTAP, (int)strtol(entry, NULL, 10));
	return 0;
}

int vmm_taps_read(pid_t pid, struct vmm_taps *ret_taps, struct error *ret_error)
{
	AUTO(closedir) DIR *dir = NULL;
	struct vmm_taps taps = {0};
	const struct dirent *entry;
	char path[64];
	int r = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return error_set(ret_error, errno == ENOENT ? -ESRCH : -errno, "%s: %m", path);
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			r = look_at_fd(pid, dirfd(dir), entry->d_name, &taps);
	/* A descriptor was closed between two of our steps: the caller should try again. */
	if (r == -ENOENT || r == -EBADF || r == -EBADFD)
		r = -EAGAIN;
	if (r < 0)
		return error_set(ret_error, r, "the taps of process %d: %s", pid, strerror(-r));
	*ret_taps = taps;
	return 0;
}

/* Write the taps as text: "tap1, tap2 (in another network namespace)". */
static void list_taps(const struct vmm_taps *taps, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < taps->n && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s%s", i > 0 ? ", " : "",
					 taps->taps[i].name,
					 taps->taps[i].place == VMM_TAP_ELSEWHERE
						 ? " (in another network namespace)"
					 : taps->taps[i].place == VMM_TAP_MACVTAP ? " (a macvtap)"
										  : "");
}

int vmm_taps_judge(const struct vmm_taps *taps, const struct tap_names *allowed,
		   struct error *ret_error)
{
	char open[TEXT_BYTES], names[TAP_NAMES_TEXT_MAX];
	struct tap_names gone = {0};
	uint32_t n_there = 0;

	if (taps->n_vhost > 0)
		return error_set(ret_error, -ENOTSUP, "%s", VMM_TAPS_VHOST);
	for (uint32_t i = 0; i < allowed->n; i++) {
		if (is_known(taps, allowed->name[i], VMM_TAP_HERE))
			n_there++;
		else
			/* cannot fail: `gone` has room for all */
			(void)!tap_names_add(&gone, allowed->name[i]);
	}
	if (n_there == allowed->n && taps->n == allowed->n)
		return 0;
	list_taps(taps, open, sizeof(open));
	tap_names_print(allowed, " ", names, sizeof(names));
	if (n_there == allowed->n)
		return error_set(
			ret_error, -ENOTSUP,
			"QEMU has the taps %s open, but [vm] tap allows only %s: frames of the "
			"others would leave unheld; name all taps in it, on both hosts, or remove "
			"those cards and their netdevs",
			open, names);
	if (taps->n == n_there && taps->n_lost > 0)
		return error_set(
			ret_error, -ENOTSUP,
			"QEMU's tap was deleted: its descriptor leads to no device any more, "
			"whatever is named %s now; restart the guest, or plug its card anew",
			tap_names_print(&gone, " or ", names, sizeof(names)));
	if (taps->n > 0)
		return error_set(
			ret_error, -ENOTSUP,
			"QEMU has the tap%s %s open, but [vm] tap is %s: the guest's frames would "
			"leave unheld; set tap to what its cards have",
			taps->n > 1 ? "s" : "", open, names);
	return error_set(
		ret_error, -ENOTSUP,
		"QEMU has no tap open, but [vm] tap is %s: each card of the guest must have one as "
		"its back end (-netdev tap,ifname=%s)",
		names, allowed->name[0]);
}

/* Find the value of the option @key, such as "fd=", in the @size bytes of @line. Returns the
 * value's size, or 0 if there is no such option. */
static size_t find_option(const char *line, size_t size, const char *key, const char **ret_value)
{
	size_t key_size = strlen(key);

	for (const char *at = line; (at = memchr(at, ',', size - (size_t)(at - line))); ) {
		size_t rest = size - (size_t)(++at - line);

		if (rest < key_size || memcmp(at, key, key_size) != 0)
			continue;
		*ret_value = at + key_size;
		for (size_t n = 0;; n++) {
			if (n == rest - key_size || strchr(",\r", at[key_size + n]))
				return n;
		}
	}
	return 0;
}

/* Find the tap of the back end in @line: "index=0,type=tap,ifname=tap0,.." or "..,fd=27". */
static int tap_of_line(const struct vmm_taps *taps, const char *line, size_t size)
{
	const char *name, *fd;
	size_t name_size = find_option(line, size, "ifname=", &name);
	size_t fd_size = find_option(line, size, "fd=", &fd);

	for (uint32_t i = 0; i < taps->n; i++) {
		const struct vmm_tap *tap = &taps->taps[i];

		if (fd_size > 0 && strtol(fd, NULL, 10) == tap->fd)
			return (int)i;
		if (fd_size == 0 && name_size == strlen(tap->name) && name_size > 0 &&
		    memcmp(name, tap->name, name_size) == 0)
			return (int)i;
	}
	return -ENOENT;
}

int vmm_taps_find(const struct vmm_taps *taps, const char *text, const char *netdev)
{
	char begin[96];
	int n = snprintf(begin, sizeof(begin), " \\ %s: index=0,type=tap,", netdev);

	if (n < 0 || (size_t)n >= sizeof(begin))
		return -ENOENT;
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t size = strcspn(line, "\n");

		if (size > (size_t)n && strncmp(line, begin, (size_t)n) == 0)
			return tap_of_line(taps, line, size);
	}
	return -ENOENT;
}

uint32_t vmm_taps_offloads(const struct vmm_taps *taps, const char *text,
			   const struct vmm_info *info, const struct tap_names *names)
{
	const uint32_t all = (UINT32_C(1) << names->n) - 1;
	uint32_t mask = 0;

	for (uint32_t i = 0; i < info->n_nics; i++) {
		uint32_t at = 0;
		int tap;

		if (!info->nics[i].is_offload)
			continue;
		tap = vmm_taps_find(taps, text, info->nics[i].netdev);
		while (tap >= 0 && at < names->n &&
		       strcmp(names->name[at], taps->taps[tap].name) != 0)
			at++;
		if (tap < 0 || at == names->n)
			return all;
		mask |= UINT32_C(1) << at;
	}
	return mask;
}
