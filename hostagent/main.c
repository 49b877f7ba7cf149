/* The program holdfast-agent, which runs on each hypervisor: reads options and configuration, then
 * calls agent_run(). */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "agent_check.h"
#include "config/agent_config.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/program.h"
#include "guard/guard_command.h"
#include "inspect/command.h"
#include "replace/onward.h"
#include "vmm/letgo.h"
#include "vmm/track.h"

#define DEFAULT_CONFIG "/etc/holdfast/agent.ini"

struct options {
	const char *config;
	bool check_config;
	/* version of the handover record that this program must be able to read; NULL: option not
	 * given */
	const char *check_onward;
	/* with check_onward: names of the VMs that are to be taken over; NULL-terminated */
	char **names;
};

static void print_help(void)
{
	printf("usage: holdfast-agent [--config FILE] [--check-config]\n"
	       "       holdfast-agent inspect --qmp SOCKET | --domain NAME [OPTION]...\n"
	       "                              (see inspect --help)\n"
	       "       holdfast-agent shutdown-guard [OPTION]...\n"
	       "                              (see shutdown-guard --help)\n\n"
	       "Protects this host's virtual machines and keeps standbys for others.\n\n"
	       "  --config FILE   configuration (default " DEFAULT_CONFIG ")\n"
	       "  --check-config  read and check all files, print the values in force, exit\n"
	       "  --check-onward VERSION [VM...]\n"
	       "                  check all files, and say whether this program can take over\n"
	       "                  these VMs from an agent; SIGUSR2 makes an agent ask this\n"
	       "  --version       print the version\n"
	       "  --help          this text\n\n");
	agent_config_print_help(stdout);
}

/* Parse the options. Returns 0 if the agent is to be started; 1 if the program can end with status
 * 0; -EINVAL if the usage is wrong. */
static int parse_options(int argc, char **argv, struct options *ret_options)
{
	static const struct option table[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 'k'},
		{"check-onward", required_argument, NULL, 'o'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct options options = {.config = DEFAULT_CONFIG};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 'c':
			options.config = optarg;
			break;
		case 'k':
			options.check_config = true;
			break;
		case 'o':
			options.check_onward = optarg;
			break;
		case 'V':
			printf("holdfast-agent %s\n", HOLDFAST_VERSION);
			return 1;
		case 'h':
			print_help();
			return 1;
		default:
			return -EINVAL;
		}
	}
	options.names = argv + optind;
	if (optind != argc && !options.check_onward) {
		fprintf(stderr, "holdfast-agent: unexpected argument '%s'; see --help\n",
			argv[optind]);
		return -EINVAL;
	}
	*ret_options = options;
	return 0;
}

/* Can this program take over from an agent that hands on a record of @version? Returns the exit
 * status. */
static int check_onward(const struct agent_config *config, const char *version, char **names)
{
	for (uint32_t i; *names; names++) {
		for (i = 0; i < config->n_vms; i++)
			if (strcmp(config->vms[i].name, *names) == 0 && !*config->vms[i].fault)
				break;
		if (i < config->n_vms)
			continue;
		log_error("vm=%s is protected here, but vm_dir has no good file for it any more",
			  *names);
		return 1;
	}

	if (strtoul(version, NULL, 10) != ONWARD_VERSION) {
		log_error("an agent that hands on version %s cannot be taken over by this program, "
			  "which reads version %u: restart the agent instead", version,
			  ONWARD_VERSION);
		return 1;
	}
	return agent_check(config, stderr) == 0 ? 0 : 1;
}

/* Check what this host can do. @is_next: this program has replaced one that tracked guests. These
 * guests stand still now, so no time must be spent on a probe of tracking. */
static int check_machine(bool is_next)
{
	struct error error;

	if (fault_init(&error) < 0) {
		log_error("%s", error.text);
		return -EINVAL;
	}
	if (!is_next && track_probe(&error) < 0) {
		/* This is not an error: a host that only keeps standbys needs no tracking. */
		log_warn("this host cannot be a primary: %s", error.text);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options;
	struct agent_config config;
	struct onward *onward;
	struct error error;
	int r;

	program_started_as(argv[0]);
	if (argc > 1 && strcmp(argv[1], "inspect") == 0)
		return inspect_command(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "shutdown-guard") == 0)
		return guard_command(argc - 1, argv + 1);
	r = parse_options(argc, argv, &options);
	if (r != 0)
		return r < 0 ? 2 : 0;
	if (log_init() < 0) {
		fprintf(stderr, "holdfast-agent: HOLDFAST_LOG names no level; "
				"use error, warn, info or debug\n");
		return 2;
	}
	r = agent_config_load(options.config, &config, &error);
	if (r < 0) {
		log_error("%s", error.text);
		return 1;
	}
	if (options.check_config) {
		agent_config_print(stdout, &config);
		r = agent_check(&config, stderr) == 0 ? 0 : 1;
		agent_config_done(&config);
		return r;
	}
	if (options.check_onward) {
		r = check_onward(&config, options.check_onward, options.names);
		agent_config_done(&config);
		return r;
	}
	if (!getenv("HOLDFAST_LOG"))
		log_set_level((enum log_level)config.log_level);
	onward_take(&onward);
	r = check_machine(onward != NULL);
	/* early, because it forks, which is cheap while this process is small */
	if (r == 0 && letgo_init(!onward) < 0)
		log_warn(
			"no process can be made: should this agent die in a pause, its guest waits "
			"longer, ignoring");
	if (r == 0)
		r = agent_run(&config, options.config, onward);
	onward_free(onward);
	agent_config_done(&config);
	return r < 0 ? 1 : 0;
}
