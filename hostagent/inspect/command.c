#include "inspect/command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "inspect/domain.h"
#include "inspect/look.h"
#include "inspect/report.h"
#include "inspect/rewrite.h"
#include "wire/text.h"

enum { EXIT_SOUND = 0, EXIT_OBSTACLES = 1, EXIT_USAGE = 2, EXIT_NO_QEMU = 3 };

struct inspect_options {
	const char *qmp, *domain, *name, *write_dir;
	bool force;
	struct rewrite_map maps[REWRITE_MAPS_MAX];
	size_t n_maps;
};

static void print_help(void)
{
	printf("usage: holdfast-agent inspect --qmp SOCKET | --domain NAME [--name VM]\n"
	       "                              [--map NAME=THERE]... [--write DIR [--force]]\n\n"
	       "Looks at a running QEMU without changing it. Prints what was found, all obstacles "
	       "to\n"
	       "its protection, and what belongs to this host.\n\n"
	       "  --qmp SOCKET      a QMP monitor of the QEMU that nobody else uses\n"
	       "  --domain NAME     instead: the QEMU that was started with -name NAME, for "
	       "example\n"
	       "                    by libvirt, and the first of its monitors that nobody uses\n"
	       "  --name VM         the VM's name in Holdfast (default: that of QEMU's -name)\n"
	       "  --map NAME=THERE  what NAME is on the standby: a path, tap, disk, chardev or\n"
	       "                    address as the report shows it; state_dir; command_file.\n"
	       "                    DISK=qcow2:PATH: its image there is qcow2, not raw\n"
	       "  --write DIR       write VM.ini, VM.standby.ini and VM.command to DIR\n"
	       "  --force           replace files that are there\n\n"
	       "Exit status: 0 it can be protected, 1 there are obstacles, 2 usage, 3 QEMU cannot "
	       "be\n"
	       "asked.\n");
}

static int usage(const char *format, const char *value)
{
	fprintf(stderr, "holdfast-agent inspect: ");
	fprintf(stderr, format, value);
	fprintf(stderr, "; see holdfast-agent inspect --help\n");
	return -EINVAL;
}

/* Split NAME=THERE in place, at the last `=`: NAME can be a path that contains `=`. */
static int add_map(struct inspect_options *options, char *text)
{
	char *equals = strrchr(text, '=');

	if (!equals || equals == text || !equals[1])
		return usage("--map %s: write NAME=THERE", text);
	if (options->n_maps == REWRITE_MAPS_MAX)
		return usage("--map %s: too many", text);
	*equals = '\0';
	options->maps[options->n_maps++] = (struct rewrite_map){.name = text, .there = equals + 1};
	return 0;
}

/* Parse the options. Returns 0; 1 after --help, which leaves nothing to do; or -EINVAL if the usage
 * is wrong. */
static int parse_options(int argc, char **argv, struct inspect_options *options)
{
	static const struct option table[] = {
		{"qmp", required_argument, NULL, 'q'},
		{"domain", required_argument, NULL, 'd'},
		{"name", required_argument, NULL, 'n'},
		{"map", required_argument, NULL, 'm'},
		{"write", required_argument, NULL, 'w'},
		{"force", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 'q':
			options->qmp = optarg;
			break;
		case 'd':
			options->domain = optarg;
			break;
		case 'n':
			options->name = optarg;
			break;
		case 'm':
			r = add_map(options, optarg);
			break;
		case 'w':
			options->write_dir = optarg;
			break;
		case 'f':
			options->force = true;
			break;
		case 'h':
			print_help();
			return 1;
		default:
			return -EINVAL;
		}
	}
	/* Exactly one of --qmp and --domain must be given, and no other arguments. */
	if (r == 0 && optind != argc)
		return usage("unexpected argument '%s'", argv[optind]);
	if (r == 0 && (options->qmp != NULL) == (options->domain != NULL))
		return usage("give one of %s", "--qmp SOCKET and --domain NAME");
	return r;
}

/* Returns the path of @name, which is one of the agent's own directories and files: the path that
 * the operator gave (--map), or @otherwise if the operator gave none. */
static const char *own_place(struct inspect_options *options, const char *name,
			     const char *otherwise)
{
	for (size_t i = 0; i < options->n_maps; i++) {
		if (strcmp(options->maps[i].name, name) == 0) {
			options->maps[i].is_used = true;
			return options->maps[i].there;
		}
	}
	return otherwise;
}

static int check_maps(const struct inspect_options *options)
{
	for (size_t i = 0; i < options->n_maps; i++)
		if (!options->maps[i].is_used)
			return usage("--map %s: QEMU has nothing of that name; the report without "
				     "--map shows the names",
				     options->maps[i].name);
	return 0;
}

/* ---- files */

static int write_text(const char *path, const char *text, bool force)
{
	AUTO_CLOSE int fd =
		open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (force ? O_TRUNC : O_EXCL),
		     0644);
	int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));

	if (r == -EEXIST)
		fprintf(stderr,
			"holdfast-agent inspect: %s is there already; --force replaces it\n", path);
	else if (r < 0)
		fprintf(stderr, "holdfast-agent inspect: %s: %s\n", path, strerror(-r));
	return r;
}

