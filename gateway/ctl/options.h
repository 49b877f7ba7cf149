/* options.h - the options of holdfastctl's command line.
 *
 * Where: main.c reads the command line with it. The words beside the options are verbs.h's.
 * Threads: one.
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/verbs.h"

#define OPTIONS_CONFIG_DEFAULT "/etc/holdfast/holdfastctl.ini"

struct options {
	const char *config, *gateway, *ca, *crl, *cert, *key;
	const char *to; /* value of --to; NULL: not given */
	const char *on; /* value of --on; NULL: not given */
	const char *with; /* value of --with; NULL: not given */
	const char *off; /* value of --off; NULL: not given */
	bool json, follow, no_wait, lose, torn, wait, leave, unprotected_ok;
	uint64_t timeout_s; /* value of --timeout; 0: not given */
};

/* Read the options in @argv with getopt_long(), which leaves optind at the first other word. Prints
 * the help, the version, or what is wrong. Returns -1 to continue, or the exit status. @o borrows
 * from @argv. */
int options_read(int argc, char **argv, struct options *o);

/* Check that each option goes with the verb, and print what does not. Returns 0, or the exit
 * status. */
int options_check(const struct verb *verb, const struct options *o);

/* Print that the command line is wrong: @what, and @which if it is not NULL. Returns 2, the exit
 * status. */
int options_misuse(const char *what, const char *which);

#endif
