/* Tests which host owns a VM if the journal is old, or if a host reports a newer state. Also tests
 * that acknowledgements and streams of one term have no effect in the next term. fsm_lab.h checks
 * the rules. */
#include "fsm_lab.h"

static struct lab lab;

/* The standby owes acknowledgements when a protection ends. They do not count in the next
 * protection. */
static void test_debts_end_with_their_term(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab.standby_owes = true;
	lab_run(&lab, 1000, 3);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	lab_run(&lab, 20000, 3);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	lab_run(&lab, 1000, 3);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_false(lab.replied);
}

/* The streams were closed when the term ended, so no stream is up in the next term. */
static void test_streams_end_with_their_term(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	assert_true(lab.fsm.stream[0].up && lab.fsm.stream[1].up);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_false(lab.fsm.stream[0].up || lab.fsm.stream[1].up);
	lab_settle(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	/* The standby is ready, but its stream is not up, so no copy can be sent to it. */
	lab.peer[1].order.due = false;
	lab.peer[1].term = lab.journal.term;
	lab.peer[1].state = WIRE_STATE_STANDBY_WARM;
	lab_done(&lab, 1, WIRE_ORDER_OK, "");
	lab_report(&lab, 1);
	assert_int_equal(lab.journal.state, VM_PREPARING);
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
}

/* A standby claims to hold an epoch that was never sent. This does not make the VM protected. */
static void test_a_claim_is_no_epoch(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab.peer[1].order.due = false;
	lab.peer[1].term = lab.journal.term;
	lab.peer[1].state = WIRE_STATE_STANDBY_WARM;
	lab.peer[1].complete = WIRE_EPOCH_MAX;
	lab_done(&lab, 1, WIRE_ORDER_OK, "");
	lab_report(&lab, 1);
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	(void)lab_obey(&lab, 0);
	assert_true(lab.fsm.stream[0].up);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_false(lab.replied);
	assert_int_equal(lab.n_commits, 0);
}

/* Start from an old copy of the journal (alpha, PROTECTED, term 3); @alpha and @beta are the hosts'
 * true states. */
static void restore_old_journal(uint8_t alpha, uint64_t alpha_term, uint8_t beta,
				uint64_t beta_term)
{
	lab_init(&lab);
	lab.journal = (struct vm_record){.term = 3, .owner = 0, .state = VM_PROTECTED};
	lab_restart(&lab);
	lab.peer[0] = (struct lab_peer){.state = alpha, .term = alpha_term};
	lab.peer[1] = (struct lab_peer){.state = beta, .term = beta_term};
	for (int h = 1; h >= 0; h--) {
		lab_up(&lab, (uint8_t)h);
		lab_report(&lab, (uint8_t)h);
	}
}

/* Let the hosts run and report for longer than any timeout of the gateway. */
static void live_on(void)
{
	for (int i = 0; i < 300; i++) {
		lab_run(&lab, 200, 3);
		lab_report(&lab, 0);
		lab_report(&lab, 1);
		lab_settle(&lab);
	}
}

static void is_untouched(void)
{
	assert_int_equal(lab.journal.term, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.last_order[0].verb, 0);
	assert_int_equal(lab.last_order[1].verb, 0);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_RUNNING);
}

static void test_old_journal_harms_nobody(void **state)
{
	(void)state;
	/* beta was promoted in term 7. alpha has rebooted and does not know of the promotion. */
	restore_old_journal(WIRE_STATE_IDLE, 0, WIRE_STATE_RUNNING, 7);
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	live_on();
	is_untouched();
	/* Nothing changes if beta is away for a while, if alpha reports a verdict, or if an
	 * operator gives other commands than `owner`. */
	lab_down(&lab, 1);
	live_on();
	lab_up(&lab, 1);
	live_on();
	lab_report_verdict(&lab, 0, WIRE_VERDICT_EXITED);
	lab_report_verdict(&lab, 0, WIRE_VERDICT_SHUTDOWN);
	is_untouched();
	for (enum vm_command c = VM_COMMAND_PROTECT; c <= VM_COMMAND_FAILOVER; c++) {
		lab_command(&lab, c);
		assert_true(lab.replied && !lab.last_reply.ok);
		assert_string_equal(lab.last_reply.code, "conflict");
		assert_non_null(strstr(lab.last_reply.text, "`holdfastctl owner web1 HOST`"));
		/* the end of the text is not cut */
		assert_non_null(strstr(lab.last_reply.text, "that is gone"));
	}
	is_untouched();
}

