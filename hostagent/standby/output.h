/* output.h - what to tell of a program's output, when the program has ended with an error.
 *
 * Why: a report has room for one line. QEMU's first line usually names the cause, and its last one
 * only says what follows from it ("load of migration failed: Invalid argument"). But warnings come
 * before the cause, a score of them under TCG. So tell the first line that is no warning, and the
 * last line if it is another one:
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

/* Write to @text (@size bytes, at least 64) the cause in @output (@n bytes, which are changed, and
 * have one more byte behind them), or "" if there is no line. Lines that are left out between the
 * two become "...". */
void output_cause(char *output, size_t n, char *text, size_t size);

#endif
