/* test_drain.c - tests the drain of a host on a virtual clock, and the file that keeps it. */
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

/* The host alpha with some VMs. The lab plays the VMs' machines and the disk. */
static struct {
	struct drain d;
	struct drain_actions out;
	struct drain_view views[N_MAX];
	size_t n;
	uint64_t now_ns;
	size_t asked[N_MAX]; /* how often a MOVE was given */
	size_t ended[N_MAX]; /* the same for END_COPY */
	unsigned int n_stores, n_replies;
	bool ok;
	char code[32], text[VM_TEXT_MAX], said[DRAIN_ACTIONS_MAX * VM_TEXT_MAX];
	bool is_storing, disk_fails;
} lab;

static void feed(struct drain_input in)
{
	in.now_ns = lab.now_ns;
	in.views = lab.views;
	in.n_views = lab.n;
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
			/* never before all guests are away, or left behind */
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

static void disk(void)
{
	if (!lab.is_storing)
		return;
	lab.is_storing = false;
	feed((struct drain_input){.kind = DRAIN_IN_STORED, .ok = !lab.disk_fails});
}

static void tick(uint64_t ns)
{
	for (uint64_t end_ns = lab.now_ns + ns; lab.now_ns < end_ns;) {
		lab.now_ns += 50 * CLOCK_NS_PER_MS;
		feed((struct drain_input){.kind = DRAIN_IN_TICK});
		disk();
	}
}

static void moved(size_t vm, bool ok, const char *text)
{
	if (ok)
		lab.views[vm].place = VM_DRAIN_AWAY;
	feed((struct drain_input){.kind = DRAIN_IN_MOVED, .vm = vm, .ok = ok, .text = text});
}

static int set_up(void **state)
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

static void ask(bool unprotected_ok, bool waits)
{
	feed((struct drain_input){.kind = DRAIN_IN_ASKED, .op_id = 7, .limit_ns = 60 * S,
				  .unprotected_ok = unprotected_ok, .waits = waits});
}

static void guard(uint64_t limit_ns)
{
	feed((struct drain_input){.kind = DRAIN_IN_GUARD, .limit_ns = limit_ns, .boot = BOOT_1});
}

static void is_refused(const char *code, const char *words)
{
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	assert_int_equal(lab.n_replies, 1);
	assert_false(lab.ok);
	assert_string_equal(lab.code, code);
	assert_non_null(strstr(lab.text, words));
	assert_int_equal(lab.n_stores, 0);
	lab.n_replies = 0;
}

/* Guests are moved one after the other; then the copies are ended; then it is on the disk, and only
 * then the operator is told. */
static void test_drains(void **state)
{
	(void)state;
	lab.n = 3;
	lab.views[2].place = VM_DRAIN_COPY;
	ask(true, false);
	assert_int_equal(lab.d.phase, DRAIN_RECORDING);
	tick(S / 20);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	tick(S);
	assert_int_equal(lab.asked[0], 1);
	assert_int_equal(lab.asked[1], 0);
	moved(0, true, "web1 was moved");
	tick(S);
	assert_int_equal(lab.asked[1], 1);
	assert_int_equal(lab.ended[2], 0);
	moved(1, true, "web2 was moved");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_COPIES);
	assert_int_equal(lab.ended[2], 1);
	lab.views[2].place = VM_DRAIN_ENDING;
	feed((struct drain_input){.kind = DRAIN_IN_MOVED, .vm = 2, .ok = true, .text = "ended"});
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_COPIES); /* the owner has not confirmed it */
	assert_int_equal(lab.n_replies, 0);
	lab.views[2].place = VM_DRAIN_AWAY;
	lab.now_ns += S;
	feed((struct drain_input){.kind = DRAIN_IN_TICK});
	assert_int_equal(lab.d.phase, DRAIN_SETTLING);
	assert_int_equal(lab.n_replies, 0);
	disk();
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_true(lab.n_replies == 1 && lab.ok);
	assert_non_null(strstr(lab.said, "web1 was moved\nweb2 was moved\n"));
	tick(1000 * S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

/* Nobody is without a copy unless the operator agreed, and each VM is named with the reason. */
static void test_unprotected(void **state)
{
	(void)state;
	lab.views[1].place = VM_DRAIN_COPY;
	ask(false, true);
	is_refused("unprotected", "2 of its VMs would have no copy until `undrain` (web1, web2)");
	assert_non_null(strstr(lab.said, "web1 would run on beta, with no host for a copy"));
	assert_non_null(strstr(lab.said, "web2 runs on beta; its only copy is on alpha"));
	/* a guest elsewhere that has no copy loses none */
	lab.views[0].place = lab.views[1].place = VM_DRAIN_AWAY;
	ask(false, false);
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_true(lab.ok);
}

static void test_cannot_move(void **state)
{
	(void)state;
	lab.views[1].place = VM_DRAIN_STUCK;
	lab.views[1].why = "it is not protected";
	ask(true, false);
	is_refused("not-safe", "1 of its guests cannot be moved now (web2)");
	assert_non_null(strstr(lab.said, "web2 cannot be moved from alpha: it is not protected"));
	/* with --wait the others are moved, and it is waited for */
	ask(true, true);
	tick(S);
	assert_int_equal(lab.asked[0], 1);
	moved(0, true, "");
	tick(50 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	lab.views[1].place = VM_DRAIN_MOVABLE;
	tick(S);
	assert_int_equal(lab.asked[1], 1);
	moved(1, true, "");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

/* An operator never drains both hosts of a VM. What goes down all the same is drained. */
static void test_nowhere(void **state)
{
	(void)state;
	lab.views[1].is_other_barred = true;
	lab.views[1].place = VM_DRAIN_AWAY;
	ask(true, true);
	is_refused("not-possible", "web2 has nowhere to go, its other host beta is drained");
	guard(60 * S);
	tick(S);
	assert_int_equal(lab.asked[0], 1);
}

/* A move that fails ends a drain that does not wait, after the other guests; the host is then as
 * before. */
static void test_move_fails(void **state)
{
	(void)state;
	ask(true, false);
	tick(S);
	moved(0, false, "web1 was not moved, it goes on on alpha: beta is silent");
	tick(S);
	assert_int_equal(lab.asked[1], 1);
	assert_int_equal(lab.n_replies, 0);
	moved(1, true, "");
	lab.now_ns += S;
	feed((struct drain_input){.kind = DRAIN_IN_TICK});
	assert_int_equal(lab.d.phase, DRAIN_LIFTING);
	assert_true(lab.n_replies == 1 && !lab.ok);
	assert_string_equal(lab.code, "not-drained");
	assert_non_null(strstr(lab.text, "web1 (web1 was not moved, it goes on on alpha: beta"));
	disk();
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	assert_int_equal(lab.ended[0] + lab.ended[1], 0);
	assert_int_equal(lab.asked[0], 1);
}

/* With --wait a failed move is tried again, but not at once, until the time is over. */
static void test_limit(void **state)
{
	(void)state;
	lab.n = 1;
	ask(true, true);
	for (uint64_t end_ns = lab.now_ns + 59 * S; lab.now_ns < end_ns;) {
		size_t before = lab.asked[0];

		tick(S / 20);
		if (lab.asked[0] > before)
			moved(0, false, "beta is silent");
	}
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	assert_in_range(lab.asked[0], 15, 20);
	tick(2 * S);
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	assert_true(lab.n_replies == 1 && !lab.ok);
}

/* A move that is under way at the limit is waited for: what becomes of it is told. */
static void test_limit_in_move(void **state)
{
	(void)state;
	lab.n = 1;
	ask(true, true);
	tick(100 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	moved(0, true, "");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

/* The host dies half way: its guests fail over by themselves, so they are away. */
static void test_host_dies(void **state)
{
	(void)state;
	ask(true, false);
	tick(S);
	moved(0, false, "alpha's connection has ended");
	lab.views[0].place = lab.views[1].place = VM_DRAIN_BUSY; /* they are being promoted */
	tick(5 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	lab.views[0].place = lab.views[1].place = VM_DRAIN_AWAY;
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

/* A guest fails over to the host while its copies are being ended: it is moved away again. */
static void test_comes_back(void **state)
{
	(void)state;
	lab.views[0].place = VM_DRAIN_AWAY;
	lab.views[1].place = VM_DRAIN_COPY;
	ask(true, true);
	tick(S);
	assert_int_equal(lab.ended[1], 1);
	moved(1, false, "web2 may need its copy on alpha");
	lab.views[1].place = VM_DRAIN_BUSY;
	tick(10 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	assert_int_equal(lab.ended[1], 1);
	lab.views[1].place = VM_DRAIN_MOVABLE;
	tick(S);
	assert_int_equal(lab.asked[1], 1);
}

/* The operator's connection is nothing that the drain depends on; undrain ends it at any time. */
static void test_undrain(void **state)
{
	(void)state;
	ask(true, true);
	tick(S);
	feed((struct drain_input){.kind = DRAIN_IN_UNDRAIN, .op_id = 8});
	assert_int_equal(lab.d.phase, DRAIN_LIFTING);
	assert_int_equal(lab.n_replies, 1); /* the drain's operator */
	assert_string_equal(lab.code, "aborted");
	ask(true, true);
	assert_string_equal(lab.code, "busy");
	disk();
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	assert_true(lab.ok && lab.n_replies == 3);
	moved(0, true, "late"); /* the move that was under way */
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	assert_null(strstr(lab.said, "late"));
	feed((struct drain_input){.kind = DRAIN_IN_UNDRAIN, .op_id = 9});
	assert_string_equal(lab.code, "already");
}

static void test_second(void **state)
{
	(void)state;
	ask(true, true);
	tick(S);
	ask(true, true);
	assert_string_equal(lab.code, "busy");
	assert_int_equal(lab.asked[0], 1);
	moved(0, true, "");
	tick(S);
	moved(1, true, "");
	tick(S);
	assert_true(lab.ok);
	ask(true, true);
	assert_string_equal(lab.code, "already");
}

/* The guard moves what it can within its time, ends the copies cleanly, and names what is left. */
static void test_guard(void **state)
{
	(void)state;
	lab.n = 3;
	lab.views[1].place = VM_DRAIN_STUCK;
	lab.views[1].why = "it is not protected";
	lab.views[2].place = VM_DRAIN_COPY;
	guard(30 * S);
	tick(S);
	assert_int_equal(lab.asked[0], 1);
	moved(0, true, "");
	tick(S);
	assert_int_equal(lab.ended[2], 1); /* it does not wait for web2 */
	lab.views[0].place = VM_DRAIN_BUSY; /* not for long */
	tick(S);
	lab.views[0].place = VM_DRAIN_AWAY;
	tick(S);
	lab.views[2].place = VM_DRAIN_AWAY;
	feed((struct drain_input){.kind = DRAIN_IN_MOVED, .vm = 2, .ok = true, .text = ""});
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_int_equal(lab.d.n_left, 1);
	assert_non_null(strstr(lab.said, "web2 is left on alpha, it could not be moved: it is"));
	assert_int_equal(lab.n_replies, 0);
}

/* An operator goes on without a guest that cannot be moved. */
static void test_leave(void **state)
{
	(void)state;
	lab.views[1].place = VM_DRAIN_STUCK;
	lab.views[1].why = "it is not protected";
	feed((struct drain_input){.kind = DRAIN_IN_ASKED, .op_id = 7, .limit_ns = 60 * S,
				  .unprotected_ok = true, .leaves = true});
	tick(S);
	moved(0, true, "");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_true(lab.n_replies == 1 && lab.ok);
	assert_non_null(strstr(lab.text, "some guests are left"));
	assert_non_null(strstr(lab.said, "web2 is left on alpha, it could not be moved: it is"));
}

/* A move that does not end does not keep a host that goes down. */
static void test_guard_move_hangs(void **state)
{
	(void)state;
	lab.views[1].place = VM_DRAIN_COPY;
	guard(30 * S);
	tick(26 * S);
	assert_int_equal(lab.d.phase, DRAIN_COPIES);
	assert_int_equal(lab.ended[1], 1);
	tick(5 * S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_int_equal(lab.d.n_left, 1);
}

static void test_guard_limit(void **state)
{
	(void)state;
	lab.views[0].place = VM_DRAIN_BUSY;
	lab.views[1].place = VM_DRAIN_COPY;
	guard(30 * S);
	tick(24 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	tick(2 * S); /* some of the time is for the copies */
	assert_int_equal(lab.d.phase, DRAIN_COPIES);
	assert_int_equal(lab.d.n_left, 1);
	assert_int_equal(lab.ended[1], 1);
	tick(5 * S); /* but it is bounded, too */
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_int_equal(lab.d.n_left, 1);
}

/* After the boot the guard's drain ends by itself, an operator's does not. */
static void test_boot(void **state)
{
	(void)state;
	lab.n = 0;
	guard(30 * S);
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	feed((struct drain_input){.kind = DRAIN_IN_BOOT, .boot = BOOT_1});
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	feed((struct drain_input){.kind = DRAIN_IN_BOOT, .boot = BOOT_2});
	disk();
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	ask(true, false);
	tick(S);
	feed((struct drain_input){.kind = DRAIN_IN_BOOT, .boot = BOOT_2});
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	guard(30 * S); /* a host that an operator has drained goes down */
	feed((struct drain_input){.kind = DRAIN_IN_BOOT, .boot = BOOT_1});
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	feed((struct drain_input){.kind = DRAIN_IN_UNDRAIN});
	disk();
	/* an operator makes the guard's drain his own */
	guard(30 * S);
	tick(S);
	ask(true, false);
	assert_string_equal(lab.code, "already");
	feed((struct drain_input){.kind = DRAIN_IN_BOOT, .boot = BOOT_2});
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

/* The host is told to go down while an operator's drain waits: that drain ends in time. */
static void test_guard_joins(void **state)
{
	(void)state;
	lab.views[0].place = VM_DRAIN_STUCK;
	lab.views[1].place = VM_DRAIN_AWAY;
	feed((struct drain_input){.kind = DRAIN_IN_ASKED, .op_id = 7, .limit_ns = 9000 * S,
				  .unprotected_ok = true, .waits = true});
	tick(100 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	guard(30 * S);
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_true(lab.n_replies == 1 && !lab.ok);
	assert_false(lab.d.by_guard);
}

static void test_disk_fails(void **state)
{
	(void)state;
	lab.disk_fails = true;
	ask(true, false);
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	assert_string_equal(lab.code, "journal");
	assert_int_equal(lab.asked[0], 0);
}

/* A gateway that was restarted half way goes on, with the time anew. */
static void test_resume(void **state)
{
	(void)state;
	lab.d.limit_ns = 60 * S;
	drain_resume(&lab.d, false, lab.now_ns);
	assert_true(drain_is_barred(&lab.d));
	lab.views[0].place = lab.views[1].place = VM_DRAIN_STUCK; /* nobody has connected yet */
	tick(5 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	lab.views[0].place = VM_DRAIN_AWAY;
	lab.views[1].place = VM_DRAIN_MOVABLE;
	tick(S);
	assert_int_equal(lab.asked[1], 1);
	moved(1, true, "");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_int_equal(lab.n_replies, 0);
}

static void test_record(void **state)
{
	static struct drain_record r, back;
	static char text[DRAIN_RECORD_BYTES_MAX];
	size_t size;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.n_hosts = 2;
	r.n_vms = 1;
	strcpy(r.hosts[0].name, "alpha");
	r.hosts[0].is_done = true;
	r.hosts[0].limit_s = 600;
	strcpy(r.hosts[1].name, "delta");
	r.hosts[1].by_guard = true;
	strcpy(r.hosts[1].boot, BOOT_1);
	strcpy(r.vms[0], "web1");
	size = drain_record_format(&r, text, sizeof(text));
	assert_true(size > 0);
	assert_int_equal(drain_record_parse(text, size, &back), 0);
	assert_int_equal(back.n_hosts, 2);
	assert_true(back.hosts[0].is_done && back.hosts[1].by_guard);
	assert_string_equal(back.hosts[1].boot, BOOT_1);
	assert_string_equal(back.vms[0], "web1");
	for (size_t i = 0; i < size; i++) { /* each changed byte is noticed, and so is each cut */
		text[i] ^= 1;
		assert_int_equal(drain_record_parse(text, size, &back), -EINVAL);
		text[i] ^= 1;
		assert_int_equal(drain_record_parse(text, i, &back), -EINVAL);
	}
	assert_false(drain_boot_is_valid("11111111-2222-3333-4444-55555555555\n"));
	assert_false(drain_boot_is_valid(""));
}

/* The largest record fits the file. */
static void test_record_largest(void **state)
{
	static struct drain_record r, back;
	static char text[DRAIN_RECORD_BYTES_MAX];
	size_t size;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.n_hosts = DRAIN_RECORD_HOSTS_MAX;
	r.n_vms = DRAIN_VMS_MAX;
	for (size_t i = 0; i < r.n_hosts; i++) {
		memset(r.hosts[i].name, 'a', WIRE_NAME_MAX);
		r.hosts[i].by_guard = true;
		r.hosts[i].limit_s = DRAIN_LIMIT_S_MAX;
		strcpy(r.hosts[i].boot, BOOT_1);
	}
	for (size_t i = 0; i < r.n_vms; i++)
		memset(r.vms[i], 'b', WIRE_NAME_MAX);
	size = drain_record_format(&r, text, sizeof(text));
	assert_true(size > 0);
	assert_int_equal(drain_record_parse(text, size, &back), 0);
	assert_int_equal(drain_record_format(&r, text, 1000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_drains, set_up),
		cmocka_unit_test_setup(test_unprotected, set_up),
		cmocka_unit_test_setup(test_cannot_move, set_up),
		cmocka_unit_test_setup(test_nowhere, set_up),
		cmocka_unit_test_setup(test_move_fails, set_up),
		cmocka_unit_test_setup(test_limit, set_up),
		cmocka_unit_test_setup(test_limit_in_move, set_up),
		cmocka_unit_test_setup(test_host_dies, set_up),
		cmocka_unit_test_setup(test_comes_back, set_up),
		cmocka_unit_test_setup(test_undrain, set_up),
		cmocka_unit_test_setup(test_second, set_up),
		cmocka_unit_test_setup(test_guard, set_up),
		cmocka_unit_test_setup(test_leave, set_up),
		cmocka_unit_test_setup(test_guard_move_hangs, set_up),
		cmocka_unit_test_setup(test_guard_limit, set_up),
		cmocka_unit_test_setup(test_boot, set_up),
		cmocka_unit_test_setup(test_guard_joins, set_up),
		cmocka_unit_test_setup(test_disk_fails, set_up),
		cmocka_unit_test_setup(test_resume, set_up),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_record_largest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
