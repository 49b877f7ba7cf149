/* Tests vm/fsm_conflict.c: in a conflict, no command gives up the last copy of a guest unless the
 * operator agrees, and the operator can choose that copy. fsm_lab.h checks the rules. */
#include "fsm_lab.h"

enum { ALPHA, BETA, GAMMA };

static struct lab lab;

static void command(enum vm_command what, uint8_t h, bool may_lose, int off)
{
	static uint64_t op_id = 2000000;

	lab.replied = false;
	/* With is_forced, the lab allows a promotion that does not begin in PROTECTED. */
	lab.is_forced = may_lose;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .command = what, .host = h,
					       .op_id = ++op_id, .may_lose = may_lose,
					       .is_off_named = off >= 0,
					       .off = (uint8_t)(off < 0 ? 0 : off)});
}

static void name_owner(uint8_t h, bool may_lose)
{
	command(VM_COMMAND_OWNER, h, may_lose, -1);
}

static void failover(bool may_lose, int off)
{
	command(VM_COMMAND_FAILOVER, 0, may_lose, off);
}

static void refused(const char *code, const char *words)
{
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, code);
	assert_non_null(strstr(lab.last_reply.text, words));
}

/* Check that the VM is still in conflict, and that beta's copy is still there. */
static void is_kept(void)
{
	lab_settle(&lab);
	assert_true(vm_fsm_in_conflict(&lab.fsm));
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_STANDBY_READY);
	assert_int_equal(lab.peer[BETA].complete, 7);
	assert_int_equal(lab.last_order[BETA].verb, 0);
}

/* Start from a journal that says: alpha owns the VM in @state and @term. Beta has a copy, epoch 7
 * of @copy_term. Nobody is connected yet. */
static void begin(enum vm_state state, uint64_t term, bool in_doubt, uint64_t copy_term)
{
	lab_init(&lab);
	lab.config.release_ns = 300 * MS;
	lab.config.reprotect_auto = true;
	lab.journal = (struct vm_record){.term = term, .owner = ALPHA, .state = state,
					 .in_doubt = in_doubt};
	lab_restart(&lab);
	lab.peer[BETA] = (struct lab_peer){.state = WIRE_STATE_STANDBY_READY, .term = copy_term,
					   .complete = 7};
}

static void connect(uint8_t h, uint8_t state, uint64_t term)
{
	lab.peer[h].state = state;
	lab.peer[h].term = term;
	lab_up(&lab, h);
	lab_report(&lab, h);
	lab_run(&lab, 50, 1u << h);
}

static void connect_beta(void)
{
	connect(BETA, lab.peer[BETA].state, lab.peer[BETA].term);
}

/* The journal's newest line is damaged. Alpha has lost its power, and with it the guest. Beta has
 * all that is left of the guest. */
static void lose_alpha(void)
{
	begin(VM_PROTECTED, 3, true, 3);
	connect_beta();
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	lab_run(&lab, 1000, 2); /* longer than any lease of this gateway's last run */
	assert_true(vm_fsm_in_conflict(&lab.fsm));
}

static void test_owner_keeps_the_last_copy(void **state)
{
	(void)state;
	lose_alpha();
	name_owner(ALPHA, false);
	refused("would-lose", "alpha does not say that it has the guest");
	refused("would-lose", "beta has a copy of it, epoch 7 of term 3");
	refused("would-lose", "`holdfastctl failover web1 --lose` promotes the copy");
	refused("would-lose", "`holdfastctl owner web1 alpha --lose` gives it up");
	is_kept();
	name_owner(BETA, false); /* beta has a copy, and no guest */
	refused("not-possible", "`holdfastctl failover web1 --lose` promotes the copy");
	is_kept();

	/* An agent that was restarted does not know yet whether it has the guest. */
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab.peer[ALPHA].term = 2;
	lab_report(&lab, ALPHA);
	name_owner(ALPHA, false);
	refused("would-lose", "beta has a copy of it");
	is_kept();

	/* The operator accepts with --lose that beta's copy is lost. */
	name_owner(ALPHA, true);
	lab_settle(&lab);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_int_equal(lab.journal.owner, ALPHA);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_IDLE);
}

