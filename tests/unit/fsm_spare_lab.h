/* fsm_spare_lab.h - shared code of all tests of a VM with a spare: a protected VM on alpha and beta
 * in a lab (fsm_lab.h), the spare gamma, and functions that change the VM's state.
 */
#ifndef TESTS_FSM_SPARE_LAB_H
#define TESTS_FSM_SPARE_LAB_H

#include "fsm_lab.h"

static struct lab lab;

enum { ALPHA, BETA, GAMMA };
#define BIT(h) (1u << (h))

static inline int start(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab.config.reprotect_auto = true;
	lab_add_spare(&lab);
	lab_protect(&lab);
	return 0;
}

static inline void is_now(enum vm_state state, uint8_t owner, uint8_t other)
{
	assert_int_equal(lab.journal.state, state);
	assert_int_equal(lab.journal.owner, owner);
	assert_int_equal(vm_fsm_other(&lab.fsm), other);
	assert_int_equal(lab_beside(&lab, owner), other);
}

static inline void says(const char *words)
{
	char text[VM_TEXT_MAX];

	vm_again_describe(&lab.fsm, lab.now_ns, text, sizeof(text));
	if (!strstr(text, words))
		fail_msg("'%s' has no '%s'", text, words);
}

static inline void replies(bool ok, const char *code, const char *words)
{
	assert_true(lab.replied);
	assert_int_equal(lab.last_reply.ok, ok);
	assert_string_equal(lab.last_reply.code, code);
	if (!strstr(lab.last_reply.text, words))
		fail_msg("'%s' has no '%s'", lab.last_reply.text, words);
}

static inline void command(enum vm_command what, uint8_t host)
{
	static uint64_t op_id = 3000000;

	lab.replied = false;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .command = what,
					       .host = host, .is_host_named = true,
					       .op_id = ++op_id});
}

static inline void come_back(uint8_t h)
{
	lab_up(&lab, h);
	lab_report(&lab, h);
	lab_settle(&lab);
	lab_report(&lab, h);
	lab_settle(&lab);
}

/* Let the standby's host die. The gateway ends the protection, and the owner runs the guest
 * unprotected. */
static inline void lose_other(void)
{
	uint8_t owner = lab.journal.owner, other = vm_fsm_other(&lab.fsm);

	lab_down(&lab, other);
	lab.standby_owes = true;
	lab_run(&lab, 6000, 7 - BIT(other));
	lab.standby_owes = false;
	is_now(VM_UNPROTECTED, owner, other);
	lab_settle(&lab);
	lab_report(&lab, owner);
}

/* Let @ms milliseconds pass with all hosts alive, and let the owner report. */
static inline void later(uint64_t ms)
{
	lab_run(&lab, ms, 7);
	lab_settle(&lab);
	lab_report(&lab, lab.journal.owner);
}

static inline void is_protected(void)
{
	lab_settle(&lab);
	lab_ack(&lab, 1);
	lab_report(&lab, lab.journal.owner);
	lab_report(&lab, vm_fsm_other(&lab.fsm));
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

/* Let beta die and gamma take its seat. */
static inline void gamma_for_beta(void)
{
	lose_other();
	later(61000);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	is_protected();
}

/* Let the owner's host die, and let the standby promote the guest. */
static inline void fail_over(void)
{
	uint8_t old = lab.journal.owner, to = vm_fsm_other(&lab.fsm);

	lab_down(&lab, old);
	lab_run(&lab, 600, 7 - BIT(old));
	assert_true(lab_obey(&lab, to));
	is_now(VM_UNPROTECTED, to, old);
	lab_tick(&lab, 10);
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SERVES);
	lab_report(&lab, to);
}

/* Let gamma keep the copy, with beta as the spare. Then alpha dies. gamma runs the guest, but
 * nothing shows that the guest serves its clients. */
static inline void gamma_shows_no_life(void)
{
	gamma_for_beta();
	come_back(BETA);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 600, 6);
	assert_true(lab_obey(&lab, GAMMA));
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_REPORT, .host = GAMMA, .agent_state = WIRE_STATE_RUNNING,
		.role = WIRE_VM_ROLE_PRIMARY, .term = lab.peer[GAMMA].term,
		.guest = {.is_valid = true, .was_running = true, .knows_frames = true,
			  .term = lab.peer[GAMMA].term}});
}

#endif
