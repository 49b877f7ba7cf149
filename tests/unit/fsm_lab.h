/* fsm_lab.h - runs the state machine of one VM (vm/fsm) on a virtual clock with scripted peers. It
 * checks the state machine's rules after each step.
 *
 * All test_fsm*.c files use it. lab_feed() checks every action list against the rules of vm/fsm.h:
 * - The journal is written before any action that depends on it.
 * - Terms only grow.
 * - COMMIT is sent only for epochs that the standby really has.
 * - Each order goes only to a host that may get it.
 */
#ifndef TESTS_FSM_LAB_H
#define TESTS_FSM_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "vm/fsm.h"
#include "vm/fsm_look.h"
#include "vm/fsm_table.h"

#define MS CLOCK_NS_PER_MS

/* The true state of one agent. The state machine learns it only from messages. */
struct lab_peer {
	bool up;	  /* the control connection is open */
	bool streaming;
	uint8_t state;
	uint64_t term;
	uint64_t complete; /* on the standby: its last complete epoch of `term` */
	uint64_t committed; /* on the primary: last COMMIT received in `term` */
	/* on the primary: the guest stands still for a move, and none of its output is released */
	bool is_let_go;
	uint64_t let_go_epoch; /* last epoch of that guest; valid if is_let_go */
	struct vm_cold_word cold; /* what the agent reports after a power failure */
	bool is_guest_found;	  /* the restarted agent has found the guest that it had */
	struct {
		bool due;
		uint8_t verb;
		uint64_t term, epoch, id;
	} order; /* the last order; `due` is true until the agent carries it out */
};

struct lab {
	struct vm_config config;
	struct vm_fsm fsm;
	struct vm_record journal; /* the VM's record on the disk */
	struct lab_peer peer[VM_HOSTS];
	uint64_t now_ns;
	/* passed with every tick: the standby takes no more data, or owes an acknowledgement */
	bool standby_owes;
	/* bytes of the owner's epochs relayed so far; grows while the owner is alive */
	uint64_t relayed_bytes;
	/* largest epoch of committed_term that the gateway has committed; a restart of the gateway
	 * does not change it */
	uint64_t committed;
	uint64_t committed_term;
	/* last epoch whose output was not held; epochs up to it may be committed in any state of
	 * the VM */
	uint64_t unheld;
	/* last term for which the standby voted while cut off from the gateway */
	uint64_t voted_term;
	uint64_t next_order_id;
	bool journal_fails;
	/* when the lease that was granted last ends: after that its host must not release output */
	uint64_t release_until_ns;
	bool fence_runs; /* the fence command for fence_term is running */
	uint64_t fence_term;
	unsigned n_moved;   /* promotions for which the old owner had let go of the guest */
	/* how often an owner resumed a guest that it had let go of for a move */
	unsigned n_gone_on;
	struct vm_fsm before; /* the state before the present step */
	bool is_forced;	      /* the test lets an operator accept losses */
	/* the last term that began by this; a copy of an older term may lack epochs */
	uint64_t forced_term;
	unsigned n_starts;    /* START orders so far */
	/* seat changes; orders to the host without a seat */
	unsigned n_seated, n_spare_orders;
	unsigned n_promotions, n_commits, n_closes, n_resumes, n_failed_writes;
	unsigned n_taken[32]; /* how many journaled changes matched each of lab_rows */
	uint64_t resume_epoch;
	struct vm_action last_order[VM_HOSTS];
	struct vm_action last_reply;
	bool replied;
	unsigned n_replies;
	char last_event[VM_TEXT_MAX], last_state[VM_TEXT_MAX];
	char last_move[VM_TEXT_MAX], last_verify[VM_TEXT_MAX];
	unsigned n_stream_events;
};

/* Returns the host that has no seat (it is neither owner nor standby) according to the journal.
 * Computed here without the state machine's own code. */
static inline uint8_t lab_spare(const struct lab *lab)
{
	return (uint8_t)(2 - lab->journal.seatless);
}

