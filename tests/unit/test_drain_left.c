/* test_drain_left.c - tests what a drain reports and does if guests or copies are left on the host,
 * or come there later. */
#include "drain_lab.h"

/* An operator may drain a host and leave a guest there that cannot be moved. */
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
	assert_string_equal(lab.text, "drained, but not empty; guests that go down with it: web2");
	assert_non_null(strstr(lab.said, "web2 is left on alpha, it could not be moved: it is"));
}

/* A guest or a copy is on a drained host. `drain` does not answer that the host is already drained.
 * It moves the guest and ends the copy, or reports why it cannot. */
static void test_again(void **state)
{
	(void)state;
	lab.views[0].place = lab.views[1].place = VM_DRAIN_AWAY;
	ask(true, false);
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	lab.views[0].place = VM_DRAIN_STUCK;
	lab.views[0].why = "it is not protected";
	lab.views[1].place = VM_DRAIN_COPY;
	ask(true, false);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_false(lab.ok);
	assert_string_equal(lab.code, "not-safe");
	assert_non_null(strstr(lab.text, "alpha is drained, but not empty: 1 of its guests cannot "
			       "be moved now (web1)"));
	lab.views[0].place = VM_DRAIN_MOVABLE;
	lab.views[0].why = "";
	ask(true, false);
	tick(S);
	moved(0, true, "");
	tick(S);
	assert_int_equal(lab.ended[1], 1);
	moved(1, true, "");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_true(lab.ok);
	assert_string_equal(lab.code, "done");
	ask(true, false);
	assert_string_equal(lab.code, "already");
}

/* An operator has drained a host. When the host is told to go down, a guest is there again. The
 * guest is moved. The drain remains the operator's, so the next boot does not end the drain. */
static void test_guard_again(void **state)
{
	(void)state;
	lab.views[0].place = VM_DRAIN_STUCK;
	lab.views[1].place = VM_DRAIN_AWAY;
	feed((struct drain_input){.kind = DRAIN_IN_ASKED, .op_id = 7, .limit_ns = 60 * S,
				  .unprotected_ok = true, .leaves = true});
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	lab.views[0].place = VM_DRAIN_MOVABLE;
	guard(30 * S);
	tick(S);
	assert_int_equal(lab.asked[0], 1);
	moved(0, true, "");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	feed((struct drain_input){.kind = DRAIN_IN_BOOT, .boot = BOOT_2});
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	guard(30 * S); /* nothing is left, so there is nothing to do */
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_int_equal(lab.n_replies, 1);
}

/* The guard has drained the host, but the host has not gone down. It is told again to go down, and
 * now has a copy that cannot be ended. The copy delays the host only until the time limit. The next
 * boot ends the drain. */
