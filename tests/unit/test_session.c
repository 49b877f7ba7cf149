/* test_session.c - tests sessions in memory: limits, timeouts, back-pressure, and input that is cut
 * at any byte. */
#include "gateway_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct fixture f;
static struct agent alpha, beta, primary, standby;
static struct agent *const all[] = {&alpha, &beta, &primary, &standby};
static struct wire_frame frame;

static int open_fixture(void **state)
{
	(void)state;
	fixture_open(&f);
	memset(&alpha, 0, sizeof(alpha));
	memset(&beta, 0, sizeof(beta));
	memset(&primary, 0, sizeof(primary));
	memset(&standby, 0, sizeof(standby));
	alpha.f = beta.f = primary.f = standby.f = &f;
	return 0;
}

static int close_fixture(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		agent_close(all[i]);
	fixture_close(&f);
	return 0;
}

static void pump(void)
{
	fixture_pump(all, 4);
}

static void pass(uint64_t ms)
{
	f.now_ns += ms * MS;
	fixture_tick(&f);
	pump();
}

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

/* Bring the VM to the state SYNCING with both streams up, as after the orders of a new
 * `protect`. */
static void open_streams(void)
{
	struct fleet_vm *vm = fleet_find_vm(f.fleet, "web1");

	assert_int_equal(vm_journal_append(f.journal, "web1", "alpha", 5, VM_SYNCING, 0, ""), 0);
	vm->fsm.record = (struct vm_record){.term = 5, .owner = 0, .state = VM_SYNCING};
	agent_open(&standby, &f, f.beta);
	agent_hello(&standby, WIRE_KIND_STREAM, WIRE_VM_ROLE_STANDBY, 5, 0);
	pump();
	assert_true(agent_take(&standby, WIRE_WELCOME, &frame));
	agent_open(&primary, &f, f.alpha);
	agent_hello(&primary, WIRE_KIND_STREAM, WIRE_VM_ROLE_PRIMARY, 5, 0);
	pump();
	assert_true(agent_take(&primary, WIRE_RESUME, &frame));
	assert_int_equal(frame.h.generation, 1);
	assert_int_equal(frame.h.epoch, 0);
}

static void send_geometry(void)
{
	static const struct wire_geometry g = {
		.machine = "pc", .qemu_version = "7.2", .n_vcpus = 1, .ram_bytes = 1 << 20,
		.n_blocks = 1, .blocks = {{.name = "pc.ram", .size_bytes = 1 << 20}}};
	const struct wire_header h = {.type = WIRE_GEOMETRY, .term = 5, .generation = 1};
	uint8_t payload[512];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};

	assert_int_equal(wire_geometry_encode(&g, &w), 0);
	agent_send(&primary, &h, payload, (size_t)(w.at - payload));
}

/* Send one epoch of @n frames of @type with @size bytes each. */
static void send_epoch_of(uint8_t type, uint64_t epoch, uint32_t n, size_t size)
{
	struct wire_header h = {.type = WIRE_EPOCH_BEGIN, .term = 5, .generation = 1,
				.epoch = epoch, .flags = epoch == 1 ? WIRE_FLAG_FULL : 0};
	uint8_t small[16], *pages = calloc(1, size);

	bytes_put_be64(small, epoch - 1);
	agent_send(&primary, &h, small, 8);
	h.flags = 0;
	h.type = type;
	for (h.seq = 1; h.seq <= n; h.seq++)
		agent_send(&primary, &h, pages, size);
	h.type = WIRE_EPOCH_END;
	bytes_put_be32(small, n + 1);
	bytes_put_be32(small + 4, n);
	bytes_put_be64(small + 8, 8 + n * size);
	agent_send(&primary, &h, small, 16);
	free(pages);
}

static void send_epoch(uint64_t epoch, uint32_t n, size_t size)
{
	send_epoch_of(WIRE_PAGES, epoch, n, size);
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

static void test_relay_and_commit(void **state)
{
	struct wire_header ack = {.type = WIRE_EPOCH_ACK, .term = 5, .epoch = 1, .generation = 1};

	(void)state;
	open_streams();
	send_geometry();
	send_epoch(1, 3, 5000);
	pump();
	assert_true(agent_take(&standby, WIRE_GEOMETRY, &frame));
	assert_true(agent_take(&standby, WIRE_EPOCH_BEGIN, &frame));
	assert_int_equal(frame.h.flags, WIRE_FLAG_FULL);
	assert_true(agent_take(&standby, WIRE_EPOCH_END, &frame));
	assert_false(agent_take(&primary, WIRE_COMMIT, &frame));
	agent_send(&standby, &ack, NULL, 0);
	pump();
	assert_true(agent_take(&primary, WIRE_COMMIT, &frame));
	assert_int_equal(frame.h.epoch, 1);
	assert_int_equal(frame.h.term, 5);
	assert_int_equal(fixture_journaled(&f, "web1")->state, VM_PROTECTED);
}

/* The gateway forwards the primary's changes of disks to the standby unchanged. A standby must not
 * send changes of disks. */
static void test_relay_of_disks(void **state)
{
	const struct wire_header disk = {.type = WIRE_DISK, .term = 5, .epoch = 1, .generation = 1};
	uint8_t payload[8] = {3, 'v', 'd', 'a'};

	(void)state;
	open_streams();
	send_geometry();
	send_epoch_of(WIRE_DISK, 1, 2, 5000);
	pump();
	assert_true(agent_take(&standby, WIRE_EPOCH_BEGIN, &frame));
	assert_true(agent_take(&standby, WIRE_DISK, &frame));
	assert_int_equal(frame.h.payload_size, 5000);
	assert_true(agent_take(&standby, WIRE_DISK, &frame));
	assert_int_equal(frame.h.seq, 2);
	assert_true(agent_take(&standby, WIRE_EPOCH_END, &frame));
	agent_send(&standby, &disk, payload, 4);
	pump();
	assert_null(standby.session);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_BAD_FRAME], 1);
}