static inline uint8_t lab_beside(const struct lab *lab, uint8_t h)
{
	return (uint8_t)(3 - lab_spare(lab) - h);
}

static inline void lab_init(struct lab *lab)
{
	memset(lab, 0, sizeof(*lab));
	strcpy(lab->config.name, "web1");
	strcpy(lab->config.host[0], "alpha");
	strcpy(lab->config.host[1], "beta");
	lab->config.liveness = (struct liveness_config){500 * MS, 3000 * MS};
	lab->config.detector = (struct detector_config){.suspect_min_ns = 80 * MS,
							.progress_min_ns = 300 * MS,
							.confirm_ns = 120 * MS,
							.beat_timeout_ns = 500 * MS,
							.patience_ns = 3000 * MS,
							.restart_grace_ns = 3000 * MS};
	lab->config.standby_timeout_ns = 5000 * MS;
	lab->config.held_copy_max_ns = 20000 * MS;
	lab->config.order_timeout_ns = 30000 * MS;
	lab->config.move_timeout_ns = 2000 * MS;
	lab->config.answer_within_ns = 5000 * MS;
	lab->config.spare_after_ns = 60000 * MS;
	lab->now_ns = 1000 * MS;
	lab->next_order_id = 1;
	vm_fsm_init(&lab->fsm, &lab->config, &lab->journal, lab->next_order_id, lab->now_ns);
}

/* The values used in the rows of fsm_table.h, which explains them. lab_check_table() interprets
 * them itself instead of calling the state machine's code, so that it is an independent check. */
enum { LAB_KEPT, LAB_OTHER, LAB_ANY, LAB_SAME, LAB_NEW, LAB_OWN, LAB_FOLLOW };

static const struct lab_row {
	enum vm_state from, to;
	uint8_t owner, term, by;
} lab_rows[] = {
#define LAB_ROW(from, to, owner, term, by) {VM_##from, VM_##to, LAB_##owner, LAB_##term, LAB_##by},
	VM_TRANSITIONS(LAB_ROW)
#undef LAB_ROW
};

#define LAB_N_ROWS (sizeof(lab_rows) / sizeof(lab_rows[0]))
_Static_assert(LAB_N_ROWS <= 32, "lab.n_taken");

/* Check that the state machine does only what the model (docs/model) covers. Each journaled change
 * must be in the table. During a conflict, this gateway makes no new term of its own. */
static inline void lab_check_table(struct lab *lab, const struct vm_record *to, bool was_conflict)
{
	const struct vm_record *from = &lab->journal;
	bool is_found = false, keeps = to->owner == from->owner, is_new = to->term > from->term;

	if (from->in_doubt && !to->in_doubt && keeps && !is_new && to->state == from->state)
		/* The journal was damaged, so this record was in doubt. Both hosts have now
		 * confirmed it, and only `in_doubt` changes. */
		return;
	if (from->is_wanted != to->is_wanted && keeps && !is_new && to->state == from->state)
		return; /* only is_wanted changes: whether an operator wants the VM protected */
	for (size_t i = 0; i < LAB_N_ROWS; i++) {
		const struct lab_row *row = &lab_rows[i];

		if (row->from != from->state || row->to != to->state ||
		    (row->term == LAB_NEW) != is_new ||
		    (row->owner == LAB_KEPT && !keeps) || (row->owner == LAB_OTHER && keeps) ||
		    (row->by == LAB_OWN && is_new && was_conflict))
			continue;
		is_found = true;
		lab->n_taken[i]++;
	}
	assert_true(is_found);
}

