/* show.h - the gateway's answers as text for people. Pure: JSON in, lines to a FILE out. Where:
 * ctl/main.c. Threads: one. Unknown or missing members are left out and are never an error: a newer
 * gateway may send more.
 */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include <jansson.h>
#include <stdio.h>

void show_status(FILE *out, const json_t *answer);
void show_vm(FILE *out, const json_t *answer);
void show_counters(FILE *out, const json_t *answer);
void show_event(FILE *out, const json_t *event);
void show_done(FILE *out, const json_t *answer);

/* Print what `check` finds wrong, one line each. Returns the number of lines. */
int show_check(FILE *out, const json_t *answer);

#endif
