/* tally.h - prints all counters when the daemon ends.
 *
 * Why: after an end, a log shows what the gateway did. Where: main.c, at the clean end only.
 * Threads: the gateway's loop, and a short-lived one for the output.
 */
#ifndef GATEWAY_TALLY_H
#define GATEWAY_TALLY_H

#include <stddef.h>

#include "fleet/fleet.h"
#include "loop/ports.h"

/* Write the counters of @fleet and of the open @ports into @text, as name=value lines. Returns the
 * size; what does not fit is left out. */
size_t tally_format(struct fleet *fleet, const struct ports *ports, char *text, size_t size);

/* Print @text after all else is closed. Waits a second at most: a pipe that nobody reads must not
 * delay the exit. */
void tally_print(const char *text, size_t size);

#endif
