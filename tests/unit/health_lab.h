/* health_lab.h - a VM whose health word is SAFE, on a virtual clock, for the tests of that word. */
#ifndef HEALTH_LAB_H
#define HEALTH_LAB_H

#include "fsm_lab.h"

#include <stdio.h>

#include "vm/health.h"

static struct lab lab;
static struct vm_relay relay;
static struct health_signs signs[VM_HOSTS];
static struct health_view view;
static struct health health;
static struct health_watch watch;

static inline enum health_word judge(void)
{
	view.now_ns = lab.now_ns;
	health_judge(&view, &health);
	return health.word;
}

static inline bool says(const char *what)
{
	return strstr(health.missing, what) || strstr(health.next, what);
}

/* Read a report's statistics, and note that the report came now. */
static inline void report(uint8_t h, const char *stats, const char *text)
{
	health_read_signs(stats, &signs[h]);
	view.text[h] = text;
	view.reported_ns[h] = lab.now_ns;
	lab_report(&lab, h);
}

static inline void begin(void)
{
	memset(&relay, 0, sizeof(relay));
	memset(&watch, 0, sizeof(watch));
	memset(&view, 0, sizeof(view));
	view.fsm = &lab.fsm;
	view.relay = &relay;
	view.fence_fault = "";
	for (int h = 0; h < VM_HOSTS; h++) {
		view.signs[h] = &signs[h];
		view.text[h] = "";
		health_read_signs("", &signs[h]);
	}
}

/* Everything that the reports of a SAFE VM must contain. */
#define HELD	 "holding=1\ndirect=0\n"
#define VERIFIED "disks=in-step\ndisk_verify=done\ndisk_differs=0\n"
#define ROOM	 "standby_room_free_bytes=300000000\nstandby_room_needed_bytes=290000000\n"

static inline void report_well(void)
{
	report(0, HELD VERIFIED "interval_ms_p99=100.250\n", "");
	report(1, ROOM, "");
}

static inline int start_connected(void **state)
{
	(void)state;
	begin();
	lab_connect_both(&lab);
	report_well();
	return 0;
}

static inline int start_protected(void **state)
{
	(void)state;
	begin();
	lab_start_protected(&lab);
	relay.term = lab.fsm.record.term;
	lab_ack(&lab, 2);
	report_well();
	assert_int_equal(judge(), HEALTH_SAFE);
	assert_string_equal(health.missing, "");
	return 0;
}

/* ---- two ways to make a SAFE VM unsafe */
static inline void break_paused(void)
{
	lab.fsm.host[0].verdict = WIRE_VERDICT_PAUSED;
}

static inline void break_room(void)
{
	report(1, "standby_room_free_bytes=1000000\nstandby_room_needed_bytes=290000000\n", "");
}

#endif
