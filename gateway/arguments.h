/* arguments.h - the command line of holdfast-gateway.
 * Where: main.c calls it before everything else. Threads: one.
 */
#ifndef GATEWAY_ARGUMENTS_H
#define GATEWAY_ARGUMENTS_H

#include <stdbool.h>

#include "config/config.h"

struct arguments {
	const char *config_path; /* the gateway's file; points into argv, or is a constant */
	bool is_check;		 /* --check-config */
	/* value of --replaces: state_dir of the running program that this process must replace;
	 * NULL: this process replaces no program */
	const char *replaces;
};

/* Parse the command line. Returns -1 and sets *ret_arguments if the gateway must run. Otherwise
 * prints what is needed (help, the version, or what is wrong) and returns the exit status: 0, or 2
 * if the command line is wrong. */
int arguments_parse(int argc, char **argv, struct arguments *ret_arguments)
	__attribute__((warn_unused_result));

/* Check the VMs' files and the certificates. Prints the settings of the gateway and the VMs, and
 * the errors. Returns the exit status: 0, or 1 if something is wrong. */
int arguments_check(const struct gw_config *config) __attribute__((warn_unused_result));

#endif
