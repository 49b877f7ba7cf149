/* test_fsm_random.c - makes long random runs of vm/fsm with these faults:
 *	- hosts die;
 *	- agents restart and lose data;
 *	- messages come late, twice or from an old term;
 *	- the gateway restarts, and its journal fails.
 * fsm_lab.h checks the rules after every step. At the end of each run all faults are repaired, and
 * the VM must come to rest with one owner. Seeds are fixed, so a failure can be repeated. */
#include <stdlib.h>

#include "fsm_lab.h"

/* The asan build (clang) takes about 12 times as long per run, so it makes a tenth of the runs. */
#define N_RUNS 1500u
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#undef N_RUNS
#define N_RUNS 150u
#endif
#endif

static struct lab lab;
static uint64_t seed;
static uint8_t n_hosts; /* hosts of the present run; 3 with a spare */
static unsigned int n_seated, n_spare_orders;
static unsigned int n_agreements, n_named, n_conflicts, n_moves, n_moved, n_gone_on;

static unsigned int pick(unsigned int n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned int)(seed >> 33) % n;
}

static void lose_data(uint8_t h)
{
	struct lab_peer *p = &lab.peer[h];

	lab_down(&lab, h);
	p->complete = 0;
	p->is_let_go = false; /* the restarted agent knows of no move */
	/* A guest whose output was not held keeps running. Any other state is lost with the
	 * agent. */
	if (p->state != WIRE_STATE_RUNNING)
		p->state = lab.fsm.record.owner != h ? WIRE_STATE_IDLE : WIRE_STATE_LOST;
}

static void old_messages(uint8_t h)
{
	/* Send messages of a term lower than both the host's and the gateway's. A host that voted
	 * for a newer term has closed its stream of the gateway's term. */
	uint64_t newest = lab.peer[h].term < lab.journal.term ? lab.peer[h].term : lab.journal.term;
	uint64_t term = newest ? newest - 1 : 0;
	uint8_t agent_state;

	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_EPOCH_ACK, .host = h, .term = term,
					       .epoch = 1000000});
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_ORDER_DONE, .host = h,
					       .order_id = lab.next_order_id - 1 - pick(3),
					       .status = WIRE_ORDER_FAILED, .term = term});
	agent_state = (uint8_t)pick(7);
	if (lab.peer[h].up)
		(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_REPORT,
						       .host = h,
						       .term = term,
						       .agent_state = agent_state,
						       .verdict = (uint8_t)pick(4)});
}

/* Cut both hosts off from the gateway for a while. They act as their policy allows. */
static void cut_off(void)
{
	bool direct = pick(2), answered = pick(4) > 0;
	uint8_t owner = lab.fsm.record.owner;

	for (uint8_t h = 0; h < n_hosts; h++)
		lab_down(&lab, h);
	/* `peer` in the owner's file names one host, which may have lost its seat */
	if (n_hosts > 2 && pick(2))
		(void)lab_agree_with(&lab, owner, lab_spare(&lab), direct, answered);
	else
		n_agreements += lab_agree(&lab, owner, direct, answered);
}

/* If both streams are up, let the standby take the next whole epoch. */
static void replicate(void)
{
	uint8_t other = vm_fsm_other(&lab.fsm);
	struct lab_peer *p = &lab.peer[other];
	const struct lab_peer *owner = &lab.peer[lab.fsm.record.owner];
	uint64_t sent = owner->committed; /* an agent's epoch numbers never decrease */

	if (!owner->streaming || !p->streaming || p->term != lab.fsm.record.term ||
	    owner->is_let_go) /* the owner's guest is stopped */
		return;
	lab_ack(&lab, (p->complete > sent ? p->complete : sent) + 1);
}

static void report_copy(void)
{
	const struct lab_peer *p = &lab.peer[lab.journal.owner];
	uint64_t bytes = (uint64_t)pick(3) << pick(63), copied = pick(4) == 0 ? pick(9) : bytes / 2;

	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_REPORT, .host = lab.journal.owner,
					       .agent_state = p->state, .term = p->term,
					       .role = WIRE_VM_ROLE_PRIMARY, .epoch = p->committed,
					       .copied_bytes = copied, .copy_bytes = bytes});
}

