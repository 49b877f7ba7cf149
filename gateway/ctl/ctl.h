/* ctl.h - holdfastctl's connection to a gateway: sends one request line and receives lines.
 *
 * Where: ctl/main.c calls this file, which calls wire/tls.
 * Threads: one. Every call may block until its deadline.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"

#define CTL_LINE_MAX   (4u << 20)

struct ctl_config {
	struct config_address gateway;
	char ca[256], crl[256], cert[256], key[256];
	/* key look_ms: after this time without an answer, main.c asks whether the gateway still
	 * answers, or gives up if the verb is not one that waits */
	uint64_t look_ns;
};

extern const struct config_key ctl_config_keys[];
extern const size_t ctl_n_config_keys;

struct ctl; /* opaque */

/* Connect to the gateway, check its certificate and send @request (one line, without newline).
 * Returns 0 and sets *ret_ctl, which the caller then owns. On error, returns -errno, and *ret_error
 * says what the user can do next. */
int ctl_open(const struct ctl_config *config, const char *request, uint64_t deadline_ns,
	     struct ctl **ret_ctl, struct error *ret_error) __attribute__((warn_unused_result));

/* Read the next line of the answer. Returns 1 and sets *ret_line to the line, NUL-terminated and
 * without newline; it is valid until the next call. Returns 0 if the gateway has closed the
 * connection after the last line. On error, returns -errno and sets *ret_error. */
int ctl_line(struct ctl *ctl, uint64_t deadline_ns, const char **ret_line, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Close the connection and free @ctl. NULL is fine. Returns NULL. */
struct ctl *ctl_close(struct ctl *ctl);

#endif
