/* Tests the pump between a connection and its session. All bytes of a batch are handled together.
 * Connections are handled in the order in which they received data. Bytes that arrived before a
 * connection ended are handled before its end. */
#include "session/pump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gateway_fixture.h"

#define PIECE 100u

static struct fixture f;
static struct agent alpha;
static struct agent *const all[] = {&alpha};
static struct pump_conn conn;
static size_t n_consumed;

static size_t write_nothing(struct pump_conn *c, const uint8_t *data, size_t size)
{
	(void)c;
	(void)data;
	(void)size;
	return 0;
}

static void count_consumed(struct pump_conn *c, size_t size)
{
	(void)c;
	n_consumed += size;
}

static void close_nothing(struct pump_conn *c)
{
	(void)c;
}

static const struct pump_ops ops = {write_nothing, count_consumed, close_nothing};

/* Connect an agent, and then put a pump beneath its session. */
static int setup(void **state)
{
	(void)state;
	fixture_open(&f);
	agent_open(&alpha, &f, f.alpha);
	agent_hello(&alpha, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, 0, 0);
	fixture_pump(all, 1);
	conn = (struct pump_conn){.ops = &ops, .session = alpha.session};
	alpha.session->conn = &conn;
	n_consumed = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	alpha.session = conn.session; /* NULL after pump_lost() */
	agent_close(&alpha);
	fixture_close(&f);
	return 0;
}

static uint64_t n_frames(void)
{
	return f.fleet->counters.frames_in;
}

/* Give the pump of @c what @agent has written, in small pieces. Returns the number of bytes. */
static size_t receive(struct pump_conn *c, struct agent *agent)
{
	size_t size, at = 0;
	const uint8_t *data = wire_tls_output(agent->tls, &size);

	for (; at < size; at += PIECE)
		assert_int_equal(pump_receive(c, data + at,
					      size - at < PIECE ? size - at : PIECE, f.now_ns), 0);
	wire_tls_output_consume(agent->tls, size);
	return size;
}

/* Let the agent send a beat, and give the beat to the pump. Returns the number of bytes. */
static size_t receive_a_beat(void)
{
	const struct wire_beat beat = {.mono_ns = 1};
	const struct wire_header h = {.type = WIRE_BEAT, .seq = 1};
	uint8_t payload[256];
	struct bytes_writer w = {.at = payload, .end = payload + sizeof(payload)};

	assert_int_equal(wire_beat_encode(&beat, &w), 0);
	agent_send(&alpha, &h, payload, (size_t)(w.at - payload));
	return receive(&conn, &alpha);
}

static void test_batch(void **state)
{
	uint64_t before = n_frames();
	size_t size = receive_a_beat();

	(void)state;
	assert_true(size > 0);
	assert_int_equal(n_consumed, size);
	assert_int_equal(n_frames(), before);
	pump_run(f.sessions, f.now_ns);
	assert_int_equal(n_frames(), before + 1);
}

static void test_end(void **state)
{
	uint64_t before = n_frames();

	(void)state;
	(void)receive_a_beat();
	pump_lost(&conn, f.now_ns);
	assert_int_equal(n_frames(), before + 1);
	assert_null(conn.session);
}

/* In one batch, a connection receives a message, and then the connection that is meant to replace
 * it receives a HELLO. The message is handled first. So the old connection is no longer silent, and
 * the HELLO is refused. */
static void test_order(void **state)
{
	uint64_t beats = f.fleet->counters.beats;
	struct pump_conn newer_conn = {.ops = &ops};
	struct agent newer;

	(void)state;
	f.now_ns += 600 * MS; /* the connection is silent for longer than beat_timeout */
	agent_open(&newer, &f, f.alpha);
	newer_conn.session = newer.session;
	newer.session->conn = &newer_conn;
	(void)receive_a_beat();
	agent_hello(&newer, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, 0, 0);
	(void)receive(&newer_conn, &newer);
	pump_run(f.sessions, f.now_ns);
	assert_int_equal(f.fleet->counters.beats, beats + 1);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_DUPLICATE], 1);
	agent_close(&newer);
}

/* A session that is freed while it is on the dirty list (session.h) leaves the rest of the list as
 * it was. */
static void test_freed_in_list(void **state)
{
	struct agent newer;

	(void)state;
	agent_open(&newer, &f, f.beta);
	session_mark_dirty(alpha.session);
	session_mark_dirty(newer.session);
	agent_close(&newer); /* newer is the last session of the list */
	assert_ptr_equal(session_take_dirty(f.sessions), alpha.session);
	assert_null(session_take_dirty(f.sessions));
	agent_open(&newer, &f, f.beta);
	session_mark_dirty(newer.session);
	session_mark_dirty(alpha.session);
	agent_close(&newer); /* newer is the first session of the list */
	session_mark_dirty(alpha.session);
	assert_ptr_equal(session_take_dirty(f.sessions), alpha.session);
	assert_null(session_take_dirty(f.sessions));
	session_mark_dirty(alpha.session);
	assert_ptr_equal(session_take_dirty(f.sessions), alpha.session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed_in_list, setup, teardown),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
