/* witness_keys.h - keys that owners sign witness datagrams with (docs/wire-format.md 9).
 *
 * A key is for one owner in one term. It is due when the owner's control connection understands
 * WITNESS_KEY and its agent has reported, on that connection, that it protects the VM in this term.
 * Then it is sent on the first such report, on each new connection, and every witness_rekey_s. A
 * key stays valid while its owner cannot be reached, which is its purpose. It is wiped as soon as
 * term or owner change.
 *
 * Ids start at random and go on by a random odd step. So none comes back before 2^32 were given, a
 * restarted gateway does not repeat earlier ones, and an outsider who does not see the datagrams
 * cannot guess one.
 *
 * Where: fleet_step.c and fleet_report.c. Threads: the gateway's loop.
 */
#ifndef FLEET_WITNESS_KEYS_H
#define FLEET_WITNESS_KEYS_H

#include "fleet/fleet.h"

/* @vm's owner has just reported: send it a key if one is due. */
void witness_keys_offer(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns);

/* After a step of @vm: wipe its key if its term or owner changed. */
void witness_keys_follow(struct fleet *fleet, struct fleet_vm *vm);

/* Send keys that are due, wipe ended ones, report forgeries. */
void witness_keys_tick(struct fleet *fleet, uint64_t now_ns);

/* Copy the receiver's counters into the fleet's. */
void witness_keys_count(struct fleet *fleet);

#endif
