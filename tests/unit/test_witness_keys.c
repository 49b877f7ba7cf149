/* test_witness_keys.c - tests which agent gets a witness key and when, and whose datagrams are
 * accepted. The sessions are in memory. */
#include "gateway_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TERM  5
#define ALPHA UINT32_C(0xc6120102)

static struct fixture f;
static struct agent alpha, beta;
static struct agent *const all[] = {&alpha, &beta};
static struct fleet_vm *vm;
static struct wire_frame frame;
static struct wire_witness_key key;

static int open_fixture(void **state)
{
	(void)state;
	fixture_open(&f);
	f.fleet->config.witness_port = 7400;
	f.fleet->config.witness_rekey_ns = 600000 * MS;
	memset(&alpha, 0, sizeof(alpha));
	memset(&beta, 0, sizeof(beta));
	vm = fleet_find_vm(f.fleet, "web1");
	vm->config.standby_timeout_ns = 600000 * MS; /* no streams in this test */
	assert_int_equal(vm_journal_append(f.journal, "web1", "alpha", TERM, VM_PROTECTED,
					   false, ""), 0);
	vm->fsm.record = (struct vm_record){.term = TERM, .owner = 0, .state = VM_PROTECTED};
	return 0;
}

static int close_fixture(void **state)
{
	(void)state;
	agent_close(&alpha);
	agent_close(&beta);
	fixture_close(&f);
	return 0;
}

static void pump(void)
{
	fixture_pump(all, 2);
}

static void open_control(struct agent *a, struct wire_tls_context *tls, const char *address)
{
	agent_close(a);
	agent_open(a, &f, tls);
	(void)snprintf(a->session->link.peer, sizeof(a->session->link.peer), "%s:40000", address);
	agent_hello(a, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_true(agent_take(a, WIRE_WELCOME, &frame));
}

static void report(struct agent *a, uint8_t role, uint8_t agent_state, uint64_t term)
{
	const struct wire_header h = {.type = WIRE_REPORT, .term = term};
	const struct wire_report msg = {.vm = "web1", .role = role, .state = agent_state};
	uint8_t payload[512];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};

	assert_int_equal(wire_report_encode(&msg, &w), 0);
	agent_send(a, &h, payload, (size_t)(w.at - payload));
	pump();
}

/* Let time pass while the agents send beats. */
static void pass(uint64_t ms)
{
	const struct wire_header beat = {.type = WIRE_BEAT};

	while (ms > 0) {
		uint64_t step_ms = ms < 200 ? ms : 200;
		uint8_t payload[8];

		f.now_ns += step_ms * MS;
		ms -= step_ms;
		bytes_put_be64(payload, f.now_ns);
		for (size_t i = 0; i < 2; i++) {
			if (all[i]->session)
				agent_send(all[i], &beat, payload, sizeof(payload));
		}
		pump();
		fixture_tick(&f);
		pump();
	}
}

static bool take_key(struct agent *a)
{
	if (!agent_take(a, WIRE_WITNESS_KEY, &frame))
		return false;
	assert_int_equal(wire_witness_key_decode(&frame, &key, NULL), 0);
	assert_string_equal(key.vm, "web1");
	assert_int_equal(key.port, 7400);
	return true;
}

static void make_witness(const struct wire_witness_key *with, enum wire_witness_path path,
			 uint64_t sequence, uint8_t data[WIRE_WITNESS_SIZE])
{
	struct wire_witness_mac *mac;

	memset(data, 0, WIRE_WITNESS_SIZE);
	memcpy(data, "HFW1", 4);
	bytes_put_be32(data + 52, path);
	bytes_put_be32(data + 4, with->key_id);
	bytes_put_be64(data + 8, sequence);
	bytes_put_be64(data + 16, f.now_ns);
	bytes_put_be64(data + 24, sequence);
	bytes_put_be16(data + 48, 60);
	bytes_put_be16(data + 50, 14);
	assert_int_equal(wire_witness_mac_new(with->key, &mac), 0);
	assert_int_equal(wire_witness_mac_sign(mac, data), 0);
	wire_witness_mac_free(mac);
}

static enum witness_rx_verdict send_witness(const struct wire_witness_key *with, uint64_t sequence)
{
	uint8_t data[WIRE_WITNESS_SIZE];