/* Let an operator ask for a move. In half of the cases, both hosts have just reported and the owner
 * carries out the order at once. In the other cases, anything may happen before that. */
static void move(void)
{
	uint8_t owner = lab.fsm.record.owner;
	bool is_calm = pick(2);

	for (uint8_t h = 0; is_calm && h < n_hosts; h++)
		lab_report(&lab, h);
	lab_move(&lab, pick(4) ? vm_fsm_other(&lab.fsm) : (uint8_t)pick(n_hosts));
	if (lab.fsm.move.state != VM_MOVE_ORDERED)
		return;
	n_moves++;
	if (is_calm)
		(void)lab_obey(&lab, owner);
}

static unsigned int n_left; /* promotions from a copy that was all that was left */

/* The owner is off for certain, so an operator goes on from the copy that is left. In some cases
 * the owner dies just when the protection has ended. */
static void fail_over_from_copy(void)
{
	uint8_t owner = lab.journal.owner;

	if (lab.journal.state == VM_PROTECTED && pick(4) == 0) {
		lab_command(&lab, VM_COMMAND_UNPROTECT);
		lab_down(&lab, owner);
	}
	if (!vm_left_is_copy(&lab.fsm, lab.now_ns))
		return;
	lose_data(owner);
	lab.peer[owner].state = WIRE_STATE_LOST;
	lab.is_forced = true;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .op_id = 3000000,
					       .command = VM_COMMAND_FAILOVER, .may_lose = true});
	lab.is_forced = false;
	n_left += lab.journal.state == VM_PROMOTING;
}

static unsigned int n_ended; /* copies that a drain has ended */

static void one_step(void)
{
	static const enum vm_command commands[] = {VM_COMMAND_PROTECT, VM_COMMAND_PROTECT,
						   VM_COMMAND_UNPROTECT, VM_COMMAND_FAILOVER};
	uint8_t h = (uint8_t)pick(n_hosts);
	struct lab_peer *p = &lab.peer[h];
	/* drawn before use: C does not define in which order arguments are evaluated */
	uint64_t ms;

	switch (pick(48)) {
	case 47:
		fail_over_from_copy();
		break;
	case 46: /* begin or lift a drain of a host, or end a copy for one */
		if (pick(3)) {
			vm_fsm_bar(&lab.fsm, h, pick(6) == 0);
		} else {
			n_ended -= lab.fsm.record.state == VM_UNPROTECTED;
			(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .host = h,
							       .op_id = 2000000,
							       .command = VM_COMMAND_END_COPY});
			n_ended += lab.fsm.record.state == VM_UNPROTECTED;
		}
		break;
	case 43: case 44: case 45:
		move();
		break;
	case 42: /* a copy of the disks, with true and untrue numbers */
		if (lab.peer[lab.journal.owner].up)
			report_copy();
		break;
	case 41: /* a false report, or a true one that contradicts an old journal */
		if (p->up && pick(8) == 0) {
			n_conflicts += !vm_fsm_in_conflict(&lab.fsm);
			(void)lab_feed(&lab,
				       (struct vm_input){.kind = VM_IN_REPORT,
							 .host = h,
							 .term = lab.journal.term + 1 + pick(3),
							 .agent_state = WIRE_STATE_RUNNING,
							 .role = WIRE_VM_ROLE_PRIMARY});
		}
		break;
	case 40:
		if (pick(3) == 0)
			cut_off();
		break;
	case 0:
		if (n_hosts > 2 && pick(3) == 0) /* protect --with */
			(void)lab_feed(&lab, (struct vm_input){
				.kind = VM_IN_COMMAND, .command = VM_COMMAND_PROTECT, .host = h,
				.is_host_named = true, .op_id = 2500000});
		else
			lab_command(&lab, commands[pick(4)]);
		break;
	case 1:
		lab_down(&lab, h);
		break;
	case 2:
		lab_stream_down(&lab, h);
		break;
	case 3:
		if (pick(4) == 0)
			lose_data(h);
		break;
	case 4:
		if (pick(3) == 0)
			lab_restart(&lab);
		break;
	case 5:
		old_messages(h);
		break;
	case 6:
		lab.journal_fails = pick(4) == 0;
		break;
	case 7:
		ms = 100 * pick(60);
		lab_run(&lab, ms, pick(1u << n_hosts));
		break;
	case 8:
		if (p->up && pick(3) == 0)
			lab_report_verdict(&lab, h, (uint8_t)pick(4));
		break;
	case 9:
		if (p->order.due && p->up) {
			p->order.due = false;
			lab_done(&lab, h, WIRE_ORDER_FAILED, "made to fail");
		}
		break;
	case 10: case 11: case 12:
		if (!p->up)
			lab_up(&lab, h);
		if (pick(2)) /* agents report at once, but the report can be late */
			lab_report(&lab, h);
		break;
	case 13: case 14: case 15:
		if (p->up && !p->streaming)
			(void)lab_stream_up(&lab, h, h == lab.fsm.record.owner
						     ? WIRE_VM_ROLE_PRIMARY : WIRE_VM_ROLE_STANDBY);
		break;
	case 16: case 17: case 18: case 19:
		lab_report(&lab, h);
		break;
	case 20: case 21: case 22: case 23: case 24: case 25:
		(void)lab_obey(&lab, h);
		break;
	case 26: case 27: case 28: case 29: case 30:
		replicate();
		break;
	case 31:
		(void)lab_fenced(&lab, pick(3) ? WIRE_ORDER_OK : WIRE_ORDER_FAILED);
		break;
	default:
		lab_run(&lab, 10 * (1 + pick(10)), 7);
		break;
	}
}

