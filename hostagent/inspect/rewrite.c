/* Reads the words of the primary's command line, and carries over all options except disks and back
 * ends; see rewrite.h. */
#include "inspect/rewrite_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

/* Options of QEMU that take no value. */
static const char *const flags[] = {
	"S",
	"alt-grab",
	"async-teardown",
	"ctrl-grab",
	"curses",
	"daemonize",
	"enable-fips",
	"enable-kvm",
	"enable-sync-profile",
	"full-screen",
	"mem-prealloc",
	"no-acpi",
	"no-fd-bootchk",
	"no-hpet",
	"no-quit",
	"no-reboot",
	"no-shutdown",
	"no-user-config",
	"nodefaults",
	"nographic",
	"nouserconfig",
	"old-param",
	"one-insn-per-tb",
	"only-migratable",
	"portrait",
	"preconfig",
	"semihosting",
	"singlestep",
	"snapshot",
	"usb",
	"win2k-hack",
	"xen-attach",
	"xen-domid-restrict",
};

/* ---- what all handlers use */

void rewriter_refuse(struct rewriter *rw, const char *format, ...)
{
	struct error error;
	va_list args;

	va_start(args, format);
	(void)text_vput(error.text, sizeof(error.text), format, args);
	va_end(args);
	vmm_obstacles_add(rw->obstacles, &error);
}

static void emit_word(struct rewriter *rw, const char *word)
{
	if (rw->error == 0)
		rw->error = cmdline_add(&rw->out.command, word);
}

void rewriter_emit(struct rewriter *rw, const char *option, const char *value)
{
	AUTO_FREE char *word = NULL;

	if (asprintf(&word, "-%s", option) < 0) {
		word = NULL;
		rw->error = -ENOMEM;
		return;
	}
	emit_word(rw, word);
	if (value)
		emit_word(rw, value);
}

void rewriter_emit_list(struct rewriter *rw, const char *option, const struct option_list *list)
{
	AUTO_FREE char *value = option_print(list);

	if (value)
		rewriter_emit(rw, option, value);
	else
		rw->error = list->error ? list->error : -ENOMEM;
}

void rewriter_note(struct rewriter *rw, enum rewrite_kind kind, const char *what, const char *here,
		   const char *there)
{
	struct rewrite_thing thing = {.kind = kind};

	if (rw->error)
		return;
	if (rw->out.n_things == REWRITE_THINGS_MAX) {
		rw->error = -E2BIG;
		return;
	}
	thing.what = strdup(what);
	thing.here = strdup(here);
	thing.there = strdup(there);
	rw->out.things[rw->out.n_things++] = thing;
	if (!thing.what || !thing.here || !thing.there)
		rw->error = -ENOMEM;
}

const char *rewriter_mapped(struct rewriter *rw, const char *name)
{
	for (size_t i = 0; name && i < rw->in->n_maps; i++) {
		struct rewrite_map *map = &rw->in->maps[i];

		if (strcmp(map->name, name) == 0) {
			map->is_used = true;
			return map->there;
		}
	}
	return NULL;
}

/* Make a path absolute. Returns the path, which the caller frees; NULL: QEMU's directory is not
 * known, or memory is short. */
static char *absolute(struct rewriter *rw, const char *path)
{
	char *text;

	if (*path == '/')
		return strdup(path);
	if (!*rw->in->cwd)
		return NULL;
	if (asprintf(&text, "%s/%s", strcmp(rw->in->cwd, "/") == 0 ? "" : rw->in->cwd, path) < 0)
		return NULL;
	return text;
}

char *rewriter_path(struct rewriter *rw, enum rewrite_kind kind, const char *what, const char *id,
		    const char *path)
{
	AUTO_FREE char *here = NULL;
	const char *there = rewriter_mapped(rw, id);

	if (strncmp(path, "file:", 5) == 0)
		path += 5;
	if (!there)
		there = rewriter_mapped(rw, path);
	if (descriptors_fdset_path(rw->in->descriptors, path))
		path = descriptors_fdset_path(rw->in->descriptors, path);
	here = absolute(rw, path);
	if (!there && here)
		there = rewriter_mapped(rw, here);
	if (!there && strncmp(path, DESCRIPTORS_FDSET, strlen(DESCRIPTORS_FDSET)) == 0) {
		rewriter_refuse(rw,
				"%s is the descriptor %s, whose file cannot be told: name the file "
				"on the standby with --map %s=PATH",
				what, path, id ? id : path);
		return NULL;
	}
	if (!there && !here) {
		rewriter_refuse(rw,
				"%s: %s is relative, and QEMU has left the directory where it was "
				"started: name the file on the standby with --map %s=PATH",
				what, path, path);
		return NULL;
	}
	rewriter_note(rw, kind, what, here ? here : path, there ? there : here);
	return strdup(there ? there : here);
}