	make_witness(with, WIRE_WITNESS_BACKUP, sequence, data);
	return witness_rx_input(f.fleet->witness, WIRE_WITNESS_BACKUP, ALPHA, data, sizeof(data),
				f.now_ns);
}

static void a_key_when_the_owner_protects(void **state)
{
	(void)state;
	open_control(&alpha, f.alpha, "198.18.1.2");
	open_control(&beta, f.beta, "198.18.1.3");
	pass(200);
	assert_false(take_key(&alpha));
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_LOST, TERM);
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_PROTECTED, TERM - 1);
	pass(200);
	assert_false(take_key(&alpha));
	report(&beta, WIRE_VM_ROLE_STANDBY, WIRE_STATE_STANDBY_READY, TERM);
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_ATTACHING, TERM);
	assert_true(take_key(&alpha));
	assert_int_equal(frame.h.term, TERM);
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_PROTECTED, TERM);
	pass(1000);
	assert_false(take_key(&alpha));
	assert_false(take_key(&beta));
	assert_int_equal(send_witness(&key, 1), WITNESS_RX_ACCEPTED);
	assert_int_equal(fleet_witness_view(f.fleet, vm)->made_at_ns, f.now_ns);
	assert_int_equal(f.fleet->counters.witness_keys, 1);
}

static void protect(void)
{
	open_control(&alpha, f.alpha, "198.18.1.2");
	open_control(&beta, f.beta, "198.18.1.3");
	report(&beta, WIRE_VM_ROLE_STANDBY, WIRE_STATE_STANDBY_READY, TERM);
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_PROTECTED, TERM);
	assert_true(take_key(&alpha));
}

/* The message with the key contains the gateway's address in the client network only if the VM has
 * a second path and the agent has the feature for it. */
static void an_address_in_the_client_network(void **state)
{
	static const struct {
		uint32_t source;
		uint64_t lacks;
		bool is_given;
	} rows[] = {
		{0, 0, false},
		{0xc612000b, WIRE_FEATURE_WITNESS_PATHS, false},
		{0xc612000b, 0, true},
	};
	uint8_t data[WIRE_WITNESS_SIZE] = {0};

	(void)state;
	f.fleet->config.client_address = 0xc6120003;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vm->witness_sources[0] = rows[i].source;
		f.lacks[WIRE_VM_ROLE_NONE] = rows[i].lacks;
		protect();
		assert_int_equal(key.client_address, rows[i].is_given ? 0xc6120003 : 0);
		assert_int_equal(send_witness(&key, 1), WITNESS_RX_ACCEPTED);
		make_witness(&key, WIRE_WITNESS_CLIENT, 1, data);
		assert_int_equal(witness_rx_input(f.fleet->witness, WIRE_WITNESS_CLIENT, 0xc612000b,
						  data, sizeof(data), f.now_ns),
				 rows[i].is_given ? WITNESS_RX_ACCEPTED : WITNESS_RX_WRONG_ADDRESS);
	}
}

static void not_without_the_feature(void **state)
{
	(void)state;
	f.lacks[WIRE_VM_ROLE_NONE] = WIRE_FEATURE_WITNESS;
	open_control(&alpha, f.alpha, "198.18.1.2");
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_PROTECTED, TERM);
	pass(1000);
	assert_false(take_key(&alpha));
}

static void not_when_nobody_would_listen(void **state)
{
	(void)state;
	f.fleet->config.witness_port = 0;
	open_control(&alpha, f.alpha, "198.18.1.2");
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_PROTECTED, TERM);
	pass(1000);
	assert_false(take_key(&alpha));
}

static void another_key_when_it_is_due(void **state)
{
	struct wire_witness_key first;

	(void)state;
	f.fleet->config.witness_rekey_ns = 5000 * MS;
	protect();
	first = key;
	pass(4800);
	assert_false(take_key(&alpha));
	assert_int_equal(send_witness(&first, 1), WITNESS_RX_ACCEPTED);
	pass(400);
	assert_true(take_key(&alpha));
	assert_int_not_equal(key.key_id, first.key_id);
	assert_memory_not_equal(key.key, first.key, sizeof(key.key));
	assert_int_equal(send_witness(&first, 2), WITNESS_RX_ACCEPTED);
	assert_int_equal(send_witness(&key, 1), WITNESS_RX_ACCEPTED);
	pass(1200);
	assert_int_equal(send_witness(&first, 3), WITNESS_RX_UNKNOWN_KEY);
	assert_int_equal(send_witness(&key, 2), WITNESS_RX_ACCEPTED);
}

