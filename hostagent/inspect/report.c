#include "inspect/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/config.h"

/* ---- the files */

/* Print the lines `disks =` of a VM's file, one for each disk. If @there, print the standby's
 * images; if not, the primary's. */
static void print_disks(FILE *out, const struct report *report, bool there)
{
	const struct vmm_disks *disks = &report->look->disks;

	for (uint32_t i = 0; i < disks->n; i++) {
		const struct vmm_disk *disk = &disks->disks[i];
		const char *image = report->rewrite->image_there[i];
		bool is_qcow2 = there ? report->rewrite->qcow2_there[i]
				      : strcmp(disk->format, "qcow2") == 0;

		fprintf(out, "disks = %s:%s%s\n", disk->name, is_qcow2 ? "qcow2:" : "",
			!there  ? disk->file
			: image ? image
				: "?");
	}
}

void report_print_primary(FILE *out, const struct report *report)
{
	const struct vmm_taps *taps = &report->look->held;

	fprintf(out,
		"# %s on its primary, as `holdfast-agent inspect` found it.\n"
		"[vm]\nname = %s\nqmp = %s\ntap =",
		report->name, report->name, report->qmp);
	for (uint32_t i = 0; i < taps->n; i++)
		fprintf(out, " %s", taps->taps[i].name);
	fprintf(out, "\n");
	print_disks(out, report, false);
}

void report_print_standby(FILE *out, const struct report *report)
{
	char taps[TAP_NAMES_TEXT_MAX];

	fprintf(out,
		"# %s on its standby, as `holdfast-agent inspect` found it on the primary.\n"
		"[vm]\nname = %s\ntap = %s\n",
		report->name, report->name,
		tap_names_print(&report->rewrite->taps_there, " ", taps, sizeof(taps)));
	print_disks(out, report, true);
	fprintf(out, "\n[standby]\nstate_dir = %s\ncommand_file = %s\n", report->state_dir,
		report->command_file);
}

static void check_text(const char *text, size_t size, struct vmm_obstacles *obstacles)
{
	struct error error;

	for (const char *line = text, *end; (end = memchr(line, '\n', size)); line = end + 1) {
		size -= (size_t)(end + 1 - line);
		if (*line == '#' || end - line <= CONFIG_LINE_MAX)
			continue;
		(void)error_set(
			&error, 0,
			"%.*s.. has %d characters, and a line of a VM's file may have %d: give "
			"the image a shorter path (a link)",
			40, line, (int)(end - line), CONFIG_LINE_MAX);
		vmm_obstacles_add(obstacles, &error);
	}
}

/* Check that the path @image can be written in the key `disks`. The key takes absolute paths with
 * blanks between them, so a path must not contain a blank. */
static void check_image(const char *disk, const char *image, struct vmm_obstacles *obstacles)
{
	struct error error;

	if (!image || (*image == '/' && !strpbrk(image, " \t")))
		return;
	(void)error_set(&error, 0,
			"disk %s: `disks =` cannot name the image '%s': it takes an absolute path "
			"without blanks; start the guest with such a path (a link)",
			disk, image);
	vmm_obstacles_add(obstacles, &error);
}

void report_check_lines(const struct report *report, struct vmm_obstacles *obstacles)
{
	AUTO_FREE char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (uint32_t i = 0; i < report->look->disks.n; i++) {
		const char *name = report->look->disks.disks[i].name;

		check_image(name, report->rewrite->image_here[i], obstacles);
		check_image(name, report->rewrite->image_there[i], obstacles);
	}
	if (!out)
		return;
	report_print_primary(out, report);
	report_print_standby(out, report);
	if (fclose(out) == 0)
		check_text(text, size, obstacles);
}

/* ---- the report */

static void print_found(FILE *out, const struct report *report)
{
	const struct vmm_info *info = &report->look->info;

	fprintf(out, "%s: QEMU %s, process %d, %s\n", report->name, info->qemu_version, info->pid,
		info->runstate);
	fprintf(out, "  machine  %s, %u vCPUs, %" PRIu64 " MiB\n", info->machine, info->n_vcpus,
		info->ram_bytes >> 20);
	for (uint32_t i = 0; i < info->n_nics; i++) {
		const struct vmm_nic *nic = &info->nics[i];

		fprintf(out, "  card     %s, %s, %02x:%02x:%02x:%02x:%02x:%02x%s\n", nic->name,
			nic->type, nic->mac[0], nic->mac[1], nic->mac[2], nic->mac[3], nic->mac[4],
			nic->mac[5], nic->is_offload ? ", offloads on" : "");
	}
	for (uint32_t i = 0; i < report->look->taps.n; i++) {
		const char *bridge = report->look->bridge[i];

		fprintf(out, "  tap      %s%s%s\n", report->look->taps.taps[i].name,
			*bridge ? " in bridge " : "", bridge);
	}
	for (uint32_t i = 0; i < report->look->disks.n; i++) {
		const struct vmm_disk *disk = &report->look->disks.disks[i];

		fprintf(out, "  disk     %s, %" PRIu64 " MiB, %s%s, %s\n", disk->name,
			disk->size_bytes >> 20, disk->format, disk->has_backing ? " on a base" : "",
			disk->file);
	}
}

