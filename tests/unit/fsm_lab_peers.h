/* fsm_lab_peers.h - the peers of the state machine in a lab (fsm_lab.h): time that passes, and
 * scripted agents that connect, report, acknowledge epochs, carry out orders, and vote without the
 * gateway.
 */
#ifndef TESTS_FSM_LAB_PEERS_H
#define TESTS_FSM_LAB_PEERS_H

#include "base/error.h"
#include "fsm_lab_rules.h"

/* End the fence command with @status. Returns true if the command was running, and the state
 * machine has accepted that it ended. */
static inline bool lab_fenced(struct lab *lab, uint8_t status)
{
	if (!lab->fence_runs)
		return false;
	lab->fence_runs = false; /* cleared first: the state machine can order PROMOTE at once */
	if (lab_feed(lab, (struct vm_input){.kind = VM_IN_FENCED, .term = lab->fence_term,
					    .status = status, .text = "by the lab"}))
		return true;
	lab->fence_runs = true;
	return false;
}

static inline void lab_tick(struct lab *lab, uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 10) {
		lab->now_ns += 10 * MS;
		(void)lab_feed(lab, (struct vm_input){.kind = VM_IN_TICK,
						      .relayed_bytes = lab->relayed_bytes,
						      .standby_owes = lab->standby_owes});
	}
}

static inline void lab_beat(struct lab *lab, uint8_t h)
{
	if (!lab->peer[h].up)
		return;
	(void)lab_feed(lab, (struct vm_input){.kind = VM_IN_SEEN, .host = h});
	if (!lab->config.release_ns || h != lab->journal.owner || lab->peer[h].is_let_go ||
	    (lab->journal.state != VM_SYNCING && lab->journal.state != VM_PROTECTED))
		return;
	vm_fsm_granted(&lab->fsm, lab->now_ns);
	lab->release_until_ns = lab->now_ns + lab->config.release_ns;
}

/* Let @ms milliseconds pass. The hosts in @alive (one bit per host) send beats; the owner also
 * sends epochs if it is alive. */
static inline void lab_run(struct lab *lab, uint64_t ms, unsigned alive)
{
	for (uint64_t i = 0; i < ms; i += 10) {
		if (alive & (1u << lab->journal.owner))
			lab->relayed_bytes += 1000;
		lab_tick(lab, 10);
		for (uint8_t h = 0; h < VM_HOSTS; h++) {
			if (alive & (1u << h))
				lab_beat(lab, h);
		}
	}
}

static inline void lab_up(struct lab *lab, uint8_t h)
{
	lab->peer[h].up = true;
	lab->peer[h].order.due = false;
	(void)lab_feed(lab, (struct vm_input){.kind = VM_IN_CONTROL_UP, .host = h,
					      .takes_moves = true});
}

static inline void lab_report_verdict(struct lab *lab, uint8_t h, uint8_t verdict)
{
	const struct lab_peer *p = &lab->peer[h];
	bool standby = p->state >= WIRE_STATE_STANDBY_STARTING && p->state <= WIRE_STATE_PROMOTING;

	(void)lab_feed(lab, (struct vm_input){
		.kind = VM_IN_REPORT, .host = h, .agent_state = p->state, .verdict = verdict,
		.role = standby ? WIRE_VM_ROLE_STANDBY : WIRE_VM_ROLE_PRIMARY, .term = p->term,
		.move_stopped_us = p->is_let_go ? 7000 : 0, .cold = p->cold,
		.is_guest_found = p->is_guest_found,
		.epoch = standby ? p->complete : p->committed});
}

static inline void lab_report(struct lab *lab, uint8_t h)
{
	if (lab->peer[h].up)
		lab_report_verdict(lab, h, WIRE_VERDICT_NONE);
}

static inline void lab_stream_down(struct lab *lab, uint8_t h)
{
	bool owner = h == lab->fsm.record.owner;

	if (!lab->peer[h].streaming)
		return;
	lab->peer[h].streaming = false;
	(void)lab_feed(lab, (struct vm_input){
		.kind = VM_IN_STREAM_DOWN, .host = h,
		.role = owner ? WIRE_VM_ROLE_PRIMARY : WIRE_VM_ROLE_STANDBY});
}

static inline void lab_down(struct lab *lab, uint8_t h)
{
	lab_stream_down(lab, h);
	if (!lab->peer[h].up)
		return;
	lab->peer[h].up = false;
	lab->peer[h].order.due = false;
	(void)lab_feed(lab, (struct vm_input){.kind = VM_IN_CONTROL_DOWN, .host = h});
}

