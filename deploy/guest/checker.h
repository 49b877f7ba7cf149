/* checker.h - judges the replies of one connection: whether any is lost, repeated or out of order,
 * and whether a reply shows that the guest forgot requests or that its memory is wrong.
 *
 * What: numbers each request, predicts its reply (count and checksum), and compares. Why: this
 * measures the product's main promise, so it is pure (no sockets, no clock) and has a unit test for
 * every kind of failure that it must detect. Where: deploy/guest/client.c uses it. Threads: none of
 * its own.
 *
 *	seq     1 2 3 4 5 6 7 8
 *	        a a a . a . . .      a = answered, . = not yet
 *                    ^   ^ highest answered: 4 is lost unless its reply still comes (out of order)
 */
#ifndef GUEST_CHECKER_H
#define GUEST_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/guest_model.h"
#include "guest/guest_proto.h"

#define CHECKER_DEPTH_MAX 4096 /* upper limit of requests in flight */

struct checker_slot {
	uint64_t seq;	   /* 0 = unused slot */
	uint64_t sent_ns;
	uint64_t checksum; /* the checksum that the reply must carry */
	bool answered;
};

struct checker {
	struct guest_model model;
	/* the slot of request seq is seq % CHECKER_DEPTH_MAX */
	struct checker_slot slots[CHECKER_DEPTH_MAX];
	uint64_t n_sent;	/* requests sent; also the last number assigned */
	uint64_t n_answered;	/* distinct requests answered */
	uint64_t highest;	/* highest number answered */
	/* unanswered requests below @highest: lost, unless their replies still arrive */
	uint64_t n_skipped;
	uint64_t n_repeated;	/* replies to requests already answered */
	uint64_t n_out_of_order;/* replies that arrived after a later request's */
	uint64_t n_unasked;	/* replies to no request of ours */
	/* replies with too low a count: the guest forgot answered requests */
	uint64_t n_forgotten;
	uint64_t n_recounted;   /* replies with too high a count: a request was carried out twice */
	uint64_t n_corrupt;	/* replies with a wrong checksum over guest memory */
	uint32_t guest_flags;	/* the flags of all replies, ORed */
};

/* Returns 0 or -ENOMEM. */
int checker_init(struct checker *c, uint32_t window_pages) __attribute__((warn_unused_result));
void checker_done(struct checker *c); /* accepts a zeroed checker */

/* Returns the number of requests in flight: sent, not answered, and not passed over by the reply to
 * a later request. */
uint64_t checker_in_flight(const struct checker *c);

/* Take the next number for @request and predict its reply. The caller sets type, n_pages, n_bytes
 * and arg; this sets seq. Returns 0, or -EAGAIN if CHECKER_DEPTH_MAX requests are in flight. */
int checker_ask(struct checker *c, struct guest_request *request, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Judge a reply. Returns 0 and sets *ret_latency_ns if this is the first reply to a request.
 * Returns -EPROTO, and counts the reply, if it answers no request in flight. A wrong count,
 * checksum or order is counted, but still returns 0. */
int checker_reply(struct checker *c, const struct guest_reply *reply, uint64_t now_ns,
		  uint64_t *ret_latency_ns) __attribute__((warn_unused_result));

/* Returns the number of requests without a reply: those passed over by a later reply, and those in
 * flight. */
uint64_t checker_unanswered(const struct checker *c);

/* Returns true if there was no failure of any kind so far. Requests in flight do not count as
 * failures. */
bool checker_clean(const struct checker *c);

#endif
