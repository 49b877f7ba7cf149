/* test_drain.c - tests the drain of a host on a virtual clock, and the file in which drains are
 * stored. */
#include "drain_lab.h"

/* A drain moves the guests one after another, then ends the copies. When the disk has the record
 * that the host is drained, the operator gets the reply. */
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
	assert_int_equal(lab.d.phase, DRAIN_COPIES); /* not confirmed yet that the copy was ended */
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

/* A guest loses its copy only if the operator agreed. A refusal names each VM and the reason. */
static void test_unprotected(void **state)
{
	(void)state;
	lab.views[1].place = VM_DRAIN_COPY;
	ask(false, true);
	is_refused("unprotected", "2 of its VMs would have no copy until `undrain` (web1, web2)");
	assert_non_null(strstr(lab.said, "web1 would run on beta, with no host for a copy"));
	assert_non_null(strstr(lab.said, "web2 runs on beta; its only copy is on alpha"));
	/* a guest that runs elsewhere and has no copy here loses none */
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
	/* with --wait: move web1, and wait until web2 can be moved */
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

/* An operator cannot drain both hosts of a VM. But if a host is told to go down, the guard drains
 * it even then. */
static void test_nowhere(void **state)
{
	(void)state;
	lab.views[1].is_other_barred = true;
	lab.views[1].place = VM_DRAIN_AWAY;
	ask(true, true);
	is_refused("not-possible", "alpha is not drained: 1 of its VMs could go nowhere");
	/* each line appears once */
	assert_string_equal(lab.said, "web2 has nowhere to go, its other host beta is drained or "
			    "being drained: `holdfastctl undrain beta` first\n");
	lab.said[0] = '\0';
	lab.views[0].is_other_barred = true;
	ask(true, true);
	is_refused("not-possible", "2 of its VMs could go nowhere");
	assert_non_null(strstr(lab.said, "web1 has nowhere to go"));
	assert_non_null(strstr(lab.said, "web2 has nowhere to go"));
	lab.views[0].is_other_barred = false;
	guard(60 * S);
	tick(S);
	assert_int_equal(lab.asked[0], 1);
}

/* Without --wait: after a failed move, the drain still moves the other guests. Then it fails and is
 * lifted. */
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

/* With --wait, a failed move is tried again after a pause, until the time limit. */
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

/* If a move is under way at the time limit, the drain waits until the move has ended, and reports
 * the result. */
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

/* The host dies during its drain: its guests fail over, and count as moved away. */
static void test_host_dies(void **state)
{
	(void)state;
	ask(true, false);
	tick(S);
	moved(0, false, "alpha's connection has ended");
	lab.views[0].place = lab.views[1].place = VM_DRAIN_BUSY; /* VMs being promoted */
	tick(5 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	lab.views[0].place = lab.views[1].place = VM_DRAIN_AWAY;
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

/* While the copies are being ended, a guest fails over to the host. The drain moves this guest
 * away, too. */
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

/* undrain ends a drain at any time. The drain does not depend on the operator's connection. */
static void test_undrain(void **state)
{
	(void)state;
	ask(true, true);
	tick(S);
	feed((struct drain_input){.kind = DRAIN_IN_UNDRAIN, .op_id = 8});
	assert_int_equal(lab.d.phase, DRAIN_LIFTING);
	assert_int_equal(lab.n_replies, 1); /* to the operator who asked for the drain */
	assert_string_equal(lab.code, "aborted");
	ask(true, true);
	assert_string_equal(lab.code, "busy");
	disk();
	assert_true(lab.d.phase == DRAIN_NONE && lab.ok && lab.n_replies == 3);
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

/* The guard drains a host that is told to go down. This drain moves the guests that it can move in
 * time, ends the copies, and names what is left on the host. */
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
	assert_int_equal(lab.ended[2], 1); /* the drain does not wait for web2 */
	lab.views[0].place = VM_DRAIN_BUSY; /* busy for a moment */
	tick(S);
	lab.views[0].place = VM_DRAIN_AWAY;
	tick(S);
	lab.views[2].place = VM_DRAIN_AWAY;
	feed((struct drain_input){.kind = DRAIN_IN_MOVED, .vm = 2, .ok = true, .text = ""});
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_true(lab.d.vms[1].is_left);
	assert_non_null(strstr(lab.said, "web2 is left on alpha, it could not be moved: it is"));
	assert_int_equal(lab.n_replies, 0);
}

/* A move that hangs does not keep a host from going down. */
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
	assert_true(lab.d.vms[0].is_left);
	assert_non_null(strstr(lab.said, "the copy of web2 is left on alpha, and goes down with "
			       "it: the time was over"));
}

static void test_guard_limit(void **state)
{
	(void)state;
	lab.views[0].place = VM_DRAIN_BUSY;
	lab.views[1].place = VM_DRAIN_COPY;
	guard(30 * S);
	tick(24 * S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
	tick(2 * S); /* the rest of the 30 s is for ending the copies */
	assert_int_equal(lab.d.phase, DRAIN_COPIES);
	assert_true(lab.d.vms[0].is_left);
	assert_int_equal(lab.ended[1], 1);
	tick(5 * S); /* the time for the copies is bounded, too */
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_true(lab.d.vms[0].is_left);
	assert_non_null(strstr(lab.said, "the copy of web2 is left on alpha, and goes down with "
			       "it: the time was over"));
}

/* After the host has booted, the guard's drain ends by itself; an operator's drain does not. */
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
	/* an operator takes over the guard's drain, so a boot does not end it */
	guard(30 * S);
	tick(S);
	ask(true, false);
	assert_string_equal(lab.code, "already");
	feed((struct drain_input){.kind = DRAIN_IN_BOOT, .boot = BOOT_2});
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

/* The host is told to go down while an operator's drain waits. The drain then ends within the
 * guard's time limit. */
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

/* A gateway that is restarted during a drain continues it, with the full time limit. */
static void test_resume(void **state)
{
	(void)state;
	lab.d.limit_ns = 60 * S;
	drain_resume(&lab.d, false, lab.now_ns);
	assert_true(drain_is_barred(&lab.d));
	lab.views[0].place = lab.views[1].place = VM_DRAIN_STUCK; /* no host has connected yet */
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
	for (size_t i = 0; i < size; i++) { /* every changed byte and every cut is noticed */
		text[i] ^= 1;
		assert_int_equal(drain_record_parse(text, size, &back), -EINVAL);
		text[i] ^= 1;
		assert_int_equal(drain_record_parse(text, i, &back), -EINVAL);
	}
	assert_false(drain_boot_is_valid("11111111-2222-3333-4444-55555555555\n"));
	assert_false(drain_boot_is_valid(""));
}

/* The largest record fits into the file. */
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
