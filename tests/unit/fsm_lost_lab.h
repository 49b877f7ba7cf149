/* fsm_lost_lab.h - shared code of all tests of a cold start that makes no progress. In a lab
 * (fsm_lab.h), alpha and beta, the hosts of a VM, have lost their power and are back.
 */
#ifndef TESTS_FSM_LOST_LAB_H
#define TESTS_FSM_LOST_LAB_H

#include "fsm_lab.h"

enum { ALPHA = 0, BETA = 1, BOTH = 3 };

static struct lab lab;

static const struct vm_cold_word was_primary = {.role = VM_COLD_PRIMARY, .disk = VM_COLD_DISK_OWN,
						.ran = 1};
static const struct vm_cold_word has_copy = {.role = VM_COLD_STANDBY, .disk = VM_COLD_DISK_COPY,
					     .term = 1, .epoch = 812, .ran = 1};

static inline void reports(void)
{
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
}

/* Let @ms milliseconds pass. Connected hosts report and beat, but carry out no order. */
static inline void wait_ms(unsigned ms)
{
	for (unsigned i = 0; i < ms; i += 100) {
		lab_run(&lab, 100, BOTH);
		reports();
	}
}

/* Both hosts have lost their power and are back. Neither the gateway nor a host starts the guest by
 * itself. */
static inline int start(void **state)
{
	(void)state;
	lab_start_protected(&lab); /* alpha is the owner, in term 1 */
	for (int h = 0; h < 2; h++)
		lab.peer[h] = (struct lab_peer){.state = WIRE_STATE_IDLE, .term = 1};
	lab.peer[ALPHA].cold = was_primary;
	lab.peer[BETA].cold = has_copy;
	lab_restart(&lab);
	lab.now_ns += 60000 * MS;
	for (uint8_t h = 0; h < 2; h++)
		lab_up(&lab, h);
	wait_ms(2000);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	return 0;
}

static inline void is_now(enum vm_state state, uint8_t owner, uint64_t term)
{
	assert_int_equal(lab.journal.state, state);
	assert_int_equal(lab.journal.owner, owner);
	assert_int_equal(lab.journal.term, term);
}

/* Let an operator say `start web1 --on HOST`. @h: HOST. @may_lose: with --lose. @off: the host
 * named with --off; -1: without --off. */
static inline void start_on(uint8_t h, bool may_lose, int off)
{
	static uint64_t op_id = 7000;

	lab.replied = false;
	lab.last_reply = (struct vm_action){.code = ""};
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .op_id = ++op_id, .host = h,
					       .command = VM_COMMAND_START, .is_host_named = true,
					       .may_lose = may_lose, .is_off_named = off >= 0,
					       .off = (uint8_t)(off >= 0 ? off : 0)});
}

#endif
