/* events.h - keeps the last events in memory, and writes all events to files.
 *
 * `holdfastctl events` shows the events in memory. The files keep events after the process has
 * ended. The sequence numbers of events continue across restarts.
 *
 *      events_add(vm, kind) ──► within the VM's limit? ── yes ─► ring of the class, files
 *                                                       └ no ──► only counted
 *
 * If events were only counted, events_tick() later adds an event "suppressed" with their number.
 * For each class, it then also adds the newest of the counted events that changed a state (`to` is
 * set), unless a newer change of state was stored.
 *
 * Events that a peer can cause at will must not push important events out of memory. So there are
 * two classes of events. Each class has its own ring, and each VM has a limit for each class. All
 * events go to events.jsonl. Events of the important class, VITAL, go to audit.jsonl too. The kinds
 * of these events are "state", "operator", "gateway", "fence", "journal", "certificate",
 * "suppressed", and also "health" if the new word is a grave one (vm/health.h).
 *
 * Where: control/control.c. Threads: the gateway's loop. Each file has a thread that writes it
 * (base/spool.h), so only open and close block. If a disk is full or slow, the files lack lines,
 * but the service continues.
 */
#ifndef CONTROL_EVENTS_H
#define CONTROL_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "vm/fsm.h"
#include "wire/limits.h"

#define EVENTS_RING_MAX 1024 /* number of events kept in memory, for each class */
#define EVENTS_CLASSES	2

/* Limits for the events of one VM: this many events at once (burst), and one more per interval.
 * Each class (VITAL, which is important, and OTHERS) has its own limits. */
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

/* Open events.jsonl and audit.jsonl in @dir for appending. Each file holds at most @bytes_max
 * bytes; a full file is renamed to FILE.1, which replaces the previous FILE.1. The sequence numbers
 * continue from the files' last lines. Returns 0 and sets *ret_events, which the caller then owns.
 * Errors: -ENOMEM; another -errno if a file cannot be opened. */
int events_open(const char *dir, uint64_t bytes_max, struct events **ret_events)
	__attribute__((warn_unused_result));
struct events *events_close(struct events *events); /* close the files and free @events;
						     * NULL is fine; returns NULL */

/* Add an event. Returns true if the event was stored. Returns false if the event was only counted,
 * because @vm has had too many events of this class lately. A change of state to FAILED is always
 * stored. Events that are about no VM (@vm is "") have a limit of their own. */
bool events_add(struct events *events, uint64_t now_ns, const char *vm, const char *kind,
		const char *from, const char *to, const char *text);

/* For each VM that has had too many events, add an event that says how many were not stored. Call
 * this often; it acts at most once a second. */
void events_tick(struct events *events, uint64_t now_ns);

/* Returns the number of events in memory. */
uint64_t events_count(const struct events *events);
/* Returns the sequence number that the next event will get. */
uint64_t events_next_seq(const struct events *events);

/* Returns the oldest event in memory whose sequence number is at least @seq, or NULL if there is
 * none. The event is valid until the next events_add() or events_tick(). */
const struct event *events_from(const struct events *events, uint64_t seq);

/* Returns @event as one JSON line without newline, which the caller must free; NULL when out of
 * memory. */
char *events_format(const struct event *event);

#endif
