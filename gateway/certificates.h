/* certificates.h - the gateway's certificates, and what follows when their files change.
 * Where: main.c. Threads: the loop's.
 */
#ifndef GATEWAY_CERTIFICATES_H
#define GATEWAY_CERTIFICATES_H

#include "config.h"
#include "session/gateway.h"
#include "wire/tls.h"

/* Read and check what @config names: that the files are usable together, and are a gateway's.
 * 0: *ret_context is the caller's; -errno, logged. */
int certificates_open(const struct gw_config *config, struct wire_tls_context **ret_context)
	__attribute__((warn_unused_result));

/* The files of @context were changed? Read them anew and tell, by log and event; connections that they no
 * longer accept end within a second (session_tick(), control_tick()). Once a second, and at SIGHUP. */
void certificates_tick(struct wire_tls_context *context, struct gateway *gw);

#endif
