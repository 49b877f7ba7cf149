/* certificates.h - reads the gateway's certificates, and reads them again when their files change.
 * Where: main.c calls it. Threads: the loop's.
 */
#ifndef GATEWAY_CERTIFICATES_H
#define GATEWAY_CERTIFICATES_H

#include "config/config.h"
#include "fleet/fleet.h"
#include "wire/tls.h"

/* Read the files that @config names, and check that they fit together and are a gateway's. Returns
 * 0: *ret_context is the caller's; -errno, logged. */
int certificates_open(const struct gw_config *config, struct wire_tls_context **ret_context)
	__attribute__((warn_unused_result));

/* If the files of @context changed, read them again, and report that in the log and by an event.
 * Connections whose peers the new files do not accept end within a second (sessions_tick(),
 * control_tick()). Call once a second, and at SIGHUP. */
void certificates_tick(struct wire_tls_context *context, struct fleet *fleet, uint64_t now_ns);

#endif
