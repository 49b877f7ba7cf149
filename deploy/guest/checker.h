/* checker.h - judge the replies of one connection: is any lost, repeated, out of order, forgotten,
 * or the answer of a guest whose memory is not what it should be?
 *
 * What: numbers each request, foretells its reply (count and checksum), and compares.
 * Why: this is the instrument that the product's main promise is measured with, so it is pure - no
 * sockets, no clock - and has a unit test for every kind of failure it must see.
 * Where: deploy/guest/client.c feeds it.
 * Threads: none of its own.
 *
 *	seq     1 2 3 4 5 6 7 8
 *	        a a a . a . . .      a = answered, . = not yet
 *	              ^   ^ highest answered: 4 is lost unless it still comes (then: out of order)
 */
#ifndef GUEST_CHECKER_H
#define GUEST_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/guest_model.h"
#include "guest/guest_proto.h"

#define CHECKER_DEPTH_MAX 4096 /* requests under way at once */

struct checker_slot {
	uint64_t seq;	   /* 0 = unused */
	uint64_t sent_ns;
	uint64_t checksum; /* what the reply must carry */
	bool answered;
};

struct checker {
	struct guest_model model;
	struct checker_slot slots[CHECKER_DEPTH_MAX]; /* by seq % CHECKER_DEPTH_MAX */
	uint64_t n_sent;	/* also the last number given */
	uint64_t n_answered;	/* distinct requests answered */
	uint64_t highest;	/* highest number answered */
	uint64_t n_skipped;	/* below @highest, unanswered: lost unless they still come */
	uint64_t n_repeated;	/* a reply to a request already answered */
	uint64_t n_out_of_order;/* a reply after a later one's */
	uint64_t n_unasked;	/* a reply to nothing that was asked */
	uint64_t n_forgotten;	/* the service's count went back: answered requests are gone */
	uint64_t n_recounted;	/* the count went too far: a request was done twice */
	uint64_t n_corrupt;	/* the checksum over guest memory is wrong */
	uint32_t guest_flags;	/* all flags any reply carried */
};

/* 0; -ENOMEM. */
int checker_init(struct checker *c, uint32_t window_pages) __attribute__((warn_unused_result));
void checker_done(struct checker *c); /* accepts a zeroed one */

/* Requests under way: sent, and neither answered nor passed over by a later reply. */
uint64_t checker_in_flight(const struct checker *c);

/* Take the next number for @request (type, n_pages, n_bytes, arg set by the caller; seq is filled)
 * and foretell its reply. 0; -EAGAIN: CHECKER_DEPTH_MAX are under way. */
int checker_ask(struct checker *c, struct guest_request *request, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Judge a reply. 0 with *ret_latency_ns when it answers a request for the first time; -EPROTO: it
 * answers none (counted). A wrong count, checksum or order is counted and still returns 0. */
int checker_reply(struct checker *c, const struct guest_reply *reply, uint64_t now_ns,
		  uint64_t *ret_latency_ns) __attribute__((warn_unused_result));

/* Requests without a reply: those passed over, and those still under way. */
uint64_t checker_unanswered(const struct checker *c);

/* No failure of any kind so far (requests under way are none). */
bool checker_clean(const struct checker *c);

#endif