/* Beta is away and may have a copy, or beta runs the only guest. Alpha, which has nothing, cannot
 * be named owner without --lose. */
static void test_owner_keeps_what_is_elsewhere(void **state)
{
	(void)state;
	begin(VM_PROTECTED, 3, true, 3);
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	name_owner(ALPHA, false);
	refused("would-lose", "beta is not connected, and may have the guest or a copy of it");
	is_kept();
	connect(BETA, WIRE_STATE_RUNNING, 7);
	name_owner(ALPHA, false);
	refused("would-lose", "beta reports running in term 7");
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_RUNNING);
	name_owner(BETA, false);
	lab_settle(&lab);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_RUNNING);

	/* Nobody has anything, so nothing can be lost. */
	begin(VM_PROTECTED, 3, true, 3);
	lab.peer[BETA].complete = 0;
	connect(BETA, WIRE_STATE_IDLE, 3);
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	name_owner(ALPHA, false);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* Alpha has a guest and beta a copy. The copy counts as newer than the guest, unless it is a copy
 * of that guest, or the guest has run on in a newer term. */
static void test_owner_keeps_a_newer_copy(void **state)
{
	static const struct {
		uint8_t state;
		uint64_t term;
		bool is_refused;
	} rows[] = {
		{WIRE_STATE_RUNNING, 2, true}, /* started again by hand after beta's promotion */
		{WIRE_STATE_RUNNING, 8, true}, /* booted, while beta kept the copy */
		{WIRE_STATE_PROTECTED, 7, true},
		{WIRE_STATE_PROTECTED, 8, false}, /* beta has a copy of this guest */
		{WIRE_STATE_RUNNING, 9, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(VM_UNPROTECTED, 2, false, 8);
		connect(ALPHA, rows[i].state, rows[i].term);
		connect_beta();
		assert_true(vm_fsm_in_conflict(&lab.fsm));
		name_owner(ALPHA, false);
		if (rows[i].is_refused) {
			refused("would-lose", "beta has a copy of it, epoch 7 of term 8");
			is_kept();
			name_owner(ALPHA, true);
		}
		lab_settle(&lab);
		assert_true(lab.replied && lab.last_reply.ok);
		assert_int_equal(lab.journal.owner, ALPHA);
		assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_RUNNING);
		assert_int_equal(lab.peer[BETA].state, WIRE_STATE_IDLE);
	}
}

/* Check that beta is promoted in @term, in the usual way, and that alpha, if it is connected, ends
 * up fenced: its guest is kept, stopped. */
static void is_promoted(uint64_t term)
{
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.journal.owner, BETA);
	assert_int_equal(lab.journal.term, term);
	assert_false(vm_fsm_in_conflict(&lab.fsm));
	lab_settle(&lab);
	/* PROMOTE must wait, because a gateway may have granted alpha a lease that has not expired
	 * yet. */
	assert_int_equal(lab.last_order[BETA].verb, 0);
	lab_run(&lab, 400, 3);
	assert_int_equal(lab.last_order[BETA].verb, WIRE_VERB_PROMOTE);
	assert_int_equal(lab.last_order[BETA].epoch, 7);
	lab_settle(&lab);
	lab_run(&lab, 100, 3);
	lab_settle(&lab);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "done");
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_RUNNING);
	assert_int_equal(lab.n_promotions, 1);
	for (int i = 0; i < 60; i++) { /* nothing ends alpha's guest before the next `protect` */
		lab_run(&lab, 1000, 3);
		lab_report(&lab, ALPHA);
		lab_report(&lab, BETA);
	}
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	if (lab.peer[ALPHA].up)
		assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_FENCED);
}

