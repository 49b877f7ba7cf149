#include "arguments.h"

#include <getopt.h>
#include <stdio.h>

#include "certificates.h"
#include "fence/fence.h"
#include "fleet/fleet.h"

#define CONFIG_DEFAULT "/etc/holdfast/gateway.ini"

static void usage(FILE *out)
{
	fprintf(out,
		"usage: holdfast-gateway [--config FILE] [--check-config] [--help] [--version]\n"
		"\nCommits, relays and supervises the epochs of protected VMs.\n\n"
		"  --config FILE   read FILE instead of " CONFIG_DEFAULT "\n"
		"  --check-config  read FILE, the VMs' files and the certificates, print what\n"
		"                  they mean, end\n\n");
	config_print_help(out, gw_config_keys, gw_n_config_keys);
	fprintf(out, "\nIn each file of vm_dir:\n");
	config_print_help(out, gw_vm_config_keys, gw_n_vm_config_keys);
}

int arguments_check(const struct gw_config *config)
{
	static struct gw_vm_config vms[FLEET_VMS_MAX];
	struct error error;
	struct wire_tls_context *tls;
	int status = 0;
	size_t n;

	config_print_values(stdout, gw_config_keys, gw_n_config_keys, config);
	if (gw_config_load_vms(config, vms, FLEET_VMS_MAX, &n, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	for (size_t i = 0; i < n; i++) {
		if (vms[i].fault[0]) {
			fprintf(stderr, "%s\n", vms[i].fault);
			status = 1;
			continue;
		}
		printf("\n# %s/%s.ini\n", config->vm_dir, vms[i].name);
		config_print_values(stdout, gw_vm_config_keys, gw_n_vm_config_keys, &vms[i]);
		if (fence_check(vms[i].fence_command, &error) < 0) {
			fprintf(stderr, "%s/%s.ini: fence_command cannot be run: %s\n",
				config->vm_dir, vms[i].name, error.text);
			status = 1;
		}
	}
	if (certificates_open(config, &tls) < 0)
		return 1;
	wire_tls_context_free(tls);
	return status;
}

int arguments_parse(int argc, char **argv, struct arguments *ret_arguments)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 'k'},
		{"replaces", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int c;

	*ret_arguments = (struct arguments){.config_path = CONFIG_DEFAULT};
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			ret_arguments->config_path = optarg;
			break;
		case 'k':
			ret_arguments->is_check = true;
			break;
		case 'r':
			ret_arguments->replaces = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'v':
			printf("holdfast-gateway %s\n", HOLDFAST_VERSION);
			return 0;
		default:
			fprintf(stderr, "try: holdfast-gateway --help\n");
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "holdfast-gateway: unexpected argument '%s'\n", argv[optind]);
		return 2;
	}
	return -1;
}
