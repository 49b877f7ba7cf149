/* output.h - picks what to report from a program's output when the program has ended with an error.
 *
 * Why: a report has room for one line. QEMU's last line usually names only the consequence ("load
 * of migration failed: Invalid argument"). An earlier line names the cause. Warnings come before
 * the cause, about twenty of them under TCG. So report the first line that is not a warning, and
 * also the last line if it is a different one:
 *
 *	qemu: warning: TCG doesn't support requested feature: ...
 *	qemu: Not a migration stream
 *	qemu: load of migration failed: Invalid argument
 *
 * becomes "qemu: Not a migration stream | qemu: load of migration failed: Invalid argument".
 *
 * Where: qemu.c and rawview.c. Pure; threads: any.
 */
#ifndef STANDBY_OUTPUT_H
#define STANDBY_OUTPUT_H

#include <stddef.h>

/* Write to @text (@size bytes, at least 64) the lines of @output to report, or "" if there is no
 * line. If other lines are between the two reported lines, "..." stands for them. @output has @n
 * bytes and room for one more byte; all of them may be changed. */
void output_cause(char *output, size_t n, char *text, size_t size);

#endif
