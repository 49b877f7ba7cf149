/* witnessing.h - takes witness datagrams out of what a port received, before lwIP.
 *
 * Why: they are many, small, and anybody's: nothing of them may reach the TCP stack, and one that is
 * thrown away costs little.
 * Where: main.c asks for each frame of the backup network; calls stack/filter.h and witness/.
 * Threads: the gateway's loop. Never blocks or allocates.
 */
#ifndef GATEWAY_WITNESSING_H
#define GATEWAY_WITNESSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "session/gateway.h"

struct filter_rules;
struct port;

/* Is the frame a UDP datagram for us at the witness port? True: it is dealt with, whatever it held; the
 * caller frees it. False: it is another's. */
bool witnessing_input(struct gateway *gw, const struct filter_rules *rules, const uint8_t *data,
		      size_t size, uint64_t now_ns);

/* In a flood of refused datagrams, have the kernel drop what names no key of ours (witness/shield.h), and tell of
 * it. Once each turn; it looks some times a second. Where no kernel is asked for frames: no effect. */
void witnessing_shield(struct gateway *gw, struct port *port, uint64_t now_ns);

#endif
