/* arguments.h - the command line of holdfast-gateway.
 * Where: main.c calls it before everything else. Threads: one.
 */
#ifndef GATEWAY_ARGUMENTS_H
#define GATEWAY_ARGUMENTS_H

#include <stdbool.h>

#include "config/config.h"

struct arguments {
	const char *config_path; /* of the gateway's file; points into argv, or is a constant */
	bool is_check;		 /* --check-config */
	/* --replaces: we were started to replace the running program, which uses this state_dir;
	 * NULL: we were not */
	const char *replaces;
};

/* Parse the command line. Returns -1 and sets *ret_arguments if the gateway is to run. Otherwise
 * everything is said already, and it returns the exit status: 0, or 2 for a wrong command line. */
int arguments_parse(int argc, char **argv, struct arguments *ret_arguments)
	__attribute__((warn_unused_result));

/* Read the VMs' files and the certificates, print what they mean and what is wrong with them.
 * Returns the exit status: 0, or 1 if one of them is wrong. */
int arguments_check(const struct gw_config *config) __attribute__((warn_unused_result));

#endif
