/* events.h - the last events in memory, and all of them in files.
 *
 * Why: `holdfastctl events` must show past events, and a file must outlive the process. Sequence
 * numbers of events continue over restarts.
 *
 *	                     ┌─ limit of its VM ─ passed ─► ring of its class ─► spool ─► events.jsonl
 *	events_add(vm, kind) ┤                                                └► audit.jsonl (the first class)
 *	                     └─ too many: counted, reported by an event "suppressed"; the newest change
 *	                        (`to` is set) is told behind it, so that the last one told is true
 *
 * Events a peer can cause at will must not push out important ones, so there are two classes.
 * "state", "operator", "gateway", "fence", "journal", "certificate" and "suppressed" have their own
 * ring and file. Both classes have limits for each VM.
 *
 * Where: control/control.c. Threads: the gateway's loop. A thread writes the files (base/spool.h),
 * so nothing here blocks except open and close. On a full disk lines of the files are lost (and
 * counted), but the service goes on.
 */
#ifndef CONTROL_EVENTS_H
#define CONTROL_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "vm/fsm.h"
#include "wire/limits.h"

#define EVENTS_RING_MAX 1024 /* of each class */
#define EVENTS_CLASSES	2

/* Per VM and class: a burst of this many, then one per interval. */
#define EVENTS_BURST_VITAL  100
#define EVENTS_BURST_OTHERS 50
#define EVENTS_EVERY_NS	    CLOCK_NS_PER_S

struct event {
	uint64_t seq;
	uint64_t wall_ns, mono_ns;
	char vm[WIRE_NAME_MAX + 1];
	char kind[16];
	char from[16], to[16];
	char text[VM_TEXT_MAX];
};

struct events; /* opaque */

/* Open DIR/events.jsonl and DIR/audit.jsonl for appending. Each has at most @bytes_max, and one
 * older file beside it. Their last lines give the next sequence number. 0: *ret_events is the
 * caller's; -errno; -ENOMEM. */
int events_open(const char *dir, uint64_t bytes_max, struct events **ret_events)
	__attribute__((warn_unused_result));
struct events *events_close(struct events *events); /* NULL is fine; returns NULL */

/* Add an event. False: too many of this VM ("" counts as a VM) at @now_ns; the event is counted,
 * not kept. */
bool events_add(struct events *events, uint64_t now_ns, const char *vm, const char *kind,
		const char *from, const char *to, const char *text);

/* Report what was suppressed, one VM at a time. Once a second is enough. */
void events_tick(struct events *events, uint64_t now_ns);

/* The number of events in memory, and the sequence number of the next one. */
uint64_t events_count(const struct events *events);
uint64_t events_next_seq(const struct events *events);

/* The oldest event in memory numbered @seq or higher, or NULL. Valid until the next add. */
const struct event *events_from(const struct events *events, uint64_t seq);

/* One JSON line without newline, malloc'ed; NULL: out of memory. */
char *events_format(const struct event *event);

#endif