/* Name the owner, as an operator would after looking at both hosts. */
static void resolve_conflict(void)
{
	static const uint8_t right[] = {WIRE_STATE_RUNNING, WIRE_STATE_PROTECTED,
					WIRE_STATE_SYNCING, WIRE_STATE_LOST};

	for (size_t i = 0; i < sizeof(right); i++) {
		for (uint8_t h = 0; h < n_hosts; h++) {
			const struct lab_peer *p = &lab.peer[h], *other;

			if (h == lab_spare(&lab))
				continue;
			other = &lab.peer[lab_beside(&lab, h)];
			if (p->state != right[i] ||
			    (other->state == p->state && other->term > p->term))
				continue;
			lab_name_owner(&lab, h);
			n_named += lab.replied ? 0 : 1;
			return;
		}
	}
}

/* Repair everything. The VM must come to rest, and no host but the owner may run the guest. */
static void make_whole(void)
{
	lab.journal_fails = false;
	for (uint8_t h = 0; h < n_hosts; h++)
		vm_fsm_bar(&lab.fsm, h, false);
	for (int i = 0; i < 50; i++) {
		for (uint8_t h = 0; h < n_hosts; h++) {
			if (!lab.peer[h].up)
				lab_up(&lab, h);
			lab_report(&lab, h);
			if (!lab.peer[h].streaming)
				(void)lab_stream_up(&lab, h, h == lab.fsm.record.owner
							     ? WIRE_VM_ROLE_PRIMARY
							     : WIRE_VM_ROLE_STANDBY);
			(void)lab_obey(&lab, h);
		}
		(void)lab_fenced(&lab, WIRE_ORDER_OK);
		replicate();
		if (vm_fsm_in_conflict(&lab.fsm))
			resolve_conflict();
		lab_run(&lab, 1000, 7);
	}
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	/* The owner no longer keeps the guest stopped for a move. */
	if (lab.journal.state == VM_UNPROTECTED || lab.journal.state == VM_PROTECTED)
		assert_false(lab.peer[lab.journal.owner].is_let_go);
	assert_true(lab.journal.state == VM_UNPROTECTED || lab.journal.state == VM_PROTECTED ||
		    lab.journal.state == VM_FAILED);
	/* A host without a seat keeps neither guest nor copy. */
	if (n_hosts > 2 && lab.journal.term > 0)
		assert_true(lab.peer[lab_spare(&lab)].state == WIRE_STATE_FENCED ||
			    lab.peer[lab_spare(&lab)].state == WIRE_STATE_IDLE ||
			    lab.peer[lab_spare(&lab)].state == WIRE_STATE_LOST);
	if (lab.journal.state == VM_UNPROTECTED && lab.journal.term > 0) {
		uint8_t other = lab_beside(&lab, lab.journal.owner);

		assert_int_not_equal(lab.peer[other].state, WIRE_STATE_RUNNING);
		assert_int_not_equal(lab.peer[other].state, WIRE_STATE_PROTECTED);
		assert_int_not_equal(lab.peer[lab.journal.owner].state, WIRE_STATE_PROTECTED);
		assert_int_not_equal(lab.peer[lab.journal.owner].state, WIRE_STATE_FENCED);
	}
}

