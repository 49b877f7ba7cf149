/* show.h - prints the gateway's answers as human-readable text. Pure: reads JSON, writes to a FILE.
 * Unknown and missing members of the answer are skipped, because another version of the gateway may
 * send other members.
 * Where: ctl/verbs.c and ctl/main.c call it. Threads: one.
 */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include <jansson.h>
#include <stdio.h>

/* Each of the next five functions prints the answer to one verb. */
void show_status(FILE *out, const json_t *answer);
void show_vm(FILE *out, const json_t *answer);
void show_counters(FILE *out, const json_t *answer);
void show_event(FILE *out, const json_t *event);
void show_done(FILE *out, const json_t *answer);

/* Print each problem that `check` finds, one per line. Returns the number of problems. */
int show_check(FILE *out, const json_t *answer);

#endif
