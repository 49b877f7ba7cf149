/* test_fsm_cold.c - tests the cold start: both hosts come back from a power failure, and the
 * gateway decides from their disks which host starts the guest. fsm_lab.h checks the rules: START
 * is ordered to one host, in a journaled term, while the other host runs nothing. */
#include "fsm_cold_lab.h"

static const struct vm_cold_word was_primary = {.role = VM_COLD_PRIMARY, .disk = VM_COLD_DISK_OWN};
static const struct vm_cold_word was_unsound = {.role = VM_COLD_PRIMARY,
						.disk = VM_COLD_DISK_UNSOUND};
static const struct vm_cold_word was_running = {.role = VM_COLD_RUNNING, .disk = VM_COLD_DISK_OWN};
static const struct vm_cold_word has_no_disk = {.role = VM_COLD_PRIMARY,
						.disk = VM_COLD_DISK_NONE};
static const struct vm_cold_word was_fenced = {.role = VM_COLD_FENCED};
static const struct vm_cold_word has_no_copy = {.role = VM_COLD_STANDBY};
static const struct vm_cold_word has_nothing = {.role = VM_COLD_NONE};

static struct vm_cold_word has_copy(uint64_t term)
{
	return (struct vm_cold_word){.role = VM_COLD_STANDBY, .disk = VM_COLD_DISK_COPY,
				     .term = term, .epoch = 812};
}

/* Let everything lose its power. @alpha and @beta are what the hosts report from their disks when
 * they are back. A host's term is also the term in which it last ran the guest. */
static void cut_power(struct vm_cold_word alpha, uint64_t alpha_term, struct vm_cold_word beta,
		      uint64_t beta_term)
{
	for (int h = 0; h < 2; h++)
		lab.peer[h] = (struct lab_peer){.state = WIRE_STATE_IDLE};
	lab.peer[ALPHA].cold = alpha;
	lab.peer[ALPHA].cold.ran = alpha_term;
	lab.peer[ALPHA].term = alpha_term;
	if (alpha.role == VM_COLD_PRIMARY)
		lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab.peer[BETA].cold = beta;
	lab.peer[BETA].cold.ran = beta_term;
	lab.peer[BETA].term = beta_term;
	lab_restart(&lab);
	lab.now_ns += 60000 * MS;
}

static void is_now(enum vm_state state, uint8_t owner, uint64_t term)
{
	assert_int_equal(lab.journal.state, state);
	assert_int_equal(lab.journal.owner, owner);
	assert_int_equal(lab.journal.term, term);
}

/* Check that the guest was started on @host in @term, and only once. */
static void is_started(uint8_t host, uint64_t term)
{
	is_now(VM_UNPROTECTED, host, term);
	assert_int_equal(lab.n_starts, 1);
	assert_int_equal(lab.peer[host].state, WIRE_STATE_RUNNING);
	assert_int_equal(lab.peer[1 - host].state, WIRE_STATE_FENCED);
	assert_int_equal(lab.peer[1 - host].term, term);
}

static void test_the_owners_disks(void **state)
{
	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	comes_back(BETA);
	wait_ms(40000);
	is_now(VM_PROTECTED, ALPHA, 1); /* the standby's report alone is never enough */
	assert_int_equal(lab.n_starts, 0);
	comes_back(ALPHA);
	wait_ms(2000);
	is_started(ALPHA, 2);
	assert_non_null(strstr(lab.last_state, "alpha runs the guest in term 2"));
	wait_ms(60000);
	assert_int_equal(lab.n_starts, 1);
}

/* Each row: the journal's record, what the hosts' disks say, and the host that is started; -1:
 * none. */
