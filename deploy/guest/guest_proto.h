/* guest_proto.h - the protocol between the test guest's service and its client.
 *
 * The client sends requests of 40 bytes over one TCP connection, and the service answers them in
 * order with replies of 56 bytes. All numbers are big-endian. The client can have many requests in
 * flight.
 *
 * One connection is enough for the client to detect each way in which a failover can go wrong:
 *
 *      field of a reply   a wrong value shows
 *      seq                a lost, repeated or reordered reply
 *      count              a guest that forgot requests which it had answered
 *      checksum           guest memory that is stale or torn
 *
 * The service is deploy/guest/service.c, the client is deploy/guest/client.c. Threads: any; the
 * functions are pure. Each field below is preceded by its byte offset:
 *
 *      request  0 magic  4 type  8 seq  16 n_pages  20 n_bytes  24 arg  32 zero      = 40 bytes
 *      reply    0 magic  4 type  8 seq  16 count  24 checksum  32 flags  36 n_pages
 *              40 guest_ns  48 total                                                  = 56 bytes
 */
#ifndef GUEST_PROTO_H
#define GUEST_PROTO_H

#include <errno.h>
#include <stdint.h>

#include "base/bytes.h"

#define GUEST_PORT_DEFAULT	 7000
#define GUEST_REQUEST_MAGIC	 0x48465251u /* "HFRQ" */
#define GUEST_REPLY_MAGIC	 0x48465250u /* "HFRP" */
#define GUEST_REQUEST_SIZE	 40
#define GUEST_REPLY_SIZE	 56
#define GUEST_WINDOW_MAX_PAGES	 32768 /* 128 MiB, the upper limit for one connection */
#define GUEST_WINDOW_MIN_PAGES	 1
#define GUEST_BYTES_MIN		 16 /* room for a page's seed and length */
#define GUEST_BYTES_MAX		 4096
#define GUEST_RATE_MAX_PAGES	 1000000
#define GUEST_CONNECTIONS_MAX	 16

/* Types of requests, which the client sends to the service. Numbers are never reused. */
enum guest_type {
	/* first record, with seq 0; arg: window in pages. The service touches all pages of the
	 * window before it replies */
	GUEST_HELLO = 1,
	GUEST_DIRTY = 2, /* dirty exactly n_pages pages of the window, the first n_bytes of each */
	GUEST_RATE =
		/* set the background dirty rate: arg pages per second, n_bytes in each. Like
		 * GUEST_DIRTY, this request has the next number and gets a reply */
		3,
};

/* Flags of a reply. Each reports a failure that the service itself has detected. */
enum guest_flag {
	GUEST_FLAG_TORN	      = 1 << 0, /* a page of this connection lost its content */
	GUEST_FLAG_BACKGROUND = 1 << 1, /* a page of the background writer lost its content */
	GUEST_FLAG_SEQUENCE   = 1 << 2, /* the request's number was not the previous one plus 1 */
};

struct guest_request {
	uint32_t type;	  /* enum guest_type, or an unknown number */
	uint64_t seq;	  /* 0 for HELLO, then 1, 2, 3 ... */
	uint32_t n_pages; /* DIRTY: 0 .. the window's size */
	uint32_t n_bytes; /* DIRTY, RATE: GUEST_BYTES_MIN .. GUEST_BYTES_MAX */
	uint64_t arg;	  /* HELLO: window in pages; RATE: pages per second */
};

struct guest_reply {
	uint32_t type;	   /* type of the request */
	uint64_t seq;	   /* number of the request */
	uint64_t count;	   /* requests answered on this connection, including this one */
	uint64_t checksum; /* see guest_model.h */
	uint32_t flags;	   /* of enum guest_flag */
	uint32_t n_pages;  /* pages dirtied for this request */
	uint64_t guest_ns; /* the guest's monotonic clock at the time of the reply */
	uint64_t total;    /* requests answered on all connections since the service started */
};

static inline void guest_request_encode(uint8_t p[GUEST_REQUEST_SIZE],
					const struct guest_request *r)
{
	bytes_put_be32(p, GUEST_REQUEST_MAGIC);
	bytes_put_be32(p + 4, r->type);
	bytes_put_be64(p + 8, r->seq);
	bytes_put_be32(p + 16, r->n_pages);
	bytes_put_be32(p + 20, r->n_bytes);
	bytes_put_be64(p + 24, r->arg);
	bytes_put_be64(p + 32, 0);
}

/* Decode a request. Does not check its values. Returns 0; -EPROTO: @p has no request. */
static inline int guest_request_decode(const uint8_t p[GUEST_REQUEST_SIZE],
				       struct guest_request *ret_request)
{
	if (bytes_get_be32(p) != GUEST_REQUEST_MAGIC)
		return -EPROTO;
	ret_request->type = bytes_get_be32(p + 4);
	ret_request->seq = bytes_get_be64(p + 8);
	ret_request->n_pages = bytes_get_be32(p + 16);
	ret_request->n_bytes = bytes_get_be32(p + 20);
	ret_request->arg = bytes_get_be64(p + 24);
	return 0;
}

static inline void guest_reply_encode(uint8_t p[GUEST_REPLY_SIZE], const struct guest_reply *r)
{
	bytes_put_be32(p, GUEST_REPLY_MAGIC);
	bytes_put_be32(p + 4, r->type);
	bytes_put_be64(p + 8, r->seq);
	bytes_put_be64(p + 16, r->count);
	bytes_put_be64(p + 24, r->checksum);
	bytes_put_be32(p + 32, r->flags);
	bytes_put_be32(p + 36, r->n_pages);
	bytes_put_be64(p + 40, r->guest_ns);
	bytes_put_be64(p + 48, r->total);
}

/* Decode a reply. Returns 0; -EPROTO: @p has no reply. */
static inline int guest_reply_decode(const uint8_t p[GUEST_REPLY_SIZE],
				     struct guest_reply *ret_reply)
{
	if (bytes_get_be32(p) != GUEST_REPLY_MAGIC)
		return -EPROTO;
	ret_reply->type = bytes_get_be32(p + 4);
	ret_reply->seq = bytes_get_be64(p + 8);
	ret_reply->count = bytes_get_be64(p + 16);
	ret_reply->checksum = bytes_get_be64(p + 24);
	ret_reply->flags = bytes_get_be32(p + 32);
	ret_reply->n_pages = bytes_get_be32(p + 36);
	ret_reply->guest_ns = bytes_get_be64(p + 40);
	ret_reply->total = bytes_get_be64(p + 48);
	return 0;
}

#endif
