/* events.h - what happened: the last events in memory, all of them in files.
 *
 * Why: `holdfastctl events` must answer after the fact, and a file must outlive the process. Each
 * event has a sequence number that goes on over restarts.
 *
 *	                     ┌─ limit of its VM ─ passed ─► ring of its class ─► spool ─► events.jsonl
 *	events_add(vm, kind) ┤                                                └► audit.jsonl (the first class)
 *	                     └─ too many: counted, told by an event "suppressed"
 *
 * Two classes, so that what a peer can cause at will does not push out what matters: "state", "operator",
 * "gateway", "fence", "journal", "certificate" and "suppressed" have a ring and a file of their own;
 * both have limits by VM.
 *
 * Where: control/control.c. Threads: the gateway's loop; the files are written by a thread (base/spool.h),
 * so nothing here blocks but open and close. A full disk costs the files' lines, counted, not the service.
 */
#ifndef CONTROL_EVENTS_H
#define CONTROL_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/fsm.h"
#include "wire/limits.h"

#define EVENTS_RING_MAX 1024 /* of each class */
#define EVENTS_CLASSES	2

/* By VM and class: this many at once, and one each so often for long. */
#define EVENTS_BURST_VITAL  100
#define EVENTS_BURST_OTHERS 50
#define EVENTS_EVERY_NS	    UINT64_C(1000000000)

struct event {
	uint64_t seq;
	uint64_t wall_ns, mono_ns;
	char vm[WIRE_NAME_MAX + 1];
	char kind[16];
	char from[16], to[16];
	char text[VM_TEXT_MAX];
};

struct events; /* opaque */

/* Open DIR/events.jsonl and DIR/audit.jsonl for appending, each of @bytes_max and one more of before; their
 * last lines give the next sequence number. 0: *ret_events is the caller's; -errno; -ENOMEM. */
int events_open(const char *dir, uint64_t bytes_max, struct events **ret_events)
	__attribute__((warn_unused_result));
struct events *events_close(struct events *events); /* NULL is fine; returns NULL */

/* False: one too many of this VM ("" is one too) at @now_ns; it is counted and not kept. */
bool events_add(struct events *events, uint64_t now_ns, const char *vm, const char *kind,
		const char *from, const char *to, const char *text);

/* Tell of what was suppressed, a VM at a time. Once a second is enough. */
void events_tick(struct events *events, uint64_t now_ns);

/* How many are in memory, and the sequence number of the next one. */
uint64_t events_count(const struct events *events);
uint64_t events_next_seq(const struct events *events);

/* The oldest event in memory with a number of @seq or more, or NULL. Valid until the next add. */
const struct event *events_from(const struct events *events, uint64_t seq);

/* One JSON line without newline, malloc'ed; NULL: out of memory. */
char *events_format(const struct event *event);

#endif
