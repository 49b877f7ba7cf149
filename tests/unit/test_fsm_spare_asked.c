/* test_fsm_spare_asked.c - tests two commands of an operator for a VM with a spare: to keep the
 * copy on the spare, and to start the guest after a power failure. fsm_lab.h checks the rules of
 * vm/fsm.h. */
#include "fsm_spare_lab.h"

static void test_protect_with(void **state)
{
	(void)state;
	command(VM_COMMAND_PROTECT, GAMMA);
	replies(false, "busy", "`holdfastctl unprotect web1`, then `protect web1 --with gamma`");
	command(VM_COMMAND_PROTECT, BETA);
	replies(true, "already", "");
	command(VM_COMMAND_PROTECT, ALPHA);
	replies(false, "not-possible", "alpha owns web1");
	command(VM_COMMAND_MOVE, GAMMA);
	replies(false, "not-possible", "it is the spare");
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .no_wait = true,
					       .command = VM_COMMAND_UNPROTECT});
	command(VM_COMMAND_PROTECT, GAMMA);
	replies(false, "busy", "alpha has not yet confirmed");
	lab_settle(&lab);
	vm_fsm_bar(&lab.fsm, GAMMA, true);
	command(VM_COMMAND_PROTECT, GAMMA);
	replies(false, "drained", "gamma is drained");
	vm_fsm_bar(&lab.fsm, GAMMA, false);
	lab_down(&lab, GAMMA);
	command(VM_COMMAND_PROTECT, GAMMA);
	replies(false, "not-connected", "the agent of gamma is not connected");
	come_back(GAMMA);
	command(VM_COMMAND_PROTECT, GAMMA);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	assert_non_null(strstr(lab.last_state, "beta, which is the spare now: an operator asks"));
	is_protected();
	replies(true, "done", "alpha, standby gamma");
	lab_report(&lab, BETA);
	lab_settle(&lab);
	lab_move(&lab, GAMMA); /* gamma is a standby now, so a move to gamma is possible */
	assert_int_equal(lab.fsm.move.state, VM_MOVE_ORDERED);
}

/* A restarted gateway does not know whether the owner has ended the protection yet. So `protect`
 * with the spare must wait for the owner's confirmation. */
static void test_protect_with_holding_owner(void **state)
{
	(void)state;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .no_wait = true,
					       .command = VM_COMMAND_UNPROTECT});
	lab_restart(&lab);
	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		lab_up(&lab, h);
		lab_report(&lab, h);
	}
	command(VM_COMMAND_PROTECT, GAMMA);
	replies(false, "busy", "alpha has not yet confirmed");
	lab_settle(&lab);
	command(VM_COMMAND_PROTECT, GAMMA);
	is_now(VM_PREPARING, ALPHA, GAMMA);
}

/* The very first protection of a VM can use the spare. */
static void test_protect_with_first(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_add_spare(&lab);
	command(VM_COMMAND_PROTECT, GAMMA);
	is_now(VM_PREPARING, ALPHA, GAMMA);
	is_protected();
}

/* The hosts return after a power failure, and the journal is intact. So only the two hosts with a
 * seat can have run the guest last, and the gateway does not wait for the third host. */
static void test_cold(void **state)
{
	struct vm_cold_word primary = {.role = VM_COLD_PRIMARY, .disk = VM_COLD_DISK_OWN};
	struct vm_cold_word standby = {.role = VM_COLD_STANDBY, .disk = VM_COLD_DISK_COPY};
	char text[VM_TEXT_MAX];

	(void)state;
	gamma_for_beta();
	primary.ran = standby.term = standby.ran = lab.journal.term;
	standby.epoch = 1;
	for (uint8_t h = 0; h < VM_HOSTS; h++)
		lab_down(&lab, h);
	lab_restart(&lab);
	lab.peer[ALPHA].cold = primary;
	lab.peer[GAMMA].cold = standby;
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab.peer[GAMMA].state = WIRE_STATE_IDLE;
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	lab_up(&lab, GAMMA);
	lab_report(&lab, GAMMA);
	assert_true(vm_cold_is_nowhere(&lab.fsm));
	vm_cold_describe(&lab.fsm, text, sizeof(text));
	assert_non_null(strstr(text, "`holdfastctl start web1` starts it on alpha"));
	command(VM_COMMAND_START, BETA);
	replies(false, "not-possible", "beta has no seat");
	/* somebody has started the guest by hand on beta, which has no seat */
	lab.peer[BETA].state = WIRE_STATE_RUNNING;
	lab.peer[BETA].term = 1;
	lab_up(&lab, BETA);
	lab_report(&lab, BETA);
	assert_false(vm_cold_is_nowhere(&lab.fsm));
	lab_settle(&lab);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_FENCED);
	assert_true(vm_cold_is_nowhere(&lab.fsm));
	lab_run(&lab, 1100, 7);
	lab_command(&lab, VM_COMMAND_START);
	lab_settle(&lab);
	assert_int_equal(lab.n_starts, 1);
	is_now(VM_UNPROTECTED, ALPHA, GAMMA);
}

/* After a power failure the journal is lost too, so the seats are as in the VM's file. The third
 * host may have run the guest. */
static void test_cold_without_journal(void **state)
{
	struct vm_cold_word primary = {.role = VM_COLD_PRIMARY, .disk = VM_COLD_DISK_OWN, .ran = 3};
	char text[VM_TEXT_MAX];

	(void)state;
	lab_init(&lab);
	strcpy(lab.config.host[GAMMA], "gamma");
	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		lab.peer[h].cold = (struct vm_cold_word){.role = VM_COLD_FENCED};
		lab.peer[h].state = WIRE_STATE_FENCED;
		lab.peer[h].term = 3;
	}
	lab.peer[ALPHA].cold = primary;
	lab.peer[GAMMA].cold = primary;
	lab.peer[GAMMA].cold.ran = lab.peer[GAMMA].term = 7;
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	lab_up(&lab, BETA);
	lab_report(&lab, BETA);
	assert_false(vm_cold_is_nowhere(&lab.fsm));
	lab_up(&lab, GAMMA);
	lab_report(&lab, GAMMA);
	assert_true(vm_cold_is_nowhere(&lab.fsm));
	vm_cold_describe(&lab.fsm, text, sizeof(text));
	assert_non_null(strstr(text, "gamma ran it last, and has no seat"));
	lab.peer[GAMMA].cold.ran = 2;
	lab_report(&lab, GAMMA);
	vm_cold_describe(&lab.fsm, text, sizeof(text));
	assert_non_null(strstr(text, "starts it on alpha"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_protect_with, start),
		cmocka_unit_test_setup(test_protect_with_holding_owner, start),
		cmocka_unit_test(test_protect_with_first),
		cmocka_unit_test_setup(test_cold, start),
		cmocka_unit_test(test_cold_without_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