static void test_random(void **state)
{
	unsigned int promotions = 0, commits = 0, failed_writes = 0, taken[LAB_N_ROWS] = {0};
	unsigned int n_rows = 0;

	(void)state;
	for (unsigned int run = 0; run < N_RUNS; run++) {
		seed = run * 7919 + 1;
		lab_init(&lab);
		lab.config.standby_lost_hold = run & 1;
		lab.config.has_fence_command = run & 2;
		lab.config.fence_required = run & 4;
		lab.config.release_ns = run & 8 ? 150 * MS : 0;
		lab.config.reprotect_auto = run & 16;
		n_hosts = run & 32 ? 3 : 2;
		lab.config.spare_after_ns = 2000 * MS;
		if (n_hosts > 2)
			strcpy(lab.config.host[VM_HOST_THIRD], "gamma");
		for (uint8_t h = 0; h < n_hosts; h++)
			lab_up(&lab, h);
		for (int i = 0; i < 400; i++)
			one_step();
		make_whole();
		promotions += lab.n_promotions;
		n_moved += lab.n_moved;
		n_gone_on += lab.n_gone_on;
		n_seated += lab.n_seated;
		n_spare_orders += lab.n_spare_orders;
		commits += lab.n_commits;
		failed_writes += lab.n_failed_writes;
		for (size_t i = 0; i < LAB_N_ROWS; i++)
			taken[i] += lab.n_taken[i];
	}
	for (size_t i = 0; i < LAB_N_ROWS; i++)
		n_rows += taken[i] > 0;
	print_message("%u of %zu rows of fsm_table.h taken\n", n_rows, LAB_N_ROWS);
	/* The random runs must have reached all cases that the rules are about. */
	print_message("%u promotions, %u commits, %u failed writes, %u agreements, %u "
		      "conflicts, %u owners named\n",
		      promotions, commits, failed_writes, n_agreements, n_conflicts, n_named);
	assert_true(promotions > N_RUNS / 50 && commits > N_RUNS && failed_writes > N_RUNS / 10 &&
		    n_agreements > N_RUNS / 100 && n_conflicts > N_RUNS / 20);
	print_message("%u copies ended by a drain\n", n_ended);
	assert_true(n_ended > N_RUNS / 300);
	print_message("%u promotions from a copy that was left\n", n_left);
	assert_true(n_left >= N_RUNS / 200);
	print_message("%u moves, %u let go and promoted, %u let go and gone on\n", n_moves, n_moved,
		      n_gone_on);
	print_message("%u seats changed, %u orders to hosts without one\n", n_seated,
		      n_spare_orders);
	assert_true(n_seated > N_RUNS / 50 && n_spare_orders > N_RUNS / 5);
	assert_true(n_moves > N_RUNS / 20 && n_moved > N_RUNS / 100 &&
		    n_gone_on >= N_RUNS / 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
