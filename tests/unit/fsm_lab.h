/* fsm_lab.h - runs the state machine of one VM (vm/fsm) on a virtual clock with scripted peers. It
 * checks the state machine's rules after each step.
 *
 * All test_fsm*.c files use it. It has three parts, each in a header of its own, and the beginnings
 * that many tests share:
 * - fsm_lab_world.h: what is true, whatever the state machine knows of it
 * - fsm_lab_rules.h: lab_feed() gives an input, and checks the actions against the rules
 * - fsm_lab_peers.h: the agents
 */
#ifndef TESTS_FSM_LAB_H
#define TESTS_FSM_LAB_H

#include "fsm_lab_peers.h"

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
