/* output.h - picks what to report of the output of a program that has ended with an error.
 *
 * Why: a report has room for one line. QEMU's last line usually names only the consequence ("load
 * of migration failed: Invalid argument"). An earlier line names the cause. Warnings come before
 * the cause, about twenty of them under TCG. So report the first line that is not a warning. If the
 * last line is another line, report it too:
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

/* Write to @text (@size bytes, at least 64) the lines of @output that are to be reported, or "" if
 * it has no lines. If there are lines between the two reported lines, "..." stands for them.
 * @output has @n bytes and room for one byte more; this function may change all of them. */
void output_cause(char *output, size_t n, char *text, size_t size);

#endif
