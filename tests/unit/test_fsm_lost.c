/* test_fsm_lost.c - tests a cold start whose host goes away before it has reported that it runs the
 * guest. The start is given up, and a host can be chosen again. The guest must never run on two
 * hosts: a host that was ordered to run it must be fenced, or known to be off, before another host
 * starts it. fsm_lab.h checks the rules of every step. */
#include "fsm_lost_lab.h"
#include "wire/text.h"

static void is_refused(const char *code, const char *text)
{
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, code);
	if (!strstr(lab.last_reply.text, text))
		fail_msg("'%s' lacks '%s'", lab.last_reply.text, text);
}

/* Let alpha be chosen and get the order START. Alpha has not carried out the order. */
static void order_start(void)
{
	start_on(ALPHA, false, -1);
	is_now(VM_PROMOTING, ALPHA, 2);
	assert_true(lab_obey(&lab, BETA)); /* FENCE */
	assert_true(lab.peer[ALPHA].order.due);
	assert_int_equal(lab.peer[ALPHA].order.verb, WIRE_VERB_START);
}

/* Let alpha stay away until the start is given up. */
static void lose_alpha(void)
{
	lab_down(&lab, ALPHA);
	wait_ms(29000);
	is_now(VM_PROMOTING, ALPHA, 2);
	wait_ms(2000);
	is_now(VM_FAILED, ALPHA, 2);
}

/* When the start is given up, the reply to the waiting operator and the event give the reason and
 * say what to do next. */
static void test_given_up(void **state)
{
	(void)state;
	order_start();
	assert_false(lab.replied);
	lose_alpha();
	is_refused("start-failed", "the start is given up, alpha has gone away. alpha may run the "
		   "guest: bring it back; or, when it is off for certain, `holdfastctl start web1 "
		   "--on beta --lose --off alpha`");
	assert_string_equal(lab.last_state, lab.last_reply.text);
	wait_ms(60000);
	is_now(VM_FAILED, ALPHA, 2); /* the gateway does nothing more by itself */
	/* commands that need a copy are refused, because there is none */
	lab_command(&lab, VM_COMMAND_FAILOVER);
	is_refused("cold", "--on beta --lose --off alpha");
	lab_command(&lab, VM_COMMAND_PROTECT);
	is_refused("cold", "--on beta --lose --off alpha");
	lab_command(&lab, VM_COMMAND_START);
	is_refused("not-cold", "--on beta --lose --off alpha");
	is_now(VM_FAILED, ALPHA, 2);
}

/* Alpha got START, so it may run the guest. Beta is started only when alpha is off for certain. */
static void test_the_other_host(void **state)
{
	(void)state;
	order_start();
	lose_alpha();
	start_on(BETA, true, -1);
	is_refused("may-run", "alpha may run the guest");
	start_on(BETA, false, ALPHA);
	is_refused("not-cold", "--lose --off alpha");
	start_on(BETA, true, BETA);
	is_refused("not-possible", "only the host that is not to start the guest");
	is_now(VM_FAILED, ALPHA, 2);
	assert_int_equal(lab.n_starts, 1);
	lab.is_forced = true;
	start_on(BETA, true, ALPHA);
	assert_int_equal(lab.n_starts, 2);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, BETA, 3);
	lab_up(&lab, ALPHA); /* alpha is fenced when it is back */
	lab_report(&lab, ALPHA);
	lab_settle(&lab);
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_FENCED);
	is_now(VM_UNPROTECTED, BETA, 3);
}

/* Alpha was away for a moment only. It gets START again, in the same term. */
static void test_back_soon(void **state)
{
	(void)state;
	order_start();
	lab_down(&lab, ALPHA);
	wait_ms(25000);
	lab_up(&lab, ALPHA);
	wait_ms(1000);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, ALPHA, 2);
	assert_true(lab.replied && lab.last_reply.ok);
}