static void test_guard_twice(void **state)
{
	(void)state;
	lab.n = 1;
	lab.views[0].place = VM_DRAIN_AWAY;
	guard(30 * S);
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	lab.views[0].place = VM_DRAIN_COPY;
	guard(30 * S);
	tick(S);
	assert_int_equal(lab.ended[0], 1);
	moved(0, false, "web1 may need its copy on alpha");
	tick(30 * S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_non_null(strstr(lab.said, "the copy of web1 is left on alpha, and goes down with "
			       "it: web1 may need"));
	feed((struct drain_input){.kind = DRAIN_IN_BOOT, .boot = BOOT_2});
	disk();
	assert_int_equal(lab.d.phase, DRAIN_NONE);
}

/* The guard drains a host for the second time, and the disk is full. The second drain takes place
 * all the same: the record of the first drain still says that the host is drained. */
static void test_guard_twice_on_a_full_disk(void **state)
{
	(void)state;
	lab.views[0].place = VM_DRAIN_STUCK;
	guard(30 * S);
	tick(31 * S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	lab.disk_fails = true;
	guard(30 * S);
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_MOVING);
}

/* The gateway does not look after a VM whose file is wrong. This VM may run on any host. An
 * operator accepts that only with --leave. */
static void test_faults(void **state)
{
	(void)state;
	lab.n = 0;
	lab.n_faults = 1;
	ask(true, false);
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_false(lab.ok);
	assert_string_equal(lab.code, "not-drained");
	assert_string_equal(lab.text, "drained, but perhaps not empty; a VM that is not looked "
			    "after may run there, `holdfastctl status` names it");
	lab.n_replies = 0;
	feed((struct drain_input){.kind = DRAIN_IN_ASKED, .op_id = 7, .limit_ns = 60 * S,
				  .unprotected_ok = true, .leaves = true});
	tick(S);
	assert_true(lab.n_replies == 1 && lab.ok);
	lab.n_faults = 0; /* the VM's file was corrected, and the VM is not on the host */
	ask(true, false);
	assert_true(lab.n_replies == 2 && lab.ok);
	assert_string_equal(lab.code, "already");
}

static void refuse_end(uint64_t ns)
{
	for (uint64_t end_ns = lab.now_ns + ns; lab.now_ns < end_ns;) {
		size_t before = lab.ended[1];

		tick(S / 20);
		if (lab.ended[1] > before)
			moved(1, false, "web2 may need its copy on alpha");
	}
}

/* The drain asks every few seconds to end the copy. It reports the reason for a refusal once, and
 * reports again only if the reason changes. */
static void test_said_once(void **state)
{
	static const char line[] = "alpha: web2 may need its copy on alpha\n";
	const char *said;

	(void)state;
	lab.views[0].place = VM_DRAIN_AWAY;
	lab.views[1].place = VM_DRAIN_COPY;
	ask(true, true);
	refuse_end(30 * S);
	assert_in_range(lab.ended[1], 5, 12);
	said = strstr(lab.said, line);
	assert_non_null(said);
	assert_null(strstr(said + strlen(line), line));
	tick(4 * S);
	moved(1, false, "web2 is PROMOTING");
	assert_non_null(strstr(said, "alpha: web2 is PROMOTING\n"));
}

/* With --leave, an operator agrees to leave guests, but no copies. The drain never leaves a copy
 * silently, whether the copy may be needed or its end is not confirmed. */
static void test_leave_copy(void **state)
{
	(void)state;
	lab.views[0].place = VM_DRAIN_STUCK;
	lab.views[0].why = "it is not protected";
	lab.views[1].place = VM_DRAIN_COPY;
	for (int i = 0; i < 2; i++) {
		lab.n_replies = 0;
		feed((struct drain_input){.kind = DRAIN_IN_ASKED, .op_id = 7, .limit_ns = 60 * S,
					  .unprotected_ok = true, .leaves = true});
		refuse_end(59 * S);
		assert_int_equal(lab.d.phase, DRAIN_COPIES);
		assert_int_equal(lab.n_replies, 0);
		refuse_end(2 * S);
		assert_int_equal(lab.d.phase, DRAIN_NONE); /* given up */
		assert_true(lab.n_replies == 1 && !lab.ok);
		assert_string_equal(lab.code, "not-drained");
		assert_non_null(strstr(lab.text, i ? "the copy of web2 (its end is not confirmed)"
						   : "the copy of web2 (web2 may need its copy"));
		assert_non_null(strstr(lab.text, "web1 (it is not protected)"));
		lab.views[1].place = VM_DRAIN_ENDING;
	}
}

/* As in test_leave_copy(), a drain with --leave cannot end a copy. But now the host is told to go
 * down, so the drain cannot be given up. The operator gets an error that names the copy. */
static void test_leave_copy_goes_down(void **state)
{
	(void)state;
	lab.views[0].place = VM_DRAIN_STUCK;
	lab.views[1].place = VM_DRAIN_COPY;
	feed((struct drain_input){.kind = DRAIN_IN_ASKED, .op_id = 7, .limit_ns = 600 * S,
				  .unprotected_ok = true, .leaves = true});
	refuse_end(S);
	guard(30 * S);
	refuse_end(31 * S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
	assert_true(lab.n_replies == 1 && !lab.ok);
	assert_string_equal(lab.code, "not-drained");
	assert_string_equal(lab.text, "it is told to go down: drained, but not empty; guests that "
			    "go down with it: web1; copies that go down with it: web2");
	assert_non_null(strstr(lab.said, "the copy of web2 is left on alpha, and goes down with "
			       "it: web2 may need its copy on alpha"));
	assert_non_null(strstr(lab.said, "alpha is drained, but not empty"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_leave, set_up),
		cmocka_unit_test_setup(test_again, set_up),
		cmocka_unit_test_setup(test_guard_again, set_up),
		cmocka_unit_test_setup(test_guard_twice, set_up),
		cmocka_unit_test_setup(test_guard_twice_on_a_full_disk, set_up),
		cmocka_unit_test_setup(test_faults, set_up),
		cmocka_unit_test_setup(test_said_once, set_up),
		cmocka_unit_test_setup(test_leave_copy, set_up),
		cmocka_unit_test_setup(test_leave_copy_goes_down, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