static void the_key_outlives_the_connection(void **state)
{
	struct wire_witness_key first;

	(void)state;
	protect();
	first = key;
	agent_close(&alpha);
	pass(200);
	assert_int_equal(send_witness(&first, 1), WITNESS_RX_ACCEPTED);
	/* The agent reconnects, perhaps with a connection at the same memory address as the old
	 * one. It must get a new key all the same. */
	open_control(&alpha, f.alpha, "198.18.1.2");
	assert_false(take_key(&alpha));
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_PROTECTED, TERM);
	assert_true(take_key(&alpha));
	assert_int_equal(send_witness(&first, 2), WITNESS_RX_ACCEPTED);
	assert_int_equal(send_witness(&key, 1), WITNESS_RX_ACCEPTED);
}

static void it_ends_with_term_and_owner(void **state)
{
	struct wire_witness_key first;
	struct vm_input in = {.kind = VM_IN_COMMAND, .command = VM_COMMAND_FAILOVER};

	(void)state;
	protect();
	first = key;
	assert_int_equal(send_witness(&first, 1), WITNESS_RX_ACCEPTED);
	vm->fsm.protection.complete = vm->fsm.protection.committed = 1;
	vm->fsm.host[1].epoch = 1;
	(void)fleet_step(f.fleet, vm, &in, f.now_ns);
	assert_int_equal(vm->fsm.record.state, VM_PROMOTING);
	assert_int_equal(send_witness(&first, 2), WITNESS_RX_UNKNOWN_KEY);
	assert_int_equal(fleet_witness_view(f.fleet, vm)->n_accepted, 0);
	report(&alpha, WIRE_VM_ROLE_PRIMARY, WIRE_STATE_PROTECTED, TERM);
	pass(200);
	assert_false(take_key(&alpha));
	assert_false(take_key(&beta));
}

static void a_restarted_gateway_knows_no_old_key(void **state)
{
	struct wire_witness_key before;

	(void)state;
	protect();
	before = key;
	(void)close_fixture(NULL);
	(void)open_fixture(NULL);
	protect();
	assert_int_not_equal(key.key_id, before.key_id);
	assert_int_equal(send_witness(&before, 1), WITNESS_RX_UNKNOWN_KEY);
	assert_int_equal(send_witness(&key, 1), WITNESS_RX_ACCEPTED);
}

static unsigned int n_events;

static bool on_event(void *arg, uint64_t now_ns, const char *name, const char *kind,
		     const char *from, const char *to, const char *text)
{
	(void)arg;
	(void)now_ns;
	(void)from;
	(void)to;
	n_events += strcmp(kind, "witness") == 0 && strcmp(name, "web1") == 0 &&
		    strstr(text, "address of alpha") != NULL;
	return true;
}

static void forgeries_are_told_of(void **state)
{
	(void)state;
	f.fleet->sinks.event = on_event;
	n_events = 0;
	protect();
	pass(200);
	assert_int_equal(n_events, 0);
	key.key[0] ^= 1;
	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(send_witness(&key, 1), WITNESS_RX_BAD_MAC);
		pass(200);
	}
	assert_int_equal(n_events, 1); /* one event per 10 s */
	pass(10000);
	assert_int_equal(n_events, 2);
	pass(20000);
	assert_int_equal(n_events, 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, open_fixture, close_fixture)

static int start(void **state)
{
	(void)state;
	fixture_start();
	return 0;
}

static int end(void **state)
{
	(void)state;
	fixture_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_when_the_owner_protects),
		TEST(an_address_in_the_client_network),
		TEST(not_without_the_feature),
		TEST(not_when_nobody_would_listen),
		TEST(another_key_when_it_is_due),
		TEST(the_key_outlives_the_connection),
		TEST(it_ends_with_term_and_owner),
		TEST(a_restarted_gateway_knows_no_old_key),
		TEST(forgeries_are_told_of),
	};

	return cmocka_run_group_tests(tests, start, end);
}