static void test_each_cut(void **state)
{
	static const struct {
		enum vm_state journal;
		uint8_t owner;
		uint64_t term;
		struct vm_cold_word alpha;
		uint64_t alpha_term;
		struct vm_cold_word beta;
		uint64_t beta_term;
		int started;
	} rows[] = {
#define COPY(t) {.role = VM_COLD_STANDBY, .disk = VM_COLD_DISK_COPY, .term = t, .epoch = 812}
#define OWN(r)	{.role = VM_COLD_##r, .disk = VM_COLD_DISK_OWN}
#define BAD	{.role = VM_COLD_PRIMARY, .disk = VM_COLD_DISK_UNSOUND}
#define NO(r)	{.role = VM_COLD_##r}
		/* a protection in force; the first copy; a protection that is just beginning */
		{VM_PROTECTED, ALPHA, 3, OWN(PRIMARY), 3, COPY(3), 3, ALPHA},
		{VM_SYNCING, ALPHA, 3, OWN(PRIMARY), 3, NO(STANDBY), 3, ALPHA},
		{VM_PREPARING, ALPHA, 3, OWN(RUNNING), 2, NO(NONE), 2, ALPHA},
		/* alpha's disks ignored flushes, so only a copy of the same term is started */
		{VM_PROTECTED, ALPHA, 3, BAD, 3, COPY(3), 3, BETA},
		{VM_PROTECTED, ALPHA, 3, BAD, 3, COPY(2), 3, -1},
		{VM_PROTECTED, ALPHA, 3, BAD, 3, NO(STANDBY), 3, -1},
		/* A promotion of beta, which has not run the guest (two rows); has run it; or has
		 * run it and reported that, but the guest is not to be protected ("not wanted").
		 * Then a promotion that failed before beta ran the guest, and one that failed after
		 * that. */
		{VM_PROMOTING, BETA, 4, OWN(PRIMARY), 3, COPY(3), 3, ALPHA},
		{VM_PROMOTING, BETA, 4, OWN(PRIMARY), 3, NO(STANDBY), 3, ALPHA},
		{VM_PROMOTING, BETA, 4, OWN(PRIMARY), 3, OWN(RUNNING), 4, BETA},
		{VM_UNPROTECTED, BETA, 4, NO(FENCED), 4, OWN(RUNNING), 4, -1}, /* not wanted */
		{VM_FAILED, BETA, 4, OWN(PRIMARY), 3, COPY(3), 3, ALPHA},
		{VM_FAILED, BETA, 5, OWN(PRIMARY), 3, OWN(RUNNING), 4, BETA},
		/* after the standby's vote, the hosts were a term ahead of the journal */
		{VM_PROTECTED, ALPHA, 3, OWN(RUNNING), 4, COPY(3), 3, ALPHA},
		{VM_PROTECTED, ALPHA, 3, OWN(PRIMARY), 4, COPY(4), 4, ALPHA},
		/* the journal is lost: the reports of both hosts decide */
		{VM_UNPROTECTED, ALPHA, 0, OWN(PRIMARY), 3, COPY(3), 3, ALPHA},
		{VM_UNPROTECTED, ALPHA, 0, NO(FENCED), 4, OWN(RUNNING), 4, -1}, /* wanted or not? */
		{VM_UNPROTECTED, ALPHA, 0, OWN(PRIMARY), 3, OWN(RUNNING), 4, BETA},
		/* a host lost its files, and may have had the newest disks */
		{VM_UNPROTECTED, BETA, 4, OWN(PRIMARY), 3, NO(NONE), 0, -1},
		{VM_PROMOTING, BETA, 4, OWN(PRIMARY), 3, NO(NONE), 0, -1},
		{VM_PROTECTED, ALPHA, 3, NO(NONE), 0, COPY(3), 3, -1},
		/* nothing is left of a guest without disks */
		{VM_PROTECTED, ALPHA, 3, NO(PRIMARY), 3, NO(STANDBY), 3, -1},
		/* both hosts say that they ran the guest last; then an impossible term */
		{VM_PROTECTED, ALPHA, 3, OWN(PRIMARY), 3, OWN(RUNNING), 3, -1},
		{VM_PROTECTED, ALPHA, 3, OWN(PRIMARY), UINT64_C(1) << 40, COPY(3), 3, -1},
		/* an earlier run of the gateway has chosen: the other host is fenced already */
		{VM_PROMOTING, BETA, 4, NO(FENCED), 4, COPY(3), 3, BETA},
		{VM_PROMOTING, ALPHA, 4, OWN(PRIMARY), 3, NO(FENCED), 4, ALPHA},
		{VM_PROMOTING, BETA, 5, NO(FENCED), 4, COPY(3), 3, BETA},
		{VM_PROMOTING, BETA, 4, NO(FENCED), 4, NO(STANDBY), 3, -1},
		/* beta had stopped standing by before the guest was given back */
		{VM_FAILED, BETA, 4, OWN(PRIMARY), 3, NO(NONE), 4, ALPHA},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)start(state);
		lab.journal = (struct vm_record){.term = rows[i].term, .owner = rows[i].owner,
						 .state = rows[i].journal};
		cut_power(rows[i].alpha, rows[i].alpha_term, rows[i].beta, rows[i].beta_term);
		both_come_back();
		if (rows[i].started < 0) {
			if (lab.n_starts > 0)
				fail_msg("row %zu: started on %u", i, lab.journal.owner);
			continue;
		}
		if (lab.n_starts != 1 || lab.journal.owner != rows[i].started)
			fail_msg("row %zu: %u starts, state %s on %u: %s", i, lab.n_starts,
				 vm_state_name(lab.journal.state), lab.journal.owner,
				 lab.last_event);
		is_started((uint8_t)rows[i].started, lab.journal.term);
		assert_true(lab.journal.term > rows[i].alpha_term);
		assert_true(lab.journal.term > rows[i].beta_term);
	}
}

