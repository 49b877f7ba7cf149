/* agent_certificates.h - tells the operator, by the log, of changed certificate files and of those
 * that end soon. It only informs: each handshake reads new files by itself, and each connection
 * checks its peer again.
 * Where: agent.c calls it once a second. Threads: the agent's loop.
 */
#ifndef AGENT_CERTIFICATES_H
#define AGENT_CERTIFICATES_H

#include "wire/tls.h"

/* @peer_tls: of the side that serves peers, from the same files; NULL: there is none. */
void agent_certificates_tick(struct wire_tls_context *tls, struct wire_tls_context *peer_tls);

#endif
