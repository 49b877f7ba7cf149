/* Carries over taps, character devices, monitors and objects; see rewrite.h. */
#include "inspect/rewrite_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

/* ---- network */

/* Find the tap of a back end. The back end names the tap, or a manager passed a descriptor of the
 * tap to QEMU. Returns the tap's name on the standby; NULL if it is not known. */
static const char *find_tap(const struct rewriter *rw, const struct option_list *list)
{
	const char *name = option_get(list, "ifname"), *fd = option_get(list, "fd");
	const struct vmm_taps *taps = rw->in->taps;
	char number[16];

	if (taps->n == 1)
		return rw->out.taps_there.name[0];
	for (uint32_t i = 0; i < taps->n && i < rw->out.taps_there.n; i++) {
		(void)snprintf(number, sizeof(number), "%d", taps->taps[i].fd);
		if ((name && strcmp(name, taps->taps[i].name) == 0) ||
		    (fd && strcmp(fd, number) == 0))
			return rw->out.taps_there.name[i];
	}
	return NULL;
}

/* Carry over a tap. On the standby QEMU opens it by name, because the primary's descriptors and
 * helpers do not exist there. */
static void carry_tap(struct rewriter *rw, const char *option, const char *value,
		      struct option_list *list)
{
	static const char *const keys[] = {"fd", "fds", "vhostfd", "vhostfds", "helper", "br"};
	const char *tap = find_tap(rw, list);

	if (!tap && rw->in->taps->n > 0)
		rewriter_refuse(rw,
				"-%s %.200s: it is not known which of the guest's taps it has; "
				"start the guest with ifname=TAP in it",
				option, value);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		option_drop(list, keys[i]);
	option_set(list, "type", "tap");
	option_set(list, "ifname", tap ? tap : "");
	option_set(list, "script", "no");
	option_set(list, "downscript", "no");
	/* put the type first, without `type=`: cmdline_check_taps() expects this */
	for (size_t i = 0; i < list->n; i++) {
		if (strcmp(list->items[i].key, "type") == 0) {
			struct option_setting type = list->items[i];

			*type.key = '\0';
			memmove(&list->items[1], &list->items[0], i * sizeof(type));
			list->items[0] = type;
		}
	}
	rewriter_emit_list(rw, option, list);
}

void rewrite_netdev(struct rewriter *rw, const char *option, const char *value)
{
	static const char *const same[] = {"user", "hubport", "nic", "none"};
	struct option_list list;
	const char *type;

	if (!rewriter_parse(rw, option, value, "type", &list))
		return;
	type = option_get(&list, "type");
	if (!type || is_one_of(type, same, ARRAY_SIZE(same)))
		rewriter_emit(rw, option, value);
	else if (strcmp(type, "tap") == 0 || strcmp(type, "bridge") == 0)
		carry_tap(rw, option, value, &list);
	else
		rewriter_refuse(rw,
				"-%s %.200s: a network back end of type %s cannot be held; use "
				"-netdev tap",
				option, value, type);
	option_done(&list);
}

/* ---- character devices and monitors */

/* Does the character device @id belong to a manager's monitor? Such a device has a socket that the
 * manager made and passed to QEMU. */
static bool is_managed_monitor(const struct rewriter *rw, const char *id)
{
	bool is_monitor = false, has_fd = false;

	for (size_t i = 1; i + 1 < rw->in->n_words; i++) {
		const char *word = rw->in->words[i], *name, *of;
		bool is_mon = strcmp(word, "-mon") == 0;
		struct option_list list;

		if ((!is_mon && strcmp(word, "-chardev") != 0) ||
		    option_parse(rw->in->words[i + 1], is_mon ? "chardev" : "backend", &list) < 0)
			continue;
		name = option_get(&list, "id");
		of = option_get(&list, "chardev");
		if (is_mon)
			is_monitor |= of && strcmp(of, id) == 0;
		else
			has_fd |= name && strcmp(name, id) == 0 && option_get(&list, "fd");
		option_done(&list);
	}
	return is_monitor && has_fd;
}

