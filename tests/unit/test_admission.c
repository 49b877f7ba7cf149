/* test_admission.c - strangers' connections push out each other, never an agent, and handshakes get a
 * share of the loop's time and no more. */
#include "gateway_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define N_SILENT 64

static struct fixture f;
static struct agent alpha, beta;
static struct agent silent[N_SILENT];
static struct agent *all[N_SILENT + 2];
static struct wire_frame frame;

static int open_fixture(void **state)
{
	(void)state;
	fixture_open(&f);
	memset(silent, 0, sizeof(silent));
	memset(&alpha, 0, sizeof(alpha));
	memset(&beta, 0, sizeof(beta));
	all[0] = &alpha;
	all[1] = &beta;
	for (size_t i = 0; i < N_SILENT; i++)
		all[i + 2] = &silent[i];
	for (size_t i = 0; i < N_SILENT + 2; i++)
		all[i]->f = &f;
	fixture_handshake_ns = 0;
	return 0;
}

static int close_fixture(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SILENT + 2; i++)
		agent_close(all[i]);
	fixture_close(&f);
	return 0;
}

static void pump(void)
{
	fixture_pump(all, N_SILENT + 2);
}

/* A connection that says nothing, from 198.18.0.@source. */
static int knock(size_t i, unsigned int source)
{
	char peer[32];
	int r;

	(void)snprintf(peer, sizeof(peer), "198.18.0.%u:%zu", source, 1000 + i);
	if (!silent[i].tls) /* never driven, so it never speaks */
		assert_int_equal(wire_tls_new(f.alpha, WIRE_PEER_GATEWAY, 0, &silent[i].tls), 0);
	r = session_new(f.gw, peer, &silent[i], ++f.now_ns, &silent[i].session);
	pump();
	return r;
}

static void say_hello(struct agent *a, struct wire_tls_context *context, const char *peer)
{
	agent_open_from(a, &f, context, peer);
	pump();
	agent_hello(a, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
}

/* The fault: as many silent connections as there are slots, and no agent got in any more. */
static void test_silent_connections_lock_nobody_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SILENT; i++)
		assert_int_equal(knock(i, 9), 0);
	assert_int_equal(f.gw->counters.handshakes_now, 4);
	assert_int_equal(f.gw->counters.refused_evicted, N_SILENT - 4);
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	assert_null(silent[N_SILENT - 4].session); /* the oldest */
	assert_non_null(silent[N_SILENT - 1].session);
}

static void test_open_sessions_are_never_touched(void **state)
{
	(void)state;
	f.gw->config.n_sessions_max = 5;
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	for (size_t i = 0; i < N_SILENT; i++)
		assert_int_equal(knock(i, 1), 0); /* from alpha's own address */
	assert_non_null(alpha.session);
	assert_int_equal(alpha.session->phase, SESSION_OPEN);
	say_hello(&beta, f.beta, "198.18.0.2:1");
	assert_true(agent_take(&beta, WIRE_WELCOME, &frame));
	f.gw->config.n_sessions_max = 2;
	for (size_t i = 0; i < N_SILENT; i++)
		silent[i].session = session_free(silent[i].session);
	assert_int_equal(knock(0, 9), -EBUSY);
	assert_int_equal(f.gw->counters.refused_busy, 1);
}

