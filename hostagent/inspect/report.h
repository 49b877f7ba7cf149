/* report.h - what the command `inspect` prints and writes: the report for a human, the VM's file
 * for each host, and what to do on the standby. Text only.
 *
 * Where: command.c. Threads: any (no state).
 */
#ifndef INSPECT_REPORT_H
#define INSPECT_REPORT_H

#include <stdio.h>

#include "inspect/look.h"
#include "inspect/rewrite.h"

struct report {
	const char *name; /* the VM's name */
	const char *qmp;
	const char *state_dir, *command_file; /* paths on the standby */
	const struct look *look;
	const struct rewrite *rewrite;
	const struct vmm_obstacles *obstacles;
};

/* Add an obstacle for each line of a VM's file that the agent could not read: a line that is too
 * long, or an image's path that the key `disks` cannot hold. */
void report_check_lines(const struct report *report, struct vmm_obstacles *obstacles);

/* Print what was found, the parts of the command that belong to one host or are left out (struct
 * rewrite_thing), and all obstacles. */
void report_print(FILE *out, const struct report *report);

/* Print the standby's steps as lines for a shell. */
void report_print_steps(FILE *out, const struct report *report);

/* Print the primary's vms/NAME.ini. */
void report_print_primary(FILE *out, const struct report *report);

/* Print the standby's vms/NAME.ini. */
void report_print_standby(FILE *out, const struct report *report);

#endif
