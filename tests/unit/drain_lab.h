/* drain_lab.h - the host alpha with some VMs on a virtual clock, for the tests of drain.h. The lab
 * plays the VMs' state machines and the gateway's disk.
 */
#ifndef TESTS_DRAIN_LAB_H
#define TESTS_DRAIN_LAB_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fleet/drain.h"
#include "fleet/drain_record.h"

#define S	CLOCK_NS_PER_S
#define BOOT_1	"11111111-2222-3333-4444-555555555555"
#define BOOT_2	"61111111-2222-3333-4444-555555555555"
#define N_MAX	4

static struct {
	struct drain d;
	struct drain_actions out;
	struct drain_view views[N_MAX];
	size_t n, n_faults;
	uint64_t now_ns;
	/* for each VM: the number of DRAIN_ACT_MOVE actions */
	size_t asked[N_MAX];
	size_t ended[N_MAX]; /* for each VM: the number of DRAIN_ACT_END_COPY actions */
	unsigned int n_stores, n_replies;
	bool ok;
	char code[32], text[VM_TEXT_MAX], said[DRAIN_ACTIONS_MAX * VM_TEXT_MAX];
	bool is_storing, disk_fails;
} lab;

static inline void feed(struct drain_input in)
{
	in.now_ns = lab.now_ns;
	in.views = lab.views;
	in.n_views = lab.n;
	in.n_faults = lab.n_faults;
	drain_step(&lab.d, &in, &lab.out);
	for (size_t i = 0; i < lab.out.n; i++) {
		const struct drain_action *a = &lab.out.list[i];

		switch (a->kind) {
		case DRAIN_ACT_MOVE:
			assert_int_equal(lab.d.phase, DRAIN_MOVING);
			assert_int_equal(lab.views[a->vm].place, VM_DRAIN_MOVABLE);
			lab.asked[a->vm]++;
			break;
		case DRAIN_ACT_END_COPY:
			/* only after every guest has been moved away or left behind */
			assert_int_equal(lab.d.phase, DRAIN_COPIES);
			assert_int_equal(lab.views[a->vm].place, VM_DRAIN_COPY);
			lab.ended[a->vm]++;
			break;
		case DRAIN_ACT_STORE:
			lab.n_stores++;
			lab.is_storing = drain_is_storing(&lab.d);
			break;
		case DRAIN_ACT_SAY:
			strcat(lab.said, a->text);
			strcat(lab.said, "\n");
			break;
		case DRAIN_ACT_REPLY:
			lab.n_replies++;
			lab.ok = a->ok;
			strcpy(lab.code, a->code);
			strcpy(lab.text, a->text);
			break;
		}
	}
}

static inline void disk(void)
{
	if (!lab.is_storing)
		return;
	lab.is_storing = false;
	feed((struct drain_input){.kind = DRAIN_IN_STORED, .ok = !lab.disk_fails});
}

static inline void tick(uint64_t ns)
{
	for (uint64_t end_ns = lab.now_ns + ns; lab.now_ns < end_ns;) {
		lab.now_ns += 50 * CLOCK_NS_PER_MS;
		feed((struct drain_input){.kind = DRAIN_IN_TICK});
		disk();
	}
}

static inline void moved(size_t vm, bool ok, const char *text)
{
	if (ok)
		lab.views[vm].place = VM_DRAIN_AWAY;
	feed((struct drain_input){.kind = DRAIN_IN_MOVED, .vm = vm, .ok = ok, .text = text});
}

static inline int set_up(void **state)
{
	static const char *const names[N_MAX] = {"web1", "web2", "web3", "web4"};

	(void)state;
	memset(&lab, 0, sizeof(lab));
	lab.d.host = "alpha";
	lab.now_ns = 100 * S;
	lab.n = 2;
	for (size_t i = 0; i < N_MAX; i++)
		lab.views[i] = (struct drain_view){.vm = i, .name = names[i], .other = "beta",
						   .place = VM_DRAIN_MOVABLE, .why = ""};
	return 0;
}

static inline void ask(bool unprotected_ok, bool waits)
{
	feed((struct drain_input){.kind = DRAIN_IN_ASKED, .op_id = 7, .limit_ns = 60 * S,
				  .unprotected_ok = unprotected_ok, .waits = waits});
}

static inline void guard(uint64_t limit_ns)
{
	feed((struct drain_input){.kind = DRAIN_IN_GUARD, .limit_ns = limit_ns, .boot = BOOT_1});
}

static inline void is_refused(const char *code, const char *words)
{
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	assert_int_equal(lab.n_replies, 1);
	assert_false(lab.ok);
	assert_string_equal(lab.code, code);
	assert_non_null(strstr(lab.text, words));
	assert_int_equal(lab.n_stores, 0);
	lab.n_replies = 0;
}

#endif