static void test_ask(void **state)
{
	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	lab.config.cold_start_newest = false;
	both_come_back();
	wait_ms(60000);
	is_now(VM_PROTECTED, ALPHA, 1);
	assert_non_null(strstr(lab.last_event, "alpha: its own disks, ran it in term 1"));
	assert_non_null(strstr(lab.last_event, "epoch 812 of term 1"));
	lab_command(&lab, VM_COMMAND_START);
	assert_false(lab.replied);
	wait_ms(2000);
	is_started(ALPHA, 2);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "alpha starts web1 from its disks, in term 2"));
}

static void start_on(uint8_t h, bool may_lose)
{
	lab.replied = false;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .op_id = 77, .host = h,
					       .command = VM_COMMAND_START, .is_host_named = true,
					       .may_lose = may_lose});
}

/* Only an operator who says that writes may be lost can start the older disks. */
static void test_the_older_disks(void **state)
{
	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	lab.config.cold_start_newest = false;
	both_come_back();
	start_on(BETA, false);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "would-lose");
	assert_int_equal(lab.n_starts, 0);
	start_on(BETA, true);
	wait_ms(2000);
	is_started(BETA, 2);
}

/* The host with the newest disks does not come back. An operator can then start the other host's
 * disks, but only by accepting a loss of writes. */
static void test_the_other_host_is_lost(void **state)
{
	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	comes_back(BETA);
	wait_ms(60000);
	lab_command(&lab, VM_COMMAND_START);
	assert_string_equal(lab.last_reply.code, "not-cold");
	start_on(BETA, false);
	assert_string_equal(lab.last_reply.code, "not-cold");
	start_on(ALPHA, true);
	assert_string_equal(lab.last_reply.code, "not-connected");
	assert_int_equal(lab.n_starts, 0);
	lab.is_forced = true;
	start_on(BETA, true);
	wait_ms(1000);
	is_now(VM_UNPROTECTED, BETA, 2);
	assert_int_equal(lab.n_starts, 1);
	comes_back(ALPHA); /* alpha comes back after all, with disks that are old now */
	wait_ms(2000);
	is_started(BETA, 2);
}

/* The guest has no copy. The gateway starts the guest on its owner without a report of the other
 * host, but only after a wait. Nothing says that the other host has failed, so no fence command
 * runs. */
static void test_the_owner_alone(void **state)
{
	(void)state;
	lab.config.reprotect_auto = lab.config.has_fence_command = true;
	lab.journal = (struct vm_record){.term = 1, .owner = ALPHA, .state = VM_UNPROTECTED,
					 .is_wanted = true};
	cut_power(was_running, 1, has_nothing, 1);
	comes_back(ALPHA);
	wait_ms(29000);
	is_now(VM_UNPROTECTED, ALPHA, 1);
	assert_non_null(strstr(lab.last_event, "beta is not connected"));
	wait_ms(3000);
	is_now(VM_UNPROTECTED, ALPHA, 2);
	assert_int_equal(lab.n_starts, 1);
	assert_false(lab.fence_runs);
}

