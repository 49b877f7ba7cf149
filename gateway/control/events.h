/* events.h - what happened: the last EVENTS_RING_MAX events in memory, all of them in a file.
 *
 * Why: `holdfastctl events` must answer after the fact, and a file must outlive the process. Each
 * event has a sequence number that goes on over restarts.
 * Where: control/control.c. Threads: the gateway's loop. events_add() makes one write(2); it never
 * fails: a full disk costs the file's lines, counted in `n_unwritten`, not the service.
 */
#ifndef CONTROL_EVENTS_H
#define CONTROL_EVENTS_H

#include <stdint.h>

#include "vm/fsm.h"
#include "wire/limits.h"

#define EVENTS_RING_MAX 1024

struct event {
	uint64_t seq;
	uint64_t wall_ns, mono_ns;
	char vm[WIRE_NAME_MAX + 1];
	char kind[16];
	char from[16], to[16];
	char text[VM_TEXT_MAX];
};

struct events; /* opaque */

/* Open DIR/events.jsonl for appending; its last line gives the next sequence number.
 * 0: *ret_events is the caller's; -errno; -ENOMEM. */
int events_open(const char *dir, uint64_t bytes_max, struct events **ret_events)
	__attribute__((warn_unused_result));
struct events *events_close(struct events *events); /* NULL is fine; returns NULL */

void events_add(struct events *events, const char *vm, const char *kind, const char *from,
		const char *to, const char *text);

/* Sequence numbers: of the oldest in memory, and of the next one. Equal: none. */
uint64_t events_first_seq(const struct events *events);
uint64_t events_next_seq(const struct events *events);

/* The event with number @seq, or NULL when it is not in memory. Valid until the next add. */
const struct event *events_get(const struct events *events, uint64_t seq);

/* One JSON line without newline, malloc'ed; NULL: out of memory. */
char *events_format(const struct event *event);

#endif