/* Alpha comes and goes, each time before it has carried out START. The policy does not choose alpha
 * again. */
static void test_comes_and_goes(void **state)
{
	(void)state;
	order_start();
	for (int i = 0; i < 4; i++) {
		lab_down(&lab, ALPHA);
		wait_ms(25000);
		is_now(VM_PROMOTING, ALPHA, 2);
		lab_up(&lab, ALPHA);
		wait_ms(4900);
		is_now(VM_PROMOTING, ALPHA, 2);
	}
	wait_ms(1000);
	lab_down(&lab, ALPHA); /* alpha is away for only 1 s */
	wait_ms(1000);
	lab_up(&lab, ALPHA);
	is_now(VM_PROMOTING, ALPHA, 2);
	lab_down(&lab, ALPHA);
	wait_ms(6000);
	is_now(VM_FAILED, ALPHA, 2);
	is_refused("start-failed", "alpha has gone away. alpha may run the guest");
	lab.config.cold_start_newest = true;
	lab_up(&lab, ALPHA);
	wait_ms(10000);
	is_now(VM_FAILED, ALPHA, 2);
}

/* Begin a start on alpha. Beta answers each FENCE with an error for @s seconds. */
static void refuse_fence(int s)
{
	start_on(ALPHA, false, -1);
	for (int i = 0; i < s; i++) {
		if (lab.peer[BETA].order.due) {
			assert_int_equal(lab.peer[BETA].order.verb, WIRE_VERB_FENCE);
			lab.peer[BETA].order.due = false;
			lab_done(&lab, BETA, WIRE_ORDER_FAILED, "its file is wrong");
		}
		wait_ms(1000);
	}
	is_now(VM_PROMOTING, ALPHA, 2);
	assert_int_equal(lab.n_starts, 0);
}

/* Beta refuses FENCE, so START is never ordered. Beta may run the guest, even after its agent has
 * ended. So alpha starts the guest only after an operator's --off or the fence command. */
static void test_not_fenced(void **state)
{
	for (int has_command = 0; has_command < 2; has_command++) {
		(void)start(state);
		lab.config.cold_start_newest = true;
		lab.config.has_fence_command = has_command;
		refuse_fence(119);
		wait_ms(3000);
		is_now(VM_FAILED, ALPHA, 2);
		is_refused("start-failed", "the start is given up, beta is not fenced. beta may "
			   "run the guest: its agent's log says why");
		wait_ms(60000);
		is_now(VM_FAILED, ALPHA, 2); /* the policy does not try for ever */
		lab_down(&lab, BETA);
		lab_command(&lab, VM_COMMAND_START);
		is_refused("not-cold", has_command
			   ? "`holdfastctl start web1 --on alpha --lose` has it fenced first"
			   : "`holdfastctl start web1 --on alpha --lose --off beta`");
		start_on(ALPHA, true, -1);
		if (has_command) {
			assert_true(lab.fence_runs);
			assert_int_equal(lab.n_starts, 0);
			continue;
		}
		is_refused("may-run", "beta may run the guest");
		lab.is_forced = true;
		start_on(ALPHA, true, BETA);
		lab_settle(&lab);
		is_now(VM_UNPROTECTED, ALPHA, 3);
		assert_int_equal(lab.n_starts, 1);
	}
}

/* Beta refuses FENCE and goes away. Beta may still run the guest, so alpha does not start it. */
static void test_not_fenced_and_away(void **state)
{
	(void)state;
	refuse_fence(40);
	lab_down(&lab, BETA);
	wait_ms(60000);
	assert_int_equal(lab.n_starts, 0);
	is_now(VM_FAILED, ALPHA, 2);
	is_refused("start-failed", "beta may run the guest");
}

/* Beta goes away before it has answered FENCE. The gateway's wait for beta begins when beta goes
 * away, not at the beginning of the start. */