static void note_address(struct rewriter *rw, const char *what, const struct option_list *list)
{
	const char *host = option_get(list, "host"), *port = option_get(list, "port");
	char text[256];

	if (!port)
		return;
	(void)snprintf(text, sizeof(text), "%.180s:%.60s", host ? host : "", port);
	rewriter_note(rw, REWRITE_MADE, what, text, text);
}

/* Carry over a socket that a manager has made and passed to QEMU. On the standby, QEMU makes the
 * socket itself. The operator can choose the place of that socket. By default, it is in a directory
 * that the agent makes. On failure, adds an obstacle and returns false. */
static bool carry_descriptor(struct rewriter *rw, const char *what, const char *id,
			     struct option_list *list)
{
	const char *here = descriptors_path(rw->in->descriptors, option_get(list, "fd"));
	const char *there = rewriter_mapped(rw, id);
	char path[128];

	if (!there && here)
		there = rewriter_mapped(rw, here);
	if (!there && here && id && *rw->in->own_dir && option_get(list, "server") &&
	    snprintf(path, sizeof(path), "%s/%s", rw->in->own_dir, id) < (int)sizeof(path))
		there = path;
	if (!there) {
		rewriter_refuse(rw,
				"%s is an open descriptor of a manager, whose socket cannot "
				"be told: name the socket on the standby with --map %s=PATH",
				what, id ? id : "");
		return false;
	}
	rewriter_note(rw, REWRITE_MADE, what, here ? here : "a descriptor", there);
	option_drop(list, "fd");
	option_set(list, "path", there);
	if (option_get(list, "server"))
		option_set(list, "wait", "off");
	return true;
}

/* Returns true if @path is a descriptor whose file is not known and has no --map. A manager's log
 * daemon gives QEMU such a descriptor: the end of a pipe. */
static bool is_lost_log(struct rewriter *rw, const char *path)
{
	return strncmp(path, DESCRIPTORS_FDSET, strlen(DESCRIPTORS_FDSET)) == 0 &&
	       !descriptors_fdset_path(rw->in->descriptors, path) && !rewriter_mapped(rw, path);
}

/* Carry over the file to which a character device copies its output. */
static void carry_log(struct rewriter *rw, const char *what, struct option_list *list)
{
	const char *path = option_get(list, "logfile");

	if (!path || !is_lost_log(rw, path)) {
		rewriter_list_path(rw, REWRITE_MADE, what, NULL, list, "logfile");
		return;
	}
	rewriter_note(rw, REWRITE_LEFT_OUT, what, path, "the log that the manager's daemon writes");
	option_drop(list, "logfile");
	option_drop(list, "logappend");
}

static void carry_chardev(struct rewriter *rw, struct option_list *list)
{
	const char *id = option_get(list, "id");
	char what[80];

	(void)snprintf(what, sizeof(what), "chardev %.60s", id ? id : "");
	if (option_get(list, "fd")) {
		if (!carry_descriptor(rw, what, id, list))
			return;
	} else {
		rewriter_list_path(rw, REWRITE_MADE, what, id, list, "path");
		note_address(rw, what, list);
	}
	carry_log(rw, what, list);
	rewriter_emit_list(rw, "chardev", list);
}

void rewrite_chardev(struct rewriter *rw, const char *option, const char *value)
{
	struct option_list list;
	const char *id;

	if (!rewriter_parse(rw, option, value, "", &list))
		return;
	id = option_get(&list, "id");
	if (id && is_managed_monitor(rw, id))
		rewriter_leave_out(rw, option, value, "the manager's own monitor");
	else
		carry_chardev(rw, &list);
	option_done(&list);
}

void rewrite_mon(struct rewriter *rw, const char *option, const char *value)
{
	struct option_list list;
	const char *id;

	if (!rewriter_parse(rw, option, value, "chardev", &list))
		return;
	id = option_get(&list, "chardev");
	if (id && is_managed_monitor(rw, id))
		rewriter_leave_out(rw, option, value, "the manager's own monitor");
	else
		rewriter_emit(rw, option, value);
	option_done(&list);
}

