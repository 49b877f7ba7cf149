#include "inspect/domain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "base/fd.h"
#include "inspect/option.h"

#define CMDLINE_MAX (256u << 10)

static void add_monitor(struct domain *domain, const char *path)
{
	if (domain->n_monitors < DOMAIN_MONITORS_MAX && strlen(path) < DOMAIN_PATH_BYTES)
		strcpy(domain->monitors[domain->n_monitors++], path);
}

/* Returns the path of the unix socket at which the character device @id listens. The caller frees
 * it. Returns NULL if the device is not such a socket, or if a manager made the socket. */
static char *socket_of(char *const *words, size_t n, const char *id)
{
	for (size_t i = 1; i + 1 < n; i++) {
		struct option_list list;
		const char *name, *path;
		char *result = NULL;
		bool is_it;

		if (strcmp(words[i], "-chardev") != 0 ||
		    option_parse(words[i + 1], "backend", &list) < 0)
			continue;
		name = option_get(&list, "id");
		path = option_get(&list, "path");
		is_it = name && strcmp(name, id) == 0;
		if (is_it && path && !option_get(&list, "fd"))
			result = strdup(path);
		option_done(&list);
		if (is_it)
			return result;
	}
	return NULL;
}

static void read_mon(char *const *words, size_t n, const char *value, struct domain *domain)
{
	struct option_list list;
	const char *mode, *chardev;

	if (option_parse(value, "chardev", &list) < 0)
		return;
	mode = option_get(&list, "mode");
	chardev = option_get(&list, "chardev");
	if (mode && strcmp(mode, "control") == 0 && chardev) {
		AUTO_FREE char *path = socket_of(words, n, chardev);

		if (path)
			add_monitor(domain, path);
	}
	option_done(&list);
}

/* Read a monitor's address, unix:PATH[,SETTINGS], and add the path to @domain. */
static void read_qmp(const char *value, struct domain *domain)
{
	AUTO_FREE char *path = NULL;

	if (strncmp(value, "unix:", 5) != 0)
		return;
	path = strndup(value + 5, strcspn(value + 5, ","));
	if (path)
		add_monitor(domain, path);
}

static bool has_name(const char *value, const char *name)
{
	struct option_list list;
	const char *found;
	bool is_it;

	if (option_parse(value, "guest", &list) < 0)
		return false;
	found = option_get(&list, "guest");
	is_it = found && strcmp(found, name) == 0;
	option_done(&list);
	return is_it;
}

bool domain_read(char *const *words, size_t n, const char *name, struct domain *ret_domain)
{
	bool is_it = false;

	ret_domain->n_monitors = 0;
	for (size_t i = 1; i + 1 < n; i++) {
		const char *word = words[i], *value = words[i + 1];

		if (strcmp(word, "-name") == 0)
			is_it = has_name(value, name);
		else if (strcmp(word, "-mon") == 0)
			read_mon(words, n, value, ret_domain);
		else if (strcmp(word, "-qmp") == 0)
			read_qmp(value, ret_domain);
		else
			continue;
		i++;
	}
	return is_it;
}

/* Read the arguments of process @pid. Returns true if it is a QEMU whose guest is called @name. */
static bool read_process(int pid, const char *name, struct domain *ret_domain)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char **words = NULL;
	char path[64];
	const char *program;
	size_t size, n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (fd_read_file(path, CMDLINE_MAX, &text, &size) < 0 || size == 0)
		return false; /* the process has ended, or is a thread of the kernel */
	program = strrchr(text, '/') ? strrchr(text, '/') + 1 : text;
	if (strncmp(program, "qemu", 4) != 0 && strncmp(program, "kvm", 3) != 0)
		return false;
	words = calloc(size + 1, sizeof(*words));
	if (!words)
		return false;
	for (size_t at = 0; at < size; at += strlen(text + at) + 1)
		words[n++] = text + at;
	ret_domain->pid = pid;
	return domain_read(words, n, name, ret_domain);
}

int domain_find(const char *name, struct domain *ret_domain, struct error *ret_error)
{
	AUTO(closedir) DIR *dir = opendir("/proc");
	struct domain found = {0};
	struct dirent *entry;

	if (!dir)
		return error_set(ret_error, -errno, "/proc: %s", strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		struct domain domain = {0};
		int pid = (int)strtoul(entry->d_name, NULL, 10); /* 0 if it is not a number */

		if (pid <= 0 || !read_process(pid, name, &domain))
			continue;
		if (found.pid)
			return error_set(ret_error, -EEXIST,
					 "the QEMUs %d and %d both have -name %s: give the socket "
					 "of the right one with --qmp",
					 (int)found.pid, pid, name);
		found = domain;
	}
	if (!found.pid)
		return error_set(ret_error, -ENOENT,
				 "no QEMU with -name %s runs here: is it started, and is this its "
				 "name (`virsh list`)?",
				 name);
	if (found.n_monitors == 0)
		return error_set(ret_error, -ENOTCONN,
				 "QEMU %d of %s has no QMP monitor but its manager's: add one "
				 "(libvirt: `virsh edit`, <qemu:commandline>; see \"libvirt\" in "
				 "docs/operations.md), and start the guest anew",
				 (int)found.pid, name);
	*ret_domain = found;
	return 0;
}