static void test_away_later(void **state)
{
	(void)state;
	start_on(ALPHA, false, -1);
	wait_ms(29000);
	lab_down(&lab, BETA);
	wait_ms(28000);
	assert_int_equal(lab.n_starts, 0);
	wait_ms(4000);
	assert_int_equal(lab.n_starts, 1);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, ALPHA, 2);
}

/* Alpha starts the guest while beta is away, and takes long. Beta comes back and refuses FENCE. The
 * start on alpha goes on. */
static void test_slow_start(void **state)
{
	(void)state;
	lab.journal = (struct vm_record){.term = 1, .owner = ALPHA, .state = VM_UNPROTECTED,
					 .is_wanted = true};
	lab.config.order_timeout_ns = 1000000 * MS;
	lab_restart(&lab);
	lab_up(&lab, ALPHA);
	wait_ms(2000);
	start_on(ALPHA, true, -1);
	assert_int_equal(lab.n_starts, 1);
	lab_up(&lab, BETA);
	wait_ms(1000);
	lab.peer[BETA].order.due = false;
	lab_done(&lab, BETA, WIRE_ORDER_FAILED, "its file is wrong");
	wait_ms(150000);
	is_now(VM_PROMOTING, ALPHA, 2);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_UNPROTECTED, ALPHA, 2);
}

/* Beta's agent was started again without a file for the VM, so it does not report the VM. The start
 * is given up, and the text says that the file is missing. */
static void test_not_reported(void **state)
{
	(void)state;
	refuse_fence(10);
	lab_down(&lab, BETA);
	lab_up(&lab, BETA);
	for (int i = 0; i < 115; i++) {
		lab_run(&lab, 1000, BOTH);
		lab_report(&lab, ALPHA);
	}
	is_now(VM_FAILED, ALPHA, 2);
	assert_int_equal(lab.n_starts, 0);
	is_refused("start-failed", "beta has not reported web1: its agent needs a file for it");
}

/* Alpha had started the guest, and only its connection was cut. When alpha is back, the start
 * counts as done. */
static void test_back_with_the_guest(void **state)
{
	(void)state;
	order_start();
	lab.peer[ALPHA].state = WIRE_STATE_RUNNING;
	lab.peer[ALPHA].term = 2;
	lab.peer[ALPHA].cold = (struct vm_cold_word){0};
	lose_alpha();
	lab_up(&lab, ALPHA);
	wait_ms(200);
	is_now(VM_UNPROTECTED, ALPHA, 2);
	assert_int_equal(lab.n_starts, 1);
	assert_true(lab.fsm.protection.promoted.is_boot);
	lab_settle(&lab);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_FENCED);
}

/* Alpha is back without the guest. With cold_start = newest, the gateway chooses a host again by
 * itself; otherwise an operator must do so. */
static void test_back_without_the_guest(void **state)
{
	(void)state;
	for (int newest = 0; newest < 2; newest++) {
		(void)start(state);
		order_start();
		lose_alpha();
		lab.config.cold_start_newest = newest;
		lab_up(&lab, ALPHA);
		wait_ms(3000);
		if (!newest) {
			is_now(VM_FAILED, ALPHA, 2);
			assert_non_null(strstr(lab.last_event, "`holdfastctl start web1` starts "
						"it on alpha"));
			lab_command(&lab, VM_COMMAND_START);
		}
		is_now(VM_PROMOTING, ALPHA, 3);
		lab_settle(&lab);
		is_now(VM_UNPROTECTED, ALPHA, 3);
	}
}

/* Beta was not fenced yet, so START was not ordered, and alpha does not run the guest. So beta can
 * be started without --off. */
static void test_never_ordered(void **state)
{
	(void)state;
	start_on(ALPHA, false, -1);
	assert_int_equal(lab.n_starts, 0);
	lose_alpha();
	is_refused("start-failed", "alpha does not run the guest: bring it back, or `holdfastctl "
		   "start web1 --on beta --lose`");
	lab.is_forced = true;
	start_on(BETA, true, -1);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, BETA, 3);
}

