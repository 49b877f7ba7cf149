/* fsm_move_lab.h - shared code of all tests of moves: a protected VM in a lab (fsm_lab.h), and
 * checks of its state.
 */
#ifndef TESTS_FSM_MOVE_LAB_H
#define TESTS_FSM_MOVE_LAB_H

#include "fsm_lab.h"

static struct lab lab;

enum { ALPHA, BETA };

static inline int start(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab.config.release_ns = 150 * MS;
	lab_protect(&lab);
	lab_run(&lab, 100, 3);
	return 0;
}

static inline void is_now(enum vm_state state, uint8_t owner)
{
	assert_int_equal(lab.journal.state, state);
	assert_int_equal(lab.journal.owner, owner);
}

static inline void is_ordered(uint8_t h, uint8_t verb)
{
	assert_true(lab.peer[h].order.due);
	assert_int_equal(lab.peer[h].order.verb, verb);
}

static inline void is_refused(const char *code, const char *words)
{
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, code);
	if (!strstr(lab.last_reply.text, words))
		fail_msg("'%s' has no '%s'", lab.last_reply.text, words);
}

#endif