/* Let both hosts come back and the gateway decide. No host has obeyed an order yet. */
static void until_decided(void)
{
	lab_up(&lab, ALPHA);
	lab_up(&lab, BETA);
	for (int i = 0; i < 12 && lab.journal.state == VM_PROTECTED; i++) {
		lab_report(&lab, ALPHA);
		lab_report(&lab, BETA);
		lab_run(&lab, 100, 3);
	}
}

/* The standby has not come back. Perhaps its power did not fail, and it is only cut off and still
 * has a copy of the guest's memory. So the owner's disks are not started without an operator. */
static void test_the_standby_may_have_a_copy(void **state)
{
	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	comes_back(ALPHA);
	wait_ms(60000);
	is_now(VM_PROTECTED, ALPHA, 1);
	lab_command(&lab, VM_COMMAND_START);
	assert_string_equal(lab.last_reply.code, "not-decided");
	assert_non_null(strstr(lab.last_reply.text, "may still have a copy of its memory"));
	/* Neither `unprotect` nor `protect` gives up the standby's copy. */
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_string_equal(lab.last_reply.code, "cold");
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_string_equal(lab.last_reply.code, "cold");
	is_now(VM_PROTECTED, ALPHA, 1);
	lab.is_forced = true;
	start_on(ALPHA, true);
	wait_ms(1000);
	is_now(VM_UNPROTECTED, ALPHA, 2);
	assert_int_equal(lab.n_starts, 1);
	comes_back(BETA);
	wait_ms(1000);
	is_started(ALPHA, 2);
}

/* A host writes FENCED to its file before its guest stands still. So if FENCE fails, a report of
 * FENCED is not enough, and nothing is started. */
static void test_fence_fails(void **state)
{
	uint64_t id;

	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	until_decided();
	assert_int_equal(lab.last_order[BETA].verb, WIRE_VERB_FENCE);
	id = lab.last_order[BETA].order_id;
	lab.peer[BETA].order.due = false;
	lab.peer[BETA].state = WIRE_STATE_FENCED;
	lab.peer[BETA].term = lab.journal.term;
	lab_report(&lab, BETA);
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_ORDER_DONE, .host = BETA,
					       .order_id = id, .term = lab.journal.term,
					       .status = WIRE_ORDER_FAILED, .text = "no answer"});
	for (int i = 0; i < 20; i++) {
		lab_run(&lab, 100, 3);
		lab_report(&lab, BETA);
	}
	assert_int_equal(lab.n_starts, 0);
}

/* A START that failed has raised alpha's term. That does not make alpha's disks newer. */
static void test_ran_in(void **state)
{
	(void)state;
	lab.journal = (struct vm_record){.term = 7, .owner = ALPHA, .state = VM_FAILED};
	cut_power(was_primary, 7, was_running, 6);
	lab.peer[ALPHA].cold.ran = 5;
	both_come_back();
	wait_ms(2000);
	if (lab.n_starts > 0)
		is_started(BETA, lab.journal.term);
	lab_command(&lab, VM_COMMAND_START);
	wait_ms(2000);
	is_started(BETA, lab.journal.term);
}

/* The gateway does not start the guest on a drained host by itself. */
static void test_drained_host(void **state)
{
	char text[VM_TEXT_MAX];

	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	vm_fsm_bar(&lab.fsm, ALPHA, true);
	both_come_back();
	wait_ms(60000);
	assert_int_equal(lab.n_starts, 0);
	assert_non_null(strstr(vm_cold_describe(&lab.fsm, text, sizeof(text)),
			       "alpha is drained: it is started there by itself after"));
	lab_command(&lab, VM_COMMAND_START); /* an operator may start it there */
	wait_ms(2000);
	is_started(ALPHA, 2);
}

