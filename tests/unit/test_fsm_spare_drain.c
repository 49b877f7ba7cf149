/* test_fsm_spare_drain.c - tests the drain of a host of a VM with a spare: which host can keep the
 * copy during the drain, and what operators are told. fsm_lab.h checks the rules of vm/fsm.h. */
#include "fsm_spare_lab.h"

/* Tests which drains leave a third host that can keep the copy. */
static void test_third(void **state)
{
	(void)state;
	for (uint8_t h = 0; h < VM_HOSTS; h++)
		assert_true(vm_drain_has_third(&lab.fsm, h));
	/* A drain of alpha moves the guest to beta and the copy to gamma. */
	vm_fsm_bar(&lab.fsm, ALPHA, true);
	assert_false(vm_drain_has_third(&lab.fsm, GAMMA));
	vm_fsm_bar(&lab.fsm, ALPHA, false);
	vm_fsm_bar(&lab.fsm, BETA, true);
	assert_false(vm_drain_has_third(&lab.fsm, GAMMA));
	vm_fsm_bar(&lab.fsm, BETA, false);
	assert_true(vm_drain_has_third(&lab.fsm, GAMMA));
}

/* To drain the host of an unprotected guest, the gateway first protects the guest and then moves
 * it. For this, two other hosts are needed. */
static void test_unprotected(void **state)
{
	(void)state;
	lose_other();
	assert_false(vm_drain_has_third(&lab.fsm, ALPHA)); /* beta is gone, so only gamma is left */
	/* alpha's guest needs gamma as its standby */
	assert_false(vm_drain_has_third(&lab.fsm, GAMMA));
	come_back(BETA);
	assert_true(vm_drain_has_third(&lab.fsm, ALPHA));
	assert_true(vm_drain_has_third(&lab.fsm, GAMMA));
	lab_down(&lab, BETA);
	command(VM_COMMAND_UNPROTECT, ALPHA);
	/* unprotected by order: no host is needed for a copy */
	assert_true(vm_drain_has_third(&lab.fsm, GAMMA));
}

static void test_says_where_the_copy_goes(void **state)
{
	(void)state;
	lab_run(&lab, 100, 7);
	vm_fsm_bar(&lab.fsm, BETA, true);
	command(VM_COMMAND_END_COPY, BETA);
	replies(true, "done", "web1 runs on alpha, and gets its copy on gamma now");
	start(NULL);
	lab_run(&lab, 100, 7);
	lab_down(&lab, GAMMA);
	vm_fsm_bar(&lab.fsm, BETA, true);
	command(VM_COMMAND_END_COPY, BETA);
	replies(true, "done", "without a copy until `holdfastctl undrain beta`");
}

static void moves_away(const char *words)
{
	lab_run(&lab, 100, 7);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	vm_fsm_bar(&lab.fsm, ALPHA, true);
	lab_move(&lab, BETA);
	lab_settle(&lab);
	lab_tick(&lab, 10);
	assert_int_equal(lab.journal.owner, BETA);
	replies(true, "done", words);
}

static void test_moved(void **state)
{
	(void)state;
	moves_away("gamma, the spare, is to keep its copy");
	lab_report(&lab, BETA);
	is_now(VM_PREPARING, BETA, GAMMA);
	is_protected();
	start(NULL);
	lab_down(&lab, GAMMA);
	moves_away("it has no copy while alpha is drained");
}

/* gamma has taken the seat of the drained host and could not stand by. A reload of the VMs' files
 * does not change that the guest must be protected again. */
static void test_reload(void **state)
{
	(void)state;
	lab.config.reprotect_auto = false;
	lab_run(&lab, 100, 7);
	vm_fsm_bar(&lab.fsm, BETA, true);
	command(VM_COMMAND_END_COPY, BETA);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PREPARING, ALPHA, GAMMA);
	lab.peer[GAMMA].order.due = false;
	lab_done(&lab, GAMMA, WIRE_ORDER_FAILED, "its disk is full");
	is_now(VM_UNPROTECTED, ALPHA, GAMMA);
	assert_true(vm_fsm_wants_again(&lab.fsm));
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_POLICY});
	assert_true(vm_fsm_wants_again(&lab.fsm));
	later(15000);
	is_now(VM_PREPARING, ALPHA, GAMMA);
}

/* The spare is drained while the guest is protected. A change of the policy to `ask` then applies
 * to this VM as to any other. */
static void test_policy_of_a_protected_vm(void **state)
{
	(void)state;
	lab_run(&lab, 100, 7);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_POLICY}); /* the lab's policy: auto */
	assert_true(lab.fsm.record.is_wanted);
	vm_fsm_bar(&lab.fsm, GAMMA, true);
	lab.config.reprotect_auto = false;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_POLICY});
	is_now(VM_PROTECTED, ALPHA, BETA);
	assert_false(lab.fsm.record.is_wanted);
}

/* `protect --with` waits until a connected host has confirmed its FENCE, because the host's guest
 * may still run. */
static void test_with_waits_for_fence(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_run(&lab, 100, 7);
	assert_true(lab_obey(&lab, BETA));
	lab_tick(&lab, 10);
	is_now(VM_UNPROTECTED, BETA, ALPHA);
	assert_int_equal(lab.peer[ALPHA].order.verb, WIRE_VERB_FENCE);
	/* alpha's file says FENCED, but its QEMU does not answer */
	lab.peer[ALPHA].order.due = false;
	lab.peer[ALPHA].state = WIRE_STATE_FENCED;
	lab.peer[ALPHA].term = lab.peer[ALPHA].order.term;
	lab_report(&lab, ALPHA);
	lab_done(&lab, ALPHA, WIRE_ORDER_FAILED, "QEMU does not answer");
	command(VM_COMMAND_PROTECT, GAMMA);
	replies(false, "busy", "alpha has not yet confirmed the end of the last term");
	assert_true(lab.fsm.fence_due);
	lab_down(&lab, ALPHA); /* alpha is off, and is fenced when it comes back */
	command(VM_COMMAND_PROTECT, GAMMA);
	is_now(VM_PREPARING, BETA, GAMMA);
	is_protected();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_third, start),
		cmocka_unit_test_setup(test_unprotected, start),
		cmocka_unit_test_setup(test_says_where_the_copy_goes, start),
		cmocka_unit_test_setup(test_moved, start),
		cmocka_unit_test_setup(test_reload, start),
		cmocka_unit_test_setup(test_policy_of_a_protected_vm, start),
		cmocka_unit_test_setup(test_with_waits_for_fence, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
