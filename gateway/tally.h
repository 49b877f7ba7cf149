/* tally.h - prints all counters when the daemon ends.
 *
 * Where: main.c calls it when the daemon ends, but tally_format() only if the daemon was ready.
 * Threads: the gateway's loop, and a short-lived thread for the output.
 */
#ifndef GATEWAY_TALLY_H
#define GATEWAY_TALLY_H

#include <stddef.h>

#include "fleet/fleet.h"
#include "loop/ports.h"

/* Write the counters of @fleet and of the open @ports into @text, as name=value lines. Counters
 * that do not fit are left out. Returns the text's size. */
size_t tally_format(struct fleet *fleet, const struct ports *ports, char *text, size_t size);

/* Print @text to standard output. Call this after everything else is closed. Standard output can be
 * a pipe that nobody reads, so this waits for at most a second. */
void tally_print(const char *text, size_t size);

#endif