static inline void lab_check_journal(struct lab *lab, const struct vm_record *record,
				     bool was_conflict)
{
	lab_check_table(lab, record, was_conflict);
	assert_true(record->term >= lab->journal.term);
	if (record->owner != lab->journal.owner)
		assert_true(record->term > lab->journal.term);
	/* Rule 7 (seats): a host without a seat does not own the guest. Seats change only when an
	 * unprotected guest is to be protected again, and the owner keeps its seat. */
	assert_int_not_equal(record->owner, 2 - record->seatless);
	if (record->seatless != lab->journal.seatless) {
		assert_int_equal(lab->journal.state, VM_UNPROTECTED);
		assert_int_equal(record->state, VM_PREPARING);
		assert_int_equal(record->owner, lab->journal.owner);
		assert_false(was_conflict);
		lab->n_seated++;
	}
	if (record->state == VM_PROMOTING && lab->journal.state != VM_PROMOTING) {
		assert_true(lab->journal.state == VM_PROTECTED || lab->journal.state == VM_FAILED ||
			    vm_cold_is_nowhere(&lab->before) || lab->is_forced);
		/* a copy of an older term is never promoted (compared with the true term) */
		if (lab->journal.state == VM_PROTECTED && !vm_cold_is_nowhere(&lab->before) &&
		    !lab->is_forced)
			assert_true(lab->peer[record->owner].term >= lab->journal.term);
		lab->n_promotions++;
		if (lab->is_forced)
			lab->forced_term = record->term;
	}
	lab->journal = *record;
}

static inline void lab_give_order(struct lab *lab, const struct vm_action *a)
{
	struct lab_peer *peer = &lab->peer[a->host];

	assert_true(peer->up);
	peer->order.due = true;
	peer->order.verb = a->verb;
	peer->order.term = a->term;
	peer->order.epoch = a->epoch;
	peer->order.id = a->order_id;
	lab->last_order[a->host] = *a;
}

/* Does the host hold its guest's output? */
static inline bool lab_holds(const struct lab_peer *p)
{
	return p->state == WIRE_STATE_ATTACHING || p->state == WIRE_STATE_SYNCING ||
	       p->state == WIRE_STATE_PROTECTED || p->state == WIRE_STATE_LOST;
}

static inline void lab_check_order(struct lab *lab, const struct vm_action *a)
{
	bool owner = a->host == lab->journal.owner;

	/* The journal comes first: an order never carries a term that is not on disk. */
	assert_true(a->order_id >= lab->next_order_id);
	lab->next_order_id = a->order_id + 1;
	assert_int_equal(a->term, lab->journal.term -
					  (a->host == lab_spare(lab) &&
					   a->verb == WIRE_VERB_STANDBY_STOP));
	if (a->host == lab_spare(lab)) {
		assert_true(a->verb == WIRE_VERB_FENCE || a->verb == WIRE_VERB_STANDBY_STOP);
		lab_give_order(lab, a);
		lab->n_spare_orders++;
		return;
	}
	switch (a->verb) {
	case WIRE_VERB_PROMOTE:
		assert_true(owner);
		assert_int_equal(lab->journal.state, VM_PROMOTING);
		assert_false(lab->fence_runs && lab->fence_term == a->term);
		/* The old owner's lease must have expired before the new owner may send output. */
		assert_true(lab->now_ns > lab->release_until_ns);
		assert_true(a->epoch >= 1);
		break;
	case WIRE_VERB_PROTECT:
		assert_true(owner);
		assert_true(lab->journal.state == VM_SYNCING || lab->journal.state == VM_PROTECTED);
		break;
	case WIRE_VERB_UNPROTECT:
		assert_true(owner);
		assert_int_equal(lab->journal.state, VM_UNPROTECTED);
		break;
	case WIRE_VERB_MOVE:
		assert_true(owner);
		assert_int_equal(lab->journal.state, VM_PROTECTED);
		break;
	case WIRE_VERB_STANDBY_STOP:
		/* In FAILED, this order goes to the owner, which is the host that was to be
		 * promoted. When its agent no longer stands by, the gateway can give the guest back
		 * to the other host. */
		if (lab->journal.state == VM_FAILED) {
			assert_true(owner);
			break;
		}
		assert_false(owner);
		assert_int_equal(lab->journal.state, VM_UNPROTECTED);
		/* Rule 8: while the owner holds output, the standby's copy is not discarded. */
		assert_true(lab->fsm.is_copy_unwanted || lab->peer[a->host].complete == 0 ||
			    lab->peer[a->host].cold.disk == VM_COLD_DISK_TORN ||
			    !lab_holds(&lab->peer[lab->journal.owner]));
		break;
	case WIRE_VERB_FENCE:
		assert_false(owner);
		assert_true(lab->journal.state == VM_UNPROTECTED ||
			    (lab->journal.state == VM_PROMOTING && lab->fsm.cold.is_start));
		break;
	case WIRE_VERB_START: /* only while no connected host runs the guest */
		assert_true(owner);
		assert_int_equal(lab->journal.state, VM_PROMOTING);
		assert_true(lab->now_ns > lab->release_until_ns);
		assert_false(lab->fence_runs && lab->fence_term == a->term);
		for (int h = 0; h < VM_HOSTS; h++)
			assert_false(h != a->host && lab->peer[h].up &&
				     lab->peer[h].state == WIRE_STATE_RUNNING);
		lab->n_starts++;
		break;
	case WIRE_VERB_STANDBY_START:
		assert_false(owner);
		break;
	case WIRE_VERB_VERIFY: /* the test itself answers VERIFY and DRILL */
	case WIRE_VERB_DRILL:
		assert_int_equal(owner, a->verb == WIRE_VERB_VERIFY);
		assert_int_equal(lab->journal.state, VM_PROTECTED);
		lab->last_order[a->host] = *a;
		return;
	default:
		fail_msg("verb %u", a->verb);
	}
	lab_give_order(lab, a);
}

