/* checker.h - judges the replies of one connection. It finds replies that are lost, repeated or out
 * of order, and replies that show forgotten requests or wrong guest memory.
 *
 * The checker numbers each request, predicts its reply (count and checksum), and compares the reply
 * with the prediction. It uses no sockets and no clock, so that a unit test can try every kind of
 * failure. deploy/guest/client.c uses it. Threads: none of its own.
 *
 *	seq     1 2 3 4 5 6 7 8
 *	        a a a . a . . .      a = answered, . = not yet
 *	                             Reply 5 has come before reply 4. If reply 4 comes later,
 *	                             it is out of order. If it never comes, it is lost.
 */
#ifndef GUEST_CHECKER_H
#define GUEST_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/guest_model.h"
#include "guest/guest_proto.h"

#define CHECKER_DEPTH_MAX 4096 /* upper limit of requests in flight */

struct checker_slot {
	uint64_t seq;	   /* number of the request; 0 if the slot is unused */
	uint64_t sent_ns;
	uint64_t checksum; /* the checksum that the reply must carry */
	bool answered;
};

struct checker {
	struct guest_model model;
	/* request number seq is in slot seq % CHECKER_DEPTH_MAX */
	struct checker_slot slots[CHECKER_DEPTH_MAX];
	uint64_t n_sent;	/* requests sent, which is also the last number given */
	uint64_t n_answered;	/* requests answered; repeated replies are not counted */
	uint64_t highest;	/* highest number answered */
	/* unanswered requests below @highest; if their replies arrive later, these are out of
	 * order */
	uint64_t n_skipped;
	uint64_t n_repeated;	/* replies to requests already answered */
	uint64_t n_out_of_order;/* replies that came after the reply to a later request */
	uint64_t n_unasked;	/* replies to requests that were never sent */
	/* replies with too low a count: the guest forgot answered requests */
	uint64_t n_forgotten;
	uint64_t n_recounted;   /* replies with too high a count: a request was carried out twice */
	uint64_t n_corrupt;	/* replies with a wrong checksum over guest memory */
	uint32_t guest_flags;	/* the flags of all replies, ORed */
};

/* Returns 0 or -ENOMEM. */
int checker_init(struct checker *c, uint32_t window_pages) __attribute__((warn_unused_result));
void checker_done(struct checker *c); /* accepts a zeroed checker */

/* Returns the number of requests in flight. A request is in flight until its reply, or the reply to
 * a later request, has come. */
uint64_t checker_in_flight(const struct checker *c);

/* Give @request the next number, in its field seq, and predict its reply. The caller has set the
 * request's other fields. Returns 0; or -EAGAIN if CHECKER_DEPTH_MAX requests are in flight: then
 * nothing has changed. */
int checker_ask(struct checker *c, struct guest_request *request, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Judge a reply, and count everything that is wrong with it. Returns 0 and sets *ret_latency_ns for
 * the first reply to a request, even if its count, checksum or order is wrong. Returns -EPROTO for
 * a repeated reply, and for a reply whose request was never sent. */
int checker_reply(struct checker *c, const struct guest_reply *reply, uint64_t now_ns,
		  uint64_t *ret_latency_ns) __attribute__((warn_unused_result));

/* Returns the number of requests without a reply: those in flight, and those for which the reply to
 * a later request has come first. */
uint64_t checker_unanswered(const struct checker *c);

/* Returns true if there has been no failure of any kind. A request in flight is not a failure. */
bool checker_clean(const struct checker *c);

#endif