/* The fence command makes certain that alpha is off. So the command must succeed before beta starts
 * the guest, even if fence_required = no.
 */
static void test_fence_command(void **state)
{
	(void)state;
	lab.config.has_fence_command = true;
	order_start();
	lose_alpha();
	is_refused("start-failed", "`holdfastctl start web1 --on beta --lose` has it fenced first");
	lab.is_forced = true;
	start_on(BETA, true, -1);
	is_now(VM_PROMOTING, BETA, 3);
	assert_true(lab.fence_runs);
	wait_ms(20000);
	assert_int_equal(lab.n_starts, 1); /* the start waits for the fence command */
	assert_true(lab_fenced(&lab, WIRE_ORDER_FAILED));
	is_now(VM_FAILED, BETA, 3);
	is_refused("fence-failed", "`holdfastctl start web1 --on beta --lose --off alpha` starts "
		   "the guest without it");
	assert_int_equal(lab.n_starts, 1);
	start_on(BETA, true, -1); /* ask again for beta, which is already the owner */
	assert_true(lab.fence_runs);
	assert_true(lab_fenced(&lab, WIRE_ORDER_OK));
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, BETA, 4);
	assert_int_equal(lab.n_starts, 2);
}

/* Alpha ran the guest without a copy when it went away, so it may still run the guest. A fence
 * command that has failed once is run again. Beta does not start the guest before the command has
 * succeeded. */
static void test_fence_of_an_owner(void **state)
{
	(void)state;
	lab.config.has_fence_command = true;
	order_start();
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, ALPHA, 2);
	lab_down(&lab, ALPHA);
	wait_ms(31000);
	lab.is_forced = true;
	for (int i = 0; i < 3; i++) {
		start_on(BETA, true, -1);
		assert_true(lab.fence_runs);
		assert_int_equal(lab.n_starts, 1);
		assert_true(lab_fenced(&lab, i < 2 ? WIRE_ORDER_FAILED : WIRE_ORDER_OK));
		if (i < 2)
			assert_int_equal(lab.fsm.record.state, VM_FAILED);
	}
	lab_settle(&lab);
	assert_int_equal(lab.n_starts, 2);
	assert_int_equal(lab.fsm.record.state, VM_UNPROTECTED);
}

/* As in test_fence_command(), but after the command has failed, the operator says that alpha is
 * off. */
static void test_off_without_fence(void **state)
{
	(void)state;
	lab.config.has_fence_command = lab.config.fence_required = true;
	order_start();
	lose_alpha();
	lab.is_forced = true;
	start_on(BETA, true, -1);
	assert_true(lab_fenced(&lab, WIRE_ORDER_FAILED));
	start_on(BETA, true, ALPHA);
	assert_false(lab.fence_runs);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, BETA, 4);
}

/* Alpha is back and reports no guest, but the first START may still wait in its queue. So beta does
 * not start the guest before alpha has answered FENCE, however long alpha is away after that. */
static void test_fence_is_behind_start(void **state)
{
	(void)state;
	order_start();
	lose_alpha();
	lab_up(&lab, ALPHA);
	wait_ms(2000);
	start_on(BETA, true, ALPHA);
	is_refused("not-possible", "--off alpha: it is connected");
	start_on(BETA, true, -1);
	is_now(VM_PROMOTING, BETA, 3);
	assert_int_equal(lab.peer[ALPHA].order.verb, WIRE_VERB_FENCE);
	wait_ms(31000);
	lab_down(&lab, ALPHA);
	lab.peer[ALPHA].state = WIRE_STATE_RUNNING; /* alpha has carried out the START of term 2 */
	lab.peer[ALPHA].term = 2;
	lab.peer[ALPHA].cold = (struct vm_cold_word){0};
	wait_ms(33000);
	assert_int_equal(lab.n_starts, 1);
	is_now(VM_FAILED, BETA, 3);
	assert_non_null(strstr(lab.last_state, "alpha may run the guest"));
	lab.peer[ALPHA].state = WIRE_STATE_IDLE; /* its power is off now */
	lab.is_forced = true;
	start_on(BETA, true, ALPHA);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, BETA, 4);
}