static void test_operator_names_the_owner(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_name_owner(&lab, 1);
	assert_string_equal(lab.last_reply.code, "no-conflict");

	/* Both hosts have a guest, because alpha never learned of beta's promotion. */
	restore_old_journal(WIRE_STATE_LOST, 6, WIRE_STATE_RUNNING, 7);
	live_on();
	is_untouched();
	lab_name_owner(&lab, 1);
	assert_false(lab.replied);
	assert_int_equal(lab.journal.term, 8);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	lab_settle(&lab);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_RUNNING);
	lab_protect(&lab);
	assert_int_equal(lab.journal.owner, 1);

	/* A host without a guest cannot be named owner. */
	restore_old_journal(WIRE_STATE_FENCED, 5, WIRE_STATE_RUNNING, 7);
	lab_name_owner(&lab, 0);
	assert_string_equal(lab.last_reply.code, "not-possible");
	is_untouched();
}

/* One host claims the guest while the other host's guest runs: the claim alone changes nothing. */
static void test_one_voice_is_not_enough(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_settle(&lab);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
	lab.peer[0].state = WIRE_STATE_RUNNING;
	lab.peer[0].term++;
	lab_report(&lab, 0);
	live_on();
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_RUNNING);
	/* alpha withdraws its claim, and everything is as it was before. */
	lab.peer[0].state = WIRE_STATE_FENCED;
	lab.peer[0].term--;
	lab_report(&lab, 0);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	lab_protect(&lab);
}

/* If the reports of both hosts agree, the gateway adopts their state, whatever an old journal
 * says. */
static void test_two_voices_are(void **state)
{
	(void)state;
	restore_old_journal(WIRE_STATE_FENCED, 7, WIRE_STATE_RUNNING, 7);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.journal.term, 7);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	live_on();
	assert_int_equal(lab.peer[1].state, WIRE_STATE_RUNNING);

	restore_old_journal(WIRE_STATE_STANDBY_READY, 9, WIRE_STATE_PROTECTED, 9);
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.journal.term, 9);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
}

/* A report of a term that is too far ahead is refused. All later terms would otherwise have to be
 * larger than that term. */
static void test_terms_do_not_jump(void **state)
{
	static const uint64_t far[] = {UINT64_MAX, WIRE_TERM_MAX, 3 + WIRE_TERM_JUMP_MAX + 1};

	(void)state;
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		restore_old_journal(WIRE_STATE_FENCED, far[i], WIRE_STATE_RUNNING, far[i]);
		assert_int_equal(lab.journal.term, 3);
		assert_true(vm_fsm_in_conflict(&lab.fsm));
		assert_non_null(strstr(lab.last_event, "out of range"));
		lab_name_owner(&lab, 1);
		assert_string_equal(lab.last_reply.code, "not-possible");
		/* The hosts' role files are repaired. */
		lab.peer[0].term = 2;
		lab.peer[1].term = 5;
		lab_report(&lab, 0);
		lab_report(&lab, 1);
		lab_name_owner(&lab, 1);
		assert_int_equal(lab.journal.term, 6);
	}
}

/* Start with a journal whose newest line may be missing. The line before it says alpha, PROTECTED,
 * term 3. */
static void start_in_doubt(void)
{
	lab_init(&lab);
	lab.journal =
		(struct vm_record){.term = 3, .owner = 0, .state = VM_PROTECTED, .in_doubt = true};
	lab_restart(&lab);
}

static void test_damaged_journal_acts_not_by_itself(void **state)
{
	(void)state;
	start_in_doubt();
	lab.peer[1] = (struct lab_peer){.state = WIRE_STATE_STANDBY_READY, .term = 3};
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	for (int i = 0; i < 100; i++) { /* alpha is silent for longer than any timeout */
		lab_run(&lab, 200, 2);
		lab_report(&lab, 1);
		lab_settle(&lab);
	}
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	assert_int_equal(lab.journal.term, 3);
	/* A new line in the journal would hide that an earlier line was lost. So no line may be
	 * written. */
	assert_true(lab.journal.in_doubt);
	assert_int_equal(lab.last_order[1].verb, 0);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_string_equal(lab.last_reply.code, "conflict");
}

