/* Encodes and decodes CLAIM and VOTE, which only the peer connection between the two hosts of a VM
 * carries. */
#include "wire/msg_peer.h"

#include "wire/msg_cursor.h"

int wire_claim_encode(const struct wire_claim *claim, struct bytes_writer *w)
{
	if (claim->mode < WIRE_CLAIM_UNPROTECTED || claim->mode > WIRE_CLAIM_DIRECT)
		return write_invalid(w);
	bytes_write_u8(w, claim->mode);
	return write_result(w);
}

int wire_claim_decode(const struct wire_frame *frame, struct wire_claim *ret_claim,
		      struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_CLAIM, error);
	struct wire_claim claim = {0};

	claim.mode = cursor_u8(&c, "mode", WIRE_CLAIM_UNPROTECTED, WIRE_CLAIM_DIRECT);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_claim = claim;
	return 0;
}

int wire_vote_encode(const struct wire_vote *vote, struct bytes_writer *w)
{
	if (vote->answer > 1)
		return write_invalid(w);
	bytes_write_u8(w, vote->answer);
	if (write_string(w, 2, wire_text_bytes_are_valid, vote->text, WIRE_TEXT_MAX) < 0)
		return -EINVAL;
	return write_result(w);
}

int wire_vote_decode(const struct wire_frame *frame, struct wire_vote *ret_vote,
		     struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_VOTE, error);
	struct wire_vote vote = {0};

	vote.answer = cursor_u8(&c, "answer", 0, 1);
	cursor_string(&c, "text", 2, wire_text_bytes_are_valid, vote.text, sizeof(vote.text));
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_vote = vote;
	return 0;
}