/* A restarted gateway does not know whether START was ordered before the restart. So it treats
 * alpha as a host that may run the guest. */
static void test_restarted_gateway(void **state)
{
	(void)state;
	order_start();
	lab_down(&lab, ALPHA);
	lab_restart(&lab);
	lab_up(&lab, BETA);
	wait_ms(60000);
	start_on(BETA, true, -1);
	is_refused("may-run", "alpha may run the guest");
	lab.is_forced = true;
	start_on(BETA, true, ALPHA);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, BETA, 3);
}

/* A gateway that is restarted after a start was given up still tells operators how to start the
 * guest. */
static void test_restarted_later(void **state)
{
	(void)state;
	order_start();
	lose_alpha();
	lab_restart(&lab);
	lab_up(&lab, BETA);
	wait_ms(3000);
	is_now(VM_FAILED, ALPHA, 2);
	assert_true(vm_lost_is_start(&lab.fsm));
	lab_command(&lab, VM_COMMAND_FAILOVER);
	is_refused("cold", "--on beta --lose --off alpha");
	lab_command(&lab, VM_COMMAND_START);
	is_refused("not-cold", "--on beta --lose --off alpha");
}

/* A promotion failed, and the new owner has lost its copy of the guest's memory. The old owner
 * keeps its guest, whether it is connected or not. */
static void test_promotion_without_memory(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab.peer[BETA].order.due = false;
	lab_done(&lab, BETA, WIRE_ORDER_FAILED, "no memory");
	is_now(VM_FAILED, BETA, 2);
	lab.peer[BETA].state = WIRE_STATE_IDLE;
	lab.peer[BETA].cold = has_copy;
	lab_report(&lab, BETA);
	assert_int_equal(vm_lost_unheard(&lab.fsm), VM_HOSTS);
	lab_down(&lab, ALPHA);
	assert_false(vm_lost_is_start(&lab.fsm));
	assert_int_equal(vm_lost_unheard(&lab.fsm), ALPHA);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	is_refused("not-possible", "alpha is not connected, and may have the guest or a copy");
	is_now(VM_FAILED, BETA, 2);
}

/* A promotion failed, and the new owner keeps its copy. The old owner has lost its guest and is
 * back, and now the new owner is away. `failover` is refused until the copy's host is back. */
static void test_copy_is_away(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 600, 1u << BETA);
	lab.peer[BETA].order.due = false;
	lab_done(&lab, BETA, WIRE_ORDER_FAILED, "no tap");
	is_now(VM_FAILED, BETA, 2);
	lab.peer[ALPHA].state = WIRE_STATE_IDLE;
	lab.peer[ALPHA].cold = was_primary;
	lab_up(&lab, ALPHA);
	lab_report(&lab, ALPHA);
	assert_int_equal(vm_lost_unheard(&lab.fsm), VM_HOSTS);
	lab_down(&lab, BETA);
	assert_false(vm_lost_is_start(&lab.fsm));
	assert_int_equal(vm_lost_unheard(&lab.fsm), BETA);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	is_refused("not-connected", "beta is not connected");
}

/* The owner was chosen without a report of the other host, because the owner's disks were certainly
 * the newest. The owner goes away and comes back, and the other host is still away. The guest is
 * started on the owner again. */