void rewriter_list_path(struct rewriter *rw, enum rewrite_kind kind, const char *what,
			const char *id, struct option_list *list, const char *key)
{
	const char *path = option_get(list, key);
	AUTO_FREE char *there = NULL;

	if (!path || !*path)
		return;
	there = rewriter_path(rw, kind, what, id, path);
	if (there)
		option_set(list, key, there);
}

bool rewriter_parse(struct rewriter *rw, const char *option, const char *value,
		    const char *first_key, struct option_list *ret_list)
{
	int r = option_parse(value, first_key, ret_list);

	if (r == -ENOMEM)
		rw->error = r;
	else if (r < 0)
		rewriter_refuse(rw, "-%s %.300s cannot be carried over: write it as key=value,..",
				option, value);
	return r == 0;
}

void rewriter_leave_out(struct rewriter *rw, const char *option, const char *value, const char *why)
{
	AUTO_FREE char *what = NULL;

	if (asprintf(&what, "-%s", option) < 0) {
		what = NULL;
		rw->error = -ENOMEM;
		return;
	}
	rewriter_note(rw, REWRITE_LEFT_OUT, what, value ? value : "", why);
}

/* ---- handlers */

static void drop_ours(struct rewriter *rw, const char *option, const char *value)
{
	rewriter_leave_out(rw, option, value, "the agent sets it");
}

static void drop_memory(struct rewriter *rw, const char *option, const char *value)
{
	rewriter_leave_out(rw, option, value, "the agent puts guest RAM on a file in state_dir");
}

static void drop_start(struct rewriter *rw, const char *option, const char *value)
{
	rewriter_leave_out(rw, option, value, "the standby gets its state from the primary");
}

static void drop_descriptor(struct rewriter *rw, const char *option, const char *value)
{
	rewriter_leave_out(rw, option, value, "a manager's open descriptor");
}

static void refuse_file(struct rewriter *rw, const char *option, const char *value)
{
	rewriter_refuse(rw,
			"-%s %s: its content is not read: start QEMU with these options on its "
			"command line",
			option, value);
}

static void refuse_numa(struct rewriter *rw, const char *option, const char *value)
{
	rewriter_refuse(rw, "-%s %s: guest RAM must be one piece; start the guest without NUMA",
			option, value);
}

/* Write the running machine's versioned name: with it, a newer QEMU makes the same machine. */
static void rewrite_machine(struct rewriter *rw, const char *option, const char *value)
{
	struct option_list list;

	if (!rewriter_parse(rw, option, value, "type", &list))
		return;
	option_drop(&list, "memory-backend");
	option_drop(&list, "type");
	if (!rw->has_machine) {
		struct option_list versioned = {0};

		option_set(&versioned, "", rw->in->info->machine);
		for (size_t i = 0; i < list.n; i++)
			option_set(&versioned, list.items[i].key, list.items[i].value);
		rewriter_emit_list(rw, "machine", &versioned);
		option_done(&versioned);
		rw->has_machine = true;
	} else if (list.n > 0) {
		rewriter_emit_list(rw, "machine", &list);
	}
	option_done(&list);
}

static void rewrite_ram(struct rewriter *rw, const char *option, const char *value)
{
	rw->has_ram = true;
	rewriter_emit(rw, option, value);
}

static void rewrite_file(struct rewriter *rw, const char *option, const char *value)
{
	AUTO_FREE char *what = NULL;
	AUTO_FREE char *there = NULL;

	/* QEMU looks for a plain name in its own data directories. */
	if (!strchr(value, '/') && (strcmp(option, "bios") == 0 || strcmp(option, "L") == 0)) {
		rewriter_emit(rw, option, value);
		return;
	}
	if (asprintf(&what, "-%s", option) < 0) {
		what = NULL;
		rw->error = -ENOMEM;
		return;
	}
	there = rewriter_path(rw, strcmp(option, "D") == 0 ? REWRITE_MADE : REWRITE_FILE, what,
			      NULL, value);
	if (there)
		rewriter_emit(rw, option, there);
}