/* Carry over a value of the form KIND:PATH[,SETTINGS]. */
static void carry_place(struct rewriter *rw, const char *option, const char *value)
{
	const char *path = strchr(value, ':') + 1;
	size_t size = strcspn(path, ",");
	AUTO_FREE char *there = NULL;
	AUTO_FREE char *here = strndup(path, size);
	AUTO_FREE char *text = NULL;
	char what[32];

	(void)snprintf(what, sizeof(what), "-%.20s", option);
	there = here ? rewriter_path(rw, REWRITE_MADE, what, NULL, here) : NULL;
	if (!there)
		return; /* an obstacle was added, or memory is short */
	if (asprintf(&text, "%.*s%s%s", (int)(path - value), value, there, path + size) < 0) {
		text = NULL;
		rw->error = -ENOMEM;
		return;
	}
	rewriter_emit(rw, option, text);
}

void rewrite_serial(struct rewriter *rw, const char *option, const char *value)
{
	static const char *const places[] = {"file", "unix", "pipe"};
	size_t size;

	if (strcmp(option, "monitor") == 0 && strcmp(value, "stdio") == 0) {
		rewriter_leave_out(rw, option, value, "the standby has no terminal");
		return;
	}
	if (strncmp(value, "mon:", 4) == 0)
		value += 4; /* skip "mon:", since that monitor needs a terminal */
	size = strcspn(value, ":");
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (size == strlen(places[i]) && strncmp(value, places[i], size) == 0 &&
		    value[size] == ':') {
			carry_place(rw, option, value);
			return;
		}
	}
	if (strncmp(value, "tcp:", 4) == 0 || strncmp(value, "telnet:", 7) == 0 ||
	    strncmp(value, "udp:", 4) == 0)
		rewrite_address(rw, option, value);
	else
		rewriter_emit(rw, option, value);
}

/* Carry over and list an address at which QEMU listens. --map replaces the whole value. */
void rewrite_address(struct rewriter *rw, const char *option, const char *value)
{
	const char *there = rewriter_mapped(rw, value);
	char what[32];

	(void)snprintf(what, sizeof(what), "-%.20s", option);
	there = there ? there : value;
	rewriter_note(rw, REWRITE_MADE, what, value, there);
	rewriter_emit(rw, option, there);
}

/* ---- objects */

static void carry_object(struct rewriter *rw, const char *value, struct option_list *list)
{
	static const char *const keys[] = {"filename", "file", "dir", "evdev"};
	const char *type = option_get(list, "qom-type"), *id = option_get(list, "id");
	bool has_path = false;
	char what[80];

	type = type ? type : "";
	if (strncmp(type, "memory-backend", 14) == 0) {
		if (id && rw->main_memory && strcmp(id, rw->main_memory) == 0)
			rewriter_leave_out(rw, "object", value,
					   "the agent puts guest RAM on a file in state_dir");
		else if (strcmp(type, "memory-backend-ram") == 0 ||
			 strcmp(type, "memory-backend-memfd") == 0)
			rewriter_emit(rw, "object", value); /* of a memory device */
		else
			rewriter_refuse(rw,
					"-object %.200s: a memory device's back end must be of "
					"type ram or memfd; start the guest without this one",
					value);
		return;
	}
	if (strcmp(type, "secret") == 0 && id && strcmp(id, "masterKey0") == 0) {
		rewriter_leave_out(rw, "object", value, "libvirt's own secret");
		return;
	}
	if (strcmp(type, "rng-random") == 0) { /* the kernel's source of random numbers */
		rewriter_emit(rw, "object", value);
		return;
	}
	(void)snprintf(what, sizeof(what), "object %.60s", id ? id : type);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		has_path |= option_get(list, keys[i]) != NULL;
		rewriter_list_path(rw, REWRITE_FILE, what, id, list, keys[i]);
	}
	if (has_path)
		rewriter_emit_list(rw, "object", list);
	else
		rewriter_emit(rw, "object", value);
}

void rewrite_object(struct rewriter *rw, const char *option, const char *value)
{
	struct option_list list;

	if (!rewriter_parse(rw, option, value, "qom-type", &list))
		return;
	carry_object(rw, value, &list);
	option_done(&list);
}