static void test_failover_takes_the_copy(void **state)
{
	(void)state;
	lose_alpha();
	failover(false, -1);
	refused("conflict", "`holdfastctl failover web1 --lose` promotes the copy on beta, epoch 7 "
			    "of term 3");
	refused("conflict", "that is gone"); /* the end of the text is not cut */
	is_kept();
	failover(true, -1);
	is_promoted(4);

	/* Alpha says that its guest has ended. */
	begin(VM_UNPROTECTED, 2, false, 8);
	connect(ALPHA, WIRE_STATE_FAILED, 8);
	connect_beta();
	failover(true, -1);
	is_promoted(9);
	begin(VM_UNPROTECTED, 2, false, 8);
	connect(ALPHA, WIRE_STATE_RUNNING, 8);
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_EXITED);
	connect_beta();
	failover(true, -1);
	is_promoted(9);

	/* Alpha holds the guest's output. It is fenced only when beta runs the guest. */
	begin(VM_UNPROTECTED, 2, false, 8);
	connect(ALPHA, WIRE_STATE_PROTECTED, 7);
	connect_beta();
	failover(true, -1);
	lab_run(&lab, 200, 3);
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_PROTECTED);
	assert_int_equal(lab.last_order[ALPHA].verb, 0);
	lab.replied = false;
	lab_run(&lab, 200, 3);
	lab_settle(&lab);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_RUNNING);
	lab_settle(&lab);
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_FENCED);

	/* The journal is lost altogether. */
	begin(VM_UNPROTECTED, 0, false, 8);
	connect(ALPHA, WIRE_STATE_IDLE, 0);
	connect_beta();
	failover(true, -1);
	is_promoted(9);
}

/* If alpha runs the guest, or may run it, beta's copy is not promoted: two guests must never
 * run. */
static void test_failover_makes_no_second_guest(void **state)
{
	static const uint8_t speaks[] = {WIRE_STATE_RUNNING, WIRE_STATE_ATTACHING,
					 WIRE_STATE_SYNCING, WIRE_STATE_PROMOTING};

	(void)state;
	for (size_t i = 0; i < sizeof(speaks); i++) {
		begin(VM_UNPROTECTED, 2, false, 8);
		connect(ALPHA, speaks[i], 8);
		connect_beta();
		failover(true, -1);
		refused("may-run", "in term 8: its guest may send output beside the copy's");
		is_kept();
		failover(true, ALPHA);
		refused("not-possible", "--off alpha: it is connected, so it is not off");
		is_kept();
	}

	begin(VM_PROTECTED, 3, true, 3);
	connect_beta();
	failover(true, -1);
	refused("may-run", "`holdfastctl failover web1 --lose --off alpha`");
	is_kept();
	failover(true, BETA);
	refused("not-possible", "--off beta: it is connected");
	lab_up(&lab, ALPHA); /* connected, and has not reported */
	failover(true, -1);
	refused("may-run", "alpha has not reported web1");
	failover(true, ALPHA);
	refused("not-possible", "--off alpha: it is connected");
	lab_down(&lab, ALPHA);
	is_kept();
	failover(true, ALPHA);
	is_promoted(4);
	connect(ALPHA, WIRE_STATE_LOST, 3); /* it comes back, and is outvoted */
	lab_settle(&lab);
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_FENCED);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_RUNNING);
}