static void test_both_hosts_confirm_a_damaged_journal(void **state)
{
	(void)state;
	start_in_doubt();
	lab.peer[0] = (struct lab_peer){.state = WIRE_STATE_PROTECTED, .term = 3};
	lab.peer[1] = (struct lab_peer){.state = WIRE_STATE_STANDBY_READY, .term = 3};
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	assert_true(vm_fsm_in_conflict(&lab.fsm)); /* the report of one host is not enough */
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	assert_false(lab.journal.in_doubt);
	assert_int_equal(lab.journal.term, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

/* While the VM is in doubt it cannot become PROTECTED, so no held epoch is committed either: the
 * lab refuses such a COMMIT. */
static void test_no_commit_in_doubt(void **state)
{
	(void)state;
	start_in_doubt();
	lab.journal.state = VM_SYNCING;
	lab_restart(&lab);
	lab.peer[0] = (struct lab_peer){.state = WIRE_STATE_SYNCING, .term = 3};
	lab.peer[1] = (struct lab_peer){.state = WIRE_STATE_STANDBY_READY, .term = 3};
	lab_up(&lab, 0);
	lab_up(&lab, 1);
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), 0);
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	lab_ack(&lab, 1);
	assert_true(lab.journal.in_doubt);
	assert_int_equal(lab.n_commits, 0);
	/* Both hosts confirm the journal's line. The next epoch is committed. */
	lab_report(&lab, 0);
	lab_report(&lab, 1);
	assert_false(lab.journal.in_doubt);
	lab_ack(&lab, 2);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.n_commits, 1);
}

static void test_operator_ends_the_doubt(void **state)
{
	(void)state;
	start_in_doubt();
	lab.peer[1] = (struct lab_peer){.state = WIRE_STATE_RUNNING, .term = 3};
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	lab_name_owner(&lab, 1);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	assert_false(lab.journal.in_doubt);
	assert_int_equal(lab.journal.term, 4);
	assert_int_equal(lab.journal.owner, 1);
}

/* Bring the VM to FAILED. The gateway orders beta to promote in a new term. But in that term both
 * hosts have already agreed that alpha stays the primary. */
static void fail_after_agreement(bool is_direct)
{
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab.peer[1].order.due = false;
	lab.peer[0].term = lab.peer[1].term = lab.voted_term = 2;
	if (!is_direct) {
		lab.peer[0].state = WIRE_STATE_RUNNING;
		lab.peer[1].state = WIRE_STATE_IDLE;
	}
	lab_done(&lab, 1, WIRE_ORDER_REFUSED, "voted for the primary in that term");
	assert_int_equal(lab.journal.state, VM_FAILED);
	lab_report(&lab, 0);
	assert_int_equal(lab.journal.state, VM_FAILED); /* the report of one host is not enough */
}

/* Both hosts report that the promotion has not happened and cannot happen any more. The VM leaves
 * FAILED without an operator. */
static void test_failed_heals_by_two_voices(void **state)
{
	(void)state;
	for (int is_direct = 0; is_direct < 2; is_direct++) {
		fail_after_agreement(is_direct);
		lab_report(&lab, 1);
		assert_int_equal(lab.journal.state, VM_UNPROTECTED);
		assert_int_equal(lab.journal.owner, 0);
		assert_int_equal(lab.journal.term, 3);
		assert_non_null(strstr(lab.last_event,
				       "beta did not promote because both hosts had "
				       "agreed on alpha"));
		lab_settle(&lab);
		assert_int_equal(lab.peer[0].state, WIRE_STATE_RUNNING);
		assert_int_equal(lab.peer[1].state, WIRE_STATE_IDLE);
		lab_report(&lab, 0);
		/* If the hosts agreed to stay protected, the VM is protected again. If they agreed
		 * to continue unprotected, the VM waits for `protect`. */
		assert_int_equal(lab.journal.state, is_direct ? VM_PREPARING : VM_UNPROTECTED);
		lab_settle(&lab);
		lab_ack(&lab, 1);
		assert_int_equal(lab.journal.state, is_direct ? VM_PROTECTED : VM_UNPROTECTED);
		assert_int_equal(lab.journal.owner, 0);
	}
}

