/* checker.h - judges the replies of one connection: which are lost, repeated, out of order,
 * forgotten, or show that the guest's memory is wrong.
 *
 * What: numbers each request, predicts its reply (count and checksum), and compares.
 * Why: this measures the product's main promise, so it is pure (no sockets, no clock) and has a
 * unit test for every kind of failure that it must detect.
 * Where: deploy/guest/client.c uses it.
 * Threads: none of its own.
 *
 *	seq     1 2 3 4 5 6 7 8
 *	        a a a . a . . .      a = answered, . = not yet
 *	              ^   ^ highest answered: 4 is lost unless its reply still comes (out of order)
 */
#ifndef GUEST_CHECKER_H
#define GUEST_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/guest_model.h"
#include "guest/guest_proto.h"

#define CHECKER_DEPTH_MAX 4096 /* most requests under way at once */

struct checker_slot {
	uint64_t seq;	   /* 0 = unused slot */
	uint64_t sent_ns;
	uint64_t checksum; /* the checksum that the reply must carry */
	bool answered;
};

struct checker {
	struct guest_model model;
	struct checker_slot slots[CHECKER_DEPTH_MAX]; /* by seq % CHECKER_DEPTH_MAX */
	uint64_t n_sent;	/* also the last number assigned */
	uint64_t n_answered;	/* distinct requests answered */
	uint64_t highest;	/* highest number answered */
	uint64_t n_skipped;	/* below @highest, unanswered: lost unless they still come */
	uint64_t n_repeated;	/* a reply to a request already answered */
	uint64_t n_out_of_order;/* a reply that came after a later request's */
	uint64_t n_unasked;	/* a reply to no request of ours */
	uint64_t n_forgotten;	/* the count fell back: the guest forgot answered requests */
	uint64_t n_recounted;	/* the count is too high: a request was carried out twice */
	uint64_t n_corrupt;	/* the checksum over guest memory is wrong */
	uint32_t guest_flags;	/* all flags that any reply carried */
};

/* Returns 0 or -ENOMEM. */
int checker_init(struct checker *c, uint32_t window_pages) __attribute__((warn_unused_result));
void checker_done(struct checker *c); /* accepts a zeroed one */

/* Returns the number of requests under way: sent, not answered, not passed over by a later
 * reply. */
uint64_t checker_in_flight(const struct checker *c);

/* Take the next number for @request and predict its reply. The caller sets type, n_pages,
 * n_bytes and arg; this sets seq. Returns 0, or -EAGAIN if CHECKER_DEPTH_MAX requests are under
 * way. */
int checker_ask(struct checker *c, struct guest_request *request, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Judge a reply. Returns 0 with *ret_latency_ns if it is the first answer to a request, or
 * -EPROTO if it answers none (counted). A wrong count, checksum or order is counted and still
 * returns 0. */
int checker_reply(struct checker *c, const struct guest_reply *reply, uint64_t now_ns,
		  uint64_t *ret_latency_ns) __attribute__((warn_unused_result));

/* Returns the number of requests without a reply: those passed over and those still under way. */
uint64_t checker_unanswered(const struct checker *c);

/* True if there was no failure of any kind so far. Requests under way are no failure. */
bool checker_clean(const struct checker *c);

#endif
