#include "guest/checker.h"

#include <errno.h>

int checker_init(struct checker *c, uint32_t window_pages)
{
	*c = (struct checker){ 0 };
	return guest_model_init(&c->model, window_pages);
}

void checker_done(struct checker *c)
{
	guest_model_done(&c->model);
}

uint64_t checker_unanswered(const struct checker *c)
{
	return c->n_sent - c->n_answered;
}

uint64_t checker_in_flight(const struct checker *c)
{
	return checker_unanswered(c) - c->n_skipped;
}

int checker_ask(struct checker *c, struct guest_request *request, uint64_t now_ns)
{
	struct checker_slot *slot = &c->slots[(c->n_sent + 1) % CHECKER_DEPTH_MAX];
	uint32_t n_pages = request->type == GUEST_DIRTY ? request->n_pages : 0;

	if (checker_in_flight(c) >= CHECKER_DEPTH_MAX)
		return -EAGAIN;
	request->seq = ++c->n_sent;
	*slot = (struct checker_slot){ .seq = request->seq, .sent_ns = now_ns,
		.checksum = guest_model_dirty(&c->model, request->seq, n_pages) };
	return 0;
}

/* Returns the request with number @seq, or NULL if no such request awaits an answer. */
static struct checker_slot *find_slot(struct checker *c, uint64_t seq)
{
	struct checker_slot *slot = &c->slots[seq % CHECKER_DEPTH_MAX];

	if (seq == 0 || seq > c->n_sent) {
		c->n_unasked++;
		return NULL;
	}
	/* The slot is in use for a later request, or request @seq was answered already. */
	if (slot->seq != seq || slot->answered) {
		c->n_repeated++;
		return NULL;
	}
	return slot;
}

int checker_reply(struct checker *c, const struct guest_reply *reply, uint64_t now_ns,
		  uint64_t *ret_latency_ns)
{
	struct checker_slot *slot;

	c->guest_flags |= reply->flags;
	slot = find_slot(c, reply->seq);
	if (!slot)
		return -EPROTO;
	slot->answered = true;
	c->n_answered++;
	if (reply->seq < c->highest) {
		c->n_out_of_order++;
		c->n_skipped--;
	} else {
		c->n_skipped += reply->seq - c->highest - 1;
		c->highest = reply->seq;
	}
	/* On one connection, the reply to request n must have count n, because the service counts
	 * the requests that it answers. */
	c->n_forgotten += reply->count < reply->seq;
	c->n_recounted += reply->count > reply->seq;
	c->n_corrupt += reply->checksum != slot->checksum;
	*ret_latency_ns = now_ns - slot->sent_ns;
	return 0;
}

bool checker_clean(const struct checker *c)
{
	return c->n_skipped == 0 && c->n_repeated == 0 && c->n_out_of_order == 0 &&
	       c->n_unasked == 0 && c->n_forgotten == 0 && c->n_recounted == 0 &&
	       c->n_corrupt == 0 && c->guest_flags == 0;
}
