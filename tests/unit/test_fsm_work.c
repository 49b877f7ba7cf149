/* test_fsm_work.c - tests that the gateway waits for the end of an order (a command to a host) as
 * long as the host reports progress. If progress stops, the reply to the operator must name the
 * step that was under way. */
#include "fsm_lab.h"

static struct lab lab;
static uint64_t n_moves[2];

static int connect_both(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	return 0;
}

static int start_protected(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	return 0;
}

/* Let host @h report that it is at @step and has made @n_new moves (signs of progress) since its
 * last report. */
static void say(uint8_t h, const char *step, uint64_t n_new)
{
	const struct lab_peer *p = &lab.peer[h];

	n_moves[h] += n_new;
	(void)lab_feed(&lab, (struct vm_input){
				     .kind = VM_IN_REPORT,
				     .host = h,
				     .agent_state = p->state,
				     .term = p->term,
				     .step = step,
				     .role = h == lab.journal.owner ? WIRE_VM_ROLE_PRIMARY
								    : WIRE_VM_ROLE_STANDBY,
				     .epoch = h == lab.journal.owner ? p->committed : p->complete,
				     .n_moves = n_moves[h]});
}

/* Let @s seconds pass in which both hosts are alive and no byte of an epoch is relayed. Each
 * second, host @h reports @step and @n_new more moves. */
static void work(uint8_t h, unsigned int s, const char *step, uint64_t n_new)
{
	for (unsigned int i = 0; i < s; i++) {
		for (unsigned int k = 0; k < 10; k++) {
			lab_tick(&lab, 100);
			lab_beat(&lab, 0);
			lab_beat(&lab, 1);
		}
		say(h, step, n_new);
	}
}

static void test_standby_gets_ready_slowly(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_PROTECT);
	say(1, "reserved 0.1 of 5.0 GiB of guest RAM", 1);
	work(1, 120, "reserved 3.1 of 5.0 GiB of guest RAM", 1);
	assert_int_equal(lab.journal.state, VM_PREPARING);
	work(1, 29, "reserved 3.1 of 5.0 GiB of guest RAM", 0);
	assert_int_equal(lab.journal.state, VM_PREPARING);
	work(1, 2, "reserved 3.1 of 5.0 GiB of guest RAM", 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text,
			       "beta cannot stand by: it reserved 3.1 of 5.0 GiB of guest "
			       "RAM, and nothing more for 30 s"));
}

/* The standby has answered its order but does not open its stream. The gateway waits as long as the
 * standby reports progress, and 30 s more. */
