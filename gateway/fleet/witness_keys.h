/* witness_keys.h - makes, sends and wipes the keys of witness datagrams. In these datagrams the
 * kernel of a VM's owner reports the guest's frames. The kernel signs each datagram with the key
 * (docs/wire-format.md 9).
 *
 * A key is valid for one owner in one term. The owner gets its first key when it has connected and
 * reported that it protects the VM in this term. After that it gets a new key every witness_rekey_s
 * seconds. An agent that does not understand WITNESS_KEY gets no key. While the gateway cannot
 * reach the owner, the owner's key stays valid, because the gateway needs the witness datagrams
 * most at that time. The key is wiped as soon as the VM's term or owner changes.
 *
 * At its start, the gateway chooses a random first key id and a random odd step. Each key id is the
 * previous id plus the step. So no id repeats within 2^32 keys. A restarted gateway is unlikely to
 * repeat the ids of its previous process. An attacker who does not see the datagrams cannot guess
 * an id.
 *
 * Where: fleet_step.c and fleet_report.c call it. Threads: the gateway's loop.
 */
#ifndef FLEET_WITNESS_KEYS_H
#define FLEET_WITNESS_KEYS_H

#include "fleet/fleet.h"

/* Send @vm's owner a key if one is due. Call after each report of the owner. */
void witness_keys_offer(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns);

/* Wipe @vm's key if the VM's term or owner has changed. Call after each step of @vm. */
void witness_keys_follow(struct fleet *fleet, struct fleet_vm *vm);

/* Send keys that are due, wipe previous keys that are no longer valid, and report forged datagrams.
 * Call this at each fleet_tick(). */
void witness_keys_tick(struct fleet *fleet, uint64_t now_ns);

/* Copy the witness receiver's counters into the fleet's counters. */
void witness_keys_count(struct fleet *fleet);

#endif
