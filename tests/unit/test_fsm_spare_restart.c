/* test_fsm_spare_restart.c - tests that a spare takes a seat in spite of restarts. The gateway is
 * restarted in each phase, and the hosts come back in each order. fsm_lab.h checks the rules of
 * vm/fsm.h after each step. In the end, the VM must be protected and have one owner. */
#include "fsm_spare_lab.h"

/* Each of these functions brings a protected VM of alpha and beta, with gamma as the spare, into
 * one phase. */
static void beta_is_gone(void)
{
	lose_other();
}

static void gamma_gets_ready(void)
{
	lose_other();
	later(61000);
	is_now(VM_PREPARING, ALPHA, GAMMA);
}

static void gamma_is_copied_to(void)
{
	gamma_gets_ready();
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_SYNCING);
}

static void beta_is_back_during_the_copy(void)
{
	gamma_is_copied_to();
	lab_up(&lab, BETA);
	lab_report(&lab, BETA);
}

static void gamma_is_promoted(void)
{
	gamma_for_beta();
	lab_up(&lab, BETA);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 600, 6);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

static void gamma_runs_the_guest(void)
{
	gamma_is_promoted();
	assert_true(lab_obey(&lab, GAMMA));
	is_now(VM_UNPROTECTED, GAMMA, ALPHA);
}

static void beta_is_drained(void)
{
	lab_run(&lab, 100, 7);
	vm_fsm_bar(&lab.fsm, BETA, true);
	command(VM_COMMAND_END_COPY, BETA);
	assert_true(lab_obey(&lab, ALPHA));
	is_now(VM_PREPARING, ALPHA, GAMMA);
}

static const struct phase {
	void (*begin)(void);
	uint8_t owner; /* the expected owner at the end */
} phases[] = {
	{beta_is_gone, ALPHA},	    {gamma_gets_ready, ALPHA},
	{gamma_is_copied_to, ALPHA}, {beta_is_back_during_the_copy, ALPHA},
	{gamma_is_promoted, GAMMA},  {gamma_runs_the_guest, GAMMA},
	{beta_is_drained, ALPHA},
};

/* Check that at most one host runs the guest and does not hold its output, and that this host is
 * @owner. */
static void one_runs(uint8_t owner)
{
	unsigned int n_running = 0;

	for (uint8_t h = 0; h < VM_HOSTS; h++)
		n_running += lab.peer[h].state == WIRE_STATE_RUNNING;
	assert_true(n_running <= 1);
	if (n_running == 1)
		assert_int_equal(lab.peer[owner].state, WIRE_STATE_RUNNING);
}

/* Let all hosts come back in the given order and carry out their orders, in 40 rounds. */
static void comes_to_rest(const uint8_t order[VM_HOSTS], uint8_t owner)
{
	for (int round = 0; round < 40; round++) {
		for (size_t i = 0; i < VM_HOSTS; i++) {
			uint8_t h = order[i];

			if (!lab.peer[h].up)
				lab_up(&lab, h);
			lab_report(&lab, h);
			one_runs(owner);
			if (!lab.peer[h].streaming && h != lab_spare(&lab))
				(void)lab_stream_up(&lab, h, h == lab.journal.owner
							     ? WIRE_VM_ROLE_PRIMARY
							     : WIRE_VM_ROLE_STANDBY);
			(void)lab_obey(&lab, h);
			one_runs(owner);
		}
		if (lab.fsm.stream[VM_STREAM_PRIMARY].up && lab.fsm.stream[VM_STREAM_STANDBY].up)
			lab_ack(&lab, lab.peer[vm_fsm_other(&lab.fsm)].complete + 1);
		lab_run(&lab, 1000, 7);
	}
}

static void test_restart(void **state)
{
	static const uint8_t orders[][VM_HOSTS] = {
		{ALPHA, BETA, GAMMA}, {ALPHA, GAMMA, BETA}, {BETA, ALPHA, GAMMA},
		{BETA, GAMMA, ALPHA}, {GAMMA, ALPHA, BETA}, {GAMMA, BETA, ALPHA},
	};

	(void)state;
	for (size_t p = 0; p < sizeof(phases) / sizeof(phases[0]); p++) {
		for (size_t o = 0; o < sizeof(orders) / sizeof(orders[0]); o++) {
			uint8_t spare;

			start(NULL);
			phases[p].begin();
			lab_restart(&lab);
			comes_to_rest(orders[o], phases[p].owner);
			spare = lab_spare(&lab);
			if (lab.journal.state != VM_PROTECTED ||
			    lab.journal.owner != phases[p].owner ||
			    lab.peer[spare].state != WIRE_STATE_FENCED)
				fail_msg("phase %zu, order %zu: state %s, owner %u, spare %u: %u",
					 p, o, vm_state_name(lab.journal.state), lab.journal.owner,
					 spare, lab.peer[spare].state);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_restart)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