/* Let host @h's agent open its stream. Returns 0 if the state machine accepts the stream, else the
 * code of the refusal. */
static inline uint16_t lab_stream_up(struct lab *lab, uint8_t h, uint8_t role)
{
	struct lab_peer *p = &lab->peer[h];
	struct error error;
	uint16_t code = vm_fsm_check_stream(&lab->fsm, h, role, p->term, &error);

	if (code)
		return code;
	p->streaming = lab_feed(lab, (struct vm_input){
		.kind = VM_IN_STREAM_UP, .host = h, .role = role, .term = p->term,
		.epoch = role == WIRE_VM_ROLE_STANDBY ? p->complete : 0});
	return 0;
}

static inline void lab_done(struct lab *lab, uint8_t h, uint8_t status, const char *text)
{
	(void)lab_feed(lab, (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = h, .order_id = lab->peer[h].order.id,
		.status = status, .term = lab->peer[h].term, .text = text});
}

/* Let the standby receive epoch @epoch completely, and acknowledge it. */
static inline void lab_ack(struct lab *lab, uint64_t epoch)
{
	uint8_t h = vm_fsm_other(&lab->fsm);

	lab->peer[h].complete = epoch;
	lab->peer[h].state = WIRE_STATE_STANDBY_READY;
	lab->peer[lab_beside(lab, h)].state = WIRE_STATE_PROTECTED;
	(void)lab_feed(lab, (struct vm_input){.kind = VM_IN_EPOCH_ACK, .host = h,
					      .term = lab->peer[h].term, .epoch = epoch});
}

/* Let host @h resume a guest that it had let go of for a move. Only the owner may do this. */
static inline void lab_goes_on(struct lab *lab, uint8_t h)
{
	lab->n_gone_on += lab->peer[h].is_let_go;
	if (lab->peer[h].is_let_go)
		assert_int_equal(h, lab->journal.owner);
	lab->peer[h].is_let_go = false;
}

/* Let host @h, the owner, carry out a MOVE order: seal one more epoch, which the standby
 * acknowledges; let go of the guest; report; and answer the order. */
static inline void lab_let_go(struct lab *lab, uint8_t h)
{
	struct lab_peer *p = &lab->peer[h], *s = &lab->peer[lab_beside(lab, h)];

	/* Like a real agent: without a stream to a standby that is in step, fail the order and let
	 * the guest go on. */
	if (!p->is_let_go &&
	    (!p->streaming || !s->streaming || p->state != WIRE_STATE_PROTECTED ||
	     lab->journal.state != VM_PROTECTED || s->term != p->term)) {
		(void)lab_feed(lab, (struct vm_input){
			.kind = VM_IN_ORDER_DONE, .host = h, .order_id = p->order.id,
			.term = p->term, .status = WIRE_ORDER_FAILED, .text = "not in step"});
		return;
	}
	if (!p->is_let_go)
		lab_ack(lab, (s->complete > p->committed ? s->complete : p->committed) + 1);
	p->is_let_go = true;
	p->let_go_epoch = p->committed;
	lab->release_until_ns = 0; /* the owner has given up its lease */
	lab_report(lab, h);
	(void)lab_feed(lab, (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = h, .order_id = p->order.id, .term = p->term,
		.status = WIRE_ORDER_OK, .epoch = p->committed, .text = ""});
}

