/* Tests vm/fsm_newer.c: the gateway adopts what both hosts agreed on while they were cut off from
 * the gateway. fsm_lab.h checks the rules. */
#include "fsm_lab.h"

static struct lab lab;

/* Protect the VM in term 1 with beta as standby, up to epoch 3. Then cut both hosts off from the
 * gateway, which can also restart, and let them agree. */
static void cut_off(bool direct, bool answered, bool restarts)
{
	lab_init(&lab);
	for (uint8_t h = 0; h < 2; h++) {
		lab_up(&lab, h);
		lab_report(&lab, h);
	}
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	lab_ack(&lab, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	for (uint8_t h = 0; h < 2; h++)
		lab_down(&lab, h);
	if (restarts)
		lab_restart(&lab);
	assert_true(lab_agree(&lab, 0, direct, answered));
	lab_run(&lab, 5000, 0);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.journal.term, 1);
}

static void back(uint8_t h)
{
	lab_up(&lab, h);
	/* The connection alone must not cause a promotion. The gateway's next term is the term in
	 * which beta voted for alpha. So beta must not promote in that term. */
	lab_run(&lab, 200, 1u << h);
	assert_int_equal(lab.n_promotions, 0);
	lab_report(&lab, h);
}

static void is_now(enum vm_state state, uint64_t term)
{
	assert_int_equal(lab.journal.state, state);
	assert_int_equal(lab.journal.term, term);
	assert_int_equal(lab.journal.owner, 0);
	assert_int_equal(lab.n_promotions, 0);
}

static void stream_again(void)
{
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), 0);
	assert_int_equal(lab.resume_epoch, lab.peer[1].complete);
	lab_ack(&lab, lab.peer[1].complete + 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.n_promotions, 0);
}

static void test_direct_is_adopted(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		cut_off(true, true, i & 1);
		back(i & 2 ? 1 : 0); /* either host may return first */
		if (!(i & 2))
			is_now(VM_PROTECTED, 1); /* the owner's report alone is not enough */
		back(i & 2 ? 0 : 1);
		is_now(VM_PROTECTED, 2);
		lab_settle(&lab);
		assert_int_not_equal(lab.last_order[0].term, 2); /* neither host gets an order */
		assert_int_not_equal(lab.last_order[1].term, 2);
		stream_again();
		lab_run(&lab, 1000, 3);
		is_now(VM_PROTECTED, 2);
	}
}

static void test_direct_and_the_primary_died(void **state)
{
	(void)state;
	cut_off(true, true, true);
	back(1);
	is_now(VM_PROTECTED, 2);
	lab_run(&lab, 10000, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.journal.term, 3);
	assert_int_equal(lab.journal.owner, 1);
	lab_settle(&lab); /* lab_obey() checks that no released epoch is lost */
	assert_int_equal(lab.peer[1].state, WIRE_STATE_RUNNING);
	/* The old primary comes back and is fenced. */
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	lab_settle(&lab);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
}

static void test_direct_vote_unheard(void **state)
{
	(void)state;
	cut_off(true, false, false);
	back(0);
	is_now(VM_PROTECTED, 1);
	back(1);
	is_now(VM_PROTECTED, 2);
	lab_settle(&lab);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_PROTECT);
	assert_int_equal(lab.last_order[0].term, 2);
	lab_ack(&lab, 9);
	is_now(VM_PROTECTED, 2);
}

static void test_unprotected_is_adopted(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		cut_off(false, true, i & 1);
		back(i & 2 ? 1 : 0);
		is_now(VM_PROTECTED, 1);
		back(i & 2 ? 0 : 1);
		is_now(VM_UNPROTECTED, 2);
		lab_settle(&lab);
		assert_int_equal(lab.peer[0].state, WIRE_STATE_RUNNING);
		lab_run(&lab, 10000, 3);
		is_now(VM_UNPROTECTED, 2);
		/* The VM can be protected again. */
		lab_command(&lab, VM_COMMAND_PROTECT);
		lab_settle(&lab);
		lab_ack(&lab, 10);
		is_now(VM_PROTECTED, 3);
	}
}

/* The standby's copy is discarded, and the guest's output is not held. So the standby may never be
 * promoted: not by an operator's command, and not when a host dies. */
static void test_unprotected_and_the_primary_is_away(void **state)
{
	(void)state;
	cut_off(false, true, false);
	back(1);
	lab_run(&lab, 20000, 2);
	lab_settle(&lab);
	assert_int_equal(lab.n_promotions, 0);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_false(lab.last_reply.ok);
	back(0);
	is_now(VM_UNPROTECTED, 2);
}

static void test_unprotected_vote_unheard(void **state)
{
	(void)state;
	cut_off(false, false, false);
	back(0);
	back(1);
	is_now(VM_SYNCING, 2);
	lab_settle(&lab);
	lab_ack(&lab, 10);
	is_now(VM_PROTECTED, 2);
}

/* Reports that fit no possible agreement change nothing; one event reports them. */
static void test_nonsense(void **state)
{
	static const struct {
		uint8_t owner, other;
	} rows[] = {
		{WIRE_STATE_RUNNING, WIRE_STATE_STANDBY_READY},
		{WIRE_STATE_RUNNING, WIRE_STATE_RUNNING},
		{WIRE_STATE_PROTECTED, WIRE_STATE_RUNNING},
		{WIRE_STATE_PROTECTED, WIRE_STATE_IDLE},
		{WIRE_STATE_FENCED, WIRE_STATE_FENCED},
		{WIRE_STATE_PROTECTED, WIRE_STATE_PROTECTED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cut_off(true, true, false);
		back(0);
		lab.peer[0].state = rows[i].owner;
		lab.peer[1].state = rows[i].other;
		lab_report(&lab, 0);
		lab_up(&lab, 1);
		lab_report(&lab, 1);
		is_now(VM_PROTECTED, 1);
		assert_non_null(strstr(lab.last_event, "does not confirm it"));
		lab.last_event[0] = '\0';
		lab_report(&lab, 0);
		lab_report(&lab, 1);
		assert_string_equal(lab.last_event, "");
		assert_false(lab.peer[0].order.due || lab.peer[1].order.due);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_direct_is_adopted),
		cmocka_unit_test(test_direct_and_the_primary_died),
		cmocka_unit_test(test_direct_vote_unheard),
		cmocka_unit_test(test_unprotected_is_adopted),
		cmocka_unit_test(test_unprotected_and_the_primary_is_away),
		cmocka_unit_test(test_unprotected_vote_unheard),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests_name("fsm_newer", tests, NULL, NULL);
}
