/* Tests the pump between a connection and its session: pieces of a batch are handled together, and
 * what arrived just before the connection's end is handled before it. */
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

/* Let the agent send a beat, and give it to the pump in small pieces. Returns the bytes given. */
static size_t receive_a_beat(void)
{
	const struct wire_beat beat = {.mono_ns = 1};
	const struct wire_header h = {.type = WIRE_BEAT, .seq = 1};
	uint8_t payload[256];
	struct bytes_writer w = {.at = payload, .end = payload + sizeof(payload)};
	size_t size, at = 0;
	const uint8_t *data;

	assert_int_equal(wire_beat_encode(&beat, &w), 0);
	agent_send(&alpha, &h, payload, (size_t)(w.at - payload));
	data = wire_tls_output(alpha.tls, &size);
	for (; at < size; at += PIECE)
		assert_int_equal(pump_receive(&conn, data + at,
					      size - at < PIECE ? size - at : PIECE, f.now_ns), 0);
	wire_tls_output_consume(alpha.tls, size);
	return size;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
