/* agent_certificates.h - logs when the certificate files have changed, and when a certificate will
 * soon expire. It reloads changed files and logs. (Each handshake would reload them too, and each
 * connection checks its peer again.)
 * Where: agent.c calls it once a second. Threads: the agent's loop.
 */
#ifndef AGENT_CERTIFICATES_H
#define AGENT_CERTIFICATES_H

#include "wire/tls.h"

/* Reload the files of @tls and @peer_tls that have changed. Log this, and log certificates that
 * will soon expire. @peer_tls: the TLS context of the server for other hosts, made from the same
 * files; NULL: there is no such server. */
void agent_certificates_tick(struct wire_tls_context *tls, struct wire_tls_context *peer_tls);

#endif
