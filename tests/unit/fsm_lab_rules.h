/* fsm_lab_rules.h - gives one input to the state machine of a lab (fsm_lab.h), and checks every
 * action that follows against the rules of vm/fsm.h:
 * - The journal is written before any action that depends on it.
 * - Terms only grow.
 * - COMMIT is sent only for epochs that the standby really has.
 * - Each order goes only to a host that may get it.
 */
#ifndef TESTS_FSM_LAB_RULES_H
#define TESTS_FSM_LAB_RULES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "fsm_lab_world.h"
#include "vm/fsm.h"
#include "vm/fsm_look.h"
#include "vm/fsm_table.h"

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
		/* Rule 8 of fsm.h: while the owner holds output, the standby's copy is discarded
		 * only if nobody needs it, or if it is not usable: it has no complete epoch, or its
		 * disks are an unfinished copy. */
		assert_true(lab->fsm.is_copy_unwanted || lab->peer[a->host].complete == 0 ||
			    lab->peer[a->host].cold.disk == VM_COLD_DISK_TORN ||
			    !lab_holds(&lab->peer[lab->journal.owner]));
		break;
	case WIRE_VERB_FENCE:
		assert_false(owner);
		assert_true(lab->journal.state == VM_UNPROTECTED ||
			    (lab->journal.state == VM_PROMOTING && lab->fsm.cold.is_start));
		break;
	case WIRE_VERB_START: /* only while no other connected host runs the guest */
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

#endif