/* The gateway forwards the standby's result of a disk check, but only in the VM's term. */
static void test_relay_of_checked_disks(void **state)
{
	struct wire_header h = {.type = WIRE_DISK_CHECKED, .term = 4, .epoch = 1, .generation = 1};
	struct wire_header ram = {.type = WIRE_RAM_CHECKED, .epoch = 1, .generation = 1};
	const uint8_t pages[] = {0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 1, 0};
	const uint8_t payload[] = {3, 'v', 'd', 'a', 0, 0, 0, 2, 0, 0, 0, 1,
				   0, 0,   0,   0,   0, 1, 0, 0};
	struct wire_disk_checked checked;

	(void)state;
	open_streams();
	send_geometry();
	send_epoch_of(WIRE_DISK, 1, 2, 5000);
	pump();
	agent_send(&standby, &h, payload, sizeof(payload));
	pump();
	assert_false(agent_take(&primary, WIRE_DISK_CHECKED, &frame));
	h.term = 5;
	agent_send(&standby, &h, payload, sizeof(payload));
	pump();
	assert_true(agent_take(&primary, WIRE_DISK_CHECKED, &frame));
	assert_int_equal(frame.h.epoch, 1);
	assert_int_equal(wire_disk_checked_decode(&frame, &checked, NULL), 0);
	assert_true(checked.n_checked == 2 && checked.n_differ == 1 && checked.offset[0] == 65536);
	ram.term = 5; /* RAM_CHECKED is forwarded, too, but not to a primary without VERIFY */
	agent_send(&standby, &ram, pages, sizeof(pages));
	pump();
	assert_true(agent_take(&primary, WIRE_RAM_CHECKED, &frame));
	assert_memory_equal(frame.payload, pages, sizeof(pages));
	((struct session *)primary.session)->link.features &= ~WIRE_FEATURE_VERIFY;
	agent_send(&standby, &ram, pages, sizeof(pages));
	pump();
	assert_false(agent_take(&primary, WIRE_RAM_CHECKED, &frame));
	/* A frame that breaks the format ends the standby's stream. */
	agent_send(&standby, &h, payload, sizeof(payload) - 8);
	pump();
	assert_null(standby.session);
	assert_non_null(primary.session);
}

/* The gateway forwards the primary's question about hashes and the standby's answer unchanged, but
 * only in the VM's term. */
static void test_relay_of_hashes(void **state)
{
	struct wire_header want = {.type = WIRE_HASHES_WANT, .term = 5, .generation = 1};
	struct wire_header h = {.type = WIRE_HASHES, .term = 4, .generation = 1};
	const uint8_t question[] = {0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3};
	uint8_t answer[25 + 16] = {0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2,
				   0, 0, 0, 1, 0, 0, 0, 1, 0x5a};

	(void)state;
	open_streams();
	send_geometry();
	agent_send(&primary, &want, question, sizeof(question));
	pump();
	assert_true(agent_take(&standby, WIRE_HASHES_WANT, &frame));
	assert_memory_equal(frame.payload, question, sizeof(question));
	agent_send(&standby, &h, answer, sizeof(answer));
	pump();
	assert_false(agent_take(&primary, WIRE_HASHES, &frame));
	h.term = 5;
	agent_send(&standby, &h, answer, sizeof(answer));
	pump();
	assert_true(agent_take(&primary, WIRE_HASHES, &frame));
	assert_memory_equal(frame.payload, answer, sizeof(answer));
	/* with an epoch under way, a broken answer still ends only the standby's stream */
	send_epoch_of(WIRE_DISK, 1, 2, 5000);
	agent_send(&standby, &h, answer, sizeof(answer) - 1); /* breaks the format */
	pump();
	assert_null(standby.session);
	assert_non_null(primary.session);
}

static uint64_t welcome_features(struct agent *a)
{
	struct wire_welcome welcome;

	assert_true(agent_take(a, WIRE_WELCOME, &frame));
	assert_int_equal(wire_welcome_decode(&frame, &welcome, NULL), 0);
	/* The gateway sends its incarnation on streams too. */
	assert_true(welcome.incarnation == f.fleet->config.incarnation);
	return welcome.features;
}

