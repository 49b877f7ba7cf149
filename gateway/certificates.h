/* certificates.h - reads the gateway's certificates, and reads them again when their files change.
 * Where: main.c calls it. Threads: the gateway's loop.
 */
#ifndef GATEWAY_CERTIFICATES_H
#define GATEWAY_CERTIFICATES_H

#include "config/config.h"
#include "fleet/fleet.h"
#include "wire/tls.h"

/* Read the certificate files that @config names. Check that they match each other and are issued to
 * a gateway. Returns 0 and sets *ret_context, which the caller then owns. On error, logs the error
 * and returns -errno. */
int certificates_open(const struct gw_config *config, struct wire_tls_context **ret_context)
	__attribute__((warn_unused_result));

/* If the files of @context have changed, read them again, and report this in the log and by an
 * event. Within a second, sessions_tick() and control_tick() then end each connection whose peer
 * the new files do not accept. Once a day, also report if one of the gateway's own certificates or
 * revocation lists expires within 30 days. Call this once a second, and at SIGHUP. */
void certificates_tick(struct wire_tls_context *context, struct fleet *fleet, uint64_t now_ns);

#endif
