/* fsm_cold_lab.h - shared code of the tests of a cold start in which the hosts carry out their
 * orders. In a lab (fsm_lab.h), alpha and beta, the hosts of a VM, lose their power and come back.
 * fsm_lost_lab.h is for hosts that carry out no order.
 */
#ifndef TESTS_FSM_COLD_LAB_H
#define TESTS_FSM_COLD_LAB_H

#include "fsm_lab.h"

enum { ALPHA = 0, BETA = 1 };

static struct lab lab;

static inline int start(void **state)
{
	(void)state;
	lab_start_protected(&lab); /* alpha is the owner, in term 1 */
	lab.config.cold_start_newest = true;
	return 0;
}

static inline void comes_back(uint8_t h)
{
	lab_up(&lab, h);
	lab_report(&lab, h);
	lab_settle(&lab);
}

/* Let @ms milliseconds pass. The hosts that are connected report. */
static inline void wait_ms(unsigned ms)
{
	for (unsigned i = 0; i < ms; i += 100) {
		lab_run(&lab, 100, 3);
		lab_report(&lab, ALPHA);
		lab_report(&lab, BETA);
		lab_settle(&lab);
	}
}

static inline void both_come_back(void)
{
	comes_back(ALPHA);
	comes_back(BETA);
	wait_ms(2000);
}

#endif