static void test_failover_needs_a_copy(void **state)
{
	(void)state;
	begin(VM_PROTECTED, 3, true, 3);
	lab.peer[BETA].complete = 0;
	connect(BETA, WIRE_STATE_STANDBY_WARM, 3);
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	failover(true, -1);
	refused("not-possible", "no connected host reports a copy of web1");
	assert_int_equal(lab.last_order[BETA].verb, 0);

	/* The guest was promoted on beta, and has ended: its memory is no copy any more. */
	begin(VM_PROTECTED, 3, true, 3);
	connect(BETA, WIRE_STATE_STANDBY_READY, 3);
	lab_report_verdict(&lab, BETA, WIRE_VERDICT_EXITED);
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	failover(true, -1);
	refused("not-possible", "no connected host reports a copy of web1");

	begin(VM_PROTECTED, 3, true, 3 + WIRE_TERM_JUMP_MAX + 1);
	connect_beta();
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	failover(true, -1);
	refused("not-possible", "which is out of range");
	is_kept();
	begin(VM_PROTECTED, 3, true, 3);
	connect_beta();
	connect(ALPHA, WIRE_STATE_IDLE, 3 + WIRE_TERM_JUMP_MAX + 1);
	failover(true, -1);
	refused("not-possible", "which is out of range");
	is_kept();

	lab_start_protected(&lab); /* without a conflict, `--lose` changes nothing */
	failover(true, -1);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

/* The third host, gamma, has a copy, or may have one, although the journal gives it no seat. No
 * command may lose that copy, or run the guest beside gamma. */
static void test_copy_without_a_seat(void **state)
{
	(void)state;
	begin(VM_PROTECTED, 3, true, 3);
	strcpy(lab.config.host[GAMMA], "gamma");
	lab.peer[GAMMA].complete = 9;
	connect(GAMMA, WIRE_STATE_STANDBY_READY, 5);
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	connect_beta();
	name_owner(ALPHA, false);
	refused("would-lose", "beta has a copy of it");
	failover(true, -1);
	refused("not-possible", "gamma has a copy of it, epoch 9 of term 5, and no seat by the "
				"journal");
	is_kept();
	lab.peer[BETA].complete = 0;
	lab.peer[BETA].state = WIRE_STATE_IDLE;
	lab_report(&lab, BETA);
	name_owner(ALPHA, false);
	refused("would-lose", "gamma has a copy of it, epoch 9 of term 5");
	assert_int_equal(lab.last_order[GAMMA].verb, 0);

	begin(VM_PROTECTED, 3, true, 3);
	strcpy(lab.config.host[GAMMA], "gamma");
	connect_beta();
	failover(true, GAMMA); /* alpha is away, too */
	refused("may-run", "--off alpha");
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	failover(true, -1);
	refused("may-run", "--off gamma");
	connect(GAMMA, WIRE_STATE_IDLE, 0);
	failover(true, -1);
	is_promoted(4);
}

/* The gateway dies right after `failover --lose`, or the promotion fails: the copy is kept, and the
 * operator can try again. */
static void test_the_choice_survives(void **state)
{
	(void)state;
	lose_alpha();
	failover(true, -1);
	lab_restart(&lab);
	connect_beta();
	connect(ALPHA, WIRE_STATE_IDLE, 3);
	lab_run(&lab, 400, 3);
	lab_settle(&lab);
	assert_int_equal(lab.journal.owner, BETA);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_RUNNING);

	/* Alpha was fenced in some older term, and has lost its guest since. */
	lose_alpha();
	lab.peer[ALPHA].state = WIRE_STATE_FENCED;
	lab.peer[ALPHA].cold.role = VM_COLD_FENCED;
	lab_report(&lab, ALPHA);
	failover(true, -1);
	lab_run(&lab, 400, 3);
	lab.peer[BETA].order.due = false;
	lab_done(&lab, BETA, WIRE_ORDER_FAILED, "QEMU does not start");
	assert_int_equal(lab.journal.state, VM_FAILED);
	assert_true(lab.replied);
	lab_report(&lab, BETA);
	command(VM_COMMAND_UNPROTECT, 0, true, -1);
	refused("no-guest", "what beta holds may be all that is left of it");
	failover(false, -1);
	lab_run(&lab, 400, 3);
	lab_settle(&lab);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_RUNNING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owner_keeps_the_last_copy),
		cmocka_unit_test(test_owner_keeps_what_is_elsewhere),
		cmocka_unit_test(test_owner_keeps_a_newer_copy),
		cmocka_unit_test(test_failover_takes_the_copy),
		cmocka_unit_test(test_failover_makes_no_second_guest),
		cmocka_unit_test(test_failover_needs_a_copy),
		cmocka_unit_test(test_copy_without_a_seat),
		cmocka_unit_test(test_the_choice_survives),
	};

	return cmocka_run_group_tests_name("fsm_conflict", tests, NULL, NULL);
}