static inline void lab_check_commit(struct lab *lab, const struct vm_action *a)
{
	const struct lab_peer *standby = &lab->peer[lab_beside(lab, lab->journal.owner)];

	assert_int_equal(a->term, lab->journal.term);
	if (a->epoch > lab->unheld)
		assert_int_equal(lab->journal.state, VM_PROTECTED);
	assert_true(a->epoch >= 1);
	/* Compare with the standby's true state, not with what the state machine believes. */
	assert_int_equal(standby->term, a->term);
	assert_true(standby->complete >= a->epoch);
	if (lab->committed_term != a->term)
		lab->committed = 0;
	assert_true(a->epoch >= lab->committed);
	lab->committed_term = a->term;
	lab->committed = a->epoch;
	lab->peer[lab->journal.owner].committed = a->epoch;
	/* The owner has promised that let_go_epoch is its last epoch. */
	if (lab->peer[lab->journal.owner].is_let_go)
		assert_true(a->epoch <= lab->peer[lab->journal.owner].let_go_epoch);
	lab->n_commits++;
}

/* Feed one input to the state machine and check its actions against the rules. Returns false if the
 * journal write failed. In that case the state machine has not changed its state. */
static inline bool lab_feed(struct lab *lab, struct vm_input in)
{
	struct vm_fsm before = lab->fsm;
	static struct vm_actions actions;
	struct vm_record journaled = lab->journal;

	lab->before = before;
	in.now_ns = lab->now_ns;
	vm_fsm_step(&lab->fsm, &in, &actions);
	assert_false(actions.overflow);
	for (size_t i = 0; i < actions.n; i++) {
		const struct vm_action *a = &actions.list[i];

		switch (a->kind) {
		case VM_ACT_JOURNAL:
			if (lab->journal_fails) {
				lab->fsm = before;
				lab->n_failed_writes++;
				return false;
			}
			lab_check_journal(lab, &a->record, vm_fsm_in_conflict(&before));
			break;
		case VM_ACT_ORDER:
			lab_check_order(lab, a);
			break;
		case VM_ACT_COMMIT:
			lab_check_commit(lab, a);
			break;
		case VM_ACT_RESUME:
			assert_int_equal(a->term, lab->journal.term);
			lab->n_resumes++;
			lab->resume_epoch = a->epoch;
			break;
		case VM_ACT_CLOSE:
			for (int h = 0; h < VM_HOSTS; h++)
				lab->peer[h].streaming = false;
			lab->n_closes++;
			break;
		case VM_ACT_FENCE:
			assert_true(lab->config.has_fence_command);
			assert_int_equal(lab->journal.state, VM_PROMOTING);
			assert_int_equal(a->term, lab->journal.term);
			assert_int_equal(a->host, lab_beside(lab, lab->journal.owner));
			lab->fence_runs = true;
			lab->fence_term = a->term;
			break;
		case VM_ACT_REPLY:
			lab->last_reply = *a;
			lab->replied = true;
			lab->n_replies++;
			break;
		case VM_ACT_EVENT:
			assert_string_not_equal(a->event, "bug");
			strcpy(lab->last_event, a->text);
			lab->n_stream_events += strcmp(a->event, "stream") == 0;
			if (strcmp(a->event, "state") == 0)
				strcpy(lab->last_state, a->text);
			if (strcmp(a->event, "verify") == 0)
				strcpy(lab->last_verify, a->text);
			if (strcmp(a->event, "move") == 0)
				strcpy(lab->last_move, a->text);
			break;
		}
	}
	if (vm_fsm_in_conflict(&lab->fsm)) {
		/* During a conflict, no input may start a new term, and no host may get an
		 * order. */
		assert_int_equal(lab->journal.term, journaled.term);
		assert_int_equal(lab->journal.owner, journaled.owner);
		for (size_t i = 0; i < actions.n; i++)
			assert_true(actions.list[i].kind != VM_ACT_ORDER &&
				    actions.list[i].kind != VM_ACT_FENCE);
	}
	return true;
}

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

