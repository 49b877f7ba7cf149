/* ctl.h - holdfastctl's connection to a gateway: one request line out, lines in.
 *
 * Where: ctl/main.c; calls wire/tls. Threads: one. Blocks up to its deadline.
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
	uint64_t look_ns; /* 0: the default */
};

extern const struct config_key ctl_config_keys[];
extern const size_t ctl_n_config_keys;

struct ctl; /* opaque */

/* Connect, check the gateway's certificate, send @request (one line, without newline).
 * 0: *ret_ctl is the caller's; else -errno and *ret_error with the next step. */
int ctl_open(const struct ctl_config *config, const char *request, uint64_t deadline_ns,
	     struct ctl **ret_ctl, struct error *ret_error) __attribute__((warn_unused_result));

/* Next line of the answer, terminated, without newline; valid until the next call.
 * 1: *ret_line is set; 0: the gateway closed, no more lines; -errno and *ret_error. */
int ctl_line(struct ctl *ctl, uint64_t deadline_ns, const char **ret_line, struct error *ret_error)
	__attribute__((warn_unused_result));

struct ctl *ctl_close(struct ctl *ctl); /* NULL is fine; returns NULL */

#endif