static void print_things(FILE *out, const struct report *report)
{
	static const struct {
		enum rewrite_kind kind;
		const char *title;
	} groups[] = {
		{REWRITE_TAP, "taps that you make on the standby"},
		{REWRITE_IMAGE, "images, empty at first; raw on the standby, or qcow2:PATH"},
		{REWRITE_FILE, "files that must be the same on the standby"},
		{REWRITE_MADE, "what QEMU makes or listens at"},
		{REWRITE_LEFT_OUT, "left out on the standby"},
	};

	fprintf(out, "\nWhat belongs to this host, and what it becomes on the standby (--map "
		     "NAME=..):\n");
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		bool is_first = true;

		for (size_t i = 0; i < report->rewrite->n_things; i++) {
			const struct rewrite_thing *thing = &report->rewrite->things[i];

			if (thing->kind != groups[g].kind)
				continue;
			if (is_first)
				fprintf(out, "  %s\n", groups[g].title);
			is_first = false;
			if (thing->kind == REWRITE_LEFT_OUT)
				fprintf(out, "    %s%s%s: %s\n", thing->what,
					*thing->here ? " " : "", thing->here, thing->there);
			else if (strcmp(thing->here, thing->there) == 0)
				fprintf(out, "    %s: %s\n", thing->what, thing->here);
			else
				fprintf(out, "    %s: %s -> %s\n", thing->what, thing->here,
					thing->there);
		}
	}
	fprintf(out, "  the agent's\n    state_dir: %s\n    command_file: %s\n", report->state_dir,
		report->command_file);
}

static void print_obstacles(FILE *out, const struct vmm_obstacles *obstacles)
{
	uint32_t n = obstacles->n + obstacles->n_dropped;

	if (n == 0) {
		fprintf(out, "\nNo obstacle: it can be protected as it is.\n");
		return;
	}
	fprintf(out, "\n%u obstacle%s:\n", n, n == 1 ? "" : "s");
	for (uint32_t i = 0; i < obstacles->n; i++)
		fprintf(out, "  %u. %s\n", i + 1, obstacles->items[i].text);
	if (obstacles->n_dropped > 0)
		fprintf(out, "  and %u more\n", obstacles->n_dropped);
}

void report_print(FILE *out, const struct report *report)
{
	print_found(out, report);
	print_things(out, report);
	print_obstacles(out, report->obstacles);
}

/* ---- the standby's steps */

static bool is_device(const char *path)
{
	return strncmp(path, "/dev/", 5) == 0 && strncmp(path, "/dev/shm/", 9) != 0;
}

void report_print_steps(FILE *out, const struct report *report)
{
	const struct rewrite *rewrite = report->rewrite;

	fprintf(out, "\nOn the standby, as root:\n");
	for (uint32_t i = 0; i < report->look->disks.n; i++) {
		const char *image = rewrite->image_there[i];
		uint64_t bytes = report->look->disks.disks[i].size_bytes;

		if (image && is_device(image) && !rewrite->qcow2_there[i])
			fprintf(out, "  # %s: a block device of %" PRIu64 " bytes\n", image, bytes);
		else if (image && rewrite->qcow2_there[i])
			fprintf(out, "  qemu-img create -f qcow2 '%s' %" PRIu64 "\n", image,
				bytes);
		else if (image)
			fprintf(out, "  truncate -s %" PRIu64 " '%s'\n", bytes, image);
	}
	for (size_t i = 0; i < rewrite->n_things; i++)
		if (rewrite->things[i].kind == REWRITE_FILE)
			fprintf(out, "  # %s: the primary's %s\n", rewrite->things[i].there,
				rewrite->things[i].here);
	for (uint32_t i = 0; i < rewrite->taps_there.n; i++) {
		const char *tap = rewrite->taps_there.name[i], *bridge = report->look->bridge[i];

		fprintf(out,
			"  # tap %s, in the bridge of this card's network (on the primary: %s), as "
			"you make taps:\n",
			tap, bridge);
		fprintf(out, "  ip tuntap add dev %s mode tap && ip link set %s master %s up\n",
			tap, tap, *bridge ? bridge : "BRIDGE");
	}
	fprintf(out, "  install -d -m 700 '%s'\n", report->state_dir);
}
