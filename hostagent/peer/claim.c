#include "peer/claim.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

AUTO_DEFINE(struct link *, link_free)

static int ask(struct link *link, const struct claim *claim, uint64_t deadline_ns,
	       struct error *ret_error)
{
	const struct wire_header header = {
		.type = WIRE_CLAIM, .term = claim->term + 1, .epoch = claim->epoch};
	const struct wire_claim message = {.mode = claim->mode};
	uint8_t payload[WIRE_CLAIM_SIZE];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct iovec piece = {.iov_base = payload, .iov_len = sizeof(payload)};
	struct wire_frame frame;
	struct wire_vote vote;
	int r = wire_claim_encode(&message, &w);

	if (r == 0)
		r = link_send(link, &header, &piece, 1);
	if (r == 0)
		r = link_await(link, deadline_ns, &frame);
	if (r < 0)
		return r;
	if (frame.h.term != claim->term + 1 || wire_vote_decode(&frame, &vote, NULL) < 0)
		return error_set(ret_error, -EPROTO, "the answer is no vote on this term");
	(void)error_set(ret_error, 0, "%s", vote.text);
	return vote.answer ? 0 : -EACCES;
}

int claim_term(const struct link_config *config, const struct claim *claim, uint64_t deadline_ns,
	       struct error *ret_error)
{
	AUTO(link_free) struct link *link = NULL;
	struct wire_welcome welcome;
	struct wire_hello hello;
	int r = link_open(config, &link);

	ret_error->text[0] = '\0';
	if (r == 0) {
		wire_hello_init(&hello, WIRE_KIND_PEER, WIRE_VM_ROLE_PRIMARY, claim->vm);
		r = link_handshake(link, &hello, claim->term, claim->epoch, deadline_ns, &welcome);
	}
	if (r == 0)
		r = ask(link, claim, deadline_ns, ret_error);
	if (r < 0 && !*ret_error->text)
		(void)error_set(ret_error, r, "%s",
				link && *link_error(link) ? link_error(link) : strerror(-r));
	return r;
}
