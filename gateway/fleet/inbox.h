/* inbox.h - a VM's inputs that came while its last step waits for the disk.
 *
 * Why: a step whose journal record is not yet durable has had no effect, so the next one must wait.
 * Only this VM waits; the loop goes on. Inputs keep their order. An input that a newer one makes
 * pointless is dropped, so the inbox is bounded whatever the hosts do meanwhile:
 *
 *	SEEN, REPORT, EPOCH_ACK   the last one of each host
 *	CONTROL, STREAM up        cancelled by a later down; of downs one remains
 *	ORDER_DONE                the last one of each order
 *	TICK                      not kept: the next tick has the time
 *	COMMAND and others        all, as far as there is room
 *
 * Where: fleet_step.c. Pure: no clock, no I/O, no allocation. Threads: the gateway's loop.
 */
#ifndef FLEET_INBOX_H
#define FLEET_INBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "vm/fsm.h"
#include "wire/limits.h"

#define INBOX_MAX 48

struct inbox_entry {
	/* Its strings of a peer point into this entry, or are NULL. Evidence is NULL. */
	struct vm_input in;
	char text[WIRE_TEXT_MAX + 1];
	char throttle_why[WIRE_STATS_VALUE_MAX + 1];
	char clock_why[WIRE_STATS_VALUE_MAX + 1];
	char way[WIRE_STATS_VALUE_MAX + 1];
	char step[WIRE_STATS_VALUE_MAX + 1];
};

/* Zero-initialised. */
struct inbox {
	size_t n;
	struct inbox_entry list[INBOX_MAX];
};

/* Copy @in with its strings. They may be @ret_entry's own. */
void inbox_copy(struct inbox_entry *ret_entry, const struct vm_input *in);

/* Keep a copy of @in. 0; -EBUSY: no room, nothing was kept. */
int inbox_put(struct inbox *box, const struct vm_input *in) __attribute__((warn_unused_result));

/* Take the oldest. False: there is none. */
bool inbox_take(struct inbox *box, struct inbox_entry *ret_entry);

#endif