/* Carry over an option whose value is a list of settings, and replace the paths in it. */
static void rewrite_list(struct rewriter *rw, const char *option, const char *value)
{
	static const char *const keys[] = {"file", "romfile", "path", "dir", "splash"};
	struct option_list list;
	AUTO_FREE char *what = NULL;
	bool has_path = false;

	if (!rewriter_parse(rw, option, value, "", &list))
		return;
	if (asprintf(&what, "-%s", option) < 0) {
		what = NULL;
		rw->error = -ENOMEM;
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys) && what; i++) {
		const char *path = option_get(&list, keys[i]);

		if (!path || !strchr(path, '/'))
			continue;
		has_path = true;
		rewriter_list_path(rw, REWRITE_FILE, what, NULL, &list, keys[i]);
	}
	if (has_path)
		rewriter_emit_list(rw, option, &list);
	else
		rewriter_emit(rw, option, value); /* unchanged: a printed list would lose the types
						   * of JSON values */
	option_done(&list);
}

static const struct {
	const char *name;
	rewriter_fn fn;
} handlers[] = {
	{"S", drop_ours},
	{"incoming", drop_ours},
	{"qmp", drop_ours},
	{"qmp-pretty", drop_ours},
	{"pidfile", drop_ours},
	{"daemonize", drop_ours},
	{"loadvm", drop_start},
	{"snapshot", drop_start},
	{"mem-path", drop_memory},
	{"mem-prealloc", drop_memory},
	{"add-fd", drop_descriptor},
	{"numa", refuse_numa},
	{"readconfig", refuse_file},
	{"M", rewrite_machine},
	{"machine", rewrite_machine},
	{"m", rewrite_ram},
	{"drive", rewrite_drive},
	{"hda", rewrite_short_drive},
	{"hdb", rewrite_short_drive},
	{"hdc", rewrite_short_drive},
	{"hdd", rewrite_short_drive},
	{"fda", rewrite_short_drive},
	{"fdb", rewrite_short_drive},
	{"pflash", rewrite_short_drive},
	{"sd", rewrite_short_drive},
	{"blockdev", rewrite_blockdev},
	{"netdev", rewrite_netdev},
	{"nic", rewrite_netdev},
	{"net", rewrite_netdev},
	{"chardev", rewrite_chardev},
	{"mon", rewrite_mon},
	{"serial", rewrite_serial},
	{"parallel", rewrite_serial},
	{"monitor", rewrite_serial},
	{"debugcon", rewrite_serial},
	{"gdb", rewrite_serial},
	{"vnc", rewrite_address},
	{"spice", rewrite_address},
	{"object", rewrite_object},
	{"kernel", rewrite_file},
	{"initrd", rewrite_file},
	{"dtb", rewrite_file},
	{"bios", rewrite_file},
	{"L", rewrite_file},
	{"option-rom", rewrite_file},
	{"cdrom", rewrite_file},
	{"D", rewrite_file},
	{"device", rewrite_list},
	{"fw_cfg", rewrite_list},
	{"acpitable", rewrite_list},
	{"smbios", rewrite_list},
	{"boot", rewrite_list},
	{"fsdev", rewrite_list},
	{"virtfs", rewrite_list},
};

/* ---- all words */

static bool is_flag(const char *option)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strcmp(flags[i], option) == 0)
			return true;
	return false;
}

static void rewrite_option(struct rewriter *rw, const char *option, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (strcmp(handlers[i].name, option) == 0 && (value || is_flag(option))) {
			handlers[i].fn(rw, option, value);
			return;
		}
	}
	rewriter_emit(rw, option, value);
}

/* Find the id of the main memory's back end. Call this before the first -object is carried over. */
static int find_main_memory(struct rewriter *rw, char **ret_id)
{
	for (size_t i = 1; i + 1 < rw->in->n_words; i++) {
		const char *word = rw->in->words[i];
		struct option_list list;
		const char *id;

		if (strcmp(word, "-M") != 0 && strcmp(word, "-machine") != 0)
			continue;
		if (option_parse(rw->in->words[i + 1], "type", &list) < 0)
			continue; /* rewrite_machine() adds an obstacle for it */
		id = option_get(&list, "memory-backend");
		*ret_id = id ? strdup(id) : NULL;
		option_done(&list);
		if (id)
			return *ret_id ? 0 : -ENOMEM;
	}
	return 0;
}