static inline void lab_command(struct lab *lab, enum vm_command command)
{
	static uint64_t op_id;

	lab->replied = false;
	(void)lab_feed(lab, (struct vm_input){.kind = VM_IN_COMMAND, .command = command,
					      .op_id = ++op_id});
}

/* Let an operator ask to move the guest to host @to. */
static inline void lab_move(struct lab *lab, uint8_t to)
{
	static uint64_t op_id = 500000;

	lab->replied = false;
	(void)lab_feed(lab, (struct vm_input){.kind = VM_IN_COMMAND, .command = VM_COMMAND_MOVE,
					      .host = to, .op_id = ++op_id});
}

static inline void lab_name_owner(struct lab *lab, uint8_t h)
{
	lab->replied = false;
	(void)lab_feed(lab, (struct vm_input){.kind = VM_IN_COMMAND, .host = h, .op_id = 1000000,
					      .command = VM_COMMAND_OWNER});
}

/* Give the VM a third host, gamma, connect it, and let it report. */
static inline void lab_add_spare(struct lab *lab)
{
	strcpy(lab->config.host[VM_HOST_THIRD], "gamma");
	lab_up(lab, VM_HOST_THIRD);
	lab_report(lab, VM_HOST_THIRD);
	lab_settle(lab);
}

/* Connect both agents and let both report. */
static inline void lab_connect_both(struct lab *lab)
{
	lab_init(lab);
	for (uint8_t h = 0; h < 2; h++) {
		lab_up(lab, h);
		lab_report(lab, h);
	}
}

static inline void lab_protect(struct lab *lab)
{
	lab_command(lab, VM_COMMAND_PROTECT);
	lab_settle(lab);
	assert_int_equal(lab->journal.state, VM_SYNCING);
	assert_false(lab->replied);
	lab_ack(lab, 1);
	assert_int_equal(lab->journal.state, VM_PROTECTED);
	assert_true(lab->replied && lab->last_reply.ok);
	lab_report(lab, 0);
	lab_report(lab, 1);
}

static inline void lab_start_protected(struct lab *lab)
{
	lab_connect_both(lab);
	lab_protect(lab);
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

/* Kill and restart the gateway's process: only the journal survives. */
static inline void lab_restart(struct lab *lab)
{
	for (int h = 0; h < VM_HOSTS; h++) {
		lab->peer[h].up = lab->peer[h].streaming = false;
		lab->peer[h].order.due = false;
	}
	lab->next_order_id += 1000;
	lab->fence_runs = false;
	vm_fsm_init(&lab->fsm, &lab->config, &lab->journal, lab->next_order_id, lab->now_ns);
}

#endif