static void test_alone_again(void **state)
{
	(void)state;
	lab.journal = (struct vm_record){.term = 1, .owner = ALPHA, .state = VM_UNPROTECTED,
					 .is_wanted = true};
	lab.config.cold_start_newest = lab.config.reprotect_auto = true;
	lab.peer[ALPHA].cold.role = VM_COLD_RUNNING; /* it was unprotected */
	lab_restart(&lab);
	lab_up(&lab, ALPHA);
	wait_ms(33000);
	is_now(VM_PROMOTING, ALPHA, 2);
	assert_int_equal(lab.n_starts, 1);
	lose_alpha();
	wait_ms(60000);
	is_now(VM_FAILED, ALPHA, 2);
	lab_up(&lab, ALPHA);
	wait_ms(33000);
	is_now(VM_PROMOTING, ALPHA, 3);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, ALPHA, 3);
	assert_int_equal(lab.n_starts, 2);
}

/* A reason that is too long ends visibly, after a whole character. The advice after the reason is
 * not cut. */
static void test_a_long_reason(void **state)
{
	char text[VM_TEXT_MAX + 80] = "no such image: ";

	(void)state;
	for (size_t i = strlen(text); i + 3 < sizeof(text); i += 2)
		strcpy(text + i, "\xc3\xa4");
	order_start();
	lab.peer[ALPHA].order.due = false;
	lab_done(&lab, ALPHA, WIRE_ORDER_FAILED, text);
	is_now(VM_FAILED, ALPHA, 2);
	assert_non_null(strstr(lab.last_state, "\xc3\xa4...; `holdfastctl start web1` tries"));
	assert_true(wire_text_is_valid(lab.last_state));
	assert_string_equal(lab.last_state, lab.last_reply.text);
	/* a long reason for a failed promotion is cut in the same way */
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab.peer[BETA].order.due = false;
	lab_done(&lab, BETA, WIRE_ORDER_FAILED, text);
	assert_non_null(strstr(lab.last_state, "\xc3\xa4...; `holdfastctl failover web1`"));
	assert_non_null(strstr(lab.last_state, "gives the guest back to alpha"));
	assert_true(wire_text_is_valid(lab.last_state));
	/* here no advice follows, so the reason fills the text */
	lab_start_protected(&lab);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_REPORT, .host = ALPHA, .term = 1,
					       .agent_state = WIRE_STATE_PROTECTED, .text = text,
					       .role = WIRE_VM_ROLE_PRIMARY,
					       .verdict = WIRE_VERDICT_SHUTDOWN});
	is_now(VM_UNPROTECTED, ALPHA, 2);
	assert_in_range(strlen(lab.last_state), VM_TEXT_MAX - 4, VM_TEXT_MAX - 1);
	assert_non_null(strstr(lab.last_state, "\xc3\xa4..."));
	assert_true(wire_text_is_valid(lab.last_state));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_given_up, start),
		cmocka_unit_test_setup(test_the_other_host, start),
		cmocka_unit_test_setup(test_comes_and_goes, start),
		cmocka_unit_test(test_not_fenced),
		cmocka_unit_test_setup(test_not_fenced_and_away, start),
		cmocka_unit_test_setup(test_away_later, start),
		cmocka_unit_test_setup(test_slow_start, start),
		cmocka_unit_test_setup(test_not_reported, start),
		cmocka_unit_test_setup(test_restarted_later, start),
		cmocka_unit_test(test_promotion_without_memory),
		cmocka_unit_test(test_copy_is_away),
		cmocka_unit_test_setup(test_back_soon, start),
		cmocka_unit_test_setup(test_back_with_the_guest, start),
		cmocka_unit_test_setup(test_back_without_the_guest, start),
		cmocka_unit_test_setup(test_never_ordered, start),
		cmocka_unit_test_setup(test_fence_command, start),
		cmocka_unit_test_setup(test_fence_of_an_owner, start),
		cmocka_unit_test_setup(test_off_without_fence, start),
		cmocka_unit_test_setup(test_fence_is_behind_start, start),
		cmocka_unit_test_setup(test_restarted_gateway, start),
		cmocka_unit_test_setup(test_alone_again, start),
		cmocka_unit_test_setup(test_a_long_reason, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
