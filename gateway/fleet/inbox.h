/* inbox.h - queues the inputs of a VM that come while its last step waits for the disk.
 *
 * While a step's journal record is not durable, the VM can make no further step, so its inputs must
 * wait. Other VMs continue. Inputs keep their order. When an input comes, older inputs that no
 * longer matter because of it are removed. So the hosts cannot fill the inbox. The table says which
 * inputs are kept.
 *
 *	inputs                          which of them are kept
 *	SEEN, REPORT, OBEYS_ANOTHER     the last input of the kind from each host
 *	EPOCH_ACK                       the last input of each host and term
 *	CONTROL_UP, STREAM_UP           all, but a DOWN of the same host (and role) removes the UP
 *	CONTROL_DOWN                    the last input of each host
 *	STREAM_DOWN, _REFUSED, _FAILED  the last input of the kind for each host and role
 *	ORDER_DONE                      the last input for each order
 *	TICK                            none, because the next tick brings a newer time
 *	COMMAND, FENCED                 all, while there is room
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
	/* The input. The strings in it that come from a peer point to the copies below, or are
	 * NULL. Its evidence is NULL. */
	struct vm_input in;
	char text[WIRE_TEXT_MAX + 1];
	char throttle_why[WIRE_STATS_VALUE_MAX + 1];
	char clock_why[WIRE_STATS_VALUE_MAX + 1];
	char way[WIRE_STATS_VALUE_MAX + 1];
	char step[WIRE_STATS_VALUE_MAX + 1];
};

/* A zeroed object is an empty inbox. */
struct inbox {
	size_t n;
	struct inbox_entry list[INBOX_MAX];
};

/* Copy @in with its strings. @in may point to the member `in` of *@ret_entry. */
void inbox_copy(struct inbox_entry *ret_entry, const struct vm_input *in);

/* Add a copy of @in. Returns 0, or -EBUSY if there is no room. */
int inbox_put(struct inbox *box, const struct vm_input *in) __attribute__((warn_unused_result));

/* Remove the oldest input into *@ret_entry. Returns false if the inbox is empty. */
bool inbox_take(struct inbox *box, struct inbox_entry *ret_entry);

#endif