/* Both hosts have agreed that alpha stays the primary. If an operator says `unprotect`, the VM
 * leaves FAILED, but is not protected again. In a conflict, the VM stays FAILED. */
static void test_failed_heals_as_told(void **state)
{
	(void)state;
	fail_after_agreement(true);
	lab_report(&lab, 1);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	live_on();
	assert_true(lab.replied && lab.last_reply.ok);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);

	/* The operator asked before both hosts had reported. */
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab.peer[1].order.due = false;
	lab.peer[1].term = lab.voted_term = 2;
	lab_done(&lab, 1, WIRE_ORDER_REFUSED, "voted for the primary in that term");
	lab_report(&lab, 1);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_false(lab.replied);
	lab.peer[0].term = 2;
	lab_report(&lab, 0);
	lab_settle(&lab);
	assert_true(lab.replied && lab.last_reply.ok);
	lab_report(&lab, 1);
	lab_report(&lab, 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.owner, 0);

	fail_after_agreement(true);
	lab.peer[1].state = WIRE_STATE_RUNNING; /* the two hosts' reports contradict each other */
	lab.peer[1].term = 3;
	lab_report(&lab, 1);
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	lab_report(&lab, 0);
	assert_int_equal(lab.journal.state, VM_FAILED);
	assert_int_equal(lab.journal.term, 2);
}

/* The old owner's host is dead and beta's promotion failed: beta holds the only copy. `unprotect`
 * is refused until alpha has the guest again. */
static void test_the_only_copy_is_kept(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab.peer[1].order.due = false;
	lab_down(&lab, 0);
	lab_done(&lab, 1, WIRE_ORDER_FAILED, "QEMU does not start");
	assert_int_equal(lab.journal.state, VM_FAILED);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_string_equal(lab.last_reply.code, "no-guest");
	assert_non_null(strstr(lab.last_reply.text, "`holdfastctl failover web1` promotes it"));
	lab_up(&lab, 0);
	lab.peer[0].state = WIRE_STATE_FAILED;
	lab_report(&lab, 0);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_string_equal(lab.last_reply.code, "no-guest");
	assert_false(lab.peer[1].order.due);
	lab.peer[0].state = WIRE_STATE_RUNNING;
	lab_report(&lab, 0);
	/* Perhaps the promoted guest has run for a while, and ended. */
	lab_report_verdict(&lab, 1, WIRE_VERDICT_EXITED);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_string_equal(lab.last_reply.code, "would-lose");
	assert_false(lab.peer[1].order.due);
	lab_report_verdict(&lab, 1, WIRE_VERDICT_NONE);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_true(lab.peer[1].order.due && lab.last_order[1].verb == WIRE_VERB_STANDBY_STOP);
}

/* A second gateway is in service. beta obeys that gateway, which can promote beta. So this gateway
 * and alpha must not agree on any new term, however long beta is silent here. */
static void test_a_younger_gateway_bars_terms(void **state)
{
	const struct vm_input another = {.kind = VM_IN_OBEYS_ANOTHER, .host = 1};

	(void)state;
	lab_start_protected(&lab);
	lab_down(&lab, 1);
	assert_true(lab_feed(&lab, another));
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	assert_non_null(strstr(lab.last_event, "`holdfastctl takeover`"));
	lab.last_event[0] = '\0';
	for (int i = 0; i < 300; i++) { /* alpha is alive; beta sends HELLOs repeatedly */
		lab_run(&lab, 200, 1);
		lab_report(&lab, 0);
		assert_true(lab_feed(&lab, another));
	}
	assert_string_equal(lab.last_event, ""); /* the refusal is reported only once */
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.journal.term, 1);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_PROTECTED);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_string_equal(lab.last_reply.code, "conflict");
	/* beta reports to this gateway again, either after `takeover` or because it had obeyed the
	 * other gateway by mistake. */
	lab_up(&lab, 1);
	lab_report(&lab, 1);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* A fenced host that returns without its files is no longer fenced. The gateway orders FENCE again,
 * even if the host carried out the first FENCE, until the host stands by or is in the owner's
 * term. */