static void open_stream(struct agent *a, struct wire_tls_context *tls, uint8_t role, uint64_t epoch)
{
	agent_close(a);
	agent_open(a, &f, tls);
	agent_hello(a, WIRE_KIND_STREAM, role, 5, epoch);
	pump();
}

/* The primary may use the features that its standby has. It does not matter which of the two
 * connects or changes first. */
static void test_features(void **state)
{
	(void)state;
	f.fleet->config.incarnation = 0x69001234abcd;
	f.lacks[WIRE_VM_ROLE_STANDBY] = WIRE_FEATURE_BITMAP;
	open_streams();
	open_stream(&primary, f.alpha, WIRE_VM_ROLE_PRIMARY, 0);
	assert_true(welcome_features(&primary) == (WIRE_STREAM_FEATURES & ~WIRE_FEATURE_BITMAP));
	/* The same standby connects again: nothing changes for the primary. */
	open_stream(&standby, f.beta, WIRE_VM_ROLE_STANDBY, 0);
	assert_non_null(primary.session);
	/* The standby now has more features, so the primary must connect again. It must not get a
	 * RESUME before that. */
	while (agent_take(&primary, WIRE_RESUME, &frame))
		;
	f.lacks[WIRE_VM_ROLE_STANDBY] = 0;
	open_stream(&standby, f.beta, WIRE_VM_ROLE_STANDBY, 0);
	assert_null(primary.session);
	assert_false(agent_take(&primary, WIRE_RESUME, &frame));
	open_stream(&primary, f.alpha, WIRE_VM_ROLE_PRIMARY, 0);
	assert_true(welcome_features(&primary) == WIRE_STREAM_FEATURES);
	assert_true(agent_take(&primary, WIRE_RESUME, &frame));
	/* The standby now has fewer features. */
	f.lacks[WIRE_VM_ROLE_STANDBY] = WIRE_FEATURES;
	open_stream(&standby, f.beta, WIRE_VM_ROLE_STANDBY, 0);
	assert_null(primary.session);
	assert_false(agent_take(&primary, WIRE_RESUME, &frame));
	/* The features are remembered while no standby is connected. */
	agent_close(&standby);
	open_stream(&primary, f.alpha, WIRE_VM_ROLE_PRIMARY, 0);
	/* INCARNATION is a feature between the gateway and the primary, whatever the standby
	 * has. */
	assert_true(welcome_features(&primary) == (WIRE_FEATURE_XRLE | WIRE_FEATURE_INCARNATION));
	/* If the primary offers fewer features, it is granted fewer, and keeps its connection. */
	f.lacks[WIRE_VM_ROLE_STANDBY] = 0;
	f.lacks[WIRE_VM_ROLE_PRIMARY] = WIRE_FEATURE_DUP;
	open_stream(&primary, f.alpha, WIRE_VM_ROLE_PRIMARY, 0);
	open_stream(&standby, f.beta, WIRE_VM_ROLE_STANDBY, 0);
	open_stream(&primary, f.alpha, WIRE_VM_ROLE_PRIMARY, 0);
	assert_true(welcome_features(&primary) == (WIRE_STREAM_FEATURES & ~WIRE_FEATURE_DUP));
	assert_true(agent_take(&primary, WIRE_RESUME, &frame));
	open_stream(&standby, f.beta, WIRE_VM_ROLE_STANDBY, 0);
	assert_non_null(primary.session);
}

static void test_back_pressure(void **state)
{
	(void)state;
	open_streams();
	send_geometry();
	standby.deaf = true;
	send_epoch(1, 20, 100000); /* 2 MB into a ring of 256 KB */
	pump();
	assert_true(primary.session->link.is_blocked);
	assert_true(primary.n_untaken > 0);
	assert_true(wire_tls_output_pending(standby.session->tls) <= 262144);
	assert_true(primary.session->plain_end <= sizeof(primary.session->plain));
	standby.deaf = false;
	pump();
	assert_false(primary.session->link.is_blocked);
	assert_int_equal(primary.n_untaken, 0);
	assert_true(agent_take(&standby, WIRE_EPOCH_END, &frame));
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_SLOW], 0);
}

static void test_standby_gone_while_blocked(void **state)
{
	(void)state;
	open_streams();
	send_geometry();
	standby.deaf = true;
	send_epoch(1, 20, 100000);
	pump();
	assert_true(primary.session->link.is_blocked);
	agent_close(&standby);
	pump();
	/* There is no standby to wait for: the frames are dropped, and are sent again after the
	 * next RESUME. */
	assert_false(primary.session->link.is_blocked);
	assert_int_equal(primary.n_untaken, 0);
	assert_non_null(primary.session);
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
		TEST(test_relay_and_commit), TEST(test_relay_of_disks),
		TEST(test_relay_of_checked_disks), TEST(test_relay_of_hashes), TEST(test_features),
		TEST(test_back_pressure),
		TEST(test_standby_gone_while_blocked), TEST(test_peer_that_does_not_read),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
