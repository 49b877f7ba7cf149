/* test_session.c - tests sessions in memory, mostly on control connections: limits, timeouts, and
 * input that is cut at any byte. */
#include "session_lab.h"

#include <errno.h>

#include "vm/fsm_look.h"

/* A host has already obeyed a gateway that was started later than this one. This gateway reports
 * that, and gives the host no orders. */
static void test_older_gateway(void **state)
{
	const uint64_t ours = UINT64_C(100) << 16;
	struct wire_welcome welcome;
	struct wire_order order;
	struct wire_failure failure;
	struct fleet_vm *vm = fleet_find_vm(f.fleet, "web1");
	const struct vm_action a = {.kind = VM_ACT_ORDER, .verb = WIRE_VERB_UNPROTECT, .term = 1};

	(void)state;
	f.fleet->config.incarnation = ours;
	agent_open(&alpha, &f, f.alpha);
	agent_hello(&alpha, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, ours + 1, 0);
	pump();
	assert_true(agent_take(&alpha, WIRE_REFUSED, &frame));
	assert_int_equal(wire_failure_decode(&frame, &failure, NULL), 0);
	assert_int_equal(failure.code, WIRE_REFUSED_OLD_GATEWAY);
	assert_non_null(strstr(failure.text, "holdfastctl takeover"));
	assert_int_equal(f.fleet->younger, ours + 1);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_OLD_GATEWAY], 1);
	assert_false(vm->fsm.host[0].up);
	assert_true(vm_fsm_in_conflict(&vm->fsm)); /* the other gateway could begin new terms */

	/* This gateway puts its incarnation into every WELCOME and every ORDER. */
	agent_open(&beta, &f, f.beta);
	agent_hello(&beta, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, ours, 0);
	pump();
	assert_true(agent_take(&beta, WIRE_WELCOME, &frame));
	assert_int_equal(wire_welcome_decode(&frame, &welcome, NULL), 0);
	assert_true(welcome.incarnation == ours);
	f.fleet->links->order(vm->host[1]->control, vm->config.name, &a);
	pump();
	assert_true(agent_take(&beta, WIRE_ORDER, &frame));
	assert_int_equal(wire_order_decode(&frame, &order, NULL), 0);
	assert_true(order.incarnation == ours);
}

static int take_over(void *arg, uint64_t above)
{
	*(uint64_t *)arg = above;
	return 0;
}

static uint64_t recorded(void *arg, int result)
{
	return result == 0 ? *(uint64_t *)arg + 1 : 0;
}

static void test_takeover(void **state)
{
	uint64_t above = 0;

	(void)state;
	f.fleet->config.incarnation = 5;
	f.fleet->config.take_over = take_over;
	f.fleet->config.recorded = recorded;
	f.fleet->config.take_over_arg = &above;
	assert_int_equal(fleet_take_over(f.fleet, 1), -ENOENT);
	agent_open(&beta, &f, f.beta);
	agent_hello(&beta, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, 0, 0);
	agent_open(&alpha, &f, f.alpha);
	agent_hello(&alpha, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, 9, 0);
	pump();
	assert_int_equal(fleet_take_over(f.fleet, 1), 0);
	assert_int_equal(above, 9);
	/* The new number could not be recorded: nothing changes. */
	fleet_recorded(f.fleet, -EIO, f.now_ns);
	pump();
	assert_true(f.fleet->config.incarnation == 5 && f.fleet->younger == 9);
	assert_non_null(fleet_find_vm(f.fleet, "web1")->host[1]->control);
	assert_int_equal(fleet_take_over(f.fleet, 2), 0);
	assert_int_equal(fleet_take_over(f.fleet, 3), -EBUSY);
	fleet_recorded(f.fleet, 0, f.now_ns);
	pump();
	assert_true(f.fleet->config.incarnation == 10 && f.fleet->younger == 0);
	/* Both hosts have to connect again. */
	assert_null(fleet_find_vm(f.fleet, "web1")->host[1]->control);
	agent_close(&alpha);
	memset(&alpha, 0, sizeof(alpha));
	alpha.f = &f;
	agent_open(&alpha, &f, f.alpha);
	agent_hello(&alpha, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, 9, 0);
	pump();
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
}

