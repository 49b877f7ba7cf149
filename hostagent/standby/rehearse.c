#include "standby/rehearse.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define HUB_FIRST 100u /* the command itself may use hubs with lower numbers */

/* The state of rehearse_words(): the arguments so far, the number of hubs made, and the new
 * paths. */
struct rehearse {
	struct cmdline *to;
	unsigned n_hubs;
	const char *qmp_path, *pid_path;
	enum rehearse_ram ram;
};

/* Add the new value of an option. @value is the option's value in the warm QEMU's command. Returns
 * 0 or an error of cmdline_add(). */
typedef int (*rewrite_fn)(struct rehearse *r, const char *value);

/* Returns the length of the first part of @value, such as "tap" in "tap,id=n0". */
static size_t first_part(const char *value)
{
	return strcspn(value, ",");
}

static bool is_of(const char *value, const char *type)
{
	return first_part(value) == strlen(type) && strncmp(value, type, strlen(type)) == 0;
}

/* Does @part, of @size bytes, set @key? */
static bool sets(const char *part, size_t size, const char *key)
{
	size_t n = strlen(key);

	return size > n && strncmp(part, key, n) == 0 && part[n] == '=';
}

/* Add one argument: @head, then those parts of @value that set one of @keys. Commas separate the
 * parts; a doubled comma belongs to a part. */
static int add_parts(struct rehearse *r, const char *head, const char *value,
		     const char *const *keys)
{
	AUTO_FREE char *word = malloc(strlen(head) + strlen(value) + 2);
	const char *part = value;
	char *at;

	if (!word)
		return -ENOMEM;
	at = stpcpy(word, head);
	while (*part) {
		size_t size = 0;

		while (part[size] && (part[size] != ',' || part[size + 1] == ','))
			size += part[size] == ',' ? 2 : 1;
		for (const char *const *key = keys; *key; key++) {
			if (!sets(part, size, *key))
				continue;
			*at++ = ',';
			at = mempcpy(at, part, size);
		}
		part += size + (part[size] == ',');
	}
	*at = '\0';
	return cmdline_add(r->to, word);
}

/* Write to @head the first parts of a network back end, the replacement for the one in @value.
 * QEMU's own network stack ("user") stays, but restricted, because its state is loaded too. A card
 * on a tap needs offload headers, which only taps support, so it gets a new tap. The new tap is
 * down and in no bridge, and disappears when this QEMU ends. Any other back end becomes a hub with
 * one port. */
static void make_head(struct rehearse *r, const char *value, char head[48])
{
	if (is_of(value, "user"))
		snprintf(head, 48, "user,restrict=on");
	else if (is_of(value, "tap") || is_of(value, "bridge"))
		snprintf(head, 48, "tap,ifname=hfr%%d,script=no,downscript=no");
	else
		snprintf(head, 48, "hubport,hubid=%u", HUB_FIRST + r->n_hubs++);
}

static int netdev(struct rehearse *r, const char *value)
{
	static const char *const keys[] = {"id", "vnet_hdr", "queues", NULL};
	char head[48];

	make_head(r, value, head);
	return add_parts(r, head, value, keys);
}

static int nic(struct rehearse *r, const char *value)
{
	static const char *const keys[] = {"id", "model", "mac", "addr", NULL};
	char head[48];

	if (strcmp(value, "none") == 0)
		return cmdline_add(r->to, value);
	make_head(r, value, head);
	return add_parts(r, head, value, keys);
}

static int chardev(struct rehearse *r, const char *value)
{
	static const char *const keys[] = {"id", NULL};

	return add_parts(r, "null", value, keys);
}

static int audiodev(struct rehearse *r, const char *value)
{
	static const char *const keys[] = {"id", NULL};

	return add_parts(r, "none", value, keys);
}

static int serial(struct rehearse *r, const char *value)
{
	bool stays = strcmp(value, "none") == 0 || strncmp(value, "chardev:", 8) == 0;

	return cmdline_add(r->to, stays ? value : "null");
}

