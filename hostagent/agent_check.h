/* agent_check.h - finds faults in this host's files without changing anything.
 *
 * Why: --check-config must find every fault that a start would find. agent_config checks the keys
 * of the configuration and their limits. This file checks the rest: certificates, the standbys'
 * command lines, and the roles that earlier agents recorded.
 *
 * Where: main.c uses it for --check-config. agent.c opens its TLS contexts with agent_tls_new().
 * Threads: any; blocks on files.
 */
#ifndef AGENT_CHECK_H
#define AGENT_CHECK_H

#include <stdio.h>

#include "base/error.h"
#include "config/agent_config.h"
#include "wire/tls.h"

/* Make a TLS context with the host's own identity. The caller frees *ret_tls. Returns 0;
 * -EINVAL: the certificate is not one of a host;
 * other -errno: an error of wire_tls_context_new().
 * On error *ret_error names the file. */
int agent_tls_new(const struct agent_config *config, enum wire_tls_side side,
		  struct wire_tls_context **ret_tls, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Write each fault to @out, one per line. Returns the number of faults. */
unsigned int agent_check(const struct agent_config *config, FILE *out)
	__attribute__((warn_unused_result));

#endif