/* One source's many go before another's one, however old that is. */
static void test_the_greediest_source_pays(void **state)
{
	(void)state;
	agent_open_from(&beta, &f, f.beta, "198.18.0.2:1"); /* its HELLO is slow to come */
	for (size_t i = 0; i < N_SILENT; i++)
		assert_int_equal(knock(i, 9), 0);
	agent_hello(&beta, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_true(agent_take(&beta, WIRE_WELCOME, &frame));
}

/* Many addresses, one connection each: what a host said HELLO from before stays. */
static void test_known_addresses_stay(void **state)
{
	(void)state;
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	agent_close(&alpha);
	agent_open_from(&alpha, &f, f.alpha, "198.18.0.1:2");
	(void)snprintf(gateway_find_host(f.gw, "beta")->configured, 16, "198.18.0.2");
	agent_open_from(&beta, &f, f.beta, "198.18.0.2:2"); /* known from a VM's file */
	for (size_t i = 0; i < N_SILENT; i++)
		assert_int_equal(knock(i, 10 + (unsigned int)i), 0);
	agent_hello(&alpha, WIRE_KIND_CONTROL, 0, 0, 0);
	agent_hello(&beta, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	assert_true(agent_take(&beta, WIRE_WELCOME, &frame));
	/* And a stranger does not push known ones out when there is nobody else. */
	for (size_t i = 0; i < N_SILENT; i++)
		silent[i].session = session_free(silent[i].session);
	f.gw->config.n_handshakes_max = 2;
	assert_int_equal(knock(0, 1), 0);
	assert_int_equal(knock(1, 2), 0);
	assert_int_equal(knock(2, 77), -EBUSY);
	assert_int_equal(knock(3, 2), 0);
	assert_non_null(silent[0].session);
	assert_null(silent[1].session);
}

/* Handshakes that cost 5 ms a piece: strangers' stop at their budget, a known host's goes on, and each
 * of the strangers' goes on in its turn. */
static void test_handshakes_have_a_budget(void **state)
{
	unsigned int n_up = 0;
	uint64_t began_ns;

	(void)state;
	f.gw->config.n_handshakes_max = 32;
	f.gw->config.n_sessions_max = 64;
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	fixture_handshake_ns = 5 * MS;
	gateway_tick(f.gw, f.now_ns);
	for (size_t i = 0; i < 12; i++)
		agent_open_from(&silent[i], &f, f.beta, "198.18.0.9:5");
	for (size_t i = 0; i < 12; i++)
		n_up += wire_tls_is_established(silent[i].tls);
	assert_true(n_up <= 4);
	assert_true(f.gw->admission.n_waiting >= 8);
	agent_close(&alpha);
	agent_open_from(&alpha, &f, f.alpha, "198.18.0.1:2");
	for (int i = 0; i < 3; i++) { /* its turn comes with the loop's next ones */
		gateway_tick(f.gw, f.now_ns);
		pump();
	}
	assert_true(wire_tls_is_established(alpha.tls));

	began_ns = f.now_ns;
	while (f.gw->admission.n_waiting > 0 && f.now_ns - began_ns < 4000 * MS) {
		uint64_t at_ns = gateway_deadline_ns(f.gw, f.now_ns);

		assert_true(at_ns < f.now_ns + 500 * MS); /* the loop wakes for them */
		if (at_ns > f.now_ns)
			f.now_ns = at_ns;
		f.gw->config.handshake_timeout_ns = 10000 * MS;
		gateway_tick(f.gw, f.now_ns);
		pump();
	}
	assert_int_equal(f.gw->admission.n_waiting, 0);
	for (size_t i = 0; i < 12; i++)
		assert_true(wire_tls_is_established(silent[i].tls));
	/* Some 20 pieces of 5 ms and more at a fifth of the time. */
	assert_true(f.now_ns - began_ns > 300 * MS);
}

/* A session that waits can end in every way. */
static void test_waiting_ones_end(void **state)
{
	(void)state;
	f.gw->config.n_handshakes_max = 32;
	f.gw->config.n_sessions_max = 64;
	fixture_handshake_ns = 50 * MS;
	for (size_t i = 0; i < 6; i++)
		agent_open_from(&silent[i], &f, f.beta, "198.18.0.9:5");
	assert_true(f.gw->admission.n_waiting >= 4);
	agent_close(&silent[5]);
	f.now_ns += 2000 * MS; /* handshake_timeout_ms is over */
	gateway_tick(f.gw, f.now_ns);
	pump();
	for (size_t i = 0; i < 6; i++)
		assert_null(silent[i].session);
	assert_int_equal(f.gw->admission.n_waiting, 0);
	assert_int_equal(f.gw->counters.handshakes_now, 0);
	assert_int_equal(f.gw->counters.closing_now, 0);
}

/* The fault: 64 VMs on 128 hosts need 256 connections, and there were 128. */
static void test_limits_follow_what_is_configured(void **state)
{
	struct vm_config vm = f.gw->vms[0]->config;
	char error[VM_JOURNAL_ERROR_BYTES];

	(void)state;
	f.gw->config.n_sessions_max = f.gw->config.n_handshakes_max = 0;
	admission_settle(f.gw);
	assert_int_equal(f.gw->config.n_sessions_max, ADMISSION_SESSIONS_LEAST);
	assert_int_equal(f.gw->config.n_handshakes_max, ADMISSION_HANDSHAKES_LEAST);
	for (unsigned int i = 1; i < GATEWAY_VMS_MAX; i++) {
		(void)snprintf(vm.name, sizeof(vm.name), "vm%u", i);
		(void)snprintf(vm.host[0], sizeof(vm.host[0]), "one%u", i);
		(void)snprintf(vm.host[1], sizeof(vm.host[1]), "two%u", i);
		assert_int_equal(gateway_add_vm(f.gw, &vm, f.now_ns, error), 0);
	}
	f.gw->config.n_sessions_max = f.gw->config.n_handshakes_max = 0;
	admission_settle(f.gw);
	assert_int_equal(f.gw->config.n_handshakes_max, 128 + 2 * 64);
	assert_int_equal(f.gw->config.n_sessions_max, 256 + 256);
	/* What the operator says stands. */
	f.gw->config.n_sessions_max = 40;
	f.gw->config.n_handshakes_max = 0;
	admission_settle(f.gw);
	assert_int_equal(f.gw->config.n_sessions_max, 40);
	assert_int_equal(f.gw->config.n_handshakes_max, 40);
}

/* All slots are open sessions, one of them dead: its host comes back at once, nobody else. */
static void test_a_dead_session_keeps_no_slot_from_its_host(void **state)
{
	(void)state;
	f.gw->config.n_sessions_max = 2;
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	say_hello(&beta, f.beta, "198.18.0.2:1");
	assert_int_equal(knock(0, 1), -EBUSY); /* neither is silent */
	f.now_ns += f.gw->config.beat_timeout_ns;
	assert_int_equal(knock(1, 9), -EBUSY); /* a stranger */
	for (size_t i = 0; i < 2; i++)
		silent[i].tls = wire_tls_free(silent[i].tls);
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	agent_open_from(&silent[2], &f, f.alpha, "198.18.0.1:2"); /* alpha's newer one */
	agent_hello(&silent[2], WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_true(agent_take(&silent[2], WIRE_WELCOME, &frame));
	assert_null(alpha.session);
	assert_non_null(beta.session);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_silent_connections_lock_nobody_out),
		TEST(test_open_sessions_are_never_touched),
		TEST(test_the_greediest_source_pays),
		TEST(test_known_addresses_stay),
		TEST(test_handshakes_have_a_budget),
		TEST(test_waiting_ones_end),
		TEST(test_limits_follow_what_is_configured),
		TEST(test_a_dead_session_keeps_no_slot_from_its_host),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