/* Both hosts' role files are lost. Only an operator can say which disks are to be started. */
static void test_no_files_at_all(void **state)
{
	(void)state;
	cut_power(has_nothing, 0, has_nothing, 0);
	both_come_back();
	lab_command(&lab, VM_COMMAND_START);
	assert_false(lab.last_reply.ok);
	start_on(ALPHA, false);
	assert_false(lab.last_reply.ok);
	lab.is_forced = true;
	start_on(ALPHA, true);
	wait_ms(2000);
	is_started(ALPHA, 2);
}

/* The power failed during a promotion of beta, and nothing says whether beta ran the guest. So
 * neither beta's report nor the report of alpha, the old owner, is enough alone. */
static void test_a_promotion_alone(void **state)
{
	(void)state;
	lab.journal = (struct vm_record){.term = 2, .owner = BETA, .state = VM_PROMOTING};
	cut_power(was_primary, 1, has_copy(1), 1);
	comes_back(BETA);
	wait_ms(60000);
	assert_int_equal(lab.n_starts, 0);
	lab.peer[BETA].cold = was_running;
	lab.peer[BETA].cold.ran = 1; /* in an earlier promotion */
	wait_ms(60000);
	assert_int_equal(lab.n_starts, 0);
	lab.peer[BETA].cold = has_copy(1);
	lab_down(&lab, BETA);
	comes_back(ALPHA);
	wait_ms(60000);
	assert_int_equal(lab.n_starts, 0);
	comes_back(BETA);
	wait_ms(2000);
	is_started(ALPHA, 3);
}

/* The other host is fenced before the start. If that host is cut off before it has answered, the
 * gateway waits for it. */
static void test_fenced_first(void **state)
{
	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	until_decided();
	is_now(VM_PROMOTING, ALPHA, 2);
	assert_int_equal(lab.n_starts, 0);
	assert_true(lab.peer[BETA].order.due);
	assert_int_equal(lab.peer[BETA].order.verb, WIRE_VERB_FENCE);
	lab_down(&lab, BETA);
	lab_run(&lab, 5000, 1);
	assert_int_equal(lab.n_starts, 0);
	comes_back(BETA);
	wait_ms(500);
	is_started(ALPHA, 2);
}

/* The gateway dies between its decision and the order. The restarted gateway decides the same. */
static void test_restarted_gateway(void **state)
{
	(void)state;
	cut_power(was_unsound, 1, has_copy(1), 1);
	until_decided();
	is_now(VM_PROMOTING, BETA, 2);
	/* alpha is fenced, and no longer reports its old role */
	assert_true(lab_obey(&lab, ALPHA));
	assert_int_equal(lab.n_starts, 1);
	lab.n_starts = 0;
	lab_restart(&lab);
	both_come_back();
	is_started(BETA, 3);
}

static void test_a_start_that_fails(void **state)
{
	(void)state;
	cut_power(was_primary, 1, has_copy(1), 1);
	lab_up(&lab, ALPHA);
	lab_up(&lab, BETA);
	for (int i = 0; i < 15; i++) {
		lab_report(&lab, ALPHA);
		lab_report(&lab, BETA);
		lab_run(&lab, 100, 3);
		(void)lab_obey(&lab, BETA);
	}
	assert_int_equal(lab.peer[ALPHA].order.verb, WIRE_VERB_START);
	lab.peer[ALPHA].order.due = false;
	lab_done(&lab, ALPHA, WIRE_ORDER_FAILED, "no such image");
	is_now(VM_FAILED, ALPHA, 2);
	assert_non_null(strstr(lab.last_state, "no such image; `holdfastctl start web1`"));
	wait_ms(60000);
	is_now(VM_FAILED, ALPHA, 2); /* a failed start is not repeated */
	lab.n_starts = 0;
	lab_command(&lab, VM_COMMAND_START);
	wait_ms(2000);
	is_started(ALPHA, 3);
}

/* If one host has the guest or a copy of its memory, there is no cold start, whatever the other
 * host says. */
