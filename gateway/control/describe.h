/* describe.h - describes the gateway's state as JSON. Pure except for allocation (jansson).
 * Where: control/verbs.c calls it. Threads: the gateway's loop.
 * Every function returns a new reference, or NULL when out of memory.
 */
#ifndef CONTROL_DESCRIBE_H
#define CONTROL_DESCRIBE_H

#include <jansson.h>

#include "fleet/fleet.h"

/* Returns @text as a JSON string. Bytes that JSON does not allow become '?'. Such bytes can come
 * from a file or a peer, or from a character that a full buffer has cut in two. */
json_t *describe_text(const char *text);
/* Describe all VMs and hosts in brief. @gateway is this gateway's name. The answer leaves out no
 * VM, fault or host: if one cannot be described, returns NULL. */
json_t *describe_status(const struct fleet *fleet, const char *gateway, uint64_t now_ns);
/* Describe one VM in full. */
json_t *describe_vm(const struct fleet *fleet, const struct fleet_vm *vm, uint64_t now_ns);
/* Describe all counters of the gateway. */
json_t *describe_counters(struct fleet *fleet);

#endif