static int display(struct rehearse *r, const char *value)
{
	(void)value;
	return cmdline_add(r->to, "none");
}

/* Rewrite -object. Only the object that cmdline_add_standby() has added ends with
 * share=on,prealloc=off. */
static int object(struct rehearse *r, const char *value)
{
	static const char shared[] = "share=on,prealloc=off", own[] = "share=off,prealloc=off";
	size_t size = strlen(value), n = strlen(shared);
	AUTO_FREE char *word = NULL;

	if (r->ram == REHEARSE_SAME_RAM || strncmp(value, "memory-backend-file,", 20) != 0 ||
	    size < n || strcmp(value + size - n, shared) != 0)
		return cmdline_add(r->to, value);
	if (asprintf(&word, "%.*s%s", (int)(size - n), value, own) < 0) {
		word = NULL; /* asprintf() has left `word` undefined */
		return -ENOMEM;
	}
	return cmdline_add(r->to, word);
}

static int qmp(struct rehearse *r, const char *value)
{
	AUTO_FREE char *word =
		malloc(strlen("unix:,server=on,wait=off") + 2 * strlen(r->qmp_path) + 1);
	char *at;

	(void)value;
	if (!word)
		return -ENOMEM;
	at = stpcpy(word, "unix:");
	for (const char *p = r->qmp_path; *p; p++) {
		if (*p == ',')
			*at++ = ',';
		*at++ = *p;
	}
	strcpy(at, ",server=on,wait=off");
	return cmdline_add(r->to, word);
}

static int pidfile(struct rehearse *r, const char *value)
{
	(void)value;
	return cmdline_add(r->to, r->pid_path);
}

static const struct {
	const char *name;
	bool has_value;
	rewrite_fn rewrite; /* NULL: the option is left out */
} options[] = {
	{"netdev", true, netdev},     {"nic", true, nic},	{"chardev", true, chardev},
	{"audiodev", true, audiodev}, {"serial", true, serial}, {"parallel", true, serial},
	{"debugcon", true, serial},   {"display", true, display}, {"object", true, object},
	{"qmp", true, qmp},	      {"pidfile", true, pidfile}, {"monitor", true, NULL},
	{"mon", true, NULL},	      {"vnc", true, NULL},	{"spice", true, NULL},
	{"gdb", true, NULL},	      {"D", true, NULL},	{"s", false, NULL},
	/* Left out, because with locked memory each page becomes a private copy at once. This QEMU
	 * would then not see what the epoch changes in the RAM file. */
	{"overcommit", true, NULL},
};

/* Returns the index of @word's row in options[], or -1. */
static int find(const char *word)
{
	if (word[0] != '-')
		return -1;
	word += word[1] == '-' ? 2 : 1;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strcmp(options[i].name, word) == 0)
			return (int)i;
	return -1;
}

int rehearse_words(const struct cmdline *warm, const char *qmp_path, const char *pid_path,
		   enum rehearse_ram ram, struct cmdline *ret_cmdline)
{
	struct cmdline to = {.ram_bytes = warm->ram_bytes};
	struct rehearse r = {
		.to = &to, .qmp_path = qmp_path, .pid_path = pid_path, .ram = ram};
	int error = 0;

	for (size_t i = 0; i < warm->n_words && error == 0; i++) {
		int row = find(warm->words[i]);
		bool has_value = row >= 0 && options[row].has_value && i + 1 < warm->n_words;

		if (row < 0 || options[row].rewrite)
			error = cmdline_add(&to, warm->words[i]);
		if (has_value) {
			i++;
			if (error == 0 && options[row].rewrite)
				error = options[row].rewrite(&r, warm->words[i]);
		}
	}
	/* the second QEMU must open no window */
	if (error == 0)
		error = cmdline_add(&to, "-display");
	if (error == 0)
		error = cmdline_add(&to, "none");
	if (error < 0) {
		cmdline_done(&to);
		return error;
	}
	*ret_cmdline = to;
	return 0;
}