static int write_file(const struct inspect_options *options, const char *name, const char *suffix,
		      const char *text)
{
	AUTO_FREE char *path = NULL;
	int r;

	if (asprintf(&path, "%s/%s%s", options->write_dir, name, suffix) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = text ? write_text(path, text, options->force) : -ENOMEM;
	if (r == 0)
		printf("wrote %s\n", path);
	return r;
}

static char *text_of(void (*print)(FILE *out, const struct report *report),
		     const struct report *report)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	print(out, report);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static int write_files(const struct inspect_options *options, const struct report *report)
{
	AUTO_FREE char *primary = text_of(report_print_primary, report);
	AUTO_FREE char *standby = text_of(report_print_standby, report);
	AUTO_FREE char *command = rewrite_print(&report->rewrite->command);
	int r = fd_mkdir_p(options->write_dir, 0755);

	if (r < 0)
		fprintf(stderr, "holdfast-agent inspect: %s: %s\n", options->write_dir,
			strerror(-r));
	if (r == 0)
		r = write_file(options, report->name, ".ini", primary);
	if (r == 0)
		r = write_file(options, report->name, ".standby.ini", standby);
	if (r == 0)
		r = write_file(options, report->name, ".command", command);
	return r;
}

/* ---- the command */

static int report_all(struct inspect_options *options, struct report *report,
		      struct vmm_obstacles *obstacles)
{
	report_check_lines(report, obstacles);
	if (check_maps(options) < 0)
		return EXIT_USAGE;
	report_print(stdout, report);
	if (obstacles->n > 0) {
		if (options->write_dir)
			printf("Nothing is written while there are obstacles.\n");
		return EXIT_OBSTACLES;
	}
	report_print_steps(stdout, report);
	if (!options->write_dir)
		return EXIT_SOUND;
	printf("\n");
	if (write_files(options, report) < 0)
		return EXIT_OBSTACLES;
	printf("Copy %s.ini to vm_dir on this host; on the standby, %s.standby.ini to vm_dir as "
	       "%s.ini, and %s.command to %s.\n",
	       report->name, report->name, report->name, report->name, report->command_file);
	return EXIT_SOUND;
}

static int inspect_vm(struct inspect_options *options, const struct look *look,
		      struct vmm_obstacles *obstacles)
{
	const char *name = options->name ? options->name : look->name;
	char state_dir[128], command_file[128];
	struct rewrite rewrite = {0};
	struct report report = {
		.name = name,
		.qmp = options->qmp,
		.look = look,
		.rewrite = &rewrite,
		.obstacles = obstacles,
	};
	struct rewrite_input input = {
		.words = look->words,
		.n_words = look->n_words,
		.program = look->program,
		.cwd = look->cwd,
		.descriptors = &look->descriptors,
		.taps = &look->held,
		.info = &look->info,
		.disks = &look->disks,
		.maps = options->maps,
		.n_maps = options->n_maps,
	};
	int r;

	if (!wire_name_is_valid(name)) {
		(void)usage("the VM's name '%s' is not one of a-z, 0-9 and -: give it with --name",
			    name);
		return EXIT_USAGE;
	}
	/* Choose the agent's own paths on the standby. */
	(void)snprintf(state_dir, sizeof(state_dir), "/dev/shm/holdfast/%s", name);
	(void)snprintf(command_file, sizeof(command_file), "/etc/holdfast/vms/%s.command", name);
	report.state_dir = own_place(options, "state_dir", state_dir);
	report.command_file = own_place(options, "command_file", command_file);
	input.own_dir = report.state_dir;
	/* Make the standby's command; then print the report and write the files. */
	r = rewrite_make(&input, &rewrite, obstacles);
	if (r < 0) {
		fprintf(stderr, "holdfast-agent inspect: the standby's command: %s\n",
			strerror(-r));
		return EXIT_OBSTACLES;
	}
	r = report_all(options, &report, obstacles);
	rewrite_done(&rewrite);
	return r;
}

/* Look at the QEMU of the domain, through its first monitor that no other client uses. */
static int look_at_domain(const struct domain *domain, struct inspect_options *options,
			  struct look *ret_look, struct vmm_obstacles *obstacles,
			  struct error *ret_error)
{
	int r = -EBUSY;

	for (size_t i = 0; i < domain->n_monitors && r == -EBUSY; i++) {
		options->qmp = domain->monitors[i];
		r = look_at(options->qmp, ret_look, obstacles, ret_error);
	}
	return r;
}

int inspect_command(int argc, char **argv)
{
	AUTO_FREE struct vmm_obstacles *obstacles = calloc(1, sizeof(*obstacles));
	struct inspect_options options = {0};
	struct domain domain;
	AUTO_FREE struct look *look = calloc(1, sizeof(*look));
	struct error error;
	int r = parse_options(argc, argv, &options);

	if (r != 0)
		return r < 0 ? EXIT_USAGE : EXIT_SOUND;
	if (!obstacles || !look)
		return EXIT_OBSTACLES;
	if (options.domain)
		r = domain_find(options.domain, &domain, &error);
	if (r == 0)
		r = options.domain ? look_at_domain(&domain, &options, look, obstacles, &error)
				   : look_at(options.qmp, look, obstacles, &error);
	if (r < 0) {
		fprintf(stderr, "holdfast-agent inspect: %s\n", error.text);
		return EXIT_NO_QEMU;
	}
	r = inspect_vm(&options, look, obstacles);
	look_done(look);
	return r;
}
