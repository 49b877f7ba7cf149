/* test_fleet_reply.c - tests what the fleet adds to a state machine's answer to an operator. */
#include "gateway_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "fleet/fleet.h"

static struct fixture f;
static struct fleet_vm *web1;
static char answer[2 * VM_TEXT_MAX];

static void on_reply(void *arg, uint64_t op_id, bool ok, const char *code, const char *text)
{
	(void)arg;
	assert_int_equal(op_id, 7);
	(void)snprintf(answer, sizeof(answer), "%s %s: %s", ok ? "ok" : "error", code, text);
}

/* web1 is PROTECTED in term 1: alpha has just reported, beta has not. */
static int open_fleet(void **state)
{
	(void)state;
	fixture_open(&f);
	f.fleet->sinks.reply = on_reply;
	web1 = fleet_find_vm(f.fleet, "web1");
	web1->fsm.record.state = VM_PROTECTED;
	web1->fsm.record.term = 1;
	web1->fsm.host[0].up = web1->fsm.host[0].reported = true;
	web1->fsm.host[0].agent_state = WIRE_STATE_PROTECTED;
	web1->fsm.host[0].term = 1;
	web1->report[0].at_ns = f.now_ns;
	return 0;
}

static int close_fleet(void **state)
{
	(void)state;
	fixture_close(&f);
	return 0;
}

static const char *protect(void)
{
	const struct vm_input in = {
		.kind = VM_IN_COMMAND, .command = VM_COMMAND_PROTECT, .op_id = 7};

	assert_int_equal(fleet_step(f.fleet, web1, &in, f.now_ns), 0);
	return answer;
}

/* A VM can be PROTECTED although its standby is away. The answer says so. */
static void test_already_says_what_is_missing(void **state)
{
	(void)state;
	assert_string_equal(protect(),
			    "ok already: web1 is protected already, in term 1; it is not SAFE but "
			    "NO-STANDBY: beta was not heard yet; standby_lost = unprotected: if "
			    "nothing is committed, the guest goes on without a copy, 00:05 left");
	web1->health.is_begun = true;
	web1->health.shown.word = HEALTH_PAUSED;
	web1->fsm.host[0].verdict = WIRE_VERDICT_PAUSED;
	assert_string_equal(protect(),
			    "ok already: web1 is protected already, in term 1; it is not SAFE but "
			    "PAUSED: somebody else paused the guest on alpha; it is replicated "
			    "again once it runs");
}

/* Other answers than "already" do not say why the VM is not SAFE. */
static void test_others_say_it_alone(void **state)
{
	(void)state;
	web1->fsm.record.state = VM_SYNCING;
	assert_string_equal(protect(), "error busy: web1 is SYNCING; wait, or `holdfastctl "
				       "unprotect web1` first");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_already_says_what_is_missing, open_fleet,
						close_fleet),
		cmocka_unit_test_setup_teardown(test_others_say_it_alone, open_fleet, close_fleet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
