/* test_session_stream.c - tests the sessions of a VM's two streams in memory: what the gateway
 * forwards between the primary and the standby, which features they may use, and back-pressure. */
#include "session_lab.h"

#include <stdlib.h>

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
int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
	const struct CMUnitTest tests[] = {
		TEST(test_relay_and_commit), TEST(test_relay_of_disks),
		TEST(test_relay_of_checked_disks), TEST(test_relay_of_hashes), TEST(test_features),
		TEST(test_back_pressure),
		TEST(test_standby_gone_while_blocked),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
