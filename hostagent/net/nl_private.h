/* nl_private.h - sends a rtnetlink request and receives its answer. Used only by nl.c and
 * nl_route.c; see nl.h. */
#ifndef NET_NL_PRIVATE_H
#define NET_NL_PRIVATE_H

#include <libmnl/libmnl.h>

#include "net/nl.h"

#define NL_REQUEST_BYTES 4096U

/* Begin a request in @buf (NL_REQUEST_BYTES). Returns a pointer to the request's header in
 * @buf. */
struct nlmsghdr *nl_request(struct nl *nl, char *buf, uint16_t type, uint16_t flags);

/* Send the request @m, and pass every message of the answer to @answer. Returns 0 or -errno. */
int nl_talk(struct nl *nl, const struct nlmsghdr *m, mnl_cb_t answer, void *arg)
	__attribute__((warn_unused_result));

#endif