static void test_control(void **state)
{
	const struct wire_header beat = {.type = WIRE_BEAT};
	uint8_t payload[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	(void)state;
	agent_open(&alpha, &f, f.alpha);
	assert_true(wire_tls_is_established(alpha.tls));
	agent_hello(&alpha, WIRE_KIND_CONTROL, 0, 0, 0);
	agent_send(&alpha, &beat, payload, 8);
	pump();
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	assert_true(agent_take(&alpha, WIRE_BEAT_ACK, &frame));
	assert_memory_equal(frame.payload, payload, 8);
	assert_ptr_equal(fleet_find_host(f.fleet, "alpha")->control, &alpha.session->link);
}

/* After the answer to a beat, the gateway sends a lease if the host owns a VM in SYNCING or
 * PROTECTED, and its agent's HELLO had the lease feature. */
static void test_leases(void **state)
{
	static const struct {
		enum vm_state state;
		uint8_t owner;
		bool is_given;
	} rows[] = {
		{VM_UNPROTECTED, 0, false}, {VM_PREPARING, 0, false}, {VM_SYNCING, 0, true},
		{VM_PROTECTED, 0, true},    {VM_PROTECTED, 1, false}, {VM_PROMOTING, 0, false},
		{VM_FAILED, 0, false},
	};
	struct fleet_vm *vm = fleet_find_vm(f.fleet, "web1");
	const struct wire_header beat = {.type = WIRE_BEAT};
	uint8_t payload[8] = {0, 0, 0, 0, 0, 0, 1, 2};
	struct wire_lease lease;

	(void)state;
	f.fleet->config.lease_ms = 1500;
	f.fleet->config.release_ms = 150;
	for (int knows = 1; knows >= 0; knows--) {
		f.lacks[0] = knows ? 0 : WIRE_FEATURE_LEASE;
		agent_open(&alpha, &f, f.alpha);
		agent_hello(&alpha, WIRE_KIND_CONTROL, 0, 0, 0);
		pump();
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			vm->fsm.record = (struct vm_record){5, rows[i].owner, rows[i].state};
			agent_send(&alpha, &beat, payload, 8);
			pump();
			assert_true(agent_take(&alpha, WIRE_BEAT_ACK, &frame));
			assert_int_equal(agent_take(&alpha, WIRE_LEASE, &frame),
					 knows && rows[i].is_given);
			if (!knows || !rows[i].is_given)
				continue;
			assert_int_equal(frame.h.term, 5);
			assert_int_equal(wire_lease_decode(&frame, &lease, NULL), 0);
			assert_string_equal(lease.vm, "web1");
			assert_int_equal(lease.beat_ns, 0x102);
			assert_int_equal(lease.lease_ms, 1500);
			assert_int_equal(lease.release_ms, 150);
		}
		agent_close(&alpha);
	}
	assert_int_equal(f.fleet->counters.leases, 2);
}

/* The gateway refuses a PEER session: such sessions exist only between agents. */
static void test_peer_is_refused(void **state)
{
	(void)state;
	agent_open(&alpha, &f, f.alpha);
	agent_hello(&alpha, WIRE_KIND_PEER, WIRE_VM_ROLE_PRIMARY, 1, 0);
	pump();
	assert_false(agent_take(&alpha, WIRE_WELCOME, &frame));
	assert_null(alpha.session);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_BAD_FRAME], 1);
}

static void test_byte_by_byte(void **state)
{
	const struct wire_header beat = {.type = WIRE_BEAT};
	uint8_t payload[8] = {0};

	(void)state;
	agent_open(&alpha, &f, f.alpha);
	alpha.piece = 1;
	agent_hello(&alpha, WIRE_KIND_CONTROL, 0, 0, 0);
	for (int i = 0; i < 5; i++)
		agent_send(&alpha, &beat, payload, 8);
	pump();
	assert_int_equal(f.fleet->counters.beats, 5);
	assert_true(agent_take(&alpha, WIRE_BEAT_ACK, &frame));
}

static void test_handshake_timeout(void **state)
{
	(void)state;
	agent_open(&alpha, &f, f.alpha);
	pass(999);
	assert_non_null(alpha.session);
	pass(250); /* the loop checks all sessions every 250 ms */
	assert_null(alpha.session);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_TIMEOUT], 1);
	assert_true(agent_take(&alpha, WIRE_REFUSED, &frame));
	assert_int_equal(f.fleet->counters.handshakes_now, 0);
}

static void test_idle_control(void **state)
{
	(void)state;
	agent_open(&alpha, &f, f.alpha);
	agent_hello(&alpha, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	pass(9999);
	assert_non_null(alpha.session);
	pass(250);
	assert_null(alpha.session);
	assert_null(fleet_find_host(f.fleet, "alpha")->control);
}

static void test_duplicate_and_silent(void **state)
{
	(void)state;
	agent_open(&alpha, &f, f.alpha);
	agent_hello(&alpha, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	agent_open(&primary, &f, f.alpha);
	agent_hello(&primary, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_null(primary.session);
	assert_non_null(alpha.session);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_DUPLICATE], 1);
	/* the first session stays silent so long that the second session may replace it */
	f.now_ns += 600 * MS;
	agent_close(&primary);
	agent_open(&primary, &f, f.alpha);
	agent_hello(&primary, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_null(alpha.session);
	assert_ptr_equal(fleet_find_host(f.fleet, "alpha")->control, &primary.session->link);
}

static void test_peer_that_does_not_read(void **state)
{
	const struct wire_header beat = {.type = WIRE_BEAT};
	uint8_t payload[8] = {0};

	(void)state;
	agent_open(&alpha, &f, f.alpha);
	agent_hello(&alpha, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	alpha.deaf = true;
	for (int i = 0; i < 10000 && alpha.session; i++) {
		agent_send(&alpha, &beat, payload, 8);
		if (i % 100 == 0)
			pump();
	}
	assert_null(alpha.session);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_SLOW], 1);
}
int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
	const struct CMUnitTest tests[] = {
		TEST(test_older_gateway), TEST(test_takeover),
		TEST(test_control), TEST(test_byte_by_byte), TEST(test_handshake_timeout),
		TEST(test_leases), TEST(test_peer_is_refused),
		TEST(test_idle_control), TEST(test_duplicate_and_silent),
		TEST(test_peer_that_does_not_read),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
