/* test_fsm_drain.c - tests how the state machine of a VM serves the drain of a host. The state
 * machine says what the VM still has on that host, ends the copy there, and lets neither a copy nor
 * the guest come there. */
#include "fsm_move_lab.h"

static char why[VM_TEXT_MAX];

static enum vm_drain_place look(uint8_t host)
{
	return vm_drain_look(&lab.fsm, host, true, why, sizeof(why));
}

static void end_copy(uint8_t host)
{
	lab.replied = false;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .host = host, .op_id = 77,
					       .command = VM_COMMAND_END_COPY});
}

/* Let @ms milliseconds pass, while both hosts report. */
static void live(uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 100) {
		lab_run(&lab, 100, 3);
		lab_report(&lab, ALPHA);
		lab_report(&lab, BETA);
		lab_settle(&lab);
	}
}

/* beta is drained: its copy is ended, and no copy is begun there until the drain is lifted. Then
 * the gateway begins a copy without a command, although the policy is `ask`. */
static void test_copy(void **state)
{
	uint64_t term = lab.journal.term;

	(void)state;
	assert_int_equal(look(ALPHA), VM_DRAIN_MOVABLE);
	assert_int_equal(look(BETA), VM_DRAIN_COPY);
	vm_fsm_bar(&lab.fsm, BETA, true);
	end_copy(BETA);
	assert_true(lab.replied && lab.last_reply.ok);
	is_now(VM_UNPROTECTED, ALPHA);
	assert_int_equal(lab.journal.term, term + 1);
	is_ordered(ALPHA, WIRE_VERB_UNPROTECT);
	assert_int_equal(look(BETA), VM_DRAIN_ENDING); /* alpha still holds output */
	lab_settle(&lab);
	lab_report(&lab, ALPHA);
	assert_int_equal(look(BETA), VM_DRAIN_AWAY);
	assert_true(vm_fsm_wants_again(&lab.fsm));
	live(2000);
	is_now(VM_UNPROTECTED, ALPHA);
	assert_non_null(strstr(vm_again_describe(&lab.fsm, lab.now_ns, why, sizeof(why)),
			       "beta is drained"));
	lab_command(&lab, VM_COMMAND_PROTECT);
	is_refused("drained", "`holdfastctl undrain beta`");
	/* a restarted gateway learns from the drain's record (drain_record.h) that beta is drained,
	 * and that the VM is to be protected again */
	lab_restart(&lab);
	assert_false(vm_fsm_wants_again(&lab.fsm));
	vm_fsm_want_again(&lab.fsm, lab.now_ns);
	vm_fsm_bar(&lab.fsm, BETA, true);
	for (uint8_t h = 0; h < 2; h++) {
		lab_up(&lab, h);
		lab_report(&lab, h);
	}
	live(2000);
	is_now(VM_UNPROTECTED, ALPHA);
	vm_fsm_bar(&lab.fsm, BETA, false);
	live(200);
	is_now(VM_SYNCING, ALPHA);
	end_copy(ALPHA);
	is_refused("not-possible", "alpha owns web1");
}

/* The guest moves away from alpha, which is being drained. No copy is made on alpha before the
 * drain is lifted. */
static void test_move(void **state)
{
	(void)state;
	vm_fsm_bar(&lab.fsm, ALPHA, true);
	lab_move(&lab, BETA);
	assert_int_equal(look(ALPHA), VM_DRAIN_BUSY);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PROMOTING, BETA);
	assert_int_equal(look(ALPHA), VM_DRAIN_BUSY);
	assert_true(lab_obey(&lab, BETA));
	is_now(VM_UNPROTECTED, BETA);
	/* beta's guest has not yet shown that it serves */
	assert_int_equal(look(ALPHA), VM_DRAIN_BUSY);
	lab_tick(&lab, 10);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_int_equal(look(ALPHA), VM_DRAIN_ENDING); /* alpha has not stopped its guest */
	lab_settle(&lab);
	lab_report(&lab, ALPHA);
	assert_int_equal(look(ALPHA), VM_DRAIN_AWAY);
	live(2000);
	is_now(VM_UNPROTECTED, BETA);
	vm_fsm_bar(&lab.fsm, ALPHA, false);
	live(200);
	is_now(VM_SYNCING, BETA);
	lab_ack(&lab, 1);
	live(200);
	vm_fsm_bar(&lab.fsm, ALPHA, true);
	lab_move(&lab, ALPHA); /* an operator asks without knowing of the drain */
	is_refused("drained", "alpha is drained");
}

/* A drain does not end a copy that may be needed to save the guest. No promotion is refused because
 * the host is drained. */
static void test_saves(void **state)
{
	(void)state;
	vm_fsm_bar(&lab.fsm, BETA, true);
	lab_run(&lab, 400, 2); /* alpha is silent */
	end_copy(BETA);
	is_refused("not-safe", "web1 may need its copy on beta");
	is_now(VM_PROTECTED, ALPHA);
	lab_run(&lab, 2000, 2);
	is_now(VM_PROMOTING, BETA);
	assert_int_equal(look(BETA), VM_DRAIN_BUSY);
	end_copy(BETA);
	assert_false(lab.last_reply.ok);
	assert_true(lab_obey(&lab, BETA));
	is_now(VM_UNPROTECTED, BETA);
	assert_int_equal(look(BETA), VM_DRAIN_STUCK);
	/* alpha's old guest is not needed, so it does not matter that alpha cannot confirm its
	 * end */
	lab_down(&lab, ALPHA);
	lab_run(&lab, 100, 2);
	assert_int_equal(look(ALPHA), VM_DRAIN_AWAY);
}

static void test_guest_is_gone(void **state)
{
	(void)state;
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_SHUTDOWN);
	lab_settle(&lab);
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_SHUTDOWN);
	is_now(VM_UNPROTECTED, ALPHA);
	assert_int_equal(look(ALPHA), VM_DRAIN_AWAY);
}

static void test_places(void **state)
{
	(void)state;
	assert_int_equal(vm_drain_look(&lab.fsm, ALPHA, false, why, sizeof(why)), VM_DRAIN_BUSY);
	assert_non_null(strstr(why, "not SAFE"));
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	lab_report(&lab, ALPHA);
	assert_int_equal(look(ALPHA), VM_DRAIN_STUCK);
	assert_non_null(strstr(why, "it is not protected"));
	assert_int_equal(look(BETA), VM_DRAIN_AWAY);
	end_copy(BETA);
	assert_true(lab.last_reply.ok); /* beta has no copy */
	assert_false(vm_fsm_wants_again(&lab.fsm));
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	is_now(VM_SYNCING, ALPHA);
	assert_int_equal(look(ALPHA), VM_DRAIN_BUSY);
	assert_int_equal(look(BETA), VM_DRAIN_COPY);
	end_copy(BETA);
	is_refused("busy", "SYNCING");
	lab_ack(&lab, 1);
	/* a conflict: it is not known which host owns the guest */
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_OBEYS_ANOTHER, .host = BETA});
	assert_int_equal(look(ALPHA), VM_DRAIN_STUCK);
	assert_int_equal(look(BETA), VM_DRAIN_STUCK);
	end_copy(BETA);
	is_refused("conflict", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_copy, start),
		cmocka_unit_test_setup(test_move, start),
		cmocka_unit_test_setup(test_saves, start),
		cmocka_unit_test_setup(test_guest_is_gone, start),
		cmocka_unit_test_setup(test_places, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