static void test_somebody_has_it(void **state)
{
	(void)state;
	lab.peer[ALPHA].cold = was_primary;
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab.peer[BETA].cold.role = VM_COLD_NOT; /* beta holds epoch 1 */
	wait_ms(3000);
	assert_int_equal(lab.n_starts, 0);
	lab_command(&lab, VM_COMMAND_START);
	assert_string_equal(lab.last_reply.code, "not-cold");
	assert_int_equal(lab.journal.term, 1);
}

/* The owner's system has started the guest by itself. The agent keeps the guest stopped until
 * PROTECT lets it go on, so there is nothing to start. */
static void test_autostarted(void **state)
{
	struct vm_cold_word word = was_primary;

	(void)state;
	word.has_qemu = true;
	cut_power(word, 1, has_copy(1), 1);
	lab.peer[BETA].cold = has_no_copy;
	lab_up(&lab, ALPHA);
	lab_up(&lab, BETA);
	lab_report(&lab, ALPHA);
	lab_report(&lab, BETA);
	assert_int_equal(lab.peer[BETA].order.verb, WIRE_VERB_STANDBY_START);
	assert_int_equal(lab.peer[ALPHA].order.verb, WIRE_VERB_PROTECT);
	is_now(VM_PROTECTED, ALPHA, 1);
}

/* A guest that nobody wants protected may have been switched off on purpose. So only an operator
 * starts it. */
static void test_not_wanted(void **state)
{
	(void)state;
	lab.journal = (struct vm_record){.term = 4, .owner = BETA, .state = VM_UNPROTECTED};
	cut_power(was_fenced, 4, was_running, 4);
	both_come_back();
	wait_ms(60000);
	assert_int_equal(lab.n_starts, 0);
	lab_command(&lab, VM_COMMAND_START);
	wait_ms(2000);
	is_started(BETA, 5);
}

/* The guest had no disk: nothing is left, and an event says so. */
static void test_nothing_is_left(void **state)
{
	(void)state;
	cut_power(has_no_disk, 1, has_nothing, 1);
	both_come_back();
	assert_int_equal(lab.n_starts, 0);
	assert_non_null(strstr(lab.last_event, "nothing is left there"));
	lab_command(&lab, VM_COMMAND_START);
	assert_string_equal(lab.last_reply.code, "not-decided");
	start_on(ALPHA, true); /* the guest starts as a new one */
	wait_ms(2000);
	is_started(ALPHA, 2);
}

/* After the start the guest is protected again, as after a failover. */
static void test_protected_again(void **state)
{
	(void)state;
	lab.journal.is_wanted = lab.config.reprotect_auto = true;
	cut_power(was_primary, 1, has_copy(1), 1);
	both_come_back();
	wait_ms(1000);
	is_now(VM_SYNCING, ALPHA, 3);
	lab_ack(&lab, 1);
	is_now(VM_PROTECTED, ALPHA, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_owners_disks, start),
		cmocka_unit_test_setup(test_each_cut, start),
		cmocka_unit_test_setup(test_ask, start),
		cmocka_unit_test_setup(test_the_older_disks, start),
		cmocka_unit_test_setup(test_the_other_host_is_lost, start),
		cmocka_unit_test_setup(test_the_owner_alone, start),
		cmocka_unit_test_setup(test_the_standby_may_have_a_copy, start),
		cmocka_unit_test_setup(test_fence_fails, start),
		cmocka_unit_test_setup(test_ran_in, start),
		cmocka_unit_test_setup(test_drained_host, start),
		cmocka_unit_test_setup(test_no_files_at_all, start),
		cmocka_unit_test_setup(test_a_promotion_alone, start),
		cmocka_unit_test_setup(test_fenced_first, start),
		cmocka_unit_test_setup(test_restarted_gateway, start),
		cmocka_unit_test_setup(test_a_start_that_fails, start),
		cmocka_unit_test_setup(test_somebody_has_it, start),
		cmocka_unit_test_setup(test_autostarted, start),
		cmocka_unit_test_setup(test_not_wanted, start),
		cmocka_unit_test_setup(test_nothing_is_left, start),
		cmocka_unit_test_setup(test_protected_again, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
