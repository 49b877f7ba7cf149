/* test_fsm_again_fails.c - tests what operators are told if the gateway's attempts to protect a
 * guest again fail, each time for the same reason or for others. fsm_lab.h checks the rules. */
#include "fsm_lab.h"

#include "vm/fsm_private.h"
#include "vm/health.h"

static struct lab lab;
static struct health_signs signs;
static struct health health;

/* alpha has died, beta runs the guest, and alpha is back with its stopped guest. */
static int start(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab.config.reprotect_auto = true;
	lab_protect(&lab);
	lab_down(&lab, 0);
	lab_run(&lab, 600, 2);
	assert_true(lab_obey(&lab, 1));
	lab_tick(&lab, 10);
	lab_report(&lab, 1);
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	lab_settle(&lab);
	return 0;
}

static const struct health *judge(void)
{
	const struct health_view view = {.now_ns = lab.now_ns, .fsm = &lab.fsm, .fence_fault = "",
					 .reported_ns = {lab.now_ns, lab.now_ns, lab.now_ns},
					 .signs = {&signs, &signs, &signs},
					 .text = {"", "", ""}};

	health_judge(&view, &health);
	return &health;
}

/* Let time pass until the gateway begins an attempt. */
static void begin(void)
{
	for (int i = 0; i < 66000 && lab.journal.state == VM_UNPROTECTED; i++) {
		lab_run(&lab, 10, 7);
		if (i % 100 == 0)
			lab_report(&lab, 1);
	}
	assert_int_equal(lab.journal.state, VM_PREPARING);
}

/* Host @h refuses to stand by. */
static void refuse(uint8_t h, const char *text)
{
	lab_done(&lab, h, WIRE_ORDER_FAILED, text);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	lab_settle(&lab);
}

static void is_told(const char *words)
{
	assert_non_null(strstr(lab.last_state, words));
	lab.last_state[0] = '\0';
}

/* One event reports the obstacle, however often the gateway tries again. The VM's health word does
 * not change either, and its text names the obstacle. */
static void test_told_once(void **state)
{
	(void)state;
	begin();
	is_told("protecting it again");
	assert_int_equal(judge()->word, HEALTH_PREPARING);
	refuse(0, "end its QEMU (pid 71)");
	is_told("alpha cannot stand by: end its QEMU (pid 71)");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(judge()->word, HEALTH_UNPROTECTED);
		assert_string_equal(judge()->missing, "no copy is kept; the last attempt: alpha "
				    "cannot stand by: end its QEMU (pid 71)");
		assert_non_null(strstr(judge()->next, "protected again by itself in "));
		begin();
		assert_int_equal(judge()->word, HEALTH_UNPROTECTED);
		assert_non_null(strstr(judge()->missing, "(pid 71)"));
		assert_string_equal(judge()->next, "it is tried again now: alpha gets ready");
		refuse(0, "end its QEMU (pid 71)");
		assert_string_equal(lab.last_state, "");
	}
	begin();
	/* a new number (the pid) causes no event, but the health word's text shows it */
	refuse(0, "end its QEMU (pid 7101)");
	assert_string_equal(lab.last_state, "");
	assert_non_null(strstr(judge()->missing, "(pid 7101)"));
}

static void test_another_reason(void **state)
{
	(void)state;
	begin();
	refuse(0, "no room");
	lab.last_state[0] = '\0';
	begin();
	refuse(0, "no file");
	is_told("alpha cannot stand by: no file");
	begin();
	assert_string_equal(lab.last_state, "");
	lab_settle(&lab);
	is_told("ready"); /* the attempt gets further */
	assert_int_equal(lab.journal.state, VM_SYNCING);
	lab_ack(&lab, 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	is_told("");
	assert_null(vm_again_last_failure(&lab.fsm, 0));
}

/* There are always events about an attempt that an operator began, or that an operator ends. */
static void test_operator(void **state)
{
	(void)state;
	begin();
	refuse(0, "no room");
	lab.last_state[0] = '\0';
	lab_command(&lab, VM_COMMAND_PROTECT);
	is_told("operator");
	refuse(0, "no room");
	is_told("alpha cannot stand by: no room");
	assert_string_equal(lab.last_reply.code, "standby-failed");
	begin();
	assert_string_equal(lab.last_state, "");
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	is_told("operator asked to unprotect");
	assert_null(vm_again_last_failure(&lab.fsm, 0));
}

/* The gateway asks two hosts in turn to stand by, and neither can. There is one event about each
 * host's failure, and one about each change of seats. */
static void test_turns(void **state)
{
	(void)state;
	lab_add_spare(&lab);
	begin();
	refuse(0, "no room");
	is_told("alpha cannot stand by: no room");
	begin();
	is_told("gamma takes the seat of alpha");
	refuse(2, "no file");
	is_told("gamma cannot stand by: no file");
	for (int i = 0; i < 4; i++) {
		begin();
		is_told(i % 2 ? "gamma takes the seat of alpha" : "alpha takes the seat of gamma");
		refuse(i % 2 ? 2 : 0, i % 2 ? "no file" : "no room");
		assert_string_equal(lab.last_state, "");
		assert_non_null(strstr(judge()->missing, i % 2 ? "gamma cannot" : "alpha cannot"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_told_once, start),
		cmocka_unit_test_setup(test_another_reason, start),
		cmocka_unit_test_setup(test_operator, start),
		cmocka_unit_test_setup(test_turns, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
