/* msg_peer.h - CLAIM and VOTE, which only a peer connection has. Such a connection also has
 * the frames of a stream connection, and BEAT and LEASE.
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_PEER_H
#define WIRE_MSG_PEER_H

#include <stdint.h>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/limits.h"

enum wire_claim_mode {
	WIRE_CLAIM_UNPROTECTED = 1, /* the primary continues without a standby */
	/* the primary streams directly to the standby, without a gateway */
	WIRE_CLAIM_DIRECT      = 2,
};

/* CLAIM. Header: term is the new term that the primary asks for, epoch is the last committed
 * epoch. */
struct wire_claim {
	uint8_t mode; /* enum wire_claim_mode */
};
#define WIRE_CLAIM_SIZE 1 /* bytes of the payload */
int wire_claim_encode(const struct wire_claim *claim, struct bytes_writer *w) WIRE_CHECKED;
int wire_claim_decode(const struct wire_frame *frame, struct wire_claim *ret_claim,
		      struct wire_error *error) WIRE_CHECKED;

/* VOTE, the answer to a CLAIM. Header: term is the term of the CLAIM. */
struct wire_vote {
	uint8_t answer;		      /* 0: no; 1: yes */
	char text[WIRE_TEXT_MAX + 1]; /* human-readable reason of a "no" */
};
int wire_vote_encode(const struct wire_vote *vote, struct bytes_writer *w) WIRE_CHECKED;
int wire_vote_decode(const struct wire_frame *frame, struct wire_vote *ret_vote,
		     struct wire_error *error) WIRE_CHECKED;

#endif