static void test_fenced_host_lost_its_files(void **state)
{
	static const uint8_t states[] = {WIRE_STATE_IDLE, WIRE_STATE_FAILED, WIRE_STATE_RUNNING,
					 WIRE_STATE_LOST};

	(void)state;
	for (size_t i = 0; i < sizeof(states); i++) {
		for (int is_restarted = 0; is_restarted < 2; is_restarted++) {
			lab_start_protected(&lab);
			lab_command(&lab, VM_COMMAND_FAILOVER);
			lab_settle(&lab);
			assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
			assert_false(lab.fsm.fence_due);
			if (is_restarted) {
				lab_restart(&lab);
				lab_up(&lab, 1);
				lab_report(&lab, 1);
			} else {
				lab_down(&lab, 0);
			}
			lab.peer[0].state = states[i];
			lab.peer[0].term = states[i] == WIRE_STATE_IDLE ? 0 : 1;
			lab_up(&lab, 0);
			assert_false(lab.peer[0].order.due); /* alpha has not reported yet */
			lab_report(&lab, 0);
			assert_true(lab.peer[0].order.due);
			assert_int_equal(lab.last_order[0].verb, WIRE_VERB_FENCE);
			lab_settle(&lab);
			assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
			lab_report(&lab, 0);
			assert_false(lab.peer[0].order.due); /* FENCE is not ordered again */
			assert_int_equal(lab.journal.owner, 1);
		}
	}
	/* A host that stands by, or did so before, gets STANDBY_STOP instead of FENCE. */
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.peer[1].state, WIRE_STATE_IDLE);
	lab_report(&lab, 1);
	assert_int_equal(lab.last_order[1].verb, WIRE_VERB_STANDBY_STOP);
	assert_false(lab.peer[1].order.due);
	/* The gateway gives no orders for a VM that was never protected, whichever host runs a
	 * guest. */
	lab_connect_both(&lab);
	lab_run(&lab, 1000, 3);
	assert_int_equal(lab.last_order[0].verb, 0);
	assert_int_equal(lab.last_order[1].verb, 0);
}

/* After a failed promotion, one operator's `unprotect` is giving the guest back. Then another
 * operator asks for failover. The first operator must get a reply at once. */
static void test_failover_ends_giving_back(void **state)
{
	uint64_t op_id;

	(void)state;
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab.peer[1].complete = 0; /* beta has lost its copy */
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_FAILED);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_false(lab.replied);
	op_id = lab.fsm.op.id;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_int_equal(lab.last_reply.op_id, op_id);
	assert_string_equal(lab.last_reply.code, "aborted");
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.fsm.op.id, op_id + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_only_copy_is_kept),
		cmocka_unit_test(test_fenced_host_lost_its_files),
		cmocka_unit_test(test_debts_end_with_their_term),
		cmocka_unit_test(test_streams_end_with_their_term),
		cmocka_unit_test(test_a_claim_is_no_epoch),
		cmocka_unit_test(test_old_journal_harms_nobody),
		cmocka_unit_test(test_operator_names_the_owner),
		cmocka_unit_test(test_one_voice_is_not_enough),
		cmocka_unit_test(test_two_voices_are),
		cmocka_unit_test(test_terms_do_not_jump),
		cmocka_unit_test(test_damaged_journal_acts_not_by_itself),
		cmocka_unit_test(test_both_hosts_confirm_a_damaged_journal),
		cmocka_unit_test(test_no_commit_in_doubt),
		cmocka_unit_test(test_operator_ends_the_doubt),
		cmocka_unit_test(test_failed_heals_by_two_voices),
		cmocka_unit_test(test_failed_heals_as_told),
		cmocka_unit_test(test_a_younger_gateway_bars_terms),
		cmocka_unit_test(test_failover_ends_giving_back),
	};

	return cmocka_run_group_tests_name("fsm_owner", tests, NULL, NULL);
}
