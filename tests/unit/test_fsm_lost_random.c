/* test_fsm_lost_random.c - tests a cold start while anything may happen: hosts go away and come
 * back, carry an order out late, or lose their power; the gateway restarts; an operator asks. The
 * guest must never run on two hosts at once, and must run on one of them in the end. fsm_lab.h
 * checks the rules of every step. */
#include <stdlib.h>

#include "fsm_lost_lab.h"

/* An order that a host had received when its connection broke, and has not carried out. */
static struct {
	bool due;
	uint8_t verb;
	uint64_t term;
} late[2];

static bool runs(uint8_t h)
{
	return lab.peer[h].state == WIRE_STATE_RUNNING;
}

static void one_owner(void)
{
	assert_false(runs(ALPHA) && runs(BETA));
}

static void cut_off(uint8_t h)
{
	struct lab_peer *p = &lab.peer[h];

	if (p->up && p->order.due && !late[h].due) {
		late[h].due = true;
		late[h].verb = p->order.verb;
		late[h].term = p->order.term;
	}
	lab_down(&lab, h);
}

static void power_off(uint8_t h)
{
	struct lab_peer *p = &lab.peer[h];

	lab_down(&lab, h);
	late[h].due = false;
	if (runs(h))
		p->cold = (struct vm_cold_word){.role = VM_COLD_RUNNING, .disk = VM_COLD_DISK_OWN,
						.ran = p->term};
	else if (p->state == WIRE_STATE_FENCED)
		p->cold.role = VM_COLD_FENCED;
	p->state = WIRE_STATE_IDLE;
}

static void obey(uint8_t h)
{
	struct lab_peer *p = &lab.peer[h];
	struct vm_cold_word before = p->cold;

	if (!late[h].due) {
		if (lab_obey(&lab, h) && p->state == WIRE_STATE_FENCED) {
			p->cold = before;
			p->cold.role = VM_COLD_FENCED;
		}
		return;
	}
	late[h].due = false;
	if (late[h].term < p->term)
		return;
	p->term = late[h].term;
	if (late[h].verb == WIRE_VERB_START) {
		p->state = WIRE_STATE_RUNNING;
		p->cold = (struct vm_cold_word){0};
	} else if (late[h].verb == WIRE_VERB_FENCE) {
		p->state = WIRE_STATE_FENCED;
		p->cold.role = VM_COLD_FENCED;
	}
}

/* The operator tells the truth: before the operator says --off HOST, HOST is switched off. */
static void operator_asks(uint8_t h)
{
	uint8_t other = (uint8_t)(1 - h);
	bool is_off = rand() % 2 == 0;
	bool is_known = lab.journal.state == VM_PROMOTING || lab.journal.state == VM_FAILED;

	lab.is_forced = true;
	if (is_off && !lab.peer[other].up)
		power_off(other);
	else if (!is_known && !lab.peer[other].up)
		/* in the other states, --lose alone already implies that the other host is off */
		return;
	start_on(h, true, is_off ? other : -1);
}

static void happens(void)
{
	uint8_t h = (uint8_t)(rand() % 2);

	switch (rand() % 12) {
	case 0:
		cut_off(lab.journal.owner);
		break;
	case 1:
		if (rand() % 4 == 0)
			power_off(h);
		break;
	case 2:
		if (!lab.peer[h].up)
			lab_up(&lab, h);
		break;
	case 3:
		operator_asks(h);
		break;
	case 4:
		cut_off(h);
		break;
	case 5:
		if (rand() % 8 == 0)
			lab_restart(&lab);
		break;
	case 6:
		if (lab.fence_runs) {
			bool ok = rand() % 2;

			if (ok)
				power_off(lab_beside(&lab, lab.journal.owner));
			(void)lab_fenced(&lab, ok ? WIRE_ORDER_OK : WIRE_ORDER_FAILED);
		}
		break;
	case 7:
		wait_ms(32000);
		break;
	case 8:
	case 9:
		obey(h);
		break;
	default:
		wait_ms(500);
		break;
	}
	one_owner();
}

/* Bring everything back. After that, it must be possible to start the guest, and only one host may
 * run it. */
static void ends_with_an_owner(void)
{
	for (int i = 0; i < 40 && !(runs(ALPHA) || runs(BETA)); i++) {
		for (uint8_t h = 0; h < 2; h++) {
			if (!lab.peer[h].up)
				lab_up(&lab, h);
			obey(h);
			obey(h);
		}
		(void)lab_fenced(&lab, WIRE_ORDER_FAILED);
		wait_ms(5000);
		if (!runs(ALPHA) && !runs(BETA))
			start_on((uint8_t)(i / 2 % 2), true, -1);
		one_owner();
	}
	assert_true(runs(ALPHA) || runs(BETA));
}

static void test_random(void **state)
{
	unsigned n_failed = 0;

	for (unsigned seed = 1; seed <= 100; seed++) {
		srand(seed);
		memset(late, 0, sizeof(late));
		(void)start(state);
		lab.config.cold_start_newest = seed % 2;
		lab.config.has_fence_command = seed % 4 == 2;
		for (int i = 0; i < 120; i++) {
			happens();
			n_failed += lab.journal.state == VM_FAILED;
		}
		ends_with_an_owner();
	}
	assert_true(n_failed > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
