/* fsm_left_lab.h - the beginning of the tests of a standby's copy that is left of a guest
 * (gateway/vm/fsm_left.c): commands with --lose, and a VM of which beta has a whole copy.
 * Threads: one. */
#ifndef FSM_LEFT_LAB_H
#define FSM_LEFT_LAB_H

#include "fsm_move_lab.h"

enum { ONLY_ALPHA = 1, ONLY_BETA = 2, BOTH = 3 };

static inline void give(struct vm_input in)
{
	static uint64_t op_id = 9000;

	in.kind = VM_IN_COMMAND;
	in.op_id = ++op_id;
	lab.replied = false;
	lab.is_forced = in.may_lose;
	(void)lab_feed(&lab, in);
}

static inline void command(enum vm_command command, bool may_lose)
{
	give((struct vm_input){.command = command, .may_lose = may_lose});
}

static inline void comes_back(uint8_t h)
{
	lab_up(&lab, h);
	lab_report(&lab, h);
}

/* Beta has epoch 5 of alpha's guest. */
static inline int start_committed(void **state)
{
	(void)start(state);
	lab_ack(&lab, 5);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	return 0;
}

#endif