static void test_standby_stream_comes_late(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab.peer[1].order.due = false;
	lab.peer[1].state = WIRE_STATE_STANDBY_WARM;
	lab.peer[1].term = lab.journal.term;
	lab_done(&lab, 1, WIRE_ORDER_OK, "");
	work(1, 100, "tried to connect", 1);
	assert_int_equal(lab.journal.state, VM_PREPARING);
	work(1, 31, "tried to connect", 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_non_null(strstr(lab.last_reply.text,
			       "standby beta did not get ready: it tried to connect, and "
			       "nothing more for 30 s"));
}

/* Three parts of a first copy are slow: attaching, the copy itself, and the standby's writing and
 * rehearsal. No bytes are relayed during the first and the last part. */
static void test_first_copy_is_slow(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_true(lab_obey(&lab, 1));
	assert_int_equal(lab.journal.state, VM_SYNCING);
	say(0, "asked QEMU", 1);
	work(0, 100, "asked QEMU", 1); /* PROTECT is not answered yet */
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_true(lab_obey(&lab, 0));
	/* a copy of pages full of zeros sends almost no bytes */
	work(0, 100, "copied 4.0 of 5.0 GiB of guest RAM", 1);
	say(0, NULL, 1);
	lab.standby_owes = true;
	work(1, 100, "wrote 1.2 of 5.0 GiB of an epoch", 1);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	lab_ack(&lab, 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_true(lab.replied && lab.last_reply.ok);
}

static void start_copy(void)
{
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_SYNCING);
}

static void test_first_copy_stands_still(void **state)
{
	(void)state;
	start_copy();
	say(0, "copied 3.1 of 5.0 GiB of guest RAM", 1);
	work(0, 31, "copied 3.1 of 5.0 GiB of guest RAM", 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_non_null(strstr(lab.last_reply.text,
			       "alpha copied 3.1 of 5.0 GiB of guest RAM, and nothing more "
			       "for 30 s: is its backup link full?"));
	assert_non_null(strstr(lab.last_state, "nothing more for 30 s"));
	/* The host reports no progress of its own, so the relayed bytes count as progress. */
	start_copy();
	lab_run(&lab, 2000, 3);
	work(0, 31, NULL, 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_non_null(strstr(lab.last_reply.text,
			       "alpha sent 0.2 MiB of the first copy, and nothing more"));
	/* The standby stopped making progress, so the reply must not blame the link. */
	start_copy();
	lab.config.standby_timeout_ns = 60000 * MS;
	say(1, "wrote 1.2 of 5.0 GiB of an epoch", 1);
	work(1, 31, "wrote 1.2 of 5.0 GiB of an epoch", 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_non_null(strstr(lab.last_reply.text,
			       "beta wrote 1.2 of 5.0 GiB of an epoch, and nothing more for "
			       "30 s; see"));
}

/* Whatever ends the protection, the reply says at which step the standby stopped. */
static void test_standby_lost_in_its_first_epoch(void **state)
{
	(void)state;
	start_copy();
	lab.standby_owes = true;
	say(1, "cleared 0.3 of 5.0 GiB of its copy", 1);
	work(1, 14, "cleared 0.3 of 5.0 GiB of its copy", 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	work(1, 2, "cleared 0.3 of 5.0 GiB of its copy", 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_non_null(strstr(lab.last_reply.text, "beta lets nothing be committed for 15"));
	assert_non_null(strstr(lab.last_reply.text, "it cleared 0.3 of 5.0 GiB of its copy"));
}

static void test_promotion_is_slow(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	say(1, "wrote 0.1 of 5.0 GiB of an epoch", 1);
	work(1, 120, "wrote 2.0 of 5.0 GiB of an epoch", 1);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_false(lab.replied);
	work(1, 31, "wrote 2.0 of 5.0 GiB of an epoch", 0);
	assert_int_equal(lab.journal.state, VM_FAILED);
	assert_non_null(strstr(lab.last_reply.text,
			       "beta did not promote: it wrote 2.0 of 5.0 GiB of an epoch, "
			       "and nothing more for 30 s"));
	/* `unprotect` also waits as long as the standby makes progress, here with removing its
	 * copy. */
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_false(lab.replied);
	work(1, 60, "removed 2.0 of 5.0 GiB of its copy", 1);
	assert_false(lab.replied);
	work(1, 31, "removed 2.0 of 5.0 GiB of its copy", 0);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text,
			       "it removed 2.0 of 5.0 GiB of its copy, and nothing more"));
}

static void test_release_is_slow(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	say(0, "let 10 held frames out", 1);
	work(0, 60, "let 10 held frames out", 1);
	assert_false(lab.replied);
	work(0, 31, "let 10 held frames out", 0);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text,
			       "alpha has not released the guest: it let 10 held frames out, "
			       "and nothing more for 30 s"));
}

/* Only moves (signs of progress) that the host reports after the order, on the same connection,
 * count. A smaller number of moves than in the last report is not progress. */
static void test_only_moves_count(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_PROTECT);
	for (int i = 0; i < 6; i++) {
		lab_down(&lab, 1);
		lab_up(&lab, 1);
		work(1, 5, "reserved 0.0 of 5.0 GiB of guest RAM", 0);
	}
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	n_moves[1] = 100;
	say(1, "reserved", 0);
	n_moves[1] = 50;
	work(1, 31, "reserved", 0);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* If the host with the order cannot answer, the reply gives the cause and names no step. */
static void test_no_host_that_works(void **state)
{
	(void)state;
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_down(&lab, 1);
	lab_run(&lab, 31000, 1);
	assert_non_null(strstr(lab.last_reply.text, "beta has not promoted: it is not connected"));
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

/* A standby that makes progress but fails its first epoch repeatedly is given up, too. */
static void test_moves_do_not_hide_a_loop(void **state)
{
	(void)state;
	start_copy();
	for (int i = 0; i < 10 && lab.journal.state == VM_SYNCING; i++) {
		work(1, 4, "wrote 1.2 of 5.0 GiB of an epoch", 1);
		(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_STREAM_FAILED,
						       .host = 1,
						       .role = WIRE_VM_ROLE_STANDBY,
						       .text = "tmpfs is full"});
		lab_stream_down(&lab, 1);
		(void)lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY);
	}
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_non_null(strstr(lab.last_reply.text, "tmpfs is full"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_standby_gets_ready_slowly, connect_both),
		cmocka_unit_test_setup(test_standby_stream_comes_late, connect_both),
		cmocka_unit_test_setup(test_first_copy_is_slow, connect_both),
		cmocka_unit_test(test_first_copy_stands_still),
		cmocka_unit_test(test_standby_lost_in_its_first_epoch),
		cmocka_unit_test_setup(test_promotion_is_slow, start_protected),
		cmocka_unit_test_setup(test_release_is_slow, start_protected),
		cmocka_unit_test_setup(test_only_moves_count, connect_both),
		cmocka_unit_test_setup(test_no_host_that_works, start_protected),
		cmocka_unit_test(test_moves_do_not_hide_a_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