/* Carry out host @h's pending order as an agent does. Returns true if there was an order. */
static inline bool lab_obey(struct lab *lab, uint8_t h)
{
	struct lab_peer *p = &lab->peer[h];
	uint8_t verb = p->order.verb;
	uint64_t term = p->order.term;

	if (!p->order.due || !p->up)
		return false;
	p->order.due = false;
	if (term < p->term) {
		lab_done(lab, h, WIRE_ORDER_REFUSED, "stale term");
		return true;
	}
	/* A standby that voted for the primary in this term must not promote in it; see
	 * lab_agree(). */
	if (verb == WIRE_VERB_PROMOTE && term == p->term && term == lab->voted_term &&
	    p->state != WIRE_STATE_RUNNING) {
		lab_done(lab, h, WIRE_ORDER_REFUSED, "voted for the primary in that term");
		return true;
	}
	if (verb == WIRE_VERB_PROMOTE &&
	    (p->complete == 0 || p->complete < p->order.epoch) && p->state != WIRE_STATE_RUNNING) {
		lab_done(lab, h, WIRE_ORDER_REFUSED, "no such epoch");
		return true;
	}
	/* Output commit: the guest that continues must have every epoch whose output was
	 * released. */
	if (verb == WIRE_VERB_PROMOTE && p->state != WIRE_STATE_RUNNING &&
	    lab->committed_term == p->term && p->term >= lab->forced_term)
		assert_true(p->complete >= lab->committed);
	/* A move: the guest that continues must have the last epoch of the guest that stopped. */
	if (verb == WIRE_VERB_PROMOTE && p->state != WIRE_STATE_RUNNING &&
	    lab->peer[lab_beside(lab, h)].is_let_go &&
	    lab->peer[lab_beside(lab, h)].term == p->term) {
		assert_true(p->complete >= lab->peer[lab_beside(lab, h)].let_go_epoch);
		lab->n_moved++;
	}
	if (term > p->term && verb != WIRE_VERB_PROMOTE)
		p->complete = p->committed = 0;
	p->term = term;
	switch (verb) {
	case WIRE_VERB_STANDBY_START:
		p->state = p->complete ? WIRE_STATE_STANDBY_READY : WIRE_STATE_STANDBY_WARM;
		(void)lab_stream_up(lab, h, WIRE_VM_ROLE_STANDBY);
		break;
	case WIRE_VERB_PROTECT:
		lab_goes_on(lab, h);
		if (p->state == WIRE_STATE_PROTECTED && p->streaming)
			break; /* the host carries out this order already: nothing changes */
		p->state = WIRE_STATE_SYNCING;
		(void)lab_stream_up(lab, h, WIRE_VM_ROLE_PRIMARY);
		break;
	case WIRE_VERB_MOVE: /* seal and commit one more epoch, then let go of the guest */
		lab_let_go(lab, h);
		return true;
	case WIRE_VERB_PROMOTE:
	case WIRE_VERB_UNPROTECT:
		lab_goes_on(lab, h);
		p->state = WIRE_STATE_RUNNING;
		break;
	case WIRE_VERB_START:
		p->cold = (struct vm_cold_word){0};
		p->state = WIRE_STATE_RUNNING;
		break;
	case WIRE_VERB_FENCE:
		p->cold.role = p->cold.role ? VM_COLD_FENCED : VM_COLD_NOT;
		p->is_let_go = false;
		p->state = WIRE_STATE_FENCED;
		break;
	default: /* STANDBY_STOP */
		if (p->state != WIRE_STATE_FENCED)
			p->state = WIRE_STATE_IDLE;
		break;
	}
	lab_done(lab, h, WIRE_ORDER_OK, "");
	lab_report(lab, h);
	return true;
}

/* Let all agents carry out their orders until none is left. */
static inline void lab_settle(struct lab *lab)
{
	for (int i = 0; i < 20; i++) {
		bool any = false;

		for (uint8_t h = 0; h < VM_HOSTS; h++)
			any |= lab_obey(lab, h);
		if (!any)
			return;
	}
	fail_msg("orders without end");
}

/* Let two hosts agree to continue without the gateway (docs/wire-format.md 6.4). Both are cut off
 * from the gateway. The primary @h asks host @other, which may have lost its seat meanwhile.
 * @direct: true if they continue protected over the direct path, false if the primary runs alone.
 * @answered: true if the vote reaches the primary. Returns false if the hosts cannot agree. */
static inline bool lab_agree_with(struct lab *lab, uint8_t h, uint8_t other, bool direct,
				  bool answered)
{
	struct lab_peer *p = &lab->peer[h], *s = &lab->peer[other];

	if (p->up || s->up || p->term == 0 || p->term != s->term ||
	    p->state != WIRE_STATE_PROTECTED || s->state != WIRE_STATE_STANDBY_READY ||
	    s->complete == 0 || s->complete < p->committed)
		return false;
	lab->voted_term = ++s->term;
	if (answered)
		p->is_let_go = false; /* the vote lets the guest go on at the primary */
	if (!direct) {
		s->complete = 0;
		s->state = WIRE_STATE_IDLE;
	}
	if (!answered)
		return true;
	p->term = s->term;
	if (!direct) {
		p->state = WIRE_STATE_RUNNING;
		return true;
	}
	/* The hosts commit all that the standby holds, then five more epochs. The output of all
	 * these epochs is released. */
	p->committed = s->complete += 5;
	lab->committed_term = s->term;
	lab->committed = s->complete;
	return true;
}

static inline bool lab_agree(struct lab *lab, uint8_t h, bool direct, bool answered)
{
	return lab_agree_with(lab, h, lab_beside(lab, h), direct, answered);
}

#endif