static void walk(struct rewriter *rw)
{
	const struct rewrite_input *in = rw->in;

	emit_word(rw, in->program);
	for (size_t i = 1; i < in->n_words && rw->error == 0; i++) {
		const char *option = in->words[i];

		if (*option != '-') {
			rewrite_short_drive(rw, "hda", option); /* an image without an option is the
								 * first disk */
			continue;
		}
		option += option[1] == '-' ? 2 : 1;
		if (is_flag(option) || i + 1 == in->n_words)
			rewrite_option(rw, option, NULL);
		else
			rewrite_option(rw, option, in->words[++i]);
	}
	/* Add what the primary's command leaves to QEMU's defaults. */
	if (!rw->has_machine)
		rewriter_emit(rw, "machine", in->info->machine);
	if (!rw->has_ram) {
		char ram[32];

		(void)snprintf(ram, sizeof(ram), "%" PRIu64 "M", in->info->ram_bytes >> 20);
		rewriter_emit(rw, "m", ram);
	}
	rewrite_check_disks(rw);
}

/* Let the standby's own parser check the command. A command that the parser refuses must not be
 * written. */
static void check(struct rewriter *rw)
{
	AUTO_FREE char *text = rewrite_print(&rw->out.command);
	struct cmdline read = {0};
	struct error error;
	int r;

	if (!text) {
		rw->error = -ENOMEM;
		return;
	}
	r = cmdline_parse(text, &read, &error);
	if (r == 0 && rw->out.taps_there.n > 0)
		r = cmdline_check_taps(&read, &rw->out.taps_there, &error);
	if (r == 0 && !cmdline_is_same(&read, &rw->out.command))
		r = error_set(&error, -EINVAL, "the standby would read its command differently");
	if (r == -ENOMEM)
		rw->error = r;
	else if (r < 0)
		rewriter_refuse(rw, "%s", error.text);
	else
		rw->out.command.ram_bytes = read.ram_bytes;
	cmdline_done(&read);
}

/* Choose the standby's name for the tap @here. */
static void rename_tap(struct rewriter *rw, const char *here)
{
	const char *there = rewriter_mapped(rw, here);

	if (!there)
		there = here;
	rewriter_note(rw, REWRITE_TAP, "tap", here, there);
	if (tap_names_add(&rw->out.taps_there, there) < 0)
		rewriter_refuse(rw,
				"the standby's tap for %s cannot be '%.40s': give --map %s=TAP "
				"with a name of at most %u characters that no other card has",
				here, there, here, TAP_NAME_BYTES - 1);
}

int rewrite_make(const struct rewrite_input *input, struct rewrite *ret_rewrite,
		 struct vmm_obstacles *obstacles)
{
	struct rewriter rw = {.in = input, .obstacles = obstacles};
	uint32_t n_before = obstacles->n;
	AUTO_FREE char *main_memory = NULL;

	rw.error = find_main_memory(&rw, &main_memory);
	rw.main_memory = main_memory;
	for (uint32_t i = 0; i < input->taps->n; i++)
		rename_tap(&rw, input->taps->taps[i].name);
	walk(&rw);
	/* If obstacles were added, the command is incomplete, and check() would only find errors
	 * that follow from these obstacles. */
	if (rw.error == 0 && obstacles->n == n_before)
		check(&rw);
	if (rw.error) {
		rewrite_done(&rw.out);
		return rw.error;
	}
	*ret_rewrite = rw.out;
	return 0;
}

void rewrite_done(struct rewrite *rewrite)
{
	cmdline_done(&rewrite->command);
	for (size_t i = 0; i < rewrite->n_things; i++) {
		free(rewrite->things[i].what);
		free(rewrite->things[i].here);
		free(rewrite->things[i].there);
	}
	for (size_t i = 0; i < VMM_DISKS_MAX; i++) {
		free(rewrite->image_there[i]);
		free(rewrite->image_here[i]);
	}
	*rewrite = (struct rewrite){0};
}

/* ---- text */

static bool is_plain(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_./:=,+%@^";

	return *word && word[strspn(word, plain)] == '\0';
}

/* Write @word so that cmdline_parse() reads it as one word. */
static void print_word(FILE *out, const char *word)
{
	if (is_plain(word)) {
		fputs(word, out);
		return;
	}
	fputc('\'', out);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", out);
		else
			fputc(*word, out);
	}
	fputc('\'', out);
}

char *rewrite_print(const struct cmdline *command)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (size_t i = 0; i < command->n_words; i++) {
		const char *word = command->words[i];

		if (i > 0)
			fputs(*word == '-' ? " \\\n\t" : " ", out);
		print_word(out, word);
	}
	fputc('\n', out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
